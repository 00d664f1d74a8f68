"""The benchmark command: both sides do the same work, verdicts follow the rules, nothing measured is lost. No times are judged."""

import argparse
import importlib
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = (
    "engines", "machine", "turns", "judge", "rows_convolution", "rows_memory", "rows_network", "rows_recipe",
    "cpu_picture", "cpu_page", "cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def bench():
    """The files of the command as attributes; they are scripts, so their folder is on the path for as long."""
    before, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield argparse.Namespace(**{name: importlib.import_module(name) for name in NAMES})
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]
    if threads is None:
        del os.environ["OMP_NUM_THREADS"]
    else:
        os.environ["OMP_NUM_THREADS"] = threads


def numbers(result):
    """Return what a way returned as a list of arrays."""
    parts = result if isinstance(result, (tuple, list)) else (result,)
    parts = [part.detach() if hasattr(part, "detach") else part for part in parts if part is not None]
    return [np.asarray(part) for part in parts]


def test_every_line_of_the_issue_has_rows(bench):
    rows = bench.cpu.all_rows()
    groups = {row.group for row in rows.values()}
    wanted = (
        "U-Net, training step|U-Net, inference|conv 3x3|first layer 3x3|conv 1x1|conv 5x5|conv 7x7|conv 3x3 stride 2|"
    )
    wanted += (
        "dilated 3x3, rate 2|dilated 3x3, rate 4|dilated 3x3, rate 8|transposed 2x2 stride 2|transposed 3x3 stride 2|"
    )
    wanted += "transposed 4x4 stride 2|depthwise 3x3 stride 1|depthwise 3x3 stride 2|max-pool 2x2 with indices|max-unpool 2x2|"
    wanted += "bilinear to twice the size|batch norm + ReLU, training|cross-entropy, forward + backward|Adam step"
    assert set(wanted.split("|")) <= groups
    assert len(rows) == sum(len(part.rows()) for part in (bench.machine, bench.rows_network, bench.rows_convolution,
                                                          bench.rows_memory))  # fmt: skip
    widths = {w for g in bench.rows_convolution.PLAIN for w in (g.c, g.o)}
    assert {16, 32, 64, 128, 256, 512} <= widths


KINDS = {
    "plain": {"k": 3},
    "strided": {"k": 3, "stride": 2},
    "dilated": {"k": 3, "dilation": 2},
    "pointwise": {"k": 1},
    "depthwise": {"k": 3, "groups": 4, "stride": 2},
    "transposed 2": {"k": 2, "stride": 2, "transposed": True},
    "transposed 3": {"k": 3, "stride": 2, "transposed": True},
    "transposed 4": {"k": 4, "stride": 2, "transposed": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_engines_do_the_same_convolution(bench, kind):
    pytest.importorskip("torch")
    geometry = bench.rows_convolution.Geometry(2, 4, 8, 4, **KINDS[kind])
    engines = ["minisegnet", "torch"]
    engines += ["onnxruntime"] if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx") else []
    for direction in bench.rows_convolution.DIRECTIONS:
        made = {}
        for engine in engines:
            ways = bench.rows_convolution.ways(engine, geometry, direction)
            made |= {f"{engine}, {way}": numbers(call()) for way, call in ways.items()}
        assert {"minisegnet, ordinary arrays", "minisegnet, channels-last", "torch, contiguous"} <= set(made)
        (expected,) = made["torch, contiguous"]
        for way, results in made.items():
            assert len(results) == 1, (direction, way)  # one gradient and no other
            np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-4, err_msg=f"{direction}, {way}")


def test_work_is_counted_as_direct_sums(bench):
    geometry = bench.rows_convolution.Geometry(2, 6, 9, 4, 3, stride=2, groups=2)
    assert geometry.out == 5
    assert geometry.flops == 2 * 2 * 5 * 5 * 4 * (6 // 2) * 3 * 3
    assert geometry.moved == 4 * (2 * 6 * 81 + 2 * 4 * 25 + 4 * 3 * 9)
    up = bench.rows_convolution.Geometry(1, 2, 4, 3, 4, stride=2, transposed=True)
    assert (up.out, up.flops) == (8, 2 * 4 * 4 * 2 * 3 * 16)
    case = bench.rows_network.Case(2, 32, 4)
    net = models.UNet(3, 2, 4)
    assert case.flops == 2 * 2 * net.summary((3, 32, 32)).multiply_accumulates
    assert bench.rows_memory._unet_shapes(4) is not None
    count = sum(math.prod(shape) for shape in bench.rows_memory._unet_shapes(4))
    assert count == sum(p.data.size for p in net.parameters())


def test_engines_do_the_same_memory_bound_work(bench):
    pytest.importorskip("torch")
    for work in bench.rows_memory.PASSES:
        made = {}
        for engine in ("minisegnet", "torch"):
            ways = bench.rows_memory.image_ways(engine, work, (2, 3, 8, 8))
            made |= {f"{engine}, {way}": numbers(call()) for way, call in ways.items()}
        assert len(made) == 4
        expected = made["torch, contiguous"]
        for way, results in made.items():
            for one, other in zip(results, expected, strict=False):  # ours returns the gradients of weight and bias too
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4, err_msg=f"{work}, {way}")
    for ways in (bench.rows_memory.loss_ways("minisegnet", (1, 3, 4, 4)), bench.rows_memory.adam_ways("torch", 2)):
        assert all(call() is None for call in ways.values())


def test_a_network_trains_and_infers_in_each_engine(bench):
    pytest.importorskip("torch")
    case = bench.rows_network.Case(1, 32, 2)
    engines = ["minisegnet", "torch"]
    engines += ["onnxruntime"] if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx") else []
    for engine in engines:
        for training in (True, False):
            for call in bench.rows_network.ways(engine, case, training).values():
                call()
    peak = bench.rows_network.memory_of("minisegnet", case, "minisegnet", steps=1)
    assert peak["peak"] >= peak["imported"] > 0


def test_the_algorithm_that_ran_is_heard(bench):
    from minisegnet.kernels.convolution import numba_cpu

    table = dict(numba_cpu.ALGORITHMS["conv2d"])
    x, w = ms.Tensor(np.ones((1, 4, 8, 8), np.float32)), ms.Tensor(np.ones((4, 1, 3, 3), np.float32))
    heard = bench.rows_convolution.chosen(lambda: ms.functional.conv2d(x, w, groups=4))
    assert heard == ["depthwise"]
    assert numba_cpu.ALGORITHMS["conv2d"] == table  # nobody listens any more


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="written in the compiler's language")
def test_the_loop_of_multiply_adds_does_them(bench):
    sums = np.zeros((2, 16), np.float32)
    sums[:, 1] = 1, 2
    bench.machine.compiled()[1](sums, 60)
    np.testing.assert_allclose(
        sums[:, 0], [24, 48]
    )  # twelve chains, each s = s / 2 + start, so each is twice its start


def entry(group="conv 1x1", judged="each", ours=1.0, torch=2.0, least=1.5, aim=2.5, **more):
    made = {"group": group, "name": "case, forward", "flops": 1e9, "moved": 1e7, "least": least, "aim": aim, "judged": judged,
            "counts": "ordinary arrays", "threads": 0, "pixels": 0, "chosen": ["direct"], "failed": {}, "turns": 2,
            "seconds": {"minisegnet": {"ordinary arrays": [ours * 2, ours], "channels-last": [ours / 2]},
                        "torch": {"contiguous": [torch * 3], "channels_last": [torch, torch * 2]}}}  # fmt: skip
    return made | more


def test_verdicts(bench):
    judge = bench.judge
    assert judge.ratio(entry()) == 2.0  # the best turn of the best layout; ours from ordinary arrays only
    assert [judge.reached(entry(torch=t)) for t in (1.4, 1.5, 2.5)] == [0, 1, 2]
    inference = entry(group="U-Net, inference", torch=3.0)
    assert judge.reached(inference) == 2
    inference["seconds"]["onnxruntime"] = {"session": [1.1]}
    assert judge.reached(inference) == 1  # the aim also asks for 1.2 beside ONNX Runtime
    for triad, torch, expected in [(0.7, 1, 0), (0.85, 1, 1), (0.95, 1, 2), (0.1, 2, 1), (0.1, 3, 2)]:
        bound = entry(judged="bandwidth", torch=torch)
        bound["seconds"]["minisegnet"]["triad"] = [triad]
        assert judge.reached(bound) == expected
    three = [entry(torch=t, judged="mean", least=1.2, aim=2.0) for t in (1.0, 4.0)]
    assert judge.Line("", three).mean == pytest.approx(2.0)
    assert judge.Line("", three).reached == 2  # the geometric mean counts
    assert judge.Line("", [entry(torch=1.0), entry(torch=4.0)]).reached == 0  # the worst row counts
    assert math.isnan(judge.ratio(entry(seconds={"minisegnet": {"ordinary arrays": [1.0]}})))


CHILD = """
import json, sys
for line in sys.stdin:
    row = json.loads(line)["row"]
    if row == "dies": sys.exit("out of luck")
    if row == "sleeps": import time; time.sleep(60)
    print(json.dumps({"seconds": {"way": len(row)}}), flush=True)
"""


def test_a_child_that_ends_takes_only_its_row_with_it(bench):
    worker = bench.turns.Worker([sys.executable, "-c", CHILD], dict(os.environ))
    try:
        assert worker.ask("abc", 0.1, 30) == {"seconds": {"way": 3}}
        assert worker.ask("dies", 0.1, 30) == {"failed": "the process ended with code 1: out of luck"}
        assert worker.ask("ab", 0.1, 30) == {"seconds": {"way": 2}}
        assert worker.ask("sleeps", 0.1, 0.5) == {"failed": "no answer within 0 s"}
        assert worker.ask("a", 0.1, 30) == {"seconds": {"way": 1}}
    finally:
        worker.close()
    worker.close()


def test_an_interrupted_run_loses_nothing(bench, tmp_path, monkeypatch):
    cpu, asked = bench.cpu, []

    class Fake:
        stop_at = 7

        def __init__(self, command, env):
            self.engine = command[-1]

        def ask(self, row, seconds, limit):
            asked.append((self.engine, row))
            if len(asked) == Fake.stop_at:
                raise KeyboardInterrupt
            if self.engine == "torch" and row.endswith("b"):
                return {"failed": "no luck"}
            return {"seconds": {"minisegnet" if self.engine == "minisegnet" else "contiguous": 1.0 + len(asked)}}

        def close(self):
            pass

    monkeypatch.setattr(cpu.turns, "Worker", Fake)
    rows = [bench.engines.Row("group", name, lambda engine: {}, least=1, aim=2) for name in "abc"]
    args = argparse.Namespace(quick=False, seconds=0.1, missing=False, rounds=2, threads=1, processor_time=False)
    file = tmp_path / "cpu.json"
    results = {"rows": {}}
    with pytest.raises(KeyboardInterrupt):
        cpu.measure_rows(rows, ["minisegnet", "torch"], args, results, file)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert [e["turns"] for e in kept["rows"].values()] == [1, 1, 1]
    assert kept["rows"]["group: b"]["failed"] == {"torch": "no luck"}
    assert kept["rows"]["group: a"]["seconds"]["torch"] == {"contiguous": [3.0]}
    asked.clear()
    Fake.stop_at, args.missing = 0, True
    cpu.measure_rows(rows, ["minisegnet", "torch"], args, kept, file)
    # First round: only what had failed; second round: all, but not the engine that fails, the other engine first.
    assert [row[-1] + engine[0] for engine, row in asked] == ["bm", "bt", "at", "am", "bm", "ct", "cm"]
    assert {e["turns"] for e in json.loads(file.read_text(encoding="utf-8"))["rows"].values()} == {2}


def test_tables_pictures_and_pages(bench, tmp_path):
    fold = {"fold": 1, "dice": 0.85, "seconds": 10.0}
    memory = {"minisegnet": {"minisegnet": {"peak": 300 << 20, "imported": 100 << 20}},
              "torch": {"contiguous": {"peak": 400 << 20, "imported": 250 << 20}}}  # fmt: skip
    slow = entry(ours=4.0, name="slow, forward")
    slow["failed"] = {"onnxruntime": "no such operator"}
    results = {
        "date": "2026-01-02", "machine": {"processor": "P", "architecture": "A"}, "threads": 2, "clock": "time on the wall",
        "rounds": 2, "versions": {"torch": "2"}, "memory": {"8x3": memory},
        "recipe": {"width 8": {"torch": [fold | {"seconds": 22.0}], "minisegnet": [fold, {"failed": "no data"}]}},
        "rows": {"a": entry(), "b": slow, "c": entry("U-Net, inference", threads=1, judged="")},
    }  # fmt: skip
    readme, docs = tmp_path / "README.md", tmp_path / "docs"
    docs.mkdir()
    readme.write_text("before\n<!-- speed -->\nfrom before\n<!-- /speed -->\nafter\n", encoding="utf-8")
    (docs / "performance.md").write_text("no marks\n", encoding="utf-8")
    summary = bench.cpu_page.write_page(results, tmp_path / "cpu_2026.json", tmp_path)
    assert "| conv 1x1 | 2 | 0.50 to 2.00 | 1.00 |" in summary  # the loss stands there like the win
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- speed -->\n![")
    assert text.endswith("<!-- /speed -->\nafter\n")
    assert "from before" not in text
    assert summary in text
    assert (docs / "performance.md").read_text(encoding="utf-8") == "no marks\n"
    full = (tmp_path / "cpu_2026.md").read_text(encoding="utf-8")
    assert "| width 8 | 1 | 10 | 22 | 2.20 | 0.8500 | 0.8500 | aim |" in full
    assert "| 8x3 | 300 | 400 | 200 | 150 | no |" in full  # less in all, more above the imports
    assert "- failed: b: onnxruntime: no such operator" in full
    assert len(bench.cpu_page.failures(results)) == 2
    for name in ("speed.png", "speed.svg", "roofline.png", "roofline.svg"):
        assert (docs / "pictures" / name).stat().st_size > 5000


def test_names_of_files_say_what_is_unusual(bench, tmp_path):
    args = argparse.Namespace(threads=os.cpu_count(), processor_time=False, quick=False, results=tmp_path)
    assert bench.cpu.result_file(args).name.startswith("cpu_2")
    args.threads, args.processor_time, args.quick = 99, True, True
    assert bench.cpu.result_file(args).name.startswith("cpu_99_threads_processor_time_quick_2")
