"""Neighbouring layers in one kernel: the same network, the same numbers, and out of the way of whoever looks or replaces."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import models, nn
from minisegnet.autograd import Node, Tensor
from minisegnet.functional.convolution import conv2d_relu
from minisegnet.kernels.convolution import reference as conv_reference
from minisegnet.kernels.normalization import numba_cpu, reference


def block():
    """Return a trained-looking block, so that no scale is 1 and no shift is 0, with layers before, between and after."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5), nn.ReLU(), nn.Sigmoid())
    rng = np.random.default_rng(1)
    for layer in (net[1], net[3]):
        layer.weight.data, layer.bias.data = rng.standard_normal((2, 5)).astype(np.float32)
        layer.running_mean.data, layer.running_var.data = rng.random((2, 5)).astype(np.float32)
    return net


def kinds(output):
    """Return the names of the operations that made a tensor, from the first to the last."""
    found, todo = {}, [output._node]
    while todo:
        node = todo.pop()
        if isinstance(node, Node) and node.number not in found:
            found[node.number] = node.function.__name__
            todo += [x._node for x in node.inputs if x is not None]
    return [found[number] for number in sorted(found)]


def images(rng):
    return rng.standard_normal((4, 3, 9, 8)).astype(np.float32)


def run(net, x):
    x = Tensor(x, requires_grad=True)
    output = net(x)
    (output * Tensor(np.linspace(-1, 1, output.data.size, dtype=x.dtype).reshape(output.shape))).sum().backward()
    grads = [x.grad.data, *(p.grad.data for p in net.parameters())]
    net.zero_grad()
    return output, grads


@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_statistics_are_those_of_the_separate_layers(backend, rng, training):
    fused, apart, x = block().train(training), block().train(training), images(rng)
    apart.load_state_dict(fused.state_dict())
    apart[1].register_forward_hook(lambda *_: None)
    apart[4].register_forward_pre_hook(lambda *_: None)
    (output, grads), (expected, wanted) = run(fused, x), run(apart, x)
    assert sum("BatchNormReLU" in kind for kind in kinds(fused(x))) == 2
    assert not any("BatchNormReLU" in kind for kind in kinds(apart(x)))
    np.testing.assert_array_equal(output.data, expected.data)
    for grad, want in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(grad, want, rtol=2e-6, atol=2e-7)
    assert fused.state_dict().keys() == apart.state_dict().keys()
    for name, value in fused.state_dict().items():
        np.testing.assert_array_equal(value, apart.state_dict()[name])
    assert int(fused[1].num_batches_tracked.data) == 2 * int(training)


def watch_module(net):
    net[1].register_forward_hook(lambda *_: None)


def watch_relu(net):
    net[2].register_forward_pre_hook(lambda *_: None)


def own_forward(net):
    net[2].forward = lambda x: F.relu(x)


def own_class(net):
    class MyReLU(nn.ReLU):
        pass

    net[2] = MyReLU()


def other_layer(net):
    net[2] = nn.LeakyReLU(0.0)


@pytest.mark.parametrize("change", [watch_module, watch_relu, own_forward, own_class, other_layer])
def test_it_is_off_where_somebody_looks_between_the_two_or_changes_one(rng, change):
    net = block()
    change(net)
    assert [k for k in kinds(net(images(rng))) if "BatchNormReLU" in k] == ["BatchNormReLUTraining"]  # the other pair


def test_a_removed_hook_switches_it_on_again_and_a_hook_sees_the_values_between(rng):
    net, seen = block(), []
    remove = net[1].register_forward_hook(lambda module, inputs, output: seen.append(output.data))
    net(images(rng))
    assert (seen[0] < 0).any()
    remove()
    assert "BatchNormTraining" not in kinds(net(images(rng)))


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_grad", "channel_affine"])
@pytest.mark.parametrize("training", [True, False])
def test_no_replaced_kernel_is_bypassed(rng, name, training):
    """A kernel that returns twice as much must change the output, or the gradients, or both: whatever it serves."""
    net, x = block().train(training), images(rng)

    def doubled(*args, **options):
        result = getattr(numba_cpu, name)(*args, **options)
        return (2 * result[0], *result[1:]) if isinstance(result, tuple) else 2 * result

    output, grads = run(net, x)
    with ms.use_kernels(**{name: doubled}):
        changed, changed_grads = run(net, x)
    same = np.array_equal(output.data, changed.data), np.array_equal(grads[0], changed_grads[0])
    serves = {"batch_norm": (training, 0), "batch_norm_grad": (0, training), "channel_affine": (not training, 0)}[name]
    assert same[0] != serves[0]
    if any(serves):
        assert not same[1]


@pytest.mark.parametrize(
    ("name", "training"),
    [("batch_norm_relu", True), ("batch_norm_relu_grad", True), ("channel_affine_relu", False)],
)
def test_the_fused_kernels_have_seats_themselves_and_backward_uses_the_ones_of_the_forward(rng, name, training):
    net, x, calls = block().train(training), images(rng), []

    def counted(*args, **options):
        calls.append(name)
        return getattr(reference, name)(*args, **options)

    with ms.use_kernels(**{name: counted}):
        output = net(Tensor(x, requires_grad=True))
    output.sum().backward()
    assert len(calls) == 2


def test_two_axes_and_wrong_channels_get_the_error_of_batch_norm(rng):
    net = nn.Sequential(nn.BatchNorm2d(5), nn.ReLU())
    with pytest.raises(ValueError, match="4 axes"):
        net(np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"5 channels|3 channels"):
        net(images(rng))


def test_a_summary_lists_both_layers(rng):
    net = models.UNet(3, 2, base_channels=4, depth=2)
    listed = [row.kind for row in net.summary((3, 16, 16)).rows]
    assert listed.count("BatchNorm2d") == listed.count("ReLU") == 10
    assert sum("BatchNormReLU" in kind for kind in kinds(net(rng.random((1, 3, 16, 16), dtype=np.float32)))) == 10


def folding(bias=True):
    """Return a net in which three pairs can be folded, with weights and statistics that are all different."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 5, 3, padding=1, bias=bias), nn.BatchNorm2d(5), nn.ReLU()),
        *(nn.Conv2d(5, 6, 3, stride=2), nn.BatchNorm2d(6)),
        *(nn.Conv2d(6, 4, 1), nn.ReLU()),
    )
    rng = np.random.default_rng(1)
    for layer in (net[1], net[4]):
        layer.weight.data, layer.bias.data = rng.standard_normal((2, layer.num_features)).astype(np.float32)
        layer.running_mean.data, layer.running_var.data = rng.random((2, layer.num_features)).astype(np.float32)
    return net.eval()


def apart(net, x):
    """Return what the layers give one by one."""
    with ms.no_grad():
        for layer in net:
            x = layer(x)
    return x


def calls_of(net, x, *names):
    """Return how often each kernel is called by a prediction."""
    calls = dict.fromkeys(names, 0)

    def counted(name):
        def kernel(*args, **options):
            calls[name] += 1
            return getattr(conv_reference if name.startswith("conv") else reference, name)(*args, **options)

        return kernel

    with ms.no_grad(), ms.use_kernels(**{name: counted(name) for name in names}):
        net(x)
    return calls


@pytest.mark.parametrize("bias", [True, False])
def test_a_prediction_folds_batch_norm_into_the_weights(backend, rng, bias):
    net, x = folding(bias), images(rng)
    before = {name: value.copy() for name, value in net.state_dict().items()}
    with ms.no_grad():
        output = net(x)
    np.testing.assert_allclose(output.data, apart(net, x).data, rtol=1e-5, atol=1e-6)
    assert calls_of(net, x, "conv2d_relu") == {"conv2d_relu": 2}
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("name", ["conv2d", "channel_affine", "channel_affine_relu"])
def test_folding_bypasses_no_replaced_kernel(rng, name):
    net, x = folding(), images(rng)
    assert calls_of(net, x, name)[name] == {"conv2d": 3, "channel_affine": 2, "channel_affine_relu": 1}[name]


def test_nothing_is_folded_where_something_learns_or_moves(rng):
    net, x = folding(), images(rng)
    assert "BatchNormReLUEvaluation" in kinds(net(x))
    with ms.no_grad():
        statistics = net[1].running_mean.data.copy()
        net.train()(x)
    assert (net[1].running_mean.data != statistics).all()


@pytest.mark.parametrize("watched", [0, 1, 2])
def test_a_hook_on_any_of_the_three_sees_what_it_would_see_without_folding(rng, watched):
    net, x, seen = folding(), images(rng), []
    net[watched].register_forward_hook(lambda module, inputs, output: seen.append(output.data))
    with ms.no_grad():
        net(x)
    np.testing.assert_allclose(seen[0], apart(list(net)[: watched + 1], x).data, rtol=1e-5, atol=1e-6)


def test_wrong_channels_are_told_by_the_layer_that_got_them(rng):
    with ms.no_grad():
        with pytest.raises(ValueError, match="expects 3 input channels"):
            folding()(rng.random((1, 4, 9, 9), dtype=np.float32))
        with pytest.raises(ValueError, match="7 channels"):
            nn.Sequential(nn.Conv2d(3, 7, 3), nn.BatchNorm2d(5)).eval()(images(rng))


def test_convolution_and_relu_together_are_both_layers_by_themselves(backend, rng):
    net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 3))
    alone = nn.Sequential(*net)
    x, (output, grads) = images(rng), run(net, images(np.random.default_rng(0)))
    assert kinds(net(x))[0] == "Conv2dReLU"
    alone[1].register_forward_hook(lambda *_: None)
    expected, wanted = run(alone, images(np.random.default_rng(0)))
    assert kinds(alone(x))[:2] == ["Conv2d", "ReLU"]
    np.testing.assert_array_equal(output.data, expected.data)
    for grad, want in zip(grads, wanted, strict=True):
        np.testing.assert_array_equal(grad, want)
    x[0, 0, 4, 4] = np.nan
    assert np.isnan(conv2d_relu(x, net[0].weight)[0].data).any()
