"""What the tests of the command line share: one tiny trained model, a few pictures."""

import numpy as np
import pytest

from minisegnet.cli import main

TINY = ["--images", "6", "--steps", "3", "--width", "4", "--crop", "32", "--batch", "2", "--folds", "2"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the folder of a finished run over both folds."""
    out = tmp_path_factory.mktemp("trained")
    assert main(["train", "--data", "synthetic", *TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def model(trained):
    """Return the path of a model that `train` wrote."""
    return str(trained / "fold-1" / "model.safetensors")


@pytest.fixture
def picture():
    """Return a small picture, uint8 (H, W, 3), of a size that the network cannot take as it is."""
    from minisegnet import data

    return data.synthetic_tissue(1, (50, 61), seed=3)[0][0]


@pytest.fixture
def gradient():
    """Return numbers from 0 to 1, (50, 61)."""
    return np.linspace(0, 1, 50 * 61).reshape(50, 61)
