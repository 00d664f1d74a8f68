"""A lesson's network runs under PyTorch after its import lines are changed: the lessons' own lines, run twice."""

import ast
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "sources"
OURS = "import minisegnet as ms\nimport minisegnet.functional as F\nfrom minisegnet import nn\nimport numpy as np\n"
THEIRS = "import torch as ms\nimport torch.nn.functional as F\nfrom torch import nn\nimport numpy as np\n"

# Lesson: (the names that its lines define, how the network is made, shape of an input)
NETWORKS = {
    "03, a first network": ("03", ["model"], "model", (2, 3, 9, 9)),
    "04, a classifier of patches": ("04", ["classifier"], "classifier", (2, 3, 29, 29)),
    "04, padded": ("04", ["padded"], "padded", (1, 3, 28, 28)),
    "05, a chain with batch norm": ("05", ["chain"], "chain(4, norm=True)", (2, 3, 12, 12)),
    "05, strides": ("05", ["strided"], "strided((1, 2, 1, 2))", (1, 3, 16, 16)),
    "06, dilated": ("06", ["make_net"], "make_net((1, 2, 4, 8))", (1, 1, 24, 24)),
    "07, unpooling": ("07", ["block", "DownAndUp"], 'DownAndUp("unpooling")', (2, 1, 16, 16)),
    "07, nearest": ("07", ["block", "DownAndUp"], 'DownAndUp("nearest")', (2, 1, 16, 16)),
    "07, bilinear": ("07", ["block", "DownAndUp"], 'DownAndUp("bilinear")', (2, 1, 16, 16)),
    "08, a transposed convolution": ("08", ["layer"], "layer", (1, 3, 5, 5)),
}


def lines_that_define(lesson, names):
    """Return the first statement of a lesson that defines each name, as it stands there."""
    (path,) = SOURCES.glob(f"{lesson}_*.py")
    text = path.read_text(encoding="utf-8")
    found = {}
    for node in ast.parse(text).body:
        name = getattr(node, "name", None)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        if name in names and name not in found:
            found[name] = ast.get_source_segment(text, node)
    assert set(found) == set(names), f"lesson {lesson} defines {sorted(found)}, not {names}: was it rewritten?"
    return "\n".join(found.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_lines_give_the_same_numbers(name):
    lesson, names, make, shape = NETWORKS[name]
    code = lines_that_define(lesson, names)
    ours, theirs = {}, {}
    exec(OURS + code, ours)
    exec(THEIRS + code, theirs)
    model, twin = eval(make, ours), eval(make, theirs)
    assert isinstance(twin, torch.nn.Module)
    state = {key: torch.tensor(array) for key, array in model.state_dict().items()}
    assert list(twin.state_dict()) == list(state)
    twin.load_state_dict(state)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for mode in ("train", "eval"):
        getattr(model, mode)(), getattr(twin, mode)()
        y, t = model(ours["ms"].Tensor(x)), twin(torch.tensor(x))
        np.testing.assert_allclose(t.detach().numpy(), y.detach().numpy(), rtol=1e-4, atol=1e-5)
