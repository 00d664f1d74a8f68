"""``minisegnet doctor`` and ``warmup``: healthy machines pass, sick ones are told what to do."""

import numpy as np
import pytest

from minisegnet.cli import doctor, main


def states(look):
    return {finding.state for finding in look()}


def test_it_looks_at_everything_and_counts_problems(capsys):
    code = main(["doctor"])
    text = capsys.readouterr().out
    words = ["Python 3.", "numpy ", "backend numba", "compiled kernels", "memory", "self-test: loss"]
    for word in [*words, "threads of", "threading layer", "call no BLAS"]:
        assert word in text
    assert code == ("[problem]" in text)


def test_a_look_that_fails_is_a_finding_and_the_others_go_on(monkeypatch, capsys):
    def broken():
        raise RuntimeError("the disk smokes")
        yield

    monkeypatch.setattr(doctor, "LOOKS", (broken, doctor.memory))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "the disk smokes" in text
    assert "GiB of memory" in text
    assert "1 problem\n" in text


def test_self_test_passes_here_and_fails_when_a_kernel_is_wrong(monkeypatch):
    assert states(doctor.self_test) == {"ok"}
    from minisegnet.kernels.convolution import numba_cpu

    right = numba_cpu.conv2d
    monkeypatch.setattr(numba_cpu, "conv2d", lambda *args, **kwargs: 1.01 * right(*args, **kwargs))
    assert states(doctor.self_test) == {"problem"}


def test_self_test_leaves_the_random_numbers_as_they_were():
    import minisegnet as ms
    from minisegnet import random

    ms.manual_seed(7)
    list(doctor.self_test())
    assert random.generator().random() == np.random.default_rng(7).random()


def test_missing_packages_backends_and_folders_have_a_cure(monkeypatch, tmp_path):
    (problem,) = doctor._installed(("no-such-package",), "problem", "pip install it")
    assert problem.state == "problem"
    assert problem.cure == "pip install it"
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(in_the_way / "cache"))
    finding = doctor._numba_cache()
    assert finding.state == "problem"
    assert "NUMBA_CACHE_DIR" in finding.cure


def test_more_threads_than_processors_and_threads_that_spin_are_told(monkeypatch):
    import numba

    monkeypatch.setattr(doctor, "processors", lambda: 0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    found = list(doctor._threads())
    assert any(f.state == "note" and "NUMBA_NUM_THREADS=0" in f.cure for f in found)
    assert any("OMP_WAIT_POLICY" in f.text for f in found) == (numba.threading_layer() == "omp")
    monkeypatch.setattr(doctor, "processors", lambda: 1000)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert [f.text for f in doctor._threads()][1:] == []


@pytest.mark.parametrize(
    ("text", "most"), [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("", None)]
)
def test_the_quota_of_a_container_counts(text, most, tmp_path):
    (tmp_path / "cpu.max").write_text(text)
    without = doctor.processors(tmp_path / "no such file")
    assert without >= 1
    assert doctor.processors(tmp_path / "cpu.max") == (most or without)


def test_compiled_kernels_call_no_blas():
    """As ``doctor`` says: no matrix product of NumPy's in any compiled file."""
    import ast
    from pathlib import Path

    files = sorted((Path(doctor.__file__).parents[1] / "kernels").rglob("numba_cpu*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)), file.name
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("dot", "vdot", "inner", "matmul", "tensordot", "einsum", "linalg"), file.name


def test_data_that_cannot_be_read_is_a_problem_and_none_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("MINISEGNET_DATA", str(tmp_path / "none"))
    assert "note" in states(doctor.lessons_and_data)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    monkeypatch.setenv("MINISEGNET_DATA", str(tmp_path / "bad.npz"))
    found = [finding for finding in doctor.lessons_and_data() if finding.state == "problem"]
    assert any("bad.npz" in finding.cure for finding in found)


@pytest.mark.parametrize(("free", "state"), [(10**6, "problem"), (10**11, "ok")])
def test_a_full_disk_is_a_problem(free, state, monkeypatch):
    import collections

    usage = collections.namedtuple("usage", "total used free")(2 * free, free, free)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert [f.state for f in doctor.memory() if "on this disk" in f.text] == [state]


def test_warmup_says_what_it_did(monkeypatch, capsys):
    asked = []

    def fake(dtypes):
        asked.append(dtypes)
        return {"conv2d": 9.0, "max_pool2d": 1.0}

    monkeypatch.setattr("minisegnet.kernels.warmup.warmup", fake)
    assert main(["warmup", "--float64"]) == 0
    assert asked == [("float32", "float64")]
    assert "2 kernels compiled in 10 s (conv2d 9.0 s" in capsys.readouterr().out
