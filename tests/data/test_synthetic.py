"""Synthetic microscopy: shapes, instances, physics, and the likeness to real images in plain numbers."""

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import cells as shapes
from minisegnet.data import compression, noise

BOTH = pytest.mark.parametrize("draw", [data.synthetic_tissue, data.synthetic_fluorescence])


@BOTH
@pytest.mark.parametrize("size", [(64, 96), 80])
def test_shapes_types_and_numbers(draw, size):
    images, labels = draw(3, size=size, seed=5)
    h, w = (size, size) if isinstance(size, int) else size
    assert images.shape == (3, h, w, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (3, h, w)
    assert labels.dtype == np.int32
    for label in labels:
        assert np.array_equal(np.unique(label), np.arange(label.max() + 1)), "nuclei are numbered without gaps"
        assert np.bincount(label.ravel())[1:].min(initial=99) >= 6


@BOTH
def test_picture_i_depends_on_seed_and_i_alone(draw):
    few, many, other = draw(2, 64, seed=3), draw(4, 64, seed=3), draw(2, 64, seed=4)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:2])
    assert not np.array_equal(few[0], other[0])
    assert not np.array_equal(few[0][0], few[0][1])


@BOTH
def test_faults_are_named(draw):
    with pytest.raises(ValueError, match="at least 1 picture"):
        draw(0)
    with pytest.raises(ValueError, match="size must be at least 16"):
        draw(1, 8)


def test_tissue_looks_like_tissue():
    """Nuclei are darker than what lies around them in every channel, and most of all in red and green."""
    images, labels = data.synthetic_tissue(24, 128, seed=0)
    depth = []
    for image, label in zip(images, labels, strict=True):
        if 0.02 < (label > 0).mean() < 0.9:
            depth.append(np.log((image[label == 0].mean(axis=0) + 1) / (image[label > 0].mean(axis=0) + 1)))
    depth = np.array(depth)
    assert (depth[:, :2].mean(axis=1) > 0.05).mean() > 0.9
    assert (depth.mean(axis=0)[:2] > 2 * depth.mean(axis=0)[2]).all()
    shares = (labels > 0).mean(axis=(1, 2))
    assert 0.1 < np.mean(shares) < 0.4
    assert np.ptp(shares) > 0.15


def test_fluorescence_is_grey_dark_and_lit_where_nuclei_are():
    images, labels = data.synthetic_fluorescence(24, 128, seed=0)
    assert (images[..., 0] == images[..., 1]).all()
    assert (images[..., 0] == images[..., 2]).all()
    for image, label in zip(images, labels, strict=True):
        assert np.median(image[label == 0]) < 60
        if (label > 0).any():
            assert image[label > 0].mean() > 1.3 * image[label == 0].mean()


@pytest.mark.parametrize("kind", ["histology", "fluorescence"])
def test_ranges_cover_the_real_ones(kind, request):
    """Sizes of nuclei, their share and the colours of the ground: real images lie within what is drawn."""
    real = data.load_nuclei(request.getfixturevalue(f"{kind}_path"))
    draw = data.synthetic_tissue if kind == "histology" else data.synthetic_fluorescence
    images, labels = draw(60, 128, seed=1)

    def describe(images, labels):
        for image, label in zip(images, labels, strict=True):
            areas = np.bincount(label.ravel())[1:]
            if len(areas) and (label == 0).any():
                yield np.log(np.median(areas)), *image[label == 0].mean(axis=0), *image[label > 0].mean(axis=0)

    drawn, found = np.array([*describe(images, labels)]), np.array([*describe(real.images, real.labels)])
    low, high = np.quantile(drawn, [0.0, 1.0], axis=0)
    inside = ((found >= low - 0.02 * (high - low)) & (found <= high + 0.02 * (high - low))).mean(axis=0)
    assert (inside > 0.8).all(), f"shares of real images within the drawn ranges: {inside.round(2)}"


def test_outlines_are_deformed_ellipses():
    rng = np.random.default_rng(0)
    size = (120, 160)
    flat = np.zeros(size)
    cells = shapes.scatter(rng, size, 25, 10.0, 0.1, 1.5, flat + 1, flat + 0.5, 1.0, 0.03)
    assert len(cells) == 25
    np.testing.assert_allclose(np.median(cells.radius), 10, rtol=0.15)
    np.testing.assert_allclose(np.mean(cells.angle), 0.5, atol=0.25)
    labels, best = np.zeros(size, np.int32), np.ones(size, np.float32)
    for i, box, level in shapes.outlines(cells, size):
        assert level.shape == labels[box].shape
        shapes.paint_labels(labels, best, box, level, i + 1)
    inner = (cells.y > 15) & (cells.y < 105) & (cells.x > 15) & (cells.x < 145)
    areas = np.bincount(labels.ravel(), minlength=26)[1:]
    assert np.abs(areas[inner] / (np.pi * cells.radius[inner] ** 2) - 1).mean() < 0.15
    for i in np.flatnonzero(inner):
        rows, columns = np.nonzero(labels == i + 1)
        assert np.hypot(rows.mean() - cells.y[i], columns.mean() - cells.x[i]) < 3


def test_spacing_keeps_cells_apart():
    rng = np.random.default_rng(0)
    flat = np.zeros((100, 100))
    cells = shapes.scatter(rng, (100, 100), 200, 6.0, 0.2, 1.0, flat + 1, flat, 1.0, 0.0)
    gap = np.hypot(cells.y[:, None] - cells.y, cells.x[:, None] - cells.x) / (cells.radius[:, None] + cells.radius)
    np.fill_diagonal(gap, 9)
    assert gap.min() > 0.99
    assert 30 < len(cells) < 200


def test_blur_is_a_gaussian():
    spike = np.zeros((41, 31), np.float32)
    spike[20, 15] = 1
    out = noise.blur(spike, 2.0)
    np.testing.assert_allclose(out.sum(), 1, rtol=1e-5)
    rows = out.sum(axis=1)
    np.testing.assert_allclose(np.sqrt(np.sum(rows * (np.arange(41) - 20) ** 2)), 2.0, rtol=0.02)
    np.testing.assert_allclose(noise.blur(np.full((9, 7, 3), 4.0), 3.0), 4.0, rtol=1e-5)
    np.testing.assert_array_equal(noise.blur(spike, 0.0), spike)


@pytest.mark.parametrize("scale", [1.0, 4.0, (2.0, 10.0)])
def test_noise_has_the_grain_it_says(scale):
    field = noise.smooth_noise(np.random.default_rng(0), (200, 240), scale)
    assert field.shape == (200, 240)
    assert abs(field.mean()) < 0.1
    assert field.std() == pytest.approx(1, abs=0.05)
    steps = [np.diff(field, axis=axis).std() for axis in (0, 1)]
    tall, wide = (scale, scale) if isinstance(scale, float) else scale
    assert steps[0] > 0.5 / tall
    assert steps[1] > 0.5 / wide
    if tall != wide:
        assert steps[0] > 3 * steps[1]


def test_jpeg_blocks():
    """The transform is orthogonal; high quality changes little, low quality much; a flat block stays flat."""
    np.testing.assert_allclose(compression.COSINES @ compression.COSINES.T, np.eye(8), atol=1e-6)
    picture = np.random.default_rng(0).uniform(0, 255, (37, 51, 3)).astype(np.float32)
    fine, coarse = (np.abs(compression.jpeg_like(picture, q) - picture).mean() for q in (100, 20))
    assert fine < 1.5 < 10 < coarse
    flat = np.full((16, 16, 3), (200, 120, 40), np.float32)
    assert np.ptp(compression.jpeg_like(flat, 50), axis=(0, 1)).max() < 1e-3


def test_jpeg_agrees_with_pillow():
    """Beside a real encoder at the same quality: about the same loss on a smooth picture."""
    import io

    image = pytest.importorskip("PIL.Image")
    picture = data.synthetic_tissue(1, 128, seed=9)[0][0]
    for quality in (60, 90):
        stream = io.BytesIO()
        image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling=0)
        real = np.asarray(image.open(stream)).astype(float)
        ours = compression.jpeg_like(picture.astype(np.float32), quality)
        loss_real, loss_ours = np.abs(real - picture).mean(), np.abs(ours - picture).mean()
        assert 0.5 < loss_ours / loss_real < 2
