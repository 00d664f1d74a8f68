"""Several ranks are one training: equal to one process on the joined batch, and a clear end when one of them fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minisegnet import losses, nn, optim, ranks, storage, training

pytest.importorskip("mpi4py", reason="several ranks need mpi4py: pip install minisegnet[mpi]")
EQUAL = ("split", "dice", "weighted", "unet", "own", "evaluated")
PROGRAMS = Path(__file__).with_name("programs.py")
MPIEXEC = Path(sys.executable).with_name("mpiexec")  # where the package mpich puts it; a system's MPI is on the path

try:
    ranks.Ranks()
except RuntimeError as error:
    pytest.skip(f"no MPI library: {error}", allow_module_level=True)


def run(names, folder, count):
    """Run programs on ``count`` ranks; 0: in one process, without MPI."""
    command = [str(MPIEXEC) if MPIEXEC.exists() else "mpiexec", "-n", str(count)] if count else []
    alone = [] if count else ["alone"]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAMS.parents[2]), "NUMBA_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, sys.executable, "-W", "error", str(PROGRAMS), names, str(folder), *alone],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


def result(name, folder):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return {number of ranks: {program: result}} of the programs that must not depend on that number."""
    results = {}
    for count in (0, 1, 2, 3):
        folder = tmp_path_factory.mktemp(f"ranks{count}")
        ended = run(",".join(EQUAL), folder, count)
        assert ended.returncode == 0, ended.stderr
        results[count] = {name: result(name, folder) for name in EQUAL}
    return results


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", EQUAL)
def test_equal_to_one_process_on_the_joined_batch(name, count, done):
    """Adam divides a gradient by its own size: where one is 0 but for rounding, 1e-16 grows to 1e-9."""
    one, several = done[0][name], done[count][name]
    if name == "evaluated":
        assert several == pytest.approx(one, rel=1e-6)
        return
    for key in ("loss", "grad_norm"):
        np.testing.assert_allclose(several["history"][key], one["history"][key], rtol=1e-9)
    for key, weight in one["weights"].items():
        np.testing.assert_allclose(several["weights"][key], weight, rtol=1e-8, atol=1e-8, err_msg=key)
    assert several["next random"] == one["next random"]
    for a, b in zip(several["history"]["validation"], one["history"]["validation"], strict=True):
        assert a == pytest.approx(b, rel=1e-9)


def test_own_samplers_resume_as_if_never_stopped(done, tmp_path):
    ended = run("own_resumed", tmp_path, 2)
    assert ended.returncode == 0, ended.stderr
    assert result("own_resumed", tmp_path)["weights"] == done[2]["own"]["weights"]


def test_other_number_of_ranks_does_not_take_up_own_samplers(tmp_path):
    assert run("own_resumed", tmp_path, 2).returncode == 0
    ended = run("own_resumed_only", tmp_path, 3)
    assert ended.returncode != 0
    assert "it was written by 2 ranks, each with a data set of its own, and now there are 3" in ended.stderr


def test_all_start_from_the_first_rank(tmp_path):
    assert run("started_apart", tmp_path, 2).returncode == 0
    two = result("started_apart", tmp_path)
    assert run("started_apart", tmp_path, 0).returncode == 0
    np.testing.assert_allclose(two["history"]["loss"], result("started_apart", tmp_path)["history"]["loss"], rtol=1e-9)


def test_killed_rank_ends_the_program_and_leaves_a_whole_checkpoint(tmp_path):
    ended = run("killed", tmp_path, 2)
    assert ended.returncode != 0
    _, metadata = storage.load_safetensors(tmp_path / "killed.safetensors")
    assert json.loads(metadata["run"])["batch"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["killed.safetensors"]
    assert run("resumed,whole", tmp_path, 2).returncode == 0
    assert result("resumed", tmp_path)["weights"] == result("whole", tmp_path)["weights"]


def test_error_of_one_rank_ends_all_and_says_why(tmp_path):
    ended = run("one_fails", tmp_path, 3)
    assert ended.returncode != 0
    assert "OSError: tile 17 cannot be read" in ended.stderr
    assert "rank 1 of 3 ended with the error above" in ended.stderr


def test_error_of_all_is_raised_by_each(tmp_path):
    ended = run("all_fail,disk_full,told_apart", tmp_path, 2)
    assert ended.returncode == 0, ended.stderr
    first, second = result("all_fail", tmp_path)["every rank's message"]
    assert first == second
    assert "the input batch holds 1 numbers of 256 that are NaN or infinite, the first at (3, 0, 2, 3)" in first
    own, other = result("disk_full", tmp_path)["messages"]
    assert "a part of the path is a file" in own
    assert other.startswith("OSError: rank 0 failed where this rank waited for it: NotADirectoryError") or own in other
    told = result("told_apart", tmp_path)
    for name, words in {
        "arguments": "rank 0: epochs=None, steps=4,",
        "batches": "is not the same on rank 1 as on rank 0",
        "early": "the batches of rank 1 ended before those of rank 0",
        "shapes": "the ranks' arrays do not join into one batch (rank 0: <i8 (4, 8, 8), rank 1: <i8 (4, 9, 9))",
    }.items():
        assert all(words in message for message in told[name]), told[name]


def test_stop_of_one_is_the_stop_of_all(tmp_path):
    ended = run("stopped", tmp_path, 3)
    assert ended.returncode == 0, ended.stderr
    stopped = result("stopped", tmp_path)
    assert stopped["kept"] == [[["callback", 3], ["interrupted", 3]]] * 3
    assert stopped["calls"] == [[1, 2, 3], [], []]


def test_known_wrong_arguments():
    with pytest.raises(
        ValueError, match='batches must be "split" or "own", got "halves"'.replace('"halves"', "'halves'")
    ):
        ranks.Ranks(batches="halves")
    with pytest.raises(TypeError, match=r"communicator must be one of mpi4py, such as MPI.COMM_WORLD, got int"):
        ranks.Ranks(2)
    model = nn.Conv2d(1, 2, 1)
    for function in (training.fit, training.evaluate):
        with pytest.raises(TypeError, match=r"ranks must be a minisegnet.ranks.Ranks or None, got int"):
            function(model, [], loss=losses.CrossEntropyLoss(), optimizer=optim.SGD(model.parameters(), 0.1), ranks=2)


def test_missing_mpi4py_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(RuntimeError, match=r"pip install minisegnet\[mpi\]"):
        ranks.Ranks()
