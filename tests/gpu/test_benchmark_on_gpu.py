"""``benchmarks/gpu.py``: both sides do the same work, tables say what was measured, and it runs to its end without a card."""

import importlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpu import compilers, cupy_stand_in, emulator

import minisegnet
from minisegnet.course.last_on_gpu import FILE, NOTHING, last_on_gpu

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """Return a function that imports a file of the command; they are scripts, so their folder is on the path for as long."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture
def free_flags():
    """Let cuDNN's flags be set, and set them back: PyTorch's own test helpers, once imported, lock them for the process."""
    backends = pytest.importorskip("torch", reason="PyTorch is not installed").backends
    with backends.__allow_nonbracketed_mutation():
        before = backends.cudnn.allow_tf32, backends.cudnn.benchmark
        yield
        backends.cudnn.allow_tf32, backends.cudnn.benchmark = before


def numbers(result):
    parts = [getattr(p, "data", p) for p in (result if isinstance(result, tuple) else (result,)) if p is not None]
    return [np.asarray(p.get() if hasattr(p, "get") else p.detach().cpu()) for p in parts]


@pytest.fixture(autouse=True)
def exact_again():
    yield
    minisegnet.set_float32_matmul_precision("highest")


def test_both_sides_do_the_same_work(gpu, bench, free_flags):
    """Every row, every way of PyTorch: the results are ours."""
    pytest.importorskip("torch", reason="PyTorch is not installed: there is nothing to compare with")
    seen = 0
    for row in bench("gpu_rows").rows(tiny=True).values():
        mine = row.make("minisegnet")
        training = row.group == "U-Net, training step"
        both = "Geometry" in repr(row.make) or row.group.startswith("U-Net")  # convolutions: also in TF32
        assert list(mine) == ["minisegnet"] + ["minisegnet, TF32"] * both + ["minisegnet, step captured"] * training
        found = mine["minisegnet"]()()
        if both:
            mine["minisegnet, TF32"]()()
        if row.group == "card" or found is None:
            continue
        theirs = row.make("torch")
        assert len(theirs) >= 2
        assert sum(way.startswith("strict float32") for way in theirs) == (
            3 if row.group.startswith("U-Net") else 2 if "Geometry" in repr(row.make) else 0
        )
        for way, build in theirs.items():
            pairs = list(zip(numbers(found), numbers(build()()), strict=False))
            assert pairs
            for one, other in pairs:
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3, err_msg=f"{row.key}, {way}")
        seen += 1
    assert seen > 25


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_command_runs_to_its_end_without_a_card(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: the command compares with it")
    if emulator.missing():
        pytest.skip(emulator.missing())
    some = ["training step", "depthwise", "Adam"]
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--tiny", "--emulated", "--results", str(tmp_path), "--only"]
    done = subprocess.run([*command, *some], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("gpu_emulated_*.json")
    results = json.loads(file.read_text())
    assert len(results["rows"]) == 3 + 1 + 3 + 1
    for key, entry in results["rows"].items():
        ways = entry["seconds"]
        captured = ["minisegnet, step captured"] if "training step" in key else []
        rounded = ["minisegnet, TF32"] if "training step" in key or "depthwise" in key else []
        assert list(ways["minisegnet"]) == ["minisegnet", *rounded, *captured], key
        assert all(seconds > 0 for way in ways.values() for (seconds,) in way.values())
        assert ("torch" in ways) == (entry["group"] != "card")
    net = results["rows"]["U-Net, training step: 2x3x16x16 base 1"]["seconds"]["torch"]
    assert len(net) == 6
    assert "torch.compile" in net
    page = file.with_suffix(".md").read_text()
    assert "**Nothing here was measured on a card.**" in page
    assert "| depthwise 3x3 |" in page
    assert "| kernel by kernel, ms | captured, ms |" in page


def test_what_is_missing_is_told(tmp_path):
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount():
            pytest.skip("there is a GPU: the command would measure")
    except Exception:  # not installed, no driver, no card
        pass
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--all", "--results", str(tmp_path / "results")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Nothing was measured.\n- CuPy ")
    assert not list(tmp_path.iterdir())


def test_a_way_that_fails_leaves_the_others(gpu, bench):
    engines = bench("engines")
    command = runpy.run_path(str(BENCHMARKS / "gpu.py"))  # its name is that of this folder, so it is not imported
    ways = {"broken": lambda: 1 / 0, "whole": lambda: lambda: None}
    row = engines.Row("group", "case", lambda engine: ways)
    answer = command["measure"](row, "minisegnet", 0.0)
    assert list(answer["seconds"]) == ["whole"]
    assert answer["failed ways"] == {"broken": "ZeroDivisionError: division by zero"}
    results = {"rows": {row.key: {"seconds": {}, "failed": {}}}, "held": {}}
    command["add"](results, row, "minisegnet", answer)
    assert results["rows"][row.key]["failed"] == {"minisegnet, broken": "ZeroDivisionError: division by zero"}


def test_tables_say_what_was_measured(bench):
    page = bench("gpu_page")

    def entry(group, name, flops, moved, mine, **theirs):
        seconds = {"minisegnet": {"minisegnet": mine}, "torch": theirs}
        return {"group": group, "name": name, "flops": flops, "moved": moved, "seconds": seconds, "failed": {}}

    work = entry(
        "conv 3x3", "one", 4e9, 1e6, [0.003, 0.002, 0.005], eager=[0.004], **{"strict float32, eager": [0.008]}
    )
    results = {
        "rows": {
            "card: triad": entry("card", "triad", 0.0, 1e9, [0.001]),
            "card: multiply-adds in float32": entry("card", "multiply-adds in float32", 1e10, 0.0, [0.001]),
            "conv 3x3: one": work,
        },
        "held": {"conv 3x3: one": {"minisegnet": {"minisegnet": 2**20}, "torch": {"a": 2**22, "b": 2**21}}},
    }
    assert page.share(results, work) == pytest.approx(0.2)  # 4e9 operations at 1e13 a second are 0.4 ms of 2
    work["moved"] = 1e9  # at 1e12 bytes a second 1 ms, which counts as it is more
    assert page.share(results, work) == pytest.approx(0.5)
    shown = page.table(results, [work], "torch.compile").splitlines()[-1]
    assert shown == "| conv 3x3 | one | 2.000 | 3.000 | – | – | 2.00 | – | – | 4.00 | 50 % | 1 | 2 |"
    work["seconds"]["minisegnet"]["minisegnet, TF32"] = [0.001]
    shown = page.table(results, [work], "torch.compile").splitlines()[-1]
    assert shown == "| conv 3x3 | one | 2.000 | 3.000 | 1.000 | 4.00 | 2.00 | – | – | 4.00 | 50 % | 1 | 2 |"


def test_lesson_15_shows_what_was_measured_last(bench, tmp_path):
    page = bench("gpu_page")
    seconds = {"minisegnet": {"minisegnet": [0.003, 0.002], "minisegnet, TF32": [0.001]}, "torch": {"eager": [0.004]}}
    layer = {"group": "conv 3x3", "name": "1x32x128x128 to 32, forward", "flops": 4e9, "seconds": seconds}
    failed = {**layer, "name": "another, forward", "seconds": {}}
    others = [{**layer, "name": "1x32x128x128 to 32, gradient of the weight"}, {**layer, "group": "Adam step"}]
    alone = {**layer, "group": "U-Net, inference", "name": "a case", "seconds": {"minisegnet": seconds["minisegnet"]}}
    results = {"date": "2030-01-02", "machine": {"card": "A card"}}
    results["rows"] = dict(enumerate([layer, failed, *others, alone]))
    file = tmp_path / "figures.json"
    assert last_on_gpu(file) == NOTHING
    page.write_figures(results, file)
    first, _, one, other = last_on_gpu(file).splitlines()
    assert first == "No GPU here. Measured last, on 2030-01-02, on A card:"
    assert one.split() == "conv 3x3, 1x32x128x128 to 32, forward 2.000 2,000 4.000".split()  # noqa: SIM905 (as it is read)
    assert other.split() == ["U-Net,", "inference,", "a", "case", "2.000", "2,000"]
    assert page.FIGURES == FILE
    assert "1x32x128x128 to 32, forward" in {row.name for row in bench("gpu_rows").rows(tiny=False).values()}


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_probes_compile(architecture, tmp_path):
    _, compiler = compilers.compiler(tmp_path)
    if compiler is None:
        pytest.skip("neither NVRTC (pip install nvidia-cuda-nvrtc) nor nvcc is installed")
    instructions = ROOT / "minisegnet" / "kernels" / "cuda_gpu_instructions.cu"
    source = instructions.read_text(encoding="utf-8") + (BENCHMARKS / "gpu_probes.cu").read_text(encoding="utf-8")
    assert compiler(source, "gpu_probes.cu", [f"-arch={architecture}", "-std=c++17", "-DNUMBER=float"]) == ""


def test_events_of_the_stand_in_are_in_order():
    """A time is that between the records, and can be asked for only after the wait."""
    start, stop = cupy_stand_in.Event(), cupy_stand_in.Event()
    start.record()
    stop.record()
    with pytest.raises(AttributeError):
        cupy_stand_in.MODULE.cuda.get_elapsed_time(start, stop)
    stop.synchronize()
    assert cupy_stand_in.MODULE.cuda.get_elapsed_time(start, stop) >= 0
