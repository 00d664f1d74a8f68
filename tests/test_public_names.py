"""The names and signatures that everybody else calls, as the design writes them: PyTorch's, then ``algorithm``."""

import inspect

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, losses, metrics, models, nn, optim

SIGNATURES = {
    "conv2d": "input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, algorithm='auto'",
    "conv_transpose2d": "input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1, algorithm='auto'",
    "max_pool2d": "input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False",
    "max_unpool2d": "input, indices, kernel_size, stride=None, padding=0, output_size=None",
    "avg_pool2d": "input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None",
    "batch_norm": "input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05",
}


def spelled(function):
    return ", ".join(
        str(p.replace(annotation=p.empty)).replace(" ", "") for p in inspect.signature(function).parameters.values()
    )


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_pytorchs(name):
    assert spelled(getattr(F, name)) == SIGNATURES[name]


def test_every_name_of_the_design_exists():
    for name in [
        "Tensor",
        "tensor",
        "no_grad",
        "manual_seed",
        "use_backend",
        "use_kernels",
        "cat",
        "stack",
        "compare_sources",
    ]:
        assert callable(getattr(ms, name)), name
    for name in [
        "interpolate",
        "relu",
        "sigmoid",
        "softmax",
        "log_softmax",
        "dropout",
        "pad",
        "cross_entropy",
        "binary_cross_entropy_with_logits",
    ]:
        assert callable(getattr(F, name)), name
    for name in [
        "Module",
        "Conv2d",
        "ConvTranspose2d",
        "BatchNorm2d",
        "Linear",
        "Sequential",
        "ModuleList",
        "Dropout2d",
        "CrossEntropyLoss",
    ]:
        assert isinstance(getattr(nn, name), type), name
    assert callable(data.load_nuclei)
    assert callable(data.split_by_field)
    assert callable(data.find_fields)
    assert all(map(callable, (losses.DiceLoss, metrics.ConfusionMatrix, optim.SGD, optim.AdamW, optim.clip_grad_norm_)))


def test_a_training_step_as_the_design_spells_it():
    net = models.UNet(in_channels=3, num_classes=2, base_channels=2, depth=1, padding="same", norm="batch")
    optimizer = optim.Adam(net.parameters(), 1e-3)
    x, y = ms.Tensor(np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)), np.zeros((2, 8, 8), int)
    before = net.state_dict()
    loss = F.cross_entropy(net.train()(x.to("cpu")), y, weight=None, ignore_index=-100, reduction="mean")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    assert loss.shape == ()
    assert float(loss) > 0
    assert any(not np.array_equal(before[k], v) for k, v in net.state_dict().items())
    net.load_state_dict(before)
    assert net.eval()(x).detach().numpy().shape == (2, 2, 8, 8)
