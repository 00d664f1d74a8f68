"""The nuclei recipe: what it trains on and is judged on, that it repeats, and that PyTorch takes the same steps."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from minisegnet import data, metrics
from minisegnet.recipes import nuclei as recipe

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
TINY = {"steps": 3, "base_channels": 4, "crop": 32, "batch": 2, "progress": False}


@pytest.fixture(scope="module")
def nuclei():
    """Return eight small synthetic slides, two to a field."""
    images, labels = data.synthetic_tissue(8, (48, 52), seed=1)
    ids, kinds = np.array([f"s{i}" for i in range(8)]), np.array(["histology"] * 8)
    return data.Nuclei(images, labels, ids, np.arange(8, dtype=np.int32) // 2, kinds)


def test_the_recipe_is_the_one_that_is_written_down():
    assert (recipe.STEPS, recipe.BATCH, recipe.CROP) == (396, 8, 128)
    assert recipe.MAX_LR == 4e-3
    model = recipe.new_model()
    assert (model.config["base_channels"], model.config["depth"], model.config["norm"]) == (8, 4, "batch")
    assert sum(p.data.size for p in model.parameters()) == 486_562


def test_judging_is_the_mean_over_whole_images_of_the_dice_of_class_1(nuclei):
    result = recipe.train_nuclei(nuclei.images, nuclei.labels, [0, 1, 2, 3], [4, 7], **TINY)
    expected = [
        metrics.dice(result.model.predict(nuclei.images[i]).argmax(0) == 1, nuclei.labels[i] > 0, empty=1.0)
        for i in (4, 7)
    ]
    assert result.dice == expected
    assert result.mean_dice == pytest.approx(np.mean(expected))
    assert result.test_index.tolist() == [4, 7]
    assert not result.model.training


def test_the_same_seed_gives_the_same_net_and_another_another(nuclei):
    runs = [
        recipe.train_nuclei(nuclei.images, nuclei.labels, [0, 1], [], seed=seed, **TINY).history.loss
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_validation_draws_the_curve_and_changes_nothing(nuclei):
    with_curve, without = (
        recipe.train_nuclei(nuclei.images, nuclei.labels, [0, 1], [2, 3], curve=curve, **TINY) for curve in (3, 0)
    )
    assert len(with_curve.history.validation) == 3
    assert without.history.validation == []
    assert with_curve.history.loss == without.history.loss
    assert with_curve.dice == without.dice


def test_only_the_chosen_images_are_learned_from(nuclei):
    unreadable = [None if i in (4, 5, 6, 7) else image for i, image in enumerate(nuclei.images)]
    result = recipe.train_nuclei(unreadable, nuclei.labels, [0, 1, 2, 3], [], **TINY)
    assert result.dice == []
    assert np.isnan(result.mean_dice)


def test_an_image_without_nuclei_in_which_none_is_found_counts_one(nuclei):
    class Blind:
        def predict(self, image):
            return np.stack([np.ones(image.shape[:2]), np.zeros(image.shape[:2])])

    empty = np.zeros_like(nuclei.labels)
    assert recipe.judge(Blind(), nuclei.images, empty, [0]) == [recipe.EMPTY] == [1.0]
    assert recipe.judge(Blind(), nuclei.images, nuclei.labels, [0]) == [0.0]


def test_field_folds_never_divide_a_field_and_leaky_ones_do(nuclei):
    for train, test in recipe.field_folds(nuclei):
        assert not set(nuclei.fields[train]) & set(nuclei.fields[test])
    leaky = recipe.leaky_folds(nuclei)
    assert sorted(np.concatenate([test for _, test in leaky])) == list(range(8))
    assert all(len(train) == 6 and not set(train) & set(test) for train, test in leaky)
    assert any(set(nuclei.fields[train]) & set(nuclei.fields[test]) for train, test in leaky)


def test_cross_validation_judges_every_image_once(nuclei):
    results = list(recipe.cross_validate(nuclei, folds=2, **TINY))
    assert sorted(i for result in results for i in result.test_index) == list(range(8))
    assert all(len(result.dice) == len(result.test_index) for result in results)


def test_pictures_of_different_and_awkward_sizes(nuclei):
    images = [nuclei.images[0], nuclei.images[1][:33, :50], nuclei.images[2][:20]]
    labels = [nuclei.labels[0], nuclei.labels[1][:33, :50], nuclei.labels[2][:20]]
    result = recipe.train_nuclei(images, labels, [0, 2], [1], **TINY)
    assert len(result.dice) == 1
    assert len(result.history.validation) > 0


def test_pytorch_takes_the_same_steps(nuclei, monkeypatch):
    """The twin of benchmarks/nuclei_folds.py: same first weights, same batches, so the losses agree step by step."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("nuclei_folds", BENCHMARKS / "nuclei_folds.py")
    folds = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(folds)
    torch.set_num_threads(1)
    steps, seed = 5, 3
    square = dataclasses.replace(nuclei, images=nuclei.images[:, :, :48], labels=nuclei.labels[:, :, :48])
    ours = recipe.train_nuclei(
        square.images,
        square.labels,
        [0, 1, 2, 3],
        [4, 5],
        steps=steps,
        base_channels=4,
        seed=seed,
        curve=0,
        progress=False,
    )
    args = folds.argparse.Namespace(threads=None, width=4, steps=steps, seed=seed)
    theirs = []
    scores, _ = folds.torch_fold(square, [0, 1, 2, 3], [4, 5], args, theirs)
    np.testing.assert_allclose(ours.history.loss, theirs, rtol=2e-3)
    np.testing.assert_allclose(ours.history.loss[:1], theirs[:1], rtol=1e-5)
    np.testing.assert_allclose(ours.dice, scores, atol=0.02)
