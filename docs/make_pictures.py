"""Make the pictures of the README and the docs from the code itself: ``python docs/make_pictures.py``.

Nothing here needs a network or the real images: scene and tissue are drawn by the package, the network comes with it.
"""

from pathlib import Path

from minisegnet import data, figures, metrics, models

HERE = Path(__file__).parent / "pictures"


def scene() -> None:
    """The lecture's scene, its map and the overlay."""
    picture = data.scene(256, seed=0)
    classes, colors = list(picture.classes), list(picture.colors)
    figures.save(
        figures.overlay(picture.image, picture.labels, classes, colors=colors), HERE / "scene_overlay.png", dpi=110
    )


def nuclei() -> None:
    """What the pre-trained network finds in tissue and fluorescence, and where it is wrong."""
    model = models.load_pretrained("nuclei")
    tissue, labels = data.synthetic_tissue(1, size=(256, 256), seed=1)
    found = model.predict(tissue[0])[1] > 0.5
    figures.save(figures.show(tissue[0], labels[0] > 0, found, ["background", "nucleus"]), HERE / "nuclei.png", dpi=110)
    glowing, truth = data.synthetic_fluorescence(1, size=(256, 256), seed=3)
    print(f"Dice {metrics.dice(found, labels[0] > 0, empty=1.0):.3f} on synthetic tissue,", end=" ")
    print(f"{metrics.dice(model.predict(glowing[0])[1] > 0.5, truth[0] > 0, empty=1.0):.3f} on synthetic fluorescence")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    scene()
    nuclei()
