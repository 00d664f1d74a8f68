"""FCN: the paper's sizes, counts and crops, the twin in PyTorch, fine-tuning from coarse to fine, and models on disk."""

import json

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn, optim
from minisegnet.nn.receptive_field import seen_by
from minisegnet.nn.trace import trace

SMALL = {"widths": (4, 6, 8), "convs": (1, 2, 1), "fc_channels": 10, "fc_kernel": 3, "padding": 12, "dropout": 0}


def parameters(net, kind):
    return sum(p.data.size for m in net.modules() if isinstance(m, kind) for p in m.parameters())


@pytest.fixture(scope="module")
def published():
    """Return the three nets as published; their structure is looked at, so that no weights are drawn."""
    with nn.init.no_draws():
        return {stride: models.FCN(3, 21, stride) for stride in (32, 16, 8)}


@pytest.mark.parametrize(
    ("stride", "kernels", "crops", "count", "upsampled"),
    [
        (32, [(64, 32)], [19], 134_346_581, [544]),
        (16, [(4, 2), (32, 16)], [5, 27], 134_357_354, [34, 560]),
        (8, [(4, 2), (4, 2), (16, 8)], [5, 9, 31], 134_362_751, [34, 70, 568]),
    ],
)
def test_the_papers_numbers(published, stride, kernels, crops, count, upsampled):
    net = published[stride]
    ups = [m for m in net.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.kernel_size[0], m.stride[0]) for m in ups] == kernels
    assert all(m.bias is None for m in ups)
    assert net.crops == crops
    assert parameters(net, nn.Conv2d) == count

    rows = net.summary((3, 500, 500)).rows
    sizes = {
        kind: [row.output_shape[2] for row in rows if row.kind == kind] for kind in ("MaxPool2d", "ConvTranspose2d")
    }
    assert rows[0].output_shape == (1, 64, 698, 698)
    assert sizes == {"MaxPool2d": [349, 175, 88, 44, 22], "ConvTranspose2d": upsampled}
    assert next(row for row in rows if row.name == "bottleneck.0").output_shape == (1, 4096, 16, 16)
    assert rows[-1].output_shape == (1, 21, 500, 500)


def test_a_score_sees_404_pixels_32_apart(published):
    rows = {row.name: row for row in published[32].summary((3, 500, 500)).rows}
    assert rows["head"].receptive_field == 404
    assert published[32].stride == published[8].stride == 32
    # and a pixel, which lies between two scores on each axis, as many more as those are apart
    assert published[32].receptive_field().size == 404 + 32


def test_any_image_works_as_published_down_to_one_pixel(published):
    for net in published.values():
        assert [n for n in range(1000) if net.output_size(n) != n] == [0]
    with nn.init.no_draws():
        tight = models.FCN(3, 21, 32, padding=81)
    assert tight.valid_sizes(1)[0] == 33  # ceil((33 + 2 * 80) / 32) = 7 pixels for fc6
    with pytest.raises(ValueError, match="height of 32 pixels does not work"):
        tight(np.zeros((1, 3, 32, 40), np.float32))


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("fc_kernel", [3, 4, 7])
@pytest.mark.parametrize("more", [0, 5])
def test_derived_crops_centre_every_pixel_on_itself(stages, fc_kernel, more):
    """What a pixel sees lies around it: exactly on average over one period of the trunk's stride. And every size works."""
    coarsest = 2**stages
    for stride in [coarsest // 2**i for i in range(min(stages, 3))]:
        padding = coarsest * (fc_kernel - 2) // 2 + 1 + more
        net = models.FCN(1, 1, stride, (1,) * stages, (1,) * stages, 1, fc_kernel, padding, 0)
        size = net.valid_sizes(64)[1]
        graph = trace(net, (1, size, size))
        seen = seen_by(graph, graph.output, axis=0)
        period = np.arange(64)[: 64 // coarsest * coarsest]
        assert np.mean((seen.low + seen.high)[period] / 2 - period) == 0
        if more == 0:
            with pytest.raises(ValueError, match=f"padding must be {padding} or more"):
                models.FCN(1, 1, stride, (1,) * stages, (1,) * stages, 1, fc_kernel, padding - 1, 0)
        for n in net.valid_sizes(1, 33):
            assert net.summary((1, n, n)).output_shape == (1, 1, n, n)


def twin(stride, widths, convs, fc, classes, dtype):
    """Return PyTorch and FCN as the paper's code has it: padding 100, and the crops of its authors as plain numbers."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tnn = torch.nn
    crops = {32: [19], 16: [5, 27], 8: [5, 9, 31]}[stride]

    class FCN(tnn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, before, padding = tnn.ModuleList(), 3, 100
            for width, count in zip(widths, convs, strict=True):
                layers = []
                for _ in range(count):
                    layers += [tnn.Conv2d(before, width, 3, padding=padding), tnn.ReLU()]
                    before, padding = width, 1
                self.encoder.append(tnn.Sequential(*layers, tnn.MaxPool2d(2, 2, ceil_mode=True)))
            self.bottleneck = tnn.Sequential(
                tnn.Conv2d(before, fc, 7), tnn.ReLU(), tnn.Dropout(), tnn.Conv2d(fc, fc, 1), tnn.ReLU(), tnn.Dropout()
            )
            self.head = tnn.Conv2d(fc, classes, 1)
            self.skip_heads = tnn.ModuleList(tnn.Conv2d(w, classes, 1) for w in widths[-2 : -1 - len(crops) : -1])
            kernels = [(4, 2)] * (len(crops) - 1) + [(2 * stride, stride)]
            self.upsample = tnn.ModuleList(tnn.ConvTranspose2d(classes, classes, k, s, bias=False) for k, s in kernels)

        def forward(self, image):
            pool1 = self.encoder[0](image)
            pool2 = self.encoder[1](pool1)
            pool3 = self.encoder[2](pool2)
            pool4 = self.encoder[3](pool3)
            x = self.head(self.bottleneck(self.encoder[4](pool4)))
            for up, head, pool, c in zip(self.upsample, self.skip_heads, [pool4, pool3], crops):  # noqa: B905
                x = up(x)
                x = x + head(pool)[:, :, c : c + x.shape[2], c : c + x.shape[3]]
            x, c = self.upsample[-1](x), crops[-1]
            return x[:, :, c : c + image.shape[2], c : c + image.shape[3]]

    return torch, FCN().to(getattr(torch, dtype))


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_scores_and_gradients_are_those_of_the_papers_code(stride, backend, rng):
    widths, convs = (2, 3, 3, 4, 4), (2, 1, 1, 1, 1)
    torch, other = twin(stride, widths, convs, 5, 3, "float64")
    net = models.FCN(3, 3, stride, widths, convs, fc_channels=5).double().eval()
    for p in other.parameters():
        torch.nn.init.normal_(p, 0.1 if p.ndim == 1 else 0.0, 0.3)
    net.load_state_dict(other.eval().state_dict())
    image = rng.random((2, 3, 21, 34))
    scores, expected = net(image), other(torch.tensor(image))
    assert scores.shape == (2, 3, 21, 34)
    np.testing.assert_allclose(scores.data, expected.detach().numpy(), rtol=1e-10, atol=1e-10)

    target = rng.integers(0, 3, (2, 21, 34))
    F.cross_entropy(scores, target).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(target)).backward()
    theirs = {name: p.grad.numpy() for name, p in other.named_parameters()}
    last = f"upsample.{len(net.upsample) - 1}.weight"  # stays bilinear (paper, section 4.3)
    for name, p in net.named_parameters():
        assert (p.grad is None) == (name == last), name
        if p.grad is not None:
            assert np.abs(theirs[name]).max() > 0, name
            np.testing.assert_allclose(p.grad.data, theirs[name], rtol=1e-10, atol=1e-10, err_msg=name)


def test_every_layer_begins_as_the_paper_says():
    net = models.FCN(3, 5, 2, **SMALL | {"widths": (32, 32, 64)})
    for head in [net.head, *net.skip_heads]:
        assert not head.weight.data.any()
        assert not head.bias.data.any()
    for up in net.upsample:
        expected = nn.init.bilinear_kernel(up.kernel_size)
        for i, row in enumerate(up.weight.data):
            np.testing.assert_allclose(row, [expected if i == j else 0 * expected for j in range(5)])
    assert [up.weight.requires_grad for up in net.upsample] == [True, True, False]
    assert net.bottleneck[0].weight.data.std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.05)
    assert [m.p for m in models.FCN(1, 2, 2, **SMALL | {"dropout": 0.25}).modules() if isinstance(m, nn.Dropout)] == [
        0.25
    ] * 2


def test_training_moves_all_but_the_last_upsampling(backend, rng):
    net = models.FCN(3, 4, 2, **SMALL).train()
    optimizer, before = optim.Adam(net.parameters(), 1e-2), net.state_dict()
    image, target = rng.random((2, 3, 16, 24), dtype=np.float32), rng.integers(0, 4, (2, 16, 24))
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(image), target).backward()
        optimizer.step()
    moved = {name: not np.array_equal(before[name], value) for name, value in net.state_dict().items()}
    assert [name for name, yes in moved.items() if not yes] == ["upsample.2.weight"]


def scored(net, rng):
    """Give the layers that score, and those that upsample on the way, weights of their own."""
    for layer in [net.head, *net.skip_heads]:
        layer.weight.data = rng.normal(size=layer.weight.shape)
        layer.bias.data = rng.normal(size=layer.bias.shape)
    for up in list(net.upsample)[:-1]:
        up.weight.data = up.weight.data + 0.1 * rng.normal(size=up.weight.shape)
    return net


@pytest.mark.parametrize("stride", [8, 4])
def test_a_finer_net_begins_where_the_coarser_one_stands(stride, rng):
    coarse = scored(models.FCN(3, 3, stride, **SMALL).double(), rng).eval()
    state = np.array(ms.random.generator().bit_generator.state["state"]["state"])
    fine = models.FCN.from_coarser(coarse)
    assert ms.random.generator().bit_generator.state["state"]["state"] == state  # nothing is drawn to be thrown away
    assert (fine.config["stride"], fine.head.weight.dtype, fine.training) == (stride // 2, np.float64, False)
    copied, last = coarse.state_dict(), len(coarse.upsample) - 1
    for name, value in fine.state_dict().items():
        if name.startswith(("encoder", "bottleneck", "head")) or name in (f"upsample.{i}.weight" for i in range(last)):
            np.testing.assert_array_equal(value, copied[name], err_msg=name)
    assert fine.encoder[0][0].weight.data is not coarse.encoder[0][0].weight.data

    def before_last(net, image):
        caught = []
        remove = net.upsample[-1].register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0].data))
        with ms.no_grad():
            out = net(image).numpy()
        remove()
        return caught[0], out

    image = rng.random((1, 3, 40, 56))
    (scores, out), (finer_scores, finer_out) = before_last(coarse, image), before_last(fine, image)
    assert out.std() > 0.1
    with ms.no_grad():
        np.testing.assert_array_equal(finer_scores, fine.upsample[-2](scores).data)  # the skip adds nothing yet

    # Interpolating by 2 and then by s/2 cuts the corners that interpolating by s has at each score: by 1/8 of the second
    # difference on each axis; beyond the border the scores count as 0.
    padded = np.pad(scores, ((0, 0), (0, 0), (2, 2), (2, 2)))
    bound = sum(np.abs(np.diff(padded, 2, axis=axis)).max() / 8 for axis in (2, 3))
    assert 0 < np.abs(finer_out - out).max() <= bound

    # Where the scores are a plane there are no corners.
    rows, columns = np.mgrid[: scores.shape[2], : scores.shape[3]]
    plane = ms.Tensor(np.broadcast_to(rows - 2.0 * columns, scores.shape))
    nn.init.bilinear_(fine.upsample[-2].weight)
    with ms.no_grad():
        once = coarse.upsample[-1](plane).data[:, :, coarse.crops[-1] :, coarse.crops[-1] :]
        twice = fine.upsample[-1](fine.upsample[-2](plane)).data[:, :, fine.crops[-1] :, fine.crops[-1] :]
    inner = (..., slice(8, 32), slice(8, 48))
    np.testing.assert_allclose(twice[inner], once[inner], rtol=0, atol=1e-12)


def test_there_is_nothing_finer_than_a_quarter():
    with pytest.raises(ValueError, match="stride must be one of 8, 4, 2 for 3 stages, got 1"):
        models.FCN.from_coarser(models.FCN(1, 2, 2, **SMALL))


@pytest.mark.parametrize("stride", [8, 2])
def test_tiles_leave_no_seam_and_any_size_is_predicted(stride, rng):
    net = scored(models.FCN(1, 3, stride, **SMALL), rng).float().eval()
    image = rng.random((1, 130, 43), dtype=np.float32)
    whole = net.predict(image, tile=None)
    assert whole.shape == (3, 130, 43)
    np.testing.assert_allclose(whole.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(net.predict(image, tile=16), whole, atol=1e-5)
    with ms.no_grad():
        filled = np.pad(image, ((0, 0), (0, 6), (0, 5)), mode="reflect")
        np.testing.assert_allclose(F.softmax(net(filled[None]), 1).data[0, :, :130, :43], whole, atol=1e-5)


def test_an_image_smaller_than_fc6_needs_is_predicted_too(rng):
    net = scored(models.FCN(1, 2, 8, **SMALL | {"padding": 5}), rng).float()
    assert net.valid_sizes(1)[0] == 9
    assert net.predict(rng.random((1, 3, 70), dtype=np.float32)).shape == (2, 3, 70)


def test_a_model_on_disk_comes_back(tmp_path, rng):
    net = scored(models.FCN(2, 3, 4, **SMALL | {"padding": 100, "dropout": 0.5}), rng).float().eval()
    models.save(net, tmp_path / "fcn.safetensors")
    again = models.load(tmp_path / "fcn.safetensors")
    assert json.loads(json.dumps(net.config)) == net.config == again.config
    assert [up.weight.requires_grad for up in again.upsample] == [True, False]
    image = rng.random((1, 2, 20, 30), dtype=np.float32)
    with ms.no_grad():
        np.testing.assert_array_equal(again(image).data, net(image).data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "FCN: in_channels must be a positive integer, got 0"),
        ({"num_classes": 2.0}, "FCN: num_classes must be a positive integer, got 2.0"),
        ({"fc_channels": -1}, "FCN: fc_channels must be a positive integer, got -1"),
        ({"fc_kernel": 2}, "FCN: fc_kernel must be an integer of 3 or more, .* got 2"),
        ({"padding": 1.5}, "FCN: padding must be an integer of 0 or more, got 1.5"),
        ({"padding": 4}, "FCN: padding must be 5 or more with 3 stages and fc_kernel=3, .* got 4"),
        ({"stride": 16}, "FCN: stride must be one of 8, 4, 2 for 3 stages, got 16"),
        ({"widths": (4, 0, 4)}, "FCN: widths must be positive integers, one a stage"),
        ({"convs": (1, 1)}, "FCN: widths and convs must be equally long"),
        ({"dropout": 2}, "p must be a probability"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.FCN(**{"in_channels": 1, "num_classes": 2, "stride": 2, **SMALL, **arguments})


def test_a_wrong_input_is_named():
    net = models.FCN(3, 2, 2, **SMALL)
    with pytest.raises(ValueError, match="must have 3 channels, got 1"):
        net(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(ValueError, match=r"add image\[None\]"):
        net(np.zeros((3, 32, 32), np.float32))


@pytest.mark.slow
def test_the_published_fcn_8s_scores_an_image_of_500_pixels(rng):
    """Its 136 million weights, and PyTorch's on the same numbers: no crop, pool or padding differs at full size."""
    torch, other = twin(8, (64, 128, 256, 512, 512), (2, 2, 3, 3, 3), 4096, 21, "float32")
    with nn.init.no_draws():
        net = models.FCN(3, 21, 8)
    torch.manual_seed(0)
    for p in other.parameters():
        if p.ndim == 4:
            torch.nn.init.kaiming_normal_(p)
    net.load_state_dict(other.eval().state_dict())
    image = rng.random((1, 3, 500, 500), dtype=np.float32)
    with ms.no_grad(), torch.no_grad():
        scores, expected = net.eval()(image).numpy(), other(torch.tensor(image)).numpy()
    assert scores.shape == (1, 21, 500, 500)
    assert np.abs(scores - expected).max() < 1e-4 * np.abs(expected).max()
