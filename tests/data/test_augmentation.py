"""Augmentation moves images and maps together, invents no label, writes to nothing, and follows its generator."""

import json

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import augmentation


def picture(h=60, w=80, seed=0):
    """An image whose red and green are its coordinates, with labels that are a function of them."""
    rng = np.random.default_rng(seed)
    image = np.zeros((h, w, 3), np.uint8)
    image[..., 0] = 2 * np.arange(h)[:, None]
    image[..., 1] = 2 * np.arange(w)
    image[..., 2] = rng.integers(0, 256, (h, w))
    labels = (np.arange(h)[:, None] // 10 * 100 + np.arange(w) // 10 + 7).astype(np.int32)
    return image, labels


def matches(image, labels):
    """Whether each label is the one that belongs to the coordinates painted there."""
    return np.array_equal(image[..., 0].astype(int) // 2 // 10 * 100 + image[..., 1].astype(int) // 2 // 10 + 7, labels)


@pytest.mark.parametrize("which", range(8))
def test_dihedral_moves_all_alike(which):
    image, labels = picture()
    moved, moved_labels = data.dihedral(image, labels, which=which)
    assert matches(moved, moved_labels)
    assert moved.shape[:2] == ((80, 60) if which & 4 else (60, 80))


def test_dihedral_gives_eight_different_views():
    image, _ = picture(20, 20)
    assert len({data.dihedral(image, which=k)[0].tobytes() for k in range(8)}) == 8
    np.testing.assert_array_equal(data.dihedral(image, which=3)[0], np.rot90(image, 2))
    turned = {data.dihedral(image, which=k)[0].tobytes() for k in (5, 6)}
    assert turned == {np.ascontiguousarray(np.rot90(image, k)).tobytes() for k in (1, 3)}
    with pytest.raises(ValueError, match="which"):
        data.dihedral(image, which=8)


@pytest.mark.parametrize("size", [(30, 40), (60, 80), 100, (20, 200), 1])
def test_crop(size):
    image, labels = picture()
    crop, crop_labels = data.random_crop(image, labels, rng=np.random.default_rng(1), size=size)
    h, w = (size, size) if isinstance(size, int) else size
    assert crop.shape == (h, w, 3)
    assert matches(crop, crop_labels)


def test_crop_reaches_every_place():
    image, _ = picture(5, 5)
    rng = np.random.default_rng(0)
    seen = {tuple(data.random_crop(image, rng=rng, size=3)[0][0, 0, :2]) for _ in range(300)}
    assert seen == {(2 * y, 2 * x) for y in range(3) for x in range(3)}


def test_mirrored_is_numpys_reflection():
    for n in (1, 2, 3, 7):
        line = np.arange(n)
        before, after = 2 * n + 3, 3 * n + 1
        expected = np.pad(line, (before, after), mode="reflect" if n > 1 else "edge")
        np.testing.assert_array_equal(augmentation.mirrored(np.arange(-before, n + after), n), expected)


def test_elastic_moves_image_and_labels_together():
    h, w = 64, 64
    y, x = np.mgrid[:h, :w]
    image = np.stack([y, x, x], axis=2).astype(np.uint8) * 2
    coded = (y * 1000 + x).astype(np.int32)
    bent, labels = data.elastic(image, coded, rng=np.random.default_rng(3))
    inner = slice(12, -12), slice(12, -12)  # away from the mirrored edges, where coordinates are not linear
    # the image is read at (y', x') bilinearly, the label at the nearest pixel: at most half a pixel away, plus rounding
    assert np.abs(bent[..., 0][inner] / 2 - labels[inner] // 1000).max() <= 0.8
    assert np.abs(bent[..., 1][inner] / 2 - labels[inner] % 1000).max() <= 0.8
    assert np.abs(labels[inner] // 1000 - y[inner]).max() > 3, "nothing was bent"


def test_elastic_displacement_is_as_in_the_paper():
    """Std 10 pixels at the nine grid points; bicubic and so passing through them; linear functions are kept."""
    coarse = np.random.default_rng(0).standard_normal((2, 3, 3))
    fine = augmentation.between(coarse, (65, 33))
    assert fine.shape == (2, 65, 33)
    np.testing.assert_allclose(fine[:, ::32, ::16], coarse, atol=1e-12)
    np.testing.assert_allclose(augmentation.between(np.full((3, 3), 2.5), (40, 50)), 2.5, atol=1e-12)
    line = augmentation.between(np.arange(5.0)[:, None] * np.ones((5, 5)), (65, 8))[:, 0]
    np.testing.assert_allclose(line[16:49], np.arange(16, 49) / 16, atol=1e-12)  # linear where four taps are at hand
    shifts = []
    code = np.arange(33 * 33, dtype=np.int32).reshape(33, 33)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        moved = data.elastic(np.zeros((33, 33, 3), np.uint8), code, rng=rng, sigma=4.0)[1][16, 16]
        shifts.append(moved // 33 - 16)
    assert 3.4 < np.std(shifts) < 4.6


def test_bilinear_is_exact_on_the_grid():
    image, labels = picture()
    same, same_labels = data.elastic(image, labels, rng=np.random.default_rng(0), sigma=0.0)
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(same_labels, labels)


@pytest.mark.parametrize("colour", [None, "stain", "light", "auto"])
@pytest.mark.parametrize("crop", [None, 32, (90, 40)])
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_augment(colour, crop, chance):
    image, labels = picture()
    weights = np.random.default_rng(0).random((60, 80))
    before = image.copy(), labels.copy(), weights.copy()
    for array in (image, labels, weights):
        array.flags.writeable = False
    options = {"crop": crop, "colour": colour, "elastic_chance": chance}
    first = data.augment(image, labels, weights, rng=np.random.default_rng(5), **options)
    again = data.augment(image, labels, weights, rng=np.random.default_rng(5), **options)
    other = data.augment(image, labels, weights, rng=np.random.default_rng(6), **options)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(a.shape != b.shape or not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    for a, b in zip((image, labels, weights), before, strict=True):
        np.testing.assert_array_equal(a, b)
    moved, moved_labels, moved_weights = first
    assert moved.dtype == np.uint8
    assert set(np.unique(moved_labels)) <= set(np.unique(labels))
    assert np.isin(moved_weights, weights).all()
    if crop is not None:
        assert sorted(moved_labels.shape) == sorted((32, 32) if crop == 32 else crop)
    if colour is None and chance == 0:
        assert matches(moved, moved_labels)


def test_stain_jitter_acts_in_optical_density():
    """White stays near white (there is no stain to vary), and the mean over many draws stays near the original."""
    image = np.full((8, 8, 3), (130, 80, 170), np.uint8)
    rng = np.random.default_rng(0)
    variants = np.stack([data.jitter_stain(image, rng)[0, 0] for _ in range(500)]).astype(float)
    assert np.all(np.abs(variants.mean(axis=0) - image[0, 0]) < 8)
    assert np.all(variants.std(axis=0) > 5)
    np.testing.assert_array_equal(data.jitter_stain(image, rng, strength=0.0), image)
    white = data.jitter_stain(np.full((4, 4, 3), 255, np.uint8), rng)
    assert white.min() > 190


def test_eosin_takes_green_light_most_and_red_light_least():
    image = np.full((24, 30, 3), (200, 180, 210), np.uint8)
    rng = np.random.default_rng(0)
    stained = [data.add_eosin(image, rng) for _ in range(40)]
    for out in stained:
        assert out.shape == image.shape
        assert np.all(out <= image)  # a stain lets no more light through
    left = np.mean([out / image for out in stained], axis=(0, 1, 2))
    assert left[0] > left[2] > left[1]
    assert left[1] < 0.9
    np.testing.assert_array_equal(data.add_eosin(image, rng, strength=0.0), image)


def test_light_keeps_order_and_grey():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    rng = np.random.default_rng(0)
    for _ in range(20):
        out = data.adjust_light(ramp, rng)
        assert np.all(np.diff(out[0, :, 0].astype(int)) >= 0)
        assert (out[..., 0] == out[..., 2]).all()
    np.testing.assert_array_equal(data.adjust_light(ramp, rng, strength=0.0), ramp)


def test_wrong_shapes_are_named():
    image, labels = picture()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="as large as its image"):
        data.augment(image, labels[1:], rng=rng)
    with pytest.raises(ValueError, match=r"\(H, W, C\)"):
        data.augment(image[..., 0], rng=rng)
    with pytest.raises(ValueError, match="colour"):
        data.augment(image, labels, rng=rng, colour="hue")


def small_set(n=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 40, 50, 3), dtype=np.uint8), rng.integers(0, 5, (n, 40, 50)).astype(np.int32)


def test_sampler_shapes_and_types():
    images, labels = small_set()
    sampler = data.CropSampler(images, labels, crop=(16, 24), batch=4, steps=3, augment=False)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 3
    for x, y in batches:
        assert x.shape == (4, 3, 16, 24)
        assert x.dtype == np.float32
        assert 0 <= x.min() <= x.max() <= 1
        assert y.shape == (4, 16, 24)
        assert y.dtype == np.int64
        assert set(np.unique(y)) == {0, 1}


@pytest.mark.parametrize("augment", [True, False, {"elastic_chance": 0.5, "colour": "stain"}])
def test_sampler_goes_on_bit_for_bit(augment):
    images, labels = small_set()

    def new(seed=1):
        return data.CropSampler(images, labels, crop=16, batch=2, steps=4, seed=seed, augment=augment)

    straight = new()
    expected = [batch for _ in range(3) for batch in straight]
    broken = new()
    got = [*broken]
    for batch in broken:
        got.append(batch)
        if len(got) == 6:
            break
    state = json.loads(json.dumps(broken.state()))
    rest = new(seed=99)
    rest.load_state(state)
    got += [batch for _ in range(2) for batch in rest]
    assert len(got) == len(expected) == 12
    for (x, y), (x0, y0) in zip(got, expected, strict=True):
        np.testing.assert_array_equal(x, x0)
        np.testing.assert_array_equal(y, y0)
    assert not np.array_equal(expected[0][0], expected[4][0]), "passes must differ"


def test_sampler_state_is_checked():
    images, labels = small_set()
    sampler = data.CropSampler(images, labels, crop=8)
    for wrong in ({}, {"done": 0, "random": 3}, None, {"done": 0, "random": {"bit_generator": "MT19937"}}):
        with pytest.raises(ValueError, match="state"):
            sampler.load_state(wrong)


def test_sampler_with_weights_lists_and_classes():
    images, labels = small_set()
    weights = [label.astype(np.float64) / 7 for label in labels]
    sampler = data.CropSampler(list(images), list(labels), crop=16, batch=5, steps=2, binary=False, weights=weights)
    for _, y, w in sampler:
        assert y.max() > 1
        np.testing.assert_allclose(w, y / 7, rtol=1e-6)
        assert w.dtype == np.float32


def test_sampler_draws_by_area():
    images = [np.zeros((10, 10, 3), np.uint8), np.full((30, 30, 3), 255, np.uint8)]
    labels = [np.zeros((10, 10), int), np.zeros((30, 30), int)]
    sampler = data.CropSampler(images, labels, crop=4, batch=1000, steps=1, augment=False)
    ((x, _),) = sampler
    assert 0.86 < x.mean() < 0.94


def test_sampler_names_what_is_wrong():
    images, labels = small_set()
    with pytest.raises(ValueError, match="empty"):
        data.CropSampler(images[:0], labels[:0])
    with pytest.raises(ValueError, match="equally many"):
        data.CropSampler(images, labels[:2])
    with pytest.raises(ValueError, match=r"labels\[0\]"):
        data.CropSampler(images, labels[:, 1:])
    with pytest.raises(TypeError, match="integers"):
        data.CropSampler(images, labels.astype(float))
    with pytest.raises(ValueError, match="at least 1"):
        data.CropSampler(images, labels, batch=0)
    with pytest.raises(TypeError, match="augment"):
        data.CropSampler(images, labels, augment=3)
    with pytest.raises(TypeError, match="steps"):
        len(data.CropSampler(images, labels))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 5), (1, 3, 4, 5)), ((4, 5, 3), (1, 3, 4, 5)), ((2, 4, 5, 4), (2, 3, 4, 5)), ((2, 4, 5, 1), (2, 3, 4, 5))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_to_input(shape, expected, dtype):
    values = np.random.default_rng(0).random(shape)
    if np.issubdtype(dtype, np.integer):
        values = values * np.iinfo(dtype).max
    x = data.to_input(values.astype(dtype))
    assert x.shape == expected
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    assert x.flags.c_contiguous


def test_to_input_scales_by_a_fixed_rule():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_allclose(data.to_input(image)[0], image.transpose(2, 0, 1) / 255, rtol=1e-6)
    deep = np.array([[0, 257, 65535]], np.uint16)
    np.testing.assert_allclose(data.to_input(deep)[0, 0, 0], [0, 1 / 255, 1], rtol=1e-6)


def test_to_input_takes_lists_and_names_faults():
    pictures = [np.full((4, 5, 3), 255, np.uint8)] * 2
    assert data.to_input(pictures).shape == (2, 3, 4, 5)
    assert data.to_input(pictures).max() == 1.0
    assert data.to_input(np.zeros((4, 5), np.uint8), channels=1).shape == (1, 1, 4, 5)
    with pytest.raises(ValueError, match="one shape"):
        data.to_input([np.zeros((4, 5, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)])
    with pytest.raises(ValueError, match="NaN"):
        data.to_input(np.full((4, 5, 3), np.nan))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        data.to_input(np.full((4, 5, 3), 255.0))
    with pytest.raises(TypeError, match="int64"):
        data.to_input(np.zeros((4, 5, 3), np.int64))
    with pytest.raises(ValueError, match="channels last"):
        data.to_input(np.zeros((3, 40, 50), np.uint8))
    with pytest.raises(ValueError, match="channels"):
        data.to_input(np.zeros((4, 5, 3), np.uint8), channels=1)
