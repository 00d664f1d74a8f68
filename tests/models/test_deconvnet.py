"""DeconvNet: the paper's sizes and counts, the twin in PyTorch, which sizes work, and models on disk."""

import json

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn

SMALL = {"widths": (4, 6, 8), "convs": (1, 2, 3), "fc_channels": 10, "fc_kernel": 3}


@pytest.fixture(scope="module")
def published():
    """Return the net as published; its structure is looked at, so that no weights are drawn."""
    with nn.init.no_draws():
        return models.DeconvNet(3, 21)


def test_the_papers_counts(published):
    count = sum(p.data.size for p in published.parameters())
    affine = sum(p.data.size for m in published.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    assert count == 251_805_653
    assert count - affine == 251_772_245
    connected = sum(
        p.data.size for m in published.bottleneck if not isinstance(m, nn.BatchNorm2d) for p in m.parameters()
    )
    assert connected / (count - affine) == pytest.approx(0.88, abs=0.005)
    with nn.init.no_draws():
        assert sum(p.data.size for p in models.DeconvNet(3, 21, norm=None).parameters()) == 251_772_245


def test_the_papers_table_of_layers(published):
    rows = published.summary((3, 224, 224)).rows
    by_kind = {kind: [r.output_shape[1:3] for r in rows if r.kind == kind] for kind in {r.kind for r in rows}}
    assert by_kind["MaxPool2d"] == [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)]
    assert by_kind["Conv2d"][13:] == [(4096, 1), (4096, 1), (21, 224)]
    assert by_kind["MaxUnpool2d"] == [(512, 14), (512, 28), (256, 56), (128, 112), (64, 224)]
    stages = {14: [512, 512, 512], 28: [512, 512, 256], 56: [256, 256, 128], 112: [128, 64], 224: [64, 64]}
    expected = [(512, 7)] + [(channels, size) for size, stage in stages.items() for channels in stage]
    assert by_kind["ConvTranspose2d"] == expected
    kernels = [m.kernel_size for m in published.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert kernels == [(7, 7)] + [(3, 3)] * 13
    assert len(by_kind["BatchNorm2d"]) == 13 + 2 + 14  # after each layer with weights but the last
    assert rows[-1].output_shape == (1, 21, 224, 224)


def test_which_sizes_work(published):
    assert [n for n in range(400) if published.output_size(n)] == [224, 256, 288, 320, 352, 384]
    net = models.DeconvNet(1, 2, **SMALL).eval()
    assert net.valid_sizes(1, 3) == [24, 32, 40]
    for n in net.valid_sizes(1, 3):
        with ms.no_grad():
            assert net(np.zeros((1, 1, n, 24), np.float32)).shape == (1, 2, n, 24)
    for n in (16, 28):
        with pytest.raises(ValueError, match=f"DeconvNet: a height of {n} pixels does not work"):
            net(np.zeros((1, 1, n, 24), np.float32))


def twin(widths, convs, fc_channels, fc_kernel, classes, norm):
    """Return PyTorch and DeconvNet written in it; its parts have the same names."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tnn = torch.nn

    def activated(layer):
        return [layer, *([tnn.BatchNorm2d(layer.out_channels)] if norm else []), tnn.ReLU()]

    class DeconvNet(tnn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder, before = tnn.ModuleList(), tnn.ModuleDict({"stages": tnn.ModuleList()}), 3
            for width, count in zip(widths, convs, strict=True):
                layers = []
                for _ in range(count):
                    layers += activated(tnn.Conv2d(before, width, 3, padding=1))
                    before = width
                self.encoder.append(tnn.Sequential(*layers, tnn.MaxPool2d(2, return_indices=True)))
            self.bottleneck = tnn.Sequential(
                *activated(tnn.Conv2d(before, fc_channels, fc_kernel)),
                *activated(tnn.Conv2d(fc_channels, fc_channels, 1)),
                *activated(tnn.ConvTranspose2d(fc_channels, before, fc_kernel)),
            )
            for level in reversed(range(len(widths))):
                layers = []
                for out in [widths[level]] * (convs[level] - 1) + [widths[max(level - 1, 0)]]:
                    layers += activated(tnn.ConvTranspose2d(before, out, 3, padding=1))
                    before = out
                self.decoder["stages"].append(tnn.Sequential(*layers))
            self.head, self.unpool = tnn.Conv2d(before, classes, 1), tnn.MaxUnpool2d(2)

        def forward(self, x):
            switches = []
            for stage in self.encoder:
                x, indices = stage(x)
                switches.append(indices)
            x = self.bottleneck(x)
            for stage in self.decoder["stages"]:
                x = stage(self.unpool(x, switches.pop()))
            return self.head(x)

    return torch, DeconvNet()


@pytest.mark.parametrize("norm", ["batch", None])
def test_scores_gradients_and_statistics_are_pytorchs(norm, backend, rng):
    torch, other = twin(**SMALL, classes=3, norm=norm)
    other = other.double()
    net = models.DeconvNet(3, 3, **SMALL, norm=norm).double().train()
    for p in other.parameters():
        torch.nn.init.normal_(p, 0.0, 0.3)
    net.load_state_dict(other.train().state_dict())
    image, target = rng.random((2, 3, 24, 40)), rng.integers(0, 3, (2, 24, 40))
    scores, expected = net(image), other(torch.tensor(image))
    np.testing.assert_allclose(scores.data, expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    F.cross_entropy(scores, target).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(target)).backward()
    theirs = {name: p.grad.numpy() for name, p in other.named_parameters()}
    assert theirs.keys() == {name for name, _ in net.named_parameters()}
    for name, p in net.named_parameters():
        np.testing.assert_allclose(p.grad.data, theirs[name], rtol=1e-10, atol=1e-10, err_msg=name)
    for name, value in other.state_dict().items():
        np.testing.assert_allclose(net.state_dict()[name], value.numpy(), rtol=1e-10, err_msg=name)
    with ms.no_grad(), torch.no_grad():
        np.testing.assert_allclose(
            net.eval()(image).data, other.eval()(torch.tensor(image)).numpy(), rtol=1e-10, atol=1e-10
        )


def test_its_deconvolution_is_a_convolution_with_the_turned_kernel(rng):
    """Why the paper's word is a misnomer: nothing is undone; at stride 1 it is a convolution like any other."""
    layer = models.DeconvNet(1, 2, **SMALL).decoder.stages[0][0].double()
    image = rng.random((1, 8, 9, 7))
    turned = layer.weight.data.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    np.testing.assert_allclose(layer(image).data, F.conv2d(image, turned, layer.bias.data, padding=1).data, atol=1e-12)


def test_tiles_leave_no_seam_and_small_images_are_predicted_too(rng):
    net = models.DeconvNet(1, 3, **SMALL).eval()
    image = rng.random((1, 250, 43), dtype=np.float32)
    whole = net.predict(image, tile=None)
    assert whole.shape == (3, 250, 43)
    np.testing.assert_allclose(net.predict(image, tile=16), whole, atol=1e-5)
    assert net.predict(image[:, :5, :9]).shape == (3, 5, 9)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = models.DeconvNet(2, 3, **SMALL)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.data = rng.normal(size=m.num_features).astype(np.float32)
    models.save(net.eval(), tmp_path / "deconvnet.safetensors")
    again = models.load(tmp_path / "deconvnet.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((1, 2, 24, 32), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "DeconvNet: in_channels must be a positive integer, got 0"),
        ({"fc_channels": 0}, "DeconvNet: fc_channels must be a positive integer, got 0"),
        ({"fc_kernel": 1.0}, "DeconvNet: fc_kernel must be a positive integer, got 1.0"),
        ({"convs": ()}, "DeconvNet: convs must be positive integers, one a stage"),
        ({"widths": (4, 6)}, "DeconvNet: widths and convs must be equally long"),
        ({"norm": "group"}, "DeconvNet: norm must be \"batch\" or None, got 'group'"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.DeconvNet(**{"in_channels": 1, "num_classes": 2, **SMALL, **arguments})


@pytest.mark.slow
def test_the_published_net_scores_an_image_of_224_pixels(rng):
    torch, other = twin((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), 4096, 7, 21, "batch")
    with nn.init.no_draws():
        net = models.DeconvNet(3, 21)
    torch.manual_seed(0)
    for p in other.parameters():
        if p.ndim == 4:
            torch.nn.init.kaiming_normal_(p)
    net.load_state_dict(other.eval().state_dict())
    image = rng.random((1, 3, 224, 224), dtype=np.float32)
    with ms.no_grad(), torch.no_grad():
        scores, expected = net.eval()(image).numpy(), other(torch.tensor(image)).numpy()
    assert scores.shape == (1, 21, 224, 224)
    # A few maxima in a million tie with a neighbour up to rounding; where a place then differs, so do the scores around it.
    assert np.quantile(np.abs(scores - expected), 0.9) < 1e-4 * np.abs(expected).max()
