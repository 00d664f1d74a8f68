"""Optimizers, schedules and clipping against PyTorch step by step, and their own promises."""

import json

import numpy as np
import pytest
from kernel_checks import run_python

import minisegnet as ms
from minisegnet import nn, optim
from minisegnet.autograd import Tensor

SHAPES = [(3, 4), (5,), (2, 3, 2, 2), ()]


def pair_of_parameters(torch, dtype, seed=0):
    """Equal parameters here and in PyTorch, and a function that gives both the gradients of step t."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=s).astype(dtype) for s in SHAPES]
    ours = [Tensor(np.array(v), requires_grad=True) for v in values]
    theirs = [torch.tensor(v, requires_grad=True) for v in values]

    def set_gradients(t):
        rng = np.random.default_rng(1000 + t)
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            # Parameter 1 gets no gradient at some steps: it must rest, and its step count with it.
            g = None if i == 1 and t % 3 == 1 else (rng.normal(size=a.shape) * 10.0 ** (t % 5 - 3)).astype(dtype)
            a.grad = None if g is None else Tensor(np.array(g))
            b.grad = None if g is None else torch.tensor(g)

    return ours, theirs, set_gradients


def assert_same(ours, theirs, dtype, steps):
    # Each step rounds a handful of numbers no larger than the parameters: c * steps * eps, relative to their size.
    eps = np.finfo(dtype).eps
    for a, b in zip(ours, theirs, strict=True):
        b = b.detach().numpy()
        assert a.dtype == dtype
        np.testing.assert_allclose(a.data, b, rtol=0, atol=8 * steps * eps * max(1.0, np.abs(b).max()))


OPTIMIZERS = [
    ("SGD", {"lr": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    ("Adam", {}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "betas": (0.5, 0.9), "weight_decay": 0.3}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_trajectory_is_that_of_pytorch(backend, name, options, dtype):
    torch = pytest.importorskip("torch")
    ours, theirs, set_gradients = pair_of_parameters(torch, dtype)
    # Two groups: the second with a rate of its own.
    a = getattr(optim, name)([{"params": ours[:2]}, {"params": ours[2:], "lr": 0.005}], **options)
    b = getattr(torch.optim, name)([{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.005}], **options)
    for t in range(60):
        set_gradients(t)
        a.step(), b.step()
        assert_same(ours, theirs, dtype, t + 1)


@pytest.fixture
def counted(monkeypatch):
    """Count the calls of each compiled loop."""
    from minisegnet.kernels.optimizer import numba_cpu

    calls = {}

    def count(name, loops):
        def wrapper(*args):
            calls[name] = calls.get(name, 0) + 1
            loops(*args)

        monkeypatch.setitem(numba_cpu.LOOPS, name, wrapper)

    for name, loops in list(numba_cpu.LOOPS.items()):
        count(name, loops)
    return calls


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_compiled_steps_are_those_of_numpy(counted, name, options, dtype):
    """Parameters smaller and larger than a block, and one number over two blocks."""
    from minisegnet.kernels.optimizer.numba_cpu import SMALL

    rng = np.random.default_rng(0)
    shapes = [(3, 5), (SMALL,), (SMALL + 1,), (3, SMALL // 2)]
    start, results = [rng.normal(size=s).astype(dtype) for s in shapes], []
    for backend in ("reference", "numba"):
        params = [Tensor(a.copy(), requires_grad=True) for a in start]
        optimizer = getattr(optim, name)(params, **{"lr": 0.01, **options})
        with ms.use_backend(backend):
            for t in range(1, 4):
                for p in params:
                    p.grad = Tensor(np.sin(t * p.data + t))
                optimizer.step()
        results.append(params)
    loops = "sgd" if name == "SGD" else "adam"
    assert counted == {(loops, False): 6, (loops, True): 6}
    assert_same(results[0], [Tensor(p.data) for p in results[1]], dtype, 3)


def test_steps_in_odd_memory_are_right_too(counted):
    """A parameter with gaps is served by NumPy, a gradient with gaps by the compiled loops; a state of the wrong type follows."""
    rng = np.random.default_rng(0)
    values, grads = rng.normal(size=(2, 4, 6)).astype(np.float32)
    expected = Tensor(values.copy(), requires_grad=True)
    expected.grad = Tensor(grads)
    optim.Adam([expected]).step()
    for memory, gradient in ((np.zeros((4, 12), "f4")[:, ::2], grads), (np.zeros((4, 6), "f4"), grads.T.copy().T)):
        memory[...] = values
        p = Tensor(memory, requires_grad=True)
        p.grad = Tensor(gradient)
        optim.Adam([p]).step()
        np.testing.assert_allclose(memory, expected.data, rtol=1e-6)
    assert counted == {("adam", False): 2}
    read_only = values.copy()
    read_only.flags.writeable = False
    p = Tensor(read_only, requires_grad=True)
    p.grad = Tensor(grads)
    with pytest.raises(ValueError, match="read-only"):
        optim.SGD([p]).step()


def test_nan_and_infinity_come_through_the_compiled_steps():
    for name in ("Adam", "AdamW", "SGD"):
        p = Tensor(np.array([1, np.inf, 1, 1], np.float32), requires_grad=True)
        p.grad = Tensor(np.array([np.nan, 1, np.inf, 1], np.float32))
        getattr(optim, name)([p], weight_decay=0).step()
        assert np.isnan(p.data[0])
        assert p.data[1] == np.inf
        assert not np.isfinite(p.data[2])
        assert np.isfinite(p.data[3])


def check_without_compiler():
    from minisegnet.kernels.optimizer import numba_cpu

    assert type(numba_cpu._adam_line).__name__ == "function"
    for name in ("Adam", "SGD"):
        p = Tensor(np.ones(3, np.float32), requires_grad=True)
        p.grad = Tensor(np.array([1, 0, -1], np.float32))
        getattr(optim, name)([p], lr=0.5).step()
        np.testing.assert_allclose(p.data, [0.5, 1, 1.5], rtol=1e-6)


def test_the_loops_run_without_the_compiler():
    run_python("import test_optim as t; t.check_without_compiler()", NUMBA_DISABLE_JIT="1")


def test_defaults_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    for name in ("SGD", "Adam", "AdamW"):
        a = getattr(optim, name)([Tensor(np.ones(2), requires_grad=True)])
        b = getattr(torch.optim, name)([torch.ones(2, requires_grad=True)])
        for key, value in a.defaults.items():
            assert value == b.defaults[key], (name, key)


SCHEDULES = [
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 60}),
    ("OneCycleLR", {"max_lr": [0.1, 0.02], "epochs": 6, "steps_per_epoch": 10, "pct_start": 0.25, "div_factor": 5.0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 61, "anneal_strategy": "linear", "final_div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 60, "three_phase": True, "base_momentum": 0.5, "max_momentum": 0.9}),
    ("OneCycleLR", {"max_lr": 0.1, "total_steps": 60, "cycle_momentum": False}),
    ("CosineAnnealingLR", {"T_max": 40, "eta_min": 1e-4}),  # runs beyond T_max and rises again
    ("StepLR", {"step_size": 7, "gamma": 0.3}),
]


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES)
def test_rates_are_those_of_pytorch(name, options, kind):
    torch = pytest.importorskip("torch")
    ours, theirs, set_gradients = pair_of_parameters(torch, np.float64)
    settings = {"lr": 0.05, **({"momentum": 0.9} if kind == "SGD" else {})}
    a = getattr(optim, kind)([{"params": ours[:2]}, {"params": ours[2:], "lr": 0.01}], **settings)
    b = getattr(torch.optim, kind)([{"params": theirs[:2]}, {"params": theirs[2:], "lr": 0.01}], **settings)
    s = getattr(optim, name)(a, **options)
    r = getattr(torch.optim.lr_scheduler, name)(b, **options)
    for t in range(60):
        np.testing.assert_allclose(s.get_last_lr(), r.get_last_lr(), rtol=1e-12)
        for g, h in zip(a.param_groups, b.param_groups, strict=True):
            if kind == "SGD":
                assert g["momentum"] == pytest.approx(h["momentum"], rel=1e-12)
            else:
                assert g["betas"] == pytest.approx(h["betas"], rel=1e-12)
        set_gradients(t)
        a.step(), b.step()
        s.step(), r.step()
        assert_same(ours, theirs, np.float64, 4 * (t + 1))


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"mode": "max", "patience": 1, "cooldown": 2, "factor": 0.5},
        {"threshold": 0.05, "threshold_mode": "abs", "patience": 0, "min_lr": 1e-3},
        {"mode": "max", "threshold": 0.1, "threshold_mode": "abs", "patience": 3, "eps": 1e-3},
    ],
)
def test_plateau_is_that_of_pytorch(options):
    torch = pytest.importorskip("torch")
    a = optim.SGD([Tensor(np.ones(2), requires_grad=True)], lr=0.1)
    b = torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=0.1)
    s, r = optim.ReduceLROnPlateau(a, **options), torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options)
    rng = np.random.default_rng(3)
    changes = {0.1}
    values = [float("nan"), *(0.8 + 0.2 * rng.random(60) - np.arange(60) * 0.004)]
    for value in values:
        s.step(value), r.step(value)
        assert s.get_last_lr() == r.get_last_lr()
        changes.add(s.get_last_lr()[0])
    assert len(changes) > 2  # the rate did fall, more than once


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clipping_is_that_of_pytorch(max_norm, norm_type):
    torch = pytest.importorskip("torch")
    ours, theirs, set_gradients = pair_of_parameters(torch, np.float64)
    set_gradients(4)
    before = ours[0].grad.data.copy()
    a = optim.clip_grad_norm_(ours, max_norm, norm_type)
    b = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert a == pytest.approx(float(b), rel=1e-12)
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)
    assert (max_norm == 1e6) == np.array_equal(before, ours[0].grad.data)


def test_norm_does_not_overflow_in_float32_and_reports_nan():
    p = Tensor(np.zeros(4, np.float32), requires_grad=True)
    p.grad = Tensor(np.full(4, 3e38, np.float32))
    assert optim.grad_norm([p]) == pytest.approx(6e38)
    optim.clip_grad_norm_(p, 1.0)
    np.testing.assert_allclose(p.grad.data, 0.5, rtol=1e-6)
    for kind in (2.0, float("inf")):
        p.grad = Tensor(np.array([1, np.nan, 2, 0], np.float32))
        assert np.isnan(optim.grad_norm([p], kind))
    with pytest.raises(RuntimeError, match="nan"):
        optim.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="max_norm"):
        optim.clip_grad_norm_([p], 0)


def quadratic_steps(optimizer, p, count, scheduler=None):
    for _ in range(count):
        optimizer.zero_grad()
        ((p - 3.0) ** 2).sum().backward()
        optimizer.step()
        if scheduler:
            scheduler.step()


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_state_travels_through_text_and_arrays_and_the_run_goes_on_bit_for_bit(name, options):
    def fresh():
        p = Tensor(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), requires_grad=True)
        optimizer = getattr(optim, name)([p], **{"lr": 0.01, **options})
        cycle = name != "SGD" or "momentum" in options
        return p, optimizer, optim.OneCycleLR(optimizer, 0.1, 20, cycle_momentum=cycle)

    p, optimizer, schedule = fresh()
    quadratic_steps(optimizer, p, 20, schedule)
    q, first, first_schedule = fresh()
    quadratic_steps(first, q, 7, first_schedule)
    state = first.state_dict()
    groups = json.loads(json.dumps(state["param_groups"]))
    schedule_state = json.loads(json.dumps(first_schedule.state_dict()))
    kept = q.data.copy()
    quadratic_steps(first, q, 1)  # the snapshot must not follow
    r, second, second_schedule = fresh()
    r.data = kept
    second.load_state_dict({"state": {str(i): m for i, m in state["state"].items()}, "param_groups": groups})
    second_schedule.load_state_dict(schedule_state)
    quadratic_steps(second, r, 13, second_schedule)
    np.testing.assert_array_equal(r.data, p.data)


def test_an_assigned_array_a_loaded_state_and_a_new_type_win():
    layer = nn.Linear(3, 2)
    optimizer = optim.Adam(layer.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        (layer(np.ones((4, 3), layer.weight.dtype)) ** 2).sum().backward()
        optimizer.step()

    step()
    mine = np.full((2, 3), 5, np.float32)
    layer.weight.data = mine
    step()
    assert layer.weight.data is mine
    assert (mine < 5).all()
    assert (mine > 4).all()
    layer.load_state_dict({"weight": np.full((2, 3), 7.0), "bias": np.zeros(2)})
    step()
    assert (abs(layer.weight.data - 7) < 0.3).all()
    layer.to(np.float64)
    step()
    assert layer.weight.dtype == np.float64
    assert optimizer.state[0]["exp_avg"].dtype == np.float64
    layer.weight.data = np.ones((2, 4))
    layer.weight.grad = Tensor(np.ones((2, 4)))
    with pytest.raises(ValueError, match="shape changed"):
        optimizer.step()


def test_step_updates_in_place_and_zero_grad_forgets():
    p = Tensor(np.ones(3), requires_grad=True)
    memory = p.data
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = Tensor(np.ones(3))
    optimizer.step()
    assert p.data is memory
    np.testing.assert_allclose(memory, 0.9)
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(p.grad.data, 0)
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.step()  # nothing has a gradient: nothing happens
    np.testing.assert_allclose(memory, 0.9)


def test_bad_arguments_are_named():
    p, q = (Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    model = nn.Linear(2, 2)
    used_up = model.parameters()
    list(used_up)
    with pytest.raises(ValueError, match="nothing to optimize"):
        optim.SGD(used_up)
    with pytest.raises(TypeError, match="single"):
        optim.SGD(p)
    with pytest.raises(TypeError, match="number 1 is ndarray"):
        optim.SGD([p, np.ones(3)])
    with pytest.raises(ValueError, match="appears twice"):
        optim.SGD([{"params": [p]}, {"params": [q, p]}])
    with pytest.raises(ValueError, match="result of an operation"):
        optim.SGD([p * 2])
    with pytest.raises(ValueError, match=r"lr .*-1"):
        optim.SGD([p], lr=-1)
    with pytest.raises(ValueError, match="betas"):
        optim.Adam([p], betas=(0.9, 1.0))
    with pytest.raises(TypeError, match="unknown setting learning_rate"):
        optim.SGD([{"params": [p], "learning_rate": 1}])
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="no momentum"):
        optim.OneCycleLR(optim.Optimizer([p], {"lr": 0.1}), 0.1, 10)
    with pytest.raises(ValueError, match="total_steps"):
        optim.OneCycleLR(optim.Adam([p]), 0.1)
    schedule = optim.OneCycleLR(optim.Adam([p]), 0.1, 2)
    schedule.step(), schedule.step()
    with pytest.raises(ValueError, match="made for 2 steps"):
        schedule.step()


def test_foreign_states_are_refused_and_nothing_changes():
    p = Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.Adam([p], lr=0.5)
    p.grad = Tensor(np.ones(3))
    optimizer.step()
    good = optimizer.state_dict()
    wrong = [
        ({}, "no state"),
        ({"state": {}, "param_groups": [{"params": [0, 1]}]}, r"\[2\]"),
        ({"state": {}, "param_groups": optim.SGD([p]).state_dict()["param_groups"]}, "another kind"),
        ({**good, "state": {0: {"step": 1, "exp_avg": np.ones(4)}}}, r"exp_avg of parameter 0 has shape \(4,\)"),
    ]
    for state, message in wrong:
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
    np.testing.assert_array_equal(optimizer.state[0]["exp_avg"], good["state"][0]["exp_avg"])
    with pytest.raises(ValueError, match="no state of StepLR"):
        optim.StepLR(optimizer, 3).load_state_dict({"last_epoch": 1})
