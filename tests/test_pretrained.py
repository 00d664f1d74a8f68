"""The weights in the package: small, told where they come from, and good on what they have and have not seen."""

import numpy as np
import pytest

from minisegnet import data, metrics, models
from minisegnet.cli.predict import nuclei_of
from minisegnet.cli.seen import seen


@pytest.fixture(scope="module")
def model():
    """Return the network for nuclei."""
    return models.load_pretrained("nuclei")


def mean_dice(model, images, labels):
    return np.mean([metrics.dice(nuclei_of(model, i), t > 0, empty=1.0) for i, t in zip(images, labels, strict=True)])


def test_every_file_is_at_most_four_megabytes():
    files = list(models.files.PRETRAINED.glob("*.safetensors"))
    assert [file.stem for file in files] == models.pretrained_names() == ["nuclei"]
    assert sum(file.stat().st_size for file in files) <= 4_000_000


def test_the_file_says_data_licence_recipe_and_scores(model):
    about = model.about
    assert "BBBC038" in about["data"]
    assert about["licence"] == "CC0-1.0"
    assert "minisegnet/recipes/nuclei.py" in about["recipe"]
    assert about["made_by"] == "scripts/train_pretrained.py"
    assert len(about["trained_on"]) == 135
    for kind in ("histology", "fluorescence"):
        scores = about["fold_dice"][kind]
        assert len(scores["folds"]) == 4
        assert scores["mean"] == pytest.approx(np.mean(scores["folds"]), abs=1e-3)


@pytest.mark.parametrize(("draw", "least"), [(data.synthetic_tissue, 0.75), (data.synthetic_fluorescence, 0.75)])
def test_it_finds_nuclei_that_nobody_has_seen(model, draw, least):
    images, labels = draw(6, (128, 144), seed=2026)
    assert mean_dice(model, images, labels) > least


def test_it_finds_the_real_ones_and_says_that_it_has_seen_them(model, histology_path, fluorescence_path):
    for path, least in ((histology_path, 0.85), (fluorescence_path, 0.85)):
        nuclei = data.load_nuclei(path)
        assert seen(model.about, nuclei.images).all()
        some = nuclei.subset(np.arange(0, len(nuclei), 9))
        assert mean_dice(model, some.images, some.labels) > least
