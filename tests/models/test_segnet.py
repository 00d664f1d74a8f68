"""SegNet: the published counts and sizes, the twin in PyTorch, images of any size, and models on disk."""

import json

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn

SMALL = {"widths": (4, 6, 8), "convs": (1, 2, 3)}


@pytest.fixture(scope="module")
def published():
    """Return the net as published; its structure is looked at, so that no weights are drawn."""
    with nn.init.no_draws():
        return models.SegNet(3, 11)


def test_the_papers_numbers(published):
    summary = published.summary((3, 360, 480))
    assert summary.parameters == 29_449_355
    convs = {
        part: [r for r in summary.rows if r.kind == "Conv2d" and r.name.startswith(part)]
        for part in ("enc", "dec", "head")
    }
    assert (len(convs["enc"]), len(convs["dec"]) + len(convs["head"])) == (13, 13)
    channels = [r.output_shape[1] for r in convs["dec"] + convs["head"]]
    assert channels == [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 11]
    norms = [r for r in summary.rows if r.kind == "BatchNorm2d"]
    assert len(norms) == 25  # after each but the last
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in published.modules())


def test_camvids_size_comes_back_though_it_is_no_multiple_of_32(published):
    rows = published.summary((3, 360, 480)).rows
    down = [r.output_shape[2:] for r in rows if r.kind == "MaxPool2d"]
    up = [r.output_shape[2:] for r in rows if r.kind == "MaxUnpool2d"]
    assert down == [(180, 240), (90, 120), (45, 60), (23, 30), (12, 15)]
    assert up == [*down[-2::-1], (360, 480)]
    assert rows[-1].output_shape == (1, 11, 360, 480)


def test_the_decoder_sees_no_more_than_the_fields_of_its_layers(published):
    rows = {row.name: row.receptive_field for row in published.summary((3, 64, 64)).rows}
    assert rows["encoder.4.6"] == 196 == rows["encoder.4.9"] - 16
    assert published.receptive_field().size == rows["head"] > 212


def twin(widths, convs, classes, norm):
    """Return PyTorch and SegNet written in it; its parts have the same names."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tnn = torch.nn

    def block(before, after):
        return [tnn.Conv2d(before, after, 3, padding=1), *([tnn.BatchNorm2d(after)] if norm else []), tnn.ReLU()]

    class SegNet(tnn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder, before = tnn.ModuleList(), tnn.ModuleDict({"stages": tnn.ModuleList()}), 3
            for width, count in zip(widths, convs, strict=True):
                layers = []
                for _ in range(count):
                    layers += block(before, width)
                    before = width
                self.encoder.append(tnn.Sequential(*layers))
            for level in reversed(range(len(widths))):
                layers, finer = [], widths[max(level - 1, 0)]
                outs = [widths[level]] * (convs[level] - 1) + [finer] * (level > 0)  # the finest one's last is the head
                for out in outs:
                    layers += block(before, out)
                    before = out
                self.decoder["stages"].append(tnn.Sequential(*layers))
            self.head = tnn.Conv2d(before, classes, 3, padding=1)

        def forward(self, x):
            pooled = []
            for stage in self.encoder:
                x = stage(x)
                size = x.shape[2:]
                x, indices = tnn.functional.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
                pooled.append((indices, size))
            for stage in self.decoder["stages"]:
                indices, size = pooled.pop()
                x = stage(tnn.functional.max_unpool2d(x, indices, 2, output_size=size))
            return self.head(x)

    return torch, SegNet().double()


@pytest.mark.parametrize("norm", ["batch", None])
def test_scores_gradients_and_statistics_are_pytorchs(norm, backend, rng):
    torch, other = twin(**SMALL, classes=3, norm=norm)
    net = models.SegNet(3, 3, **SMALL, norm=norm).double().train()
    for p in other.parameters():
        torch.nn.init.normal_(p, 0.0, 0.3)
    net.load_state_dict(other.train().state_dict())
    image, target = rng.random((2, 3, 21, 34)), rng.integers(0, 3, (2, 21, 34))
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


def test_only_the_places_of_maxima_reach_the_decoder():
    """What the last pool returned, and where each pool found its maxima, is all that the decoder is given."""
    net = models.SegNet(1, 2, **SMALL).eval()
    image = np.random.default_rng(0).random((1, 1, 24, 24), dtype=np.float32)
    with ms.no_grad():
        x, switches = net.encoder(image)
        again = net.head(net.decoder(x, switches)).data
        np.testing.assert_array_equal(again, net(image).data)
        moved = [s._replace(indices=s.indices.data[:, ::-1]) for s in switches]
        assert np.abs(net.head(net.decoder(x, moved)).data - again).max() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (17, 32)])
def test_any_size_works(size, backend, rng):
    net = models.SegNet(2, 3, **SMALL).eval()
    with ms.no_grad():
        assert net(rng.random((1, 2, *size), dtype=np.float32)).shape == (1, 3, *size)
    assert (net.stride, net.output_size(5), net.output_size(0)) == (8, 5, None)


def test_one_convolution_a_stage_is_enough():
    net = models.SegNet(1, 2, (2, 3), (1, 1))
    kinds = [row.kind for row in net.summary((1, 8, 8)).rows if row.kind in ("Conv2d", "MaxPool2d", "MaxUnpool2d")]
    assert kinds == ["Conv2d", "MaxPool2d"] * 2 + ["MaxUnpool2d", "Conv2d"] * 2


def test_tiles_leave_no_seam(rng):
    net = models.SegNet(1, 3, **SMALL).eval()
    image = rng.random((1, 150, 43), dtype=np.float32)
    whole = net.predict(image, tile=None)
    assert whole.shape == (3, 150, 43)
    np.testing.assert_allclose(net.predict(image, tile=16), whole, atol=1e-5)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = models.SegNet(2, 3, **SMALL)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.data = rng.normal(size=m.num_features).astype(np.float32)
    models.save(net.eval(), tmp_path / "segnet.safetensors")
    again = models.load(tmp_path / "segnet.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    image = rng.random((1, 2, 20, 30), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "SegNet: in_channels must be a positive integer, got 0"),
        ({"num_classes": None}, "SegNet: num_classes must be a positive integer, got None"),
        ({"widths": (4, "6", 8)}, "SegNet: widths must be positive integers, one a stage"),
        ({"convs": (1, 2)}, "SegNet: widths and convs must be equally long"),
        ({"norm": True}, 'SegNet: norm must be "batch" or None, got True'),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.SegNet(**{"in_channels": 1, "num_classes": 2, **SMALL, **arguments})


def test_a_wrong_input_is_named():
    net = models.SegNet(3, 2, **SMALL)
    with pytest.raises(ValueError, match="SegNet: input must have 3 channels, got 1"):
        net(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(ValueError, match="height of 0 pixels"):
        net(np.zeros((1, 3, 0, 32), np.float32))


@pytest.mark.slow
def test_the_published_net_scores_an_image_of_camvids_size(rng):
    torch, other = twin((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), 11, "batch")
    net = models.SegNet(3, 11)
    other = other.float().eval()
    other.load_state_dict({name: torch.tensor(value) for name, value in net.state_dict().items()})
    image = rng.random((1, 3, 360, 480), dtype=np.float32)
    with ms.no_grad(), torch.no_grad():
        scores, expected = net.eval()(image).numpy(), other(torch.tensor(image)).numpy()
    assert scores.shape == (1, 11, 360, 480)
    # A few maxima in a million tie with a neighbour up to rounding; where a place then differs, so do the scores around it.
    assert np.quantile(np.abs(scores - expected), 0.9) < 1e-4 * np.abs(expected).max()
