"""The lecture's scene: every class is there, the map fits the picture, and the seed says it all."""

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import drawing
from minisegnet.data.scene import IGNORE_COLOR


def test_the_lectures_scene():
    view = data.scene()
    assert view.image.shape == (256, 256, 3)
    assert view.image.dtype == np.uint8
    assert view.labels.shape == (256, 256)
    assert view.labels.dtype == np.int64
    assert view.classes == data.CLASSES == ("background", "rose", "glass", "die", "teddy bear")
    shares = {k: float((view.labels == k).mean()) for k in (*range(5), data.IGNORE_INDEX)}
    assert sum(shares.values()) == pytest.approx(1)
    assert 0.4 < shares[0] < 0.7
    assert all(shares[k] > 0.02 for k in range(1, 5))
    assert shares[4] == max(shares[k] for k in range(1, 5)), "the bear is the largest thing"
    assert 0.005 < shares[255] < 0.06


@pytest.mark.parametrize("size", [32, 128, (100, 180), (180, 120)])
def test_any_size(size):
    view = data.scene(size, seed=0)
    assert view.labels.shape == ((size, size) if isinstance(size, int) else size)
    assert set(np.unique(view.labels)) == {0, 1, 2, 3, 4, 255}


def test_it_is_the_same_scene_at_every_size():
    large, small = data.scene(256), data.scene(64)
    shrunk = large.labels[2::4, 2::4]
    known = (shrunk != 255) & (small.labels != 255)
    assert (shrunk == small.labels)[known].mean() > 0.97


def test_seed_says_it_all():
    np.testing.assert_array_equal(data.scene(64, 3).image, data.scene(64, 3).image)
    np.testing.assert_array_equal(data.scene(64, 3).labels, data.scene(64, 3).labels)
    assert not np.array_equal(data.scene(64, 3).image, data.scene(64, 4).image)


def test_variants_hold_every_class_and_differ():
    views = list(data.scenes(12, seed=1, size=64))
    for view in views:
        assert {0, 1, 2, 3, 4} <= set(np.unique(view.labels))
    assert len({view.labels.tobytes() for view in views}) == 12
    again = list(data.scenes(3, seed=1, size=64))
    for view, other in zip(views, again, strict=False):
        np.testing.assert_array_equal(view.image, other.image)
    assert not np.array_equal(next(data.scenes(1, seed=2, size=64)).image, views[0].image)


def test_the_map_fits_the_picture():
    """The colours under each label: a red rose, a light die, a brown bear."""
    view = data.scene(128)
    rose, die, bear = (view.image[view.labels == k].astype(int) for k in (1, 3, 4))
    assert np.mean(rose[:, 0] > rose[:, 1] + 40) > 0.6
    assert die.mean() > 150
    assert np.median(bear[:, 0] - bear[:, 2]) > 40


def test_things_are_whole():
    """Nothing of another class or unlabelled inside the die, and rims are thin."""
    view = data.scene(256)
    y, x = (int(np.median(axis)) for axis in np.nonzero(view.labels == 3))
    assert (view.labels[y - 10 : y + 10, x - 10 : x + 10] == 3).all()
    ball = view.labels[:, :60] == 255
    rims = (view.labels == 255).sum() - ball.sum()
    assert rims / 256**2 < 0.03


def test_colours_are_okabe_and_itos():
    view = data.scene(64)
    table = view.colored()
    assert table.shape == (64, 64, 3)
    for k in range(5):
        assert (table[view.labels == k] == data.COLORS[k]).all()
    assert (table[view.labels == 255] == IGNORE_COLOR).all()
    assert len({tuple(color) for color in data.COLORS.tolist()}) == 5
    okabe_ito = {"000000", "E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7"}
    assert {"".join(f"{part:02X}" for part in color) for color in data.COLORS} <= okabe_ito


def test_legend_of_one_scene_is_its_own():
    view = data.scene(32)
    view.colors[0] = 99
    assert data.scene(32).colors[0, 0] == 0


def test_partly_covered_pixels_are_nobodys():
    canvas = drawing.Canvas(20, 20, np.random.default_rng(0))
    canvas.paint(canvas.x - 0.525 + 0 * canvas.y, (1.0, 0.0, 0.0), label=1)  # the edge halves column 10
    np.testing.assert_allclose(canvas.image[:, 10, 0], 0.5, atol=1e-5)
    assert canvas.mixed[:, 10].all()
    assert canvas.mixed.sum() == 20
    assert (canvas.labels[:, :10] == 1).all()
    canvas.paint(np.full((20, 20), -1.0, np.float32), (0.0, 0.0, 1.0), label=2)
    assert not canvas.mixed.any(), "what is covered whole has a class again"


def test_shapes_have_the_size_they_say():
    canvas = drawing.Canvas(200, 200, np.random.default_rng(0))
    inside = [
        (drawing.ellipse(canvas, 0.5, 0.5, 0.3, 0.2, 0.4), np.pi * 0.3 * 0.2),
        (drawing.polygon(canvas, [(0.2, 0.2), (0.8, 0.2), (0.8, 0.6), (0.2, 0.6)]), 0.24),
        (
            drawing.polygon(canvas, [(0.2, 0.6), (0.8, 0.6), (0.8, 0.2), (0.2, 0.2)], 0.05),
            0.24 + 2 * 0.05 + np.pi * 0.0025,
        ),
        (drawing.stroke(canvas, [(0.2, 0.5), (0.8, 0.5)], 0.1), 0.06 + np.pi * 0.0025),
    ]
    for distance, area in inside:
        assert np.mean(distance < 0) == pytest.approx(area, rel=0.02)
    part, box = canvas.around(0.25, 0.5, 0.1, 0.1)
    part.image[:] = 1
    assert canvas.image[box].all()
    assert canvas.image.sum() == 3 * part.size[0] * part.size[1]
    assert canvas.x[0, box[1]][0] == part.x[0, 0]


def test_faults_are_named():
    with pytest.raises(ValueError, match="size must be at least 32"):
        data.scene(16)
    with pytest.raises(ValueError, match="at least 1 scene"):
        list(data.scenes(0))
