"""Figures against facts: pixels where labels are, counts by independent arithmetic, no global state, clear errors."""

import base64
import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minisegnet as ms
from minisegnet import figures
from minisegnet.figures.colors import BACKGROUND, rgb, text_color
from minisegnet.figures.panels import map_image
from minisegnet.figures.raster import boundary, enlarge, error_codes, pattern

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (40, 56, 3), dtype=np.uint8)
    target = np.zeros((40, 56), dtype=np.int64)
    target[5:20, 5:25] = 1
    target[25:38, 30:50] = 2
    prediction = np.roll(target, 3, axis=1)
    return image, target, prediction


FORMS = {
    "HWC uint8": lambda x: x,
    "CHW float": lambda x: x.transpose(2, 0, 1).astype(np.float32) / 255,
    "HWC float64": lambda x: x / 255,
    "Tensor": lambda x: ms.tensor(x.transpose(2, 0, 1).astype(np.float32) / 255),
    "Pillow": Image.fromarray,
    "RGBA": lambda x: np.concatenate([x, x[:, :, :1]], axis=2),
    "list": lambda x: (x / 255).tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_usual_form_of_an_image_is_the_same_image(scene, form):
    np.testing.assert_array_equal(figures.as_image(FORMS[form](scene[0])), scene[0])


def test_grey_images_and_masks_become_three_channels():
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    for form in (grey, grey[None], grey[:, :, None]):
        result = figures.as_image(form)
        assert result.shape == (5, 6, 3)
        np.testing.assert_array_equal(result[:, :, 1], grey)
    assert figures.as_image(grey > 5).max() == 255


def test_three_by_three_pixels_are_read_by_their_type():
    array = np.arange(27).reshape(3, 3, 3)
    np.testing.assert_array_equal(figures.as_image(array.astype(np.uint8)), array)
    np.testing.assert_array_equal(figures.as_image(array / 255), array.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((2, 5, 5, 3), np.uint8), ValueError, r"shape \(2, 5, 5, 3\)"),
        (np.zeros((1, 3, 5, 5)), ValueError, r"pass image\[0\]"),
        (np.zeros((5, 5, 7), np.uint8), ValueError, "1 or 3 channels"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, "not empty"),
        (np.full((5, 5, 3), 3.0), ValueError, "0 to 1"),
        (np.full((5, 5, 3), np.nan), ValueError, "0 to 1"),
        (np.zeros((5, 5, 3), np.uint16), TypeError, "uint16"),
    ],
)
def test_a_bad_image_is_named(image, error, message):
    with pytest.raises(error, match=message):
        figures.overlay_image(image, np.zeros((5, 5), int))


def test_bad_labels_are_named(scene):
    image, target, _ = scene
    with pytest.raises(ValueError, match=r"labels has height and width \(39, 56\).*\(40, 56\)"):
        figures.overlay_image(image, target[1:])
    with pytest.raises(TypeError, match=r"argmax"):
        figures.overlay(image, target.astype(np.float32))
    with pytest.raises(ValueError, match="prediction has height"):
        figures.show(image, target, target[:, 1:])
    with pytest.raises(ValueError, match="alpha"):
        figures.overlay_image(image, target, alpha=1.5)
    with pytest.raises(ValueError, match="0 or more"):
        figures.overlay_image(image, target - 1)
    with pytest.raises(ValueError, match="class 2, classes names only 2"):
        figures.show(image, target, None, ["background", "rose"])


def test_overlay_paints_where_labels_are_and_nowhere_else(scene):
    image, target, _ = scene
    painted = figures.overlay_image(image, target, alpha=0.5, outline=False)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted[target == 0], image[target == 0])
    color = np.array(rgb(figures.class_colors(3)[2]))
    np.testing.assert_allclose(painted[target == 2], 0.5 * image[target == 2] + 0.5 * color, atol=0.51)


def test_outline_has_the_full_colour_and_alpha_zero_leaves_the_inside(scene):
    image, target, _ = scene
    painted = figures.overlay_image(image, target, alpha=0.0)
    edge = boundary(target) & (target == 1)
    assert (painted[edge] == rgb(figures.class_colors(3)[1])).all()
    inside = (target == 1) & ~boundary(target)
    np.testing.assert_array_equal(painted[inside], image[inside])


def test_hidden_classes_stay_image_and_unlabelled_is_hatched(scene):
    image, target, _ = scene
    target[:4] = 255
    painted = figures.overlay_image(image, target, hidden=[1])
    np.testing.assert_array_equal(painted[target == 1], image[target == 1])
    changed = (painted != image).any(axis=2)
    assert 0.2 < changed[:4].mean() < 0.8  # stripes, not a plane
    np.testing.assert_array_equal(figures.overlay_image(image, target, hidden=[1, 2, 255]), image)


def test_scale_repeats_pixels(scene):
    image, target, _ = scene
    large = figures.overlay_image(image, target, scale=3, outline=False)
    np.testing.assert_array_equal(large, enlarge(figures.overlay_image(image, target, outline=False), 3))


def test_nucleus_number_255_is_painted_like_any_other():
    labels = np.arange(300).reshape(15, 20)
    painted = figures.overlay_image(np.zeros((15, 20, 3), np.uint8), labels, alpha=1.0, outline=False)
    assert (painted[labels == 255] == rgb(figures.class_colors(300)[255])).all()


def test_overlay_does_not_write_into_its_input(scene):
    image, target, prediction = (a.copy() for a in scene)
    figures.overlay_image(*scene[:2])
    figures.error_image(*scene)
    figures.show(*scene).png()
    for before, after in zip((image, target, prediction), scene, strict=True):
        np.testing.assert_array_equal(before, after)


def test_error_counts_agree_with_pixel_by_pixel_arithmetic():
    rng = np.random.default_rng(1)
    target, prediction = rng.integers(0, 3, (2, 30, 20))
    target[:2] = 255
    counts = figures.error_counts(target, prediction)
    tp = fp = fn = wrong = 0
    for t, p in zip(target.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t == 255:
            continue
        tp += t == p and t > 0
        fp += t == 0 and p > 0
        fn += t > 0 and p == 0
        wrong += t > 0 and p > 0 and t != p
    assert (counts["TP"], counts["FP"], counts["FN"], counts["wrong class"]) == (tp, fp, fn, wrong)
    assert counts["Dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn + 2 * wrong))


def test_two_classes_give_the_dice_of_the_metrics():
    rng = np.random.default_rng(2)
    target, prediction = rng.integers(0, 2, (2, 30, 20))
    expected = ms.metrics.dice(prediction, target, empty=1.0)
    assert figures.error_counts(target, prediction)["Dice"] == pytest.approx(float(np.ravel(expected)[-1]))
    empty = np.zeros((3, 3), int)
    assert figures.error_counts(empty, empty)["Dice"] == 1.0


def test_each_kind_of_error_has_its_own_colour_and_pattern(scene):
    image, target, prediction = scene
    prediction[26:30, 35:40] = 1
    drawn = figures.error_image(image, target, prediction, scale=6)
    codes = enlarge(error_codes(target, prediction), 6)
    assert len({s.color for s in figures.ERROR_STYLES}) == len({s.pattern for s in figures.ERROR_STYLES}) == 4
    grey = drawn[codes == 0]
    assert (grey == grey[:, :1]).all()
    for code in (1, 2, 3, 4):
        edge = boundary(codes, 2) & (codes == code)
        assert (drawn[edge] == rgb(figures.ERROR_STYLES[code - 1].color)).all()
    for name in ("diagonal", "dots", "bars"):
        assert 0.2 < pattern(name, (48, 48)).mean() < 0.7


def test_map_shows_background_pale_and_classes_in_their_colours(scene):
    _, target, _ = scene
    drawn = map_image(target)
    assert (drawn[0, 0] == rgb(BACKGROUND)).all()
    assert (drawn[10, 15] == rgb(figures.class_colors(3)[1])).all()


def test_show_puts_names_titles_counts_and_dice_into_the_figure(scene):
    figure = figures.show(*scene, ["background", "rose", "die"])
    assert [ax.get_title() for ax in figure.axes][:3] == ["input", "target", "prediction"]
    counts = figures.error_counts(*scene[1:])
    assert figure.axes[3].get_title() == f"errors: Dice {counts['Dice']:.3f}"
    texts = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert texts[:2] == ["rose", "die"]
    assert f"found (TP) {counts['TP']:,}" in texts
    assert f"missed (FN) {counts['FN']:,}" in texts


def test_the_twin_says_the_numbers_and_is_what_a_notebook_stores(scene):
    image, target, prediction = scene
    figure = figures.show(image, target, prediction, ["background", "rose", "die"])
    counts = figures.error_counts(target, prediction)
    assert f"{100 * counts['TP'] / target.size:.1f}% found" in figures.describe(figure)
    assert f"Dice {counts['Dice']:.2f}" in figures.describe(figure)
    data, metadata = figure._repr_mimebundle_()
    assert data["text/plain"] == repr(figure) == str(figure) == figures.describe(figure)
    kind = next(k for k in data if k.startswith("image/"))
    assert metadata[kind]["alt"] == figures.describe(figure)
    for other in (
        figures.overlay(image, target),
        figures.error_map(image, target, prediction),
        figures.gallery([image]),
    ):
        assert len(figures.describe(other)) > 20
    with pytest.raises(TypeError, match="figures of minisegnet"):
        figures.describe("a picture")


def test_a_map_of_many_instances_has_no_legend():
    labels = np.arange(400).reshape(20, 20)
    figure = figures.overlay(np.zeros((20, 20, 3), np.uint8), labels)
    assert figure.axes[0].get_legend() is None
    assert "399 instances on 99.8%" in figures.describe(figure)  # nucleus 255 is a nucleus here, not "unlabelled"


def test_the_same_state_gives_the_same_bytes_and_no_figure_stays_open(scene, tmp_path):
    first, second = (figures.show(*scene).png() for _ in range(2))
    assert first == second
    for name in ("a.png", "a.svg", "a.pdf", "a.jpg"):
        one = figures.save(figures.overlay(*scene[:2]), tmp_path / name, dpi=60).read_bytes()
        two = figures.save(figures.overlay(*scene[:2]), tmp_path / f"b{name[1:]}", dpi=60).read_bytes()
        assert one == two
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_save_writes_real_files_and_names_what_it_cannot_write(scene, tmp_path):
    image, target, _ = scene
    path = figures.save(figures.overlay_image(image, target), tmp_path / "new" / "o.png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), figures.overlay_image(image, target))
    ElementTree.parse(figures.save(figures.overlay(image, target), tmp_path / "o.svg"))
    with pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf, \.jpg; got .*o\.gif"):
        figures.save(figures.overlay(image, target), tmp_path / "o.gif")
    with pytest.raises(ValueError, match=r"\.png, \.jpg"):
        figures.save(image, tmp_path / "o.svg")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        figures.save(figures.overlay(image, target), tmp_path / "file" / "o.png")


def test_the_stored_size_is_that_of_the_picture_and_tissue_stays_small():
    tissue = ms.data.synthetic_tissue(1, size=(256, 256), seed=0)[0][0]
    for kind, figure in (
        ("image/png", figures.curves({"loss": [1, 2]})),
        ("image/jpeg", figures.gallery([tissue] * 2)),
    ):
        data, metadata = figure._repr_mimebundle_()
        width, height = Image.open(io.BytesIO(base64.b64decode(data[kind]))).size
        assert metadata[kind]["width"] == pytest.approx(width / 1.25, abs=1)
        assert metadata[kind]["height"] == pytest.approx(height / 1.25, abs=1)
        assert len(data[kind]) < 400_000
        assert set(data) == {kind, "text/plain"}


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (600, 900)])
def test_odd_sizes_are_drawn(size):
    image = np.zeros((*size, 3), np.uint8)
    figures.show(image, np.ones(size, int), np.zeros(size, int)).png(0.5)


def test_gallery_names_what_does_not_fit(scene):
    with pytest.raises(ValueError, match="empty"):
        figures.gallery([])
    with pytest.raises(ValueError, match="titles must hold one text for each of 1"):
        figures.gallery([scene[0]], ["a", "b"])
    with pytest.raises(ValueError, match=r"images\[1\]"):
        figures.gallery([scene[0], np.zeros(3)])
    figure = figures.gallery([scene[0]] * 5, list("abcde"), columns=3)
    assert len([ax for ax in figure.axes if ax.get_visible()]) == 5


def test_curves_tell_where_the_best_score_was():
    history = {"loss": [1.0, 0.5, 0.25], "lr": [0.1, 0.2, 0.1], "val_step": [1, 3], "val_score": [0.9, 0.8]}
    figure = figures.curves(history)
    assert "best validation Dice 0.900 at step 1" in figures.describe(figure)
    assert "3 steps: loss from 1.000 to 0.250" in figures.describe(figure)
    assert figure.axes[0].get_yscale() == "log"
    assert len(figures.curves({"loss": [0.0, 1.0]}).axes) == 1
    with pytest.raises(ValueError, match="no loss yet"):
        figures.curves({"loss": []})
    with pytest.raises(ValueError, match="1 scores at 2 steps"):
        figures.curves({**history, "val_score": [0.5]})


def test_curves_read_the_history_of_a_training():
    history = ms.training.History(loss=[1.0, 0.5], lr=[0.1, 0.1], monitor="loss", mode="min")
    history.validation = [{"step": 1, "loss": 0.9}, {"step": 2, "loss": 0.7}]
    assert "best validation loss 0.700 at step 2" in figures.describe(figures.curves(history))
    history.monitor, history.mode = "dice", "max"
    history.validation = [{"step": 1, "dice": 0.8}, {"step": 2, "dice": float("nan")}]
    assert "best validation Dice 0.800 at step 1" in figures.describe(figures.curves(history))


def test_text_on_a_colour_can_be_read():
    assert text_color("#F0E442") == "#000000"
    assert text_color("#000000") == "#FFFFFF"
    assert len(set(figures.class_colors(8))) == 8
    with pytest.raises(ValueError, match="one colour for each of 3"):
        figures.class_colors(3, ["#000000"])
    with pytest.raises(ValueError, match="#RRGGBB"):
        rgb("red")


def test_what_draws_is_loaded_when_something_is_drawn():
    code = (
        "import sys; from minisegnet import course, explorers, figures; "
        "heavy = {'matplotlib', 'PIL', 'IPython', 'ipywidgets', 'numba'} & set(sys.modules); assert not heavy, heavy; "
        "figures.overlay([[[0.0, 1.0]]], [[0, 1]]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
