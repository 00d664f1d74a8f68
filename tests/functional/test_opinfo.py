"""PyTorch's own OpInfo samples: every one, forward and backward, both types, both backends; and its inputs that must fail."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F

torch = pytest.importorskip("torch", reason="PyTorch, the peer of these tests, is not installed")
methods = pytest.importorskip(
    "torch.testing._internal.common_methods_invocations",
    reason="PyTorch's OpInfo samples need the package expecttest",
    exc_type=ImportError,
)

NAMES = ["conv2d", "conv_transpose2d", "max_pool2d", "max_unpool2d"]
OPERATIONS = [op for op in methods.op_db if op.name.removeprefix("nn.functional.") in NAMES]


def ours(value, tape=True):
    """Turn PyTorch's tensors into ours, in tuples too."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy()
        return ms.Tensor(array.copy(), requires_grad=tape and array.dtype.kind == "f")
    return value


def call(op, sample, convert):
    function = getattr(F, op.name.removeprefix("nn.functional."))
    return function(
        convert(sample.input), *map(convert, sample.args), **{k: convert(v) for k, v in sample.kwargs.items()}
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "op", OPERATIONS, ids=lambda op: f"{op.name[14:]}{'-' * bool(op.variant_test_name)}{op.variant_test_name}"
)
def test_every_sample_agrees_with_pytorch(op, dtype, backend):
    rng = np.random.default_rng(0)
    tolerance = 2e-5 if dtype is torch.float32 else 1e-11
    count = 0
    for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
        theirs_in = [t for t in (sample.input, *sample.args) if isinstance(t, torch.Tensor) and t.requires_grad]
        theirs = op(sample.input, *sample.args, **sample.kwargs)
        ours_in = []

        def convert(value, kept=ours_in):
            tensor = ours(value)
            if isinstance(tensor, ms.Tensor) and tensor.requires_grad:
                kept.append(tensor)
            return tensor

        result = call(op, sample, convert)
        pairs = list(zip(*((r if isinstance(r, tuple) else (r,)) for r in (result, theirs)), strict=True))
        for mine, other in pairs:
            assert mine.shape == tuple(other.shape)
            assert str(mine.dtype) == str(other.dtype).removeprefix("torch.")
            if mine.dtype.kind == "f":
                np.testing.assert_allclose(
                    mine.detach().numpy(), other.detach().numpy(), rtol=tolerance, atol=tolerance
                )
            else:
                np.testing.assert_array_equal(mine.numpy(), other.numpy())
        mine, other = pairs[0]
        if other.requires_grad:
            grad = rng.standard_normal(mine.shape).astype(mine.dtype)
            mine.backward(grad)
            other.backward(torch.from_numpy(grad))
            for x, y in zip(ours_in, theirs_in, strict=True):
                scale = max(1.0, float(np.abs(y.grad.numpy()).max(initial=0.0)))
                np.testing.assert_allclose(
                    x.grad.numpy() / scale, y.grad.numpy() / scale, rtol=tolerance, atol=tolerance
                )
        count += 1
    assert count >= 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", [op for op in OPERATIONS if op.error_inputs_func], ids=lambda op: op.name[14:])
def test_every_error_input_raises(op, backend):
    count = 0
    for error in op.error_inputs("cpu"):
        with pytest.raises((TypeError, ValueError)) as caught:
            call(op, error.sample_input, lambda value: ours(value, tape=False))
        assert len(str(caught.value)) > 20
        assert "broadcast" not in str(caught.value)
        count += 1
    assert count >= 1
