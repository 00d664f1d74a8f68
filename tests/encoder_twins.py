"""The encoders of the light networks written in PyTorch, row by row from the papers' tables, and what is compared with them."""

import numpy as np
import pytest

import minisegnet as ms

# (stride and dilation of a stage's first layer, dilation of the others), for output strides 32, 16 and 8: stages 3, 4 and 5
PACES = {
    32: [(2, 1, 1), (2, 1, 1), (2, 1, 1)],
    16: [(2, 1, 1), (2, 1, 1), (1, 1, 2)],
    8: [(2, 1, 1), (1, 1, 2), (1, 2, 4)],
}


def _torch():
    return pytest.importorskip("torch", reason="PyTorch, the peer of this test, is not installed")


def _conv(before, after, k, stride=1, dilation=1, groups=1):
    nn = _torch().nn
    padding = (k - 1) // 2 * dilation
    return [nn.Conv2d(before, after, k, stride, padding, dilation, groups, bias=False), nn.BatchNorm2d(after)]


def _separable(before, after, stride, dilation):
    relu = _torch().nn.ReLU
    return [*_conv(before, before, 3, stride, dilation, before), relu(), *_conv(before, after, 1), relu()]


def mobilenet(stem, rows, output_stride=32):
    """Return stages of rows of channels."""
    nn = _torch().nn
    stages, before = [], stem
    paces = [(1, 1, 1), (2, 1, 1), *PACES[output_stride]]
    for level, (outs, (stride, first, rest)) in enumerate(zip(rows, paces, strict=True)):
        layers = [] if level else [*_conv(3, stem, 3, 2), nn.ReLU()]
        for i, out in enumerate(outs):
            layers += _separable(before, out, stride if i == 0 else 1, first if i == 0 else rest)
            before = out
        stages.append(nn.Sequential(*layers))
    return nn.ModuleList(stages)


def _sum_of(layers, shortcut=None, after=True):
    """Return a residual block: its layers, plus its input (or a shortcut of it), and a ReLU after that or not."""
    torch = _torch()

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(*layers)
            self.shortcut = torch.nn.Sequential(*shortcut) if shortcut else torch.nn.Identity()

        def forward(self, x):
            x = self.layers(x) + self.shortcut(x)
            return torch.relu(x) if after else x

    return Sum()


def mobilenet_v2(stem, rows, last, output_stride=32):
    """Return stages of rows of (expansion, channels, repetitions)."""
    nn = _torch().nn
    stages, before = [], stem
    paces = [(1, 1, 1), (2, 1, 1), *PACES[output_stride]]
    for level, (kinds, (stride, first, rest)) in enumerate(zip(rows, paces, strict=True)):
        layers = [] if level else [*_conv(3, stem, 3, 2), nn.ReLU6()]
        blocks = [(t, c) for t, c, n in kinds for _ in range(n)]
        for i, (t, c) in enumerate(blocks):
            s, d = (stride, first) if i == 0 else (1, rest)
            block = [] if t == 1 else [*_conv(before, t * before, 1), nn.ReLU6()]
            block += [*_conv(t * before, t * before, 3, s, d, t * before), nn.ReLU6(), *_conv(t * before, c, 1)]
            layers.append(_sum_of(block, after=False) if s == 1 and before == c else nn.Sequential(*block))
            before = c
        if level == len(rows) - 1:
            layers += [*_conv(before, last, 1), nn.ReLU6()]
        stages.append(nn.Sequential(*layers))
    return nn.ModuleList(stages)


def resnet18(widths, output_stride=32):
    """Return stages: the stem, and two blocks of each width."""
    nn = _torch().nn
    before = widths[0]
    stages = [nn.Sequential(nn.Conv2d(3, before, 7, 2, 3, bias=False), nn.BatchNorm2d(before), nn.ReLU())]
    paces = [(1, 1, 1), *PACES[output_stride]]
    for level, (width, (stride, first, rest)) in enumerate(zip(widths, paces, strict=True)):
        layers = [] if level else [nn.MaxPool2d(3, 2, 1)]
        for i in (0, 1):
            s, d = (stride, first) if i == 0 else (1, rest)
            block = [*_conv(before, width, 3, s, d), nn.ReLU(), *_conv(width, width, 3, 1, rest)]
            layers.append(_sum_of(block, _conv(before, width, 1, s) if i == 0 and level else None))
            before = width
        stages.append(nn.Sequential(*layers))
    return nn.ModuleList(stages)


def shufflenet(stem, widths, groups, output_stride=32):
    """Return stages: stem, pool, and 4, 8 and 4 units."""
    torch = _torch()
    nn = torch.nn

    class Shuffle(nn.Module):
        def forward(self, x):
            n, c, h, w = x.shape
            return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)

    class Stack(nn.Module):
        def __init__(self, layers, stride, dilation):
            super().__init__()
            self.layers, self.stride, self.dilation = nn.Sequential(*layers), stride, dilation

        def forward(self, x):
            d, (h, w) = self.dilation, x.shape[2:]
            padded = nn.functional.pad(x, (d, d, d, d))
            taps = [padded[:, :, i * d : i * d + h, j * d : j * d + w] for i in range(3) for j in range(3)]
            means = (sum(taps) / 9)[:, :, :: self.stride, :: self.stride]
            return torch.relu(torch.cat([means, self.layers(x)], dim=1))

    def unit(before, out, stride, dilation, first_groups):
        middle, branch = out // 4, out - before if out > before else out
        layers = [*_conv(before, middle, 1, groups=first_groups), nn.ReLU(), Shuffle()]
        layers += [*_conv(middle, middle, 3, stride, dilation, middle), *_conv(middle, branch, 1, groups=groups)]
        return Stack(layers, stride, dilation) if out > before else _sum_of(layers)

    stages, before = [nn.Sequential(*_conv(3, stem, 3, 2), nn.ReLU()), nn.MaxPool2d(3, 2, 1)], stem
    for level, (out, count, (stride, first, rest)) in enumerate(
        zip(widths, (4, 8, 4), PACES[output_stride], strict=True)
    ):
        units = [unit(before, out, stride, first, groups if level else 1)]
        units += [unit(out, out, 1, rest, groups) for _ in range(count - 1)]
        stages.append(nn.Sequential(*units))
        before = out
    return nn.ModuleList(stages)


def vgg16(widths, output_stride=32):
    """Return stages of 2, 2, 3, 3 and 3 convolutions with batch norm; for stride 8 without the last two pools."""
    nn = _torch().nn
    stages, before = [], 3
    for level, (width, count) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True)):
        layers = []
        for _ in range(count):
            layers += [*_conv(before, width, 3, dilation=2 if level == 4 and output_stride == 8 else 1), nn.ReLU()]
            before = width
        if level < 3 or output_stride == 32:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        stages.append(nn.Sequential(*layers))
    return nn.ModuleList(stages)


def copy_weights(mine, theirs, rng):
    """Give both the same weights, all of them random, in float64: layers stand in the same order, names may differ."""
    for name, value in theirs.double().state_dict().items():
        if value.ndim:
            spread = 0.5 if value.ndim == 1 else np.sqrt(2 / value[0].numel())
            noise = rng.normal(0, spread, value.shape)
            positive = name.endswith("running_var") or value.ndim == 1
            value.copy_(_torch().tensor(np.abs(noise) + 0.5 if positive else noise))
    mine.double()
    state, other = mine.state_dict(), theirs.state_dict()
    assert len(state) == len(other)
    mine.load_state_dict(dict(zip(state, other.values(), strict=True)))


def assert_equal_forward_and_backward(mine, theirs, outputs, expected, rng, tolerance=1e-10):
    """Compare lists of outputs, then the gradients of all parameters for one random direction."""
    torch, total, other_total = _torch(), 0, 0
    assert [tuple(o.shape) for o in outputs] == [tuple(e.shape) for e in expected]
    for out, exp in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(out.data, exp.detach().numpy(), rtol=tolerance, atol=tolerance)
        direction = rng.standard_normal(out.shape)
        total, other_total = total + (out * direction).sum(), other_total + (exp * torch.tensor(direction)).sum()
    total.backward()
    other_total.backward()
    grads = [p.grad.numpy() for p in theirs.parameters()]
    for (name, p), grad in zip(mine.named_parameters(), grads, strict=True):
        scale = np.abs(grad).max()
        assert scale > 0, name
        np.testing.assert_allclose(p.grad.data, grad, rtol=0, atol=tolerance * max(scale, 1), err_msg=name)


def check_encoder(encoder, twin, rng, size=(40, 33)):
    """Compare an encoder with its twin: features in both modes, gradients in training mode."""
    torch = _torch()
    copy_weights(encoder, twin, rng)
    image = rng.random((2, 3, *size))

    with ms.no_grad(), torch.no_grad():
        for mine, theirs in zip(encoder.eval()(image), features_of(twin.eval(), torch.tensor(image)), strict=True):
            np.testing.assert_allclose(mine.data, theirs.numpy(), rtol=1e-10, atol=1e-10)
    outputs, expected = encoder.train()(image), features_of(twin.train(), torch.tensor(image))
    assert_equal_forward_and_backward(encoder, twin, outputs, expected, rng)


def features_of(twin, x):
    """Return what each stage returns."""
    result = []
    for stage in twin:
        x = stage(x)
        result.append(x)
    return result


def check_dilation(make, rng):
    """Hold that a dilated encoder gives, at every second (fourth) pixel, what the strided one gives with the same weights."""
    strided = make(32).double()
    for p in [*strided.parameters(), *(b for _, b in strided.named_buffers())]:
        if p.ndim == 1:
            p.data = 0.5 + rng.random(p.shape)
    strided.eval()
    image = rng.random((1, 3, 75, 64))
    with ms.no_grad():
        expected = strided(image)
        for output_stride in (16, 8):
            dilated = make(output_stride).double()
            dilated.load_state_dict(strided.state_dict())
            for level, (feature, wanted) in enumerate(zip(dilated.eval()(image), expected, strict=True)):
                stride = min(2 ** (level + 1), output_stride)
                assert dilated.strides[level] == stride
                assert feature.shape[2:] == (-(-75 // stride), 64 // stride)
                step = 2 ** (level + 1) // stride
                np.testing.assert_allclose(feature.data[:, :, ::step, ::step], wanted.data, rtol=1e-10, atol=1e-10)
