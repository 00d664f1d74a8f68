"""Fields of view: found from seams, and never divided by a fold."""

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import noise


def picture(seed, h=96, w=120):
    """A smooth field, as a photograph is."""
    rng = np.random.default_rng(seed)
    field = sum(noise.smooth_noise(rng, (h, w), scale) * scale for scale in (3, 8, 20))
    rgb = np.stack([field, 0.7 * field + noise.smooth_noise(rng, (h, w), 6), -field], axis=2)
    return np.clip(128 + 6 * rgb, 0, 255).astype(np.uint8)


def tiles(image, rows, columns):
    return [part for strip in np.split(image, rows) for part in np.split(strip, columns, axis=1)]


def groups(fields):
    """The partition, whatever its numbers."""
    return {frozenset(np.flatnonzero(fields == k).tolist()) for k in np.unique(fields)}


def test_tiles_are_put_together_again():
    parts, truth = [], []
    for number, (rows, columns) in enumerate([(2, 2), (1, 2), (2, 1), (2, 2), (1, 1), (3, 2)]):
        cut = tiles(picture(number, 48 * rows, 60 * columns), rows, columns)
        parts += cut
        truth += [number] * len(cut)
    order = np.random.default_rng(0).permutation(len(parts))
    found = data.find_fields([parts[i] for i in order])
    assert groups(found) == groups(np.array(truth)[order])
    assert found.dtype == np.int32
    np.testing.assert_array_equal(
        np.unique(found, return_index=True)[1], sorted(np.unique(found, return_index=True)[1])
    )


def test_other_sizes_and_single_images():
    parts = [*tiles(picture(0, 96, 120), 2, 2), picture(1, 40, 44), *tiles(picture(2, 64, 64), 1, 2)]
    np.testing.assert_array_equal(data.find_fields(parts), [0, 0, 0, 0, 1, 2, 2])
    np.testing.assert_array_equal(data.find_fields(parts[:1]), [0])
    with pytest.raises(ValueError, match=r"images\[0\]"):
        data.find_fields([np.zeros(5, np.uint8)])


def test_folds_are_fixed_by_hash():
    """The rule written out by hand; it must never change, or published figures stop meaning anything."""
    import hashlib

    fields = np.repeat(np.arange(11), 3)
    order = sorted(range(11), key=lambda k: hashlib.sha256(str(k).encode()).hexdigest())
    folds = data.split_by_field(fields, 4)
    for k, (_, test) in enumerate(folds):
        assert set(fields[test].tolist()) == {name for place, name in enumerate(order) if place % 4 == k}
    shuffled = np.random.default_rng(0).permutation(fields)
    for (_, one), (_, other) in zip(folds, data.split_by_field(shuffled, 4), strict=True):
        assert set(fields[one].tolist()) == set(shuffled[other].tolist())
    assert [sorted(set(fields[test].tolist())) for _, test in folds] == [[2, 3, 9], [0, 6, 8], [1, 5, 10], [4, 7]]


@pytest.mark.parametrize("folds", [2, 3, 4, 7])
def test_folds_cover_everything_once(folds):
    fields = np.random.default_rng(1).integers(0, 9, 60) * 5 + 2
    pairs = data.split_by_field(fields.astype(np.int32), folds)
    assert len(pairs) == folds
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in pairs])), np.arange(60))
    counts = [len(set(fields[test].tolist())) for _, test in pairs]
    assert max(counts) - min(counts) <= 1
    assert min(counts) >= 1
    for train, test in pairs:
        assert not set(fields[train].tolist()) & set(fields[test].tolist())
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(60))


def test_names_may_be_text():
    pairs = data.split_by_field(np.array(["slide b", "slide a", "slide b", "slide c"]), 3)
    assert sorted(len(test) for _, test in pairs) == [1, 1, 2]


def test_faults_are_named():
    with pytest.raises(ValueError, match="folds must be from 2 to the number of fields; got 4 for 3 fields"):
        data.split_by_field([1, 2, 3, 3], 4)
    with pytest.raises(ValueError, match="folds"):
        data.split_by_field([1, 2, 3], 1)
    with pytest.raises(ValueError, match="one-dimensional"):
        data.split_by_field(np.zeros((2, 2), int), 2)
    with pytest.raises(ValueError, match="integers or text"):
        data.split_by_field([0.5, 1.5], 2)


def test_real_tissue_is_grouped_as_given(histology_path):
    nuclei = data.load_nuclei(histology_path)
    assert groups(data.find_fields(nuclei.images)) == groups(nuclei.fields)


def test_real_fluorescence_errs_towards_joining(fluorescence_path):
    """Dark edges continue in dark edges, so fields are joined that are not one; 93 of 96 true pairs are found."""
    nuclei = data.load_nuclei(fluorescence_path)
    found = data.find_fields(nuclei.images)
    given_pairs = np.triu(nuclei.fields[:, None] == nuclei.fields, 1)
    found_pairs = np.triu(found[:, None] == found, 1)
    assert given_pairs.sum() == 96
    assert (given_pairs & found_pairs).sum() >= 93


@pytest.mark.parametrize("folds", [2, 4, 9])
def test_no_touching_pair_is_divided(histology_path, folds):
    """Pairs that touch, found here from the pixels by a loop of its own, never stand on both sides of a fold."""
    nuclei = data.load_nuclei(histology_path)
    images = nuclei.images.astype(float)
    touching = []
    for across in (lambda a: a, lambda a: a.transpose(0, 2, 1, 3)):
        turned = across(images)
        inside = np.abs(np.diff(turned, axis=1)).mean(axis=(1, 2, 3))
        step = np.array([[np.abs(a[-1] - b[0]).mean() for b in turned] for a in turned])
        for a in range(len(turned)):
            for b in range(len(turned)):
                best = step[a, b] <= step[a][np.arange(len(turned)) != a].min() and step[a, b] <= step[:, b].min()
                if a != b and best and step[a, b] < 1.8 * (inside[a] + inside[b]) / 2:
                    touching.append((a, b))
    assert len(touching) > 40
    for train, test in data.split_by_field(nuclei.fields, folds):
        sides = set(train.tolist()), set(test.tolist())
        for a, b in touching:
            assert (a in sides[0]) == (b in sides[0]), f"{nuclei.ids[a]} and {nuclei.ids[b]} touch, and are divided"


def test_a_random_split_does_divide_them(histology_path):
    """The leak that lesson 14 measures: without fields nearly every tile has a neighbour on the other side."""
    fields = data.load_nuclei(histology_path).fields
    half = np.random.default_rng(0).permutation(len(fields)) < len(fields) // 2
    assert len(set(fields[half].tolist()) & set(fields[~half].tolist())) > 10
