"""The conformance tests that ONNX publishes, over both backends; ``docs/conformance.md`` has the table."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import backend as kernel_choice

onnx = pytest.importorskip("onnx", reason="the package onnx, which brings the test cases, is not installed")

import onnx_adapter  # noqa: E402
import onnx_cases  # noqa: E402
from onnx_cases import AGAIN, IN_SCOPE, all_cases, cases_to_run, why_left_out  # noqa: E402
from onnx_check import check  # noqa: E402
from onnx_report import BACKENDS, COUNT, LEFT_OUT, table  # noqa: E402

# How many cases ran when this was written, with onnx 1.23: a change that loses some must not go unnoticed.
AT_LEAST = {
    "Conv": 6,
    "ConvTranspose": 10,
    "MaxPool": 15,
    "MaxUnpool": 2,
    "AveragePool": 14,
    "GlobalAveragePool": 2,
    "GlobalMaxPool": 2,
    "BatchNormalization": 4,
    "Resize": 15,
    "Upsample": 1,
    "Softmax": 7,
    "LogSoftmax": 7,
    "SoftmaxCrossEntropyLoss": 34,
    "NegativeLogLikelihoodLoss": 18,
    "Relu": 1,
    "Sigmoid": 2,
    "Concat": 12,
    "Pad": 6,
    "CenterCropPad": 6,
    "ArgMax": 16,
    "pytorch-converted": 58,
    "pytorch-operator": 7,
}
# The kernels behind these operators; the others of the contract are gradients, or written in NumPy for every backend.
SEATS = (
    *("conv2d", "conv2d_grad_input", "max_pool2d", "scatter_to_plane", "resize_bilinear"),
    *("batch_norm", "channel_affine", "softmax_cross_entropy"),
)


def named(cases):
    return [pytest.param(case, id=f"{case.row}-{case.name}") for case in cases]


def run_and_check(case):
    values, expected = case.data()
    check(case, values, onnx_adapter.run(case, values), expected)


@pytest.mark.parametrize("case", named(cases_to_run()))
def test_case(case, backend, record_property):
    record_property(COUNT, [case.row, backend])
    run_and_check(case)


def test_every_case_is_run_or_left_out_with_a_reason(record_property):
    record_property(LEFT_OUT, {row: dict(counts) for row, counts in onnx_cases.left_out().items()})
    reasons = [why_left_out(case) for case in all_cases()]
    assert len(cases_to_run()) == reasons.count(None)
    assert all(reason is None or reason.strip() for reason in reasons)
    names = [(case.kind, case.name) for case in all_cases()]
    assert len(set(names)) == len(names)


def test_at_least_as_many_cases_run_as_when_this_was_written():
    ran = Counter(case.row for case in cases_to_run())
    assert {row: ran[row] for row in AT_LEAST if ran[row] < AT_LEAST[row]} == {}
    assert set(IN_SCOPE) <= set(AT_LEAST)


def test_the_page_in_the_docs_shows_the_table_of_today():
    if not onnx.__version__.startswith("1.23."):
        pytest.skip(f"docs/conformance.md counts the cases of onnx 1.23, this is {onnx.__version__}")
    ran = Counter((case.row, backend) for case in cases_to_run() for backend in BACKENDS)
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
    lines = table(ran, ran, onnx_cases.left_out())
    assert [line for line in lines if line not in page.splitlines()] == []


@pytest.mark.slow
def test_no_case_hides_in_a_module_that_was_not_imported():
    from onnx.backend.test.loader import load_model_tests

    ours = {case.name for case in all_cases() if case.kind == "node"}
    state = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings(action="ignore"):  # ONNX's own casts overflow
        everything = load_model_tests(kind="node")
    np.random.set_state(state)  # noqa: NPY002
    first = {test.name.removeprefix("test_"): test.model.graph.node[0].op_type for test in everything}
    missing = [n for n, operator in first.items() if operator in IN_SCOPE and "_expanded" not in n and n not in ours]
    assert len(everything) > len(ours)
    assert missing == []


def test_the_twin_of_a_graph_of_primitives_has_the_same_numbers_and_is_run():
    run = {case.name: case for case in cases_to_run()}
    twins = [case for case in all_cases() if why_left_out(case) == AGAIN]
    assert twins
    for case in twins:
        original = run[case.name.partition("_expanded")[0]]
        assert case.source == original.source or all(a is b for a, b in zip(case.source, original.source, strict=True))


@pytest.mark.parametrize("case", named(c for c in all_cases() if why_left_out(c) not in (None, AGAIN)))
def test_nothing_is_left_out_that_could_be_run(case):
    """If one of these passes some day, its reason is to be struck."""
    with pytest.raises((AssertionError, KeyError, NotImplementedError, TypeError, ValueError)):
        run_and_check(case)


def test_the_comparison_sees_one_wrong_number():
    for case in cases_to_run():
        values, expected = case.data()
        for name, array in expected.items():
            results = {k: np.array(v) for k, v in expected.items()}
            worst = np.unravel_index(np.argmax(np.abs(array)), np.shape(array))
            results[name][worst] += 1 if results[name].dtype.kind in "iu" else max(1e-3, 1e-3 * abs(array[worst]))
            with pytest.raises(AssertionError, match="off by up to"):
                check(case, values, results, expected)


@pytest.mark.parametrize(("seat", "wrong"), [*((seat, "values") for seat in SEATS), ("max_pool2d", "places")])
def test_a_wrong_kernel_fails_every_case_that_calls_it(seat, wrong, backend):
    """A suite that passes without looking is worthless: put a wrong kernel in a seat, and every case that calls it fails."""
    right = kernel_choice.find_kernel(seat, backend)
    calls = []

    def broken(*args, **kwargs):
        calls.append(seat)
        results = right(*args, **kwargs)
        values, *rest = results if isinstance(results, tuple) else (results,)
        if wrong == "places":
            return values, np.where(rest[0] > 0, rest[0] - 1, 1)
        return (2 * values + 1, *rest) if rest else 2 * values + 1

    reached = 0
    for case in cases_to_run():
        values, expected = case.data()
        if wrong == "places" and len(expected) == 1:
            continue
        del calls[:]
        with ms.use_kernels(**{seat: broken}):
            results = onnx_adapter.run(case, values)
        if calls:
            reached += 1
            with pytest.raises(AssertionError, match="off by up to"):
                check(case, values, results, expected)
    assert reached
