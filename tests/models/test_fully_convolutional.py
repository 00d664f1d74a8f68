"""A classifier that slides by itself: equal to the window slid patch by patch, for nets without padding; sizes, costs, errors."""

import json
import math
from itertools import product

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn
from minisegnet.models import dilate_instead_of_stride, shift_and_stitch, slide, to_fully_convolutional
from minisegnet.models.vgg import VGGEncoder
from minisegnet.shapes import ReceptiveField

CLOSE = {"rtol": 0, "atol": 1e-10}


def random_classifier(rng, ceil_mode=False):
    """Return a classifier of random windows without padding, in float64, its patch size, and its channels.

    The patch is one in which no pool has a partial window; without ``ceil_mode`` some pixels may be left over at its end.
    """

    def pick(*values):
        return values[rng.integers(len(values))]

    first = channels = int(rng.integers(1, 4))
    layers, field = [], ReceptiveField()

    def through(kernel, stride, dilation=1):
        nonlocal field
        stride = stride if field.stride * stride <= 6 else 1  # larger patches teach nothing more, and cost much
        field = field.through(kernel, stride, 0, dilation)
        return kernel, stride

    for _ in range(rng.integers(1, 4)):
        width, dilation = int(rng.integers(2, 5)), pick(1, 1, 2)
        kernel, stride = through(pick(1, 2, 3, 4), pick(1, 1, 2), dilation)
        if pick(0, 0, 1):
            depthwise = nn.DepthwiseSeparableConv2d(
                channels, width, kernel, stride, 0, dilation, between=nn.LeakyReLU(0.2)
            )
            layers.append(depthwise)
        else:
            layers.append(
                nn.Conv2d(channels, width, kernel, stride, pick(0, "valid"), dilation, bias=pick(True, False))
            )
        channels = width
        layers += [*pick([], [nn.BatchNorm2d(width)]), pick(nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Identity)()]
        pool = pick("max", "max", "mean", "none")
        if pool == "max":
            dilation = pick(1, 1, 2)
            layers.append(
                nn.MaxPool2d(*through(pick(2, 3), pick(1, 2, 3), dilation), dilation=dilation, ceil_mode=ceil_mode)
            )
        elif pool == "mean":
            layers.append(nn.AvgPool2d(*through(pick(2, 3), pick(1, 2, 3)), ceil_mode=ceil_mode))
    side = pick(1, 2, 3)
    patch = field.size + (side - 1) * field.stride + (0 if ceil_mode else int(rng.integers(field.stride)))
    features = int(rng.integers(3, 6))
    head = [nn.Flatten(), nn.Linear(channels * side**2, features), nn.ReLU(), nn.Dropout(), nn.Linear(features, 3)]
    net = nn.Sequential(nn.Sequential(*layers), nn.Sequential(*head)).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.data = rng.normal(size=module.num_features)
            module.running_var.data = rng.random(module.num_features) + 0.5
    return net.eval(), patch, first


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_sliding_and_three_ways_without_it_are_equal(seed, ceil_mode, backend):
    ms.manual_seed(seed)
    rng = np.random.default_rng(seed)
    classifier, patch, channels = random_classifier(rng, ceil_mode)
    net = to_fully_convolutional(classifier, patch_size=patch)
    s = net.stride
    x = rng.normal(size=(2, channels, patch + int(rng.integers(2 * s)), patch + int(rng.integers(2 * s))))
    expected = slide(classifier, x, patch_size=patch).data
    assert expected.shape == (2, 3, x.shape[2] - patch + 1, x.shape[3] - patch + 1)
    assert np.ptp(expected) > 0
    rows, columns = expected.shape[2:]

    assert net.exact
    assert net.receptive_field().size == net.field.size <= patch
    coarse = net(x).data
    one_by_one = expected[:, :, ::s, ::s]
    np.testing.assert_allclose(coarse[:, :, : one_by_one.shape[2], : one_by_one.shape[3]], one_by_one, **CLOSE)
    if not ceil_mode and net.field.size == patch:
        assert coarse.shape == one_by_one.shape

    stitched, dilated = shift_and_stitch(net, x).data, dilate_instead_of_stride(net)(x).data
    assert stitched.shape[2:] == dilated.shape[2:] == tuple(n - net.field.size + 1 for n in x.shape[2:])
    np.testing.assert_allclose(stitched[:, :, :rows, :columns], expected, **CLOSE)
    np.testing.assert_allclose(dilated, stitched, **CLOSE)


@pytest.mark.parametrize("border", ["reflect", "zeros"])
@pytest.mark.parametrize("seed", range(15))
def test_with_a_border_every_pixel_has_a_score_and_all_are_equal(seed, border):
    ms.manual_seed(seed)
    rng = np.random.default_rng(100 + seed)
    classifier, patch, channels = random_classifier(rng)
    net = to_fully_convolutional(classifier, border, patch)
    x = rng.normal(size=(2, channels, patch + int(rng.integers(3)), patch + int(rng.integers(5))))
    expected = slide(classifier, x, border=border, patch_size=patch).data
    assert expected.shape == (2, 3, *x.shape[2:])
    np.testing.assert_allclose(net(x).data, slide(classifier, x, net.stride, border, patch).data, **CLOSE)
    np.testing.assert_allclose(shift_and_stitch(net, x).data, expected, **CLOSE)
    for dense in (
        dilate_instead_of_stride(net),
        dilate_instead_of_stride(to_fully_convolutional(classifier, patch_size=patch), border),
    ):
        assert dense.stride == 1
        np.testing.assert_allclose(dense(x).data, expected, **CLOSE)


def test_gradients_are_those_of_all_patches(backend, rng):
    """Training on a whole image is training on all of its patches (Long et al., 2015, section 3.4)."""
    classifier = models.PatchClassifier(2, 3, 14, widths=(3, 4), kernel_sizes=(3, 3), hidden=(5,)).double()
    net = to_fully_convolutional(classifier)
    dense = dilate_instead_of_stride(net)
    assert classifier.training is net.training is dense.training is True
    image, grad = rng.normal(size=(1, 2, 19, 18)), rng.normal(size=(1, 3, 6, 5))
    patches = np.concatenate([image[:, :, y : y + 14, x : x + 14] for y, x in product(range(6), range(5))])
    dense(image).backward(grad)
    classifier(patches).backward(grad[0].transpose(1, 2, 0).reshape(30, 3))
    pairs = list(zip(classifier.parameters(), dense.parameters(), strict=True))
    assert len(pairs) == 8
    for one, other in pairs:
        np.testing.assert_allclose(other.grad.data.reshape(one.shape), one.grad.data, **CLOSE)


def test_a_linear_layer_is_a_convolution_by_the_order_of_flatten():
    classifier = models.PatchClassifier(1, 2, 14, widths=(2, 3), kernel_sizes=(3, 3), hidden=(5,))
    linear = classifier.bottleneck[1]
    net = to_fully_convolutional(classifier)
    convolution = next(layer for layer in net.layers if isinstance(layer, nn.Conv2d) and layer.out_channels == 5)
    assert (linear.weight.shape, convolution.weight.shape) == ((5, 3 * 2 * 2), (5, 3, 2, 2))
    np.testing.assert_array_equal(convolution.weight.data.reshape(5, -1), linear.weight.data)
    assert sum(p.data.size for p in net.parameters()) == sum(p.data.size for p in classifier.parameters())
    convolution.weight.data[...] = 0  # a copy: the classifier stays as it is
    assert np.abs(linear.weight.data).min() > 0


def chain(*stages):
    return nn.Sequential(*stages).double().eval()


def test_padding_ends_the_equality(rng):
    plain = chain(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2))
    padded = chain(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 2))
    x = rng.normal(size=(1, 1, 16, 16))
    for classifier, exact in ((plain, True), (padded, False)):
        net = to_fully_convolutional(classifier, patch_size=8)
        assert net.exact is exact
        difference = np.abs(net(x).data - slide(classifier, x, 2, patch_size=8).data)
        assert bool(difference.max() < 1e-10) is exact
        assert bool(difference.min() < 1e-10) is exact  # not at the image's border alone: patches end everywhere
    net = to_fully_convolutional(
        padded, patch_size=8
    )  # what it computes is still the same by both ways, but at the border
    stitched, dilated = shift_and_stitch(net, x).data, dilate_instead_of_stride(net)(x).data
    np.testing.assert_allclose(stitched[:, :, 2:6, 2:6], dilated[:, :, 2:6, 2:6], **CLOSE)
    deep = chain(
        nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 3)
    )
    net = to_fully_convolutional(deep)
    every_fourth = dilate_instead_of_stride(net)(x).data[:, :, ::4, ::4]  # padding is dilated as well
    np.testing.assert_allclose(every_fourth[:, :, 0, 0], net(x).data[:, :, 0, 0], **CLOSE)
    with pytest.raises(ValueError, match="predict: needs a net whose layers do not pad"):
        net.predict(np.zeros((1, 20, 20), np.float32))
    with pytest.raises(ValueError, match="border='reflect' needs layers without padding"):
        to_fully_convolutional(padded, "reflect", 8)
    with pytest.raises(ValueError, match="and pools without ceil_mode"):
        to_fully_convolutional(chain(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, ceil_mode=True)), "zeros")


def test_a_partial_window_in_the_patch_ends_the_equality(rng):
    classifier = chain(nn.Conv2d(1, 3, 3), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(), nn.Linear(27, 2))
    x = rng.normal(size=(1, 1, 16, 16))
    for patch, exact in ((8, False), (9, True)):
        net = to_fully_convolutional(classifier, patch_size=patch)
        assert net.exact is exact
        scores = slide(classifier, x, 2, patch_size=patch).data
        same = np.abs(net(x).data[:, :, : scores.shape[2], : scores.shape[3]] - scores).max() < 1e-10
        assert same == exact
    image = x[0].astype(np.float32)
    expected = F.softmax(slide(classifier.float(), image[None], 1, "reflect", 9), 1).data[0]
    np.testing.assert_allclose(net.float().predict(image), expected, rtol=0, atol=1e-5)


def alexnet(widths=(96, 256, 384, 384, 256), hidden=4096, ceil_mode=True):
    """Return the windows of Krizhevsky et al. (2012), as Caffe's reference model and Long et al. (2015) have them."""
    a, b, c, d, e = widths
    pool = {"kernel_size": 3, "stride": 2, "ceil_mode": ceil_mode}
    groups = 2 if a > 2 else 1
    features = [
        *(nn.Conv2d(3, a, 11, 4), nn.ReLU(), nn.MaxPool2d(**pool)),
        *(nn.Conv2d(a, b, 5, padding=2, groups=groups), nn.ReLU(), nn.MaxPool2d(**pool)),
        *(nn.Conv2d(b, c, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(c, d, 3, padding=1, groups=groups), nn.ReLU()),
        *(nn.Conv2d(d, e, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(**pool)),
    ]
    head = [
        nn.Linear(36 * e, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 1000),
    ]
    return nn.Sequential(nn.Sequential(*features), nn.Flatten(), nn.Sequential(*head))


THIN = {"widths": (2, 2, 2, 2, 2), "hidden": 2}


@pytest.mark.parametrize(("ceil_mode", "sizes"), [(True, [123, 61, 30, 15, 10]), (False, [123, 61, 30, 14, 9])])
def test_alexnets_grid_of_ten_needs_ceil_mode(ceil_mode, sizes):
    """FACTS section 1: 227 pixels give one score, 500 a grid of 10 x 10, by pools that keep their last, partial window."""
    net = to_fully_convolutional(alexnet(**THIN, ceil_mode=ceil_mode), patch_size=227)
    rows = net.summary((3, 500, 500)).rows
    seen = [row.output_shape[2] for row in rows if row.kind in ("Conv2d", "MaxPool2d")]
    assert [n for i, n in enumerate(seen) if i == 0 or n != seen[i - 1]] == sizes
    assert net.output_size(227) == 1
    assert net.output_size(500) == sizes[-1]


def test_receptive_fields_of_the_two_trunks():
    """FACTS section 1: 404 for VGG16 and 355 for AlexNet, at stride 32; by the windows, and by the graph."""
    vgg16 = nn.Sequential(
        nn.Sequential(*VGGEncoder(3, widths=(2, 2, 2, 2, 2))),
        nn.Flatten(),
        nn.Linear(98, 2),
        nn.ReLU(),
        nn.Linear(2, 4),
    )
    for classifier, patch, size in ((vgg16, 224, 404), (alexnet(**THIN), 227, 355)):
        net = to_fully_convolutional(classifier, patch_size=patch)
        assert (net.field.size, net.field.stride) == (size, 32)
        assert net.receptive_field() == net.field
        assert net.stride == 32
        assert net.patch_size == patch
        dense = dilate_instead_of_stride(net)
        assert (dense.field.size, dense.stride) == (size, 1)


def test_what_a_grid_of_ten_costs():
    """Long et al. (2015): 10 x 10 scores by one pass are more than 5 times faster than by patches. In products: 7.8 times."""
    with nn.init.no_draws():
        classifier = alexnet()
        patches = classifier.summary((100, 3, 227, 227)).multiply_accumulates
        whole = to_fully_convolutional(classifier, patch_size=227).summary((3, 500, 500)).multiply_accumulates
    assert round(patches / whole, 1) == 7.8


def test_what_sliding_costs():
    """Every pixel of a 512 x 512 image, the published net: first-layer products are computed up to 92 * 92 times."""
    with nn.init.no_draws():
        classifier = models.PatchClassifier()
        dense = dilate_instead_of_stride(to_fully_convolutional(classifier))
    patches = (512 - 95 + 1) ** 2
    one, all_at_once = classifier.summary((1, 95, 95)), dense.summary((1, 512, 512))
    assert all_at_once.output_shape == (1, 2, 418, 418)
    first, first_at_once = one.rows[0].multiply_accumulates, all_at_once.rows[0].multiply_accumulates
    assert patches * first == 418**2 * 92**2 * 48 * 16
    assert first_at_once == 509**2 * 48 * 16
    ratio = patches * one.multiply_accumulates / all_at_once.multiply_accumulates
    assert 300 < ratio < 1000
    assert dense.field.size == 95


def test_predict_labels_every_pixel_as_sliding_does(rng):
    for patch in (14, 10):  # the published kernels make odd patches, these even ones
        net = models.PatchClassifier(3, 4, patch, widths=(4, 5), kernel_sizes=(3, 3), hidden=(6,)).eval()
        image = rng.random((3, 40, 33), dtype=np.float32)
        expected = F.softmax(slide(net, image[None], border="reflect"), 1).data[0]
        for whole in (to_fully_convolutional(net), dilate_instead_of_stride(to_fully_convolutional(net, "reflect"))):
            np.testing.assert_allclose(whole.predict(image), expected, rtol=0, atol=1e-5)
            np.testing.assert_allclose(whole.predict(image, tile=16), expected, rtol=0, atol=1e-5)
        expected = F.softmax(slide(net, image[None], border="zeros"), 1).data[0]
        np.testing.assert_allclose(
            to_fully_convolutional(net, "zeros").predict(image, tile=16), expected, rtol=0, atol=1e-5
        )
    assert to_fully_convolutional(net).predict(image[:, :3, :5]).shape == (4, 3, 5)


def test_a_net_on_disk_comes_back(tmp_path, rng):
    classifier = models.PatchClassifier(
        2, 3, 14, widths=(3, 4), kernel_sizes=(3, 3), hidden=(5,), norm="batch", dropout=0.3
    )
    classifier(rng.normal(size=(8, 2, 14, 14)).astype(np.float32))  # running statistics
    image = rng.random((1, 2, 24, 30), dtype=np.float32)
    coarse = to_fully_convolutional(classifier.eval())
    for net in (coarse, dilate_instead_of_stride(coarse, "reflect")):
        models.save(net, tmp_path / "net.safetensors")
        again = models.load(tmp_path / "net.safetensors")
        assert json.loads(json.dumps(net.config)) == again.config
        with ms.no_grad():
            np.testing.assert_array_equal(again(image).data, net(image).data)


def test_mean_pools_behind_a_stride_are_frozen_convolutions(rng):
    classifier = chain(nn.Conv2d(1, 2, 3, 2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    dense = dilate_instead_of_stride(to_fully_convolutional(classifier))
    frozen = [p for p in dense.parameters() if not p.requires_grad]
    assert [p.shape for p in frozen] == [(2, 1, 2, 2)]
    assert (frozen[0].data == 0.25).all()
    padded = chain(nn.Conv2d(1, 2, 3, 2), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="a mean that leaves out the padding has another weight"):
        dilate_instead_of_stride(to_fully_convolutional(padded))


def test_scores_are_pytorchs(rng):
    """The twin: a convolution with the linear layer's weight, dilated, by PyTorch."""
    torch = pytest.importorskip("torch")
    classifier = models.PatchClassifier(2, 3, 14, widths=(3, 4), kernel_sizes=(3, 3), hidden=(5,)).double()
    w = {k: torch.tensor(v) for k, v in classifier.state_dict().items()}
    x = rng.normal(size=(2, 2, 21, 17))
    f = torch.nn.functional
    y = f.relu(f.conv2d(torch.tensor(x), w["encoder.0.weight"], w["encoder.0.bias"]))
    y = f.max_pool2d(y, 2, 1)
    y = f.max_pool2d(f.relu(f.conv2d(y, w["encoder.3.weight"], w["encoder.3.bias"], dilation=2)), 2, 1, dilation=2)
    y = f.relu(f.conv2d(y, w["bottleneck.1.weight"].reshape(5, 4, 2, 2), w["bottleneck.1.bias"], dilation=4))
    y = f.conv2d(y, w["head.weight"][:, :, None, None], w["head.bias"])
    np.testing.assert_allclose(dilate_instead_of_stride(to_fully_convolutional(classifier))(x).data, y.numpy(), **CLOSE)


class Strange(nn.Conv2d):
    """A convolution that does something else."""


@pytest.mark.parametrize(
    ("layers", "patch", "message"),
    [
        ([nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1)], None, "layer '1' is a AdaptiveAvgPool2d, which cannot be turned"),
        ([nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, return_indices=True)], None, "layer '1' is a MaxPool2d with return_indices"),
        ([Strange(1, 2, 3)], None, "layer '0' is a Strange"),
        ([nn.Sequential(nn.Conv2d(1, 2, 3), nn.Softmax())], None, "layer '0.1' is a Softmax"),
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(20, 3)], None, "layer '2' takes 20 features; expected, behind a Flatten, C"),
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(9, 3)], None, "with the C = 2 channels"),
        ([nn.Conv2d(1, 2, 3), nn.Linear(8, 3)], None, "expected, behind a Flatten"),
        ([nn.Flatten(), nn.Linear(8, 3)], None, "with the C = 0 channels"),
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Conv2d(2, 2, 1)], None, "a Conv2d, cannot come behind a Flatten"),
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)], 7, "7 gives 4, one output sees 4 pixels"),
        ([nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)], 3, "3 gives none"),
        ([nn.Conv2d(1, 2, (3, 5))], None, r"windows must be square, got kernel_size=\(3, 5\) in a Conv2d"),
        ([nn.Conv2d(1, 2, 4, padding="same")], None, "pads one side more than the other"),
        ([nn.ReLU()], None, "must have at least one convolution"),
    ],
)  # fmt: skip
def test_what_cannot_slide_is_named(layers, patch, message):
    with pytest.raises(ValueError, match=message):
        to_fully_convolutional(nn.Sequential(*layers), patch_size=patch)


def test_wrong_arguments_are_named():
    classifier = chain(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    net = to_fully_convolutional(classifier)
    assert net.patch_size == 6
    with pytest.raises(ValueError, match="border must be one of valid, reflect, zeros, got 'mirror'"):
        to_fully_convolutional(classifier, "mirror")
    with pytest.raises(TypeError, match=r"shift_and_stitch: network must be a FullyConvolutional.*got Sequential"):
        shift_and_stitch(classifier, np.zeros((1, 1, 9, 9)))
    with pytest.raises(TypeError, match="dilate_instead_of_stride: network must be a FullyConvolutional"):
        dilate_instead_of_stride(classifier)
    with pytest.raises(
        ValueError, match="height of 5 pixels does not work with padding='valid'; sizes near it that do: 6, 7"
    ):
        net(np.zeros((1, 1, 5, 9)))
    with pytest.raises(ValueError, match=r"layers must be of Conv2d, .*, got 'Linear'"):
        models.FullyConvolutional([("Linear", {"in_features": 3, "out_features": 2})])
    one = shift_and_stitch(net, np.zeros((1, 9, 8)))  # one image without its batch axis
    assert one.shape == (2, 4, 3)


def test_modes_and_types_are_the_classifiers():
    classifier = models.PatchClassifier(1, 2, 14, widths=(2, 3), kernel_sizes=(3, 3), hidden=(5,), norm="batch")
    for net in (classifier.train(), classifier.eval()):
        for whole in (to_fully_convolutional(net), dilate_instead_of_stride(to_fully_convolutional(net))):
            assert whole.training is net.training
            assert {p.dtype for p in whole.parameters()} == {np.dtype(np.float32)}
    whole = to_fully_convolutional(classifier.double()).train()
    assert {p.dtype for p in whole.parameters()} == {np.dtype(np.float64)}
    counted = [int(m.num_batches_tracked.data) for m in whole.modules() if isinstance(m, nn.BatchNorm2d)]
    shift_and_stitch(whole, np.random.default_rng(0).normal(size=(1, 1, 20, 20)))
    assert counted == [int(m.num_batches_tracked.data) for m in whole.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(module.training for module in whole.modules())
    assert math.prod(whole.layers[0].weight.shape) == 2 * 9
