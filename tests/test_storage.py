"""Files are written whole or not at all, and nothing that is loaded is trusted."""

import builtins
import errno
import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from minisegnet import storage
from minisegnet.autograd import Tensor

OLD = b"the old content"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(OLD)
    return path


def assert_untouched(path):
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == [path.name]  # and no temporary file is left


def test_a_block_that_ends_well_replaces_the_file(old):
    with storage.atomic_write(old) as file:
        file.write(b"new")
        assert old.read_bytes() == OLD  # until the end
    assert old.read_bytes() == b"new"
    assert os.listdir(old.parent) == [old.name]
    with storage.atomic_write(old, "w") as file:
        file.write("µm\n")
    assert old.read_text(encoding="utf-8") == "µm\n"


def test_missing_folders_are_made_and_links_followed(tmp_path):
    target = tmp_path / "a" / "b" / "file"
    with storage.atomic_write(target) as file:
        file.write(b"1")
    assert target.read_bytes() == b"1"
    link = tmp_path / "link"
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("this system allows no symbolic links")
    with storage.atomic_write(link) as file:
        file.write(b"2")
    assert link.is_symlink()
    assert target.read_bytes() == b"2"


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt(), OSError("about another file")])
def test_an_error_inside_leaves_the_old_file(old, error):
    def write_half():
        with storage.atomic_write(old) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert_untouched(old)


def test_an_error_about_another_file_is_not_ours(old, tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), storage.atomic_write(old):
        open(tmp_path / "elsewhere" / "input.png").close()
    assert_untouched(old)


class FullDisk(io.BytesIO):
    """Takes ten bytes."""

    def write(self, content):
        if self.tell() + len(content) > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


def test_a_full_disk_is_named_with_its_cure(old, monkeypatch):
    monkeypatch.setattr(storage, "open", lambda *a, **k: FullDisk(), raising=False)
    with pytest.raises(OSError, match=r"cannot write .*file\.bin: the disk is full\. Free some space") as caught:
        storage.save_safetensors(old, {"a": np.zeros(100)})
    assert caught.value.errno == errno.ENOSPC
    assert_untouched(old)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_truly_full_device(old, monkeypatch):
    # Writing fails where the buffer is flushed, at the end: also then the old file must stay.
    monkeypatch.setattr(storage, "open", lambda *a, **k: builtins.open("/dev/full", "wb"), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match="the disk is full"), storage.atomic_write(old) as file:
        file.write(b"few")
    assert_untouched(old)


@pytest.mark.parametrize("where", ["open", "replace"])
def test_no_permission_is_named_with_its_cure(old, monkeypatch, where):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(args[0]))

    monkeypatch.setattr(*((storage, "open") if where == "open" else (storage.os, "replace")), refuse, raising=False)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    with pytest.raises(PermissionError, match=r"cannot write .*file\.bin: no permission.*a folder that you own"):
        storage.save_npz(old, {"a": np.zeros(3)})
    monkeypatch.undo()
    assert_untouched(old)


def test_a_path_that_cannot_be_is_explained(old):
    with pytest.raises(OSError, match="a part of the path is a file, not a folder"):
        storage.save_safetensors(old / "inside" / "model.safetensors", {})
    with pytest.raises(OSError, match="a part of the path is a file, not a folder"):
        storage.save_safetensors(old / "model.safetensors", {})
    with pytest.raises(OSError, match="the path is a folder"):
        storage.save_safetensors(old.parent, {})
    assert_untouched(old)


def test_leftovers_of_killed_runs_go_after_an_hour(old):
    stale, fresh, foreign = (
        old.with_name(n) for n in (".file.bin.1.partial", ".file.bin.2.partial", ".other.3.partial")
    )
    for path in (stale, fresh, foreign):
        path.write_bytes(b"half")
    for path in (stale, foreign):
        os.utime(path, (1e9, 1e9))
    with storage.atomic_write(old):
        pass
    assert sorted(os.listdir(old.parent)) == [".file.bin.2.partial", ".other.3.partial", "file.bin"]


KILLED = """
import os, signal, sys
import numpy as np
from minisegnet import storage
def die(*args):
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
setattr(storage.os, sys.argv[2], die)
storage.save_safetensors(sys.argv[1], {"a": np.zeros(10000)})
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_the_old_file(old, moment):
    done = subprocess.run([sys.executable, "-c", KILLED, str(old), moment], capture_output=True, text=True)
    assert done.returncode in (-signal.SIGTERM, -getattr(signal, "SIGKILL", 9), signal.SIGTERM), done.stderr
    assert old.read_bytes() == OLD
    assert len(os.listdir(old.parent)) == 2  # the leftover has a name of its own


def test_two_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.safetensors"

    def write(value):
        for _ in range(10):
            storage.save_safetensors(path, {"a": np.full(5000, value)})

    threads = [threading.Thread(target=write, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (array,) = storage.load_safetensors(path)[0].values()
    assert len(set(array.tolist())) == 1
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_safetensors_come_back_as_they_were(tmp_path):
    arrays = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "number": np.array(3),
        "nothing": np.zeros((0, 3), np.float32),
        "truth": np.array([True, False]),
        "half": np.ones(3, np.float16),
        "other bytes first": np.arange(3, dtype=">f4"),
        "tensor": Tensor(np.ones((2, 2), np.float32), requires_grad=True),
    }
    storage.save_safetensors(tmp_path / "a", arrays, {"history": "[1.5]", "µ": "ß"})
    loaded, metadata = storage.load_safetensors(tmp_path / "a")
    assert metadata == {"history": "[1.5]", "µ": "ß"}
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(loaded[name], np.asarray(array))
        loaded[name][...] = 0  # ours to change
    with pytest.raises(TypeError, match=r"'o'.*object"):
        storage.save_safetensors(tmp_path / "b", {"o": np.array([{}])})
    with pytest.raises(TypeError, match="metadata"):
        storage.save_safetensors(tmp_path / "b", {}, {"step": 3})
    assert os.listdir(tmp_path) == ["a"]


def test_safetensors_are_read_and_written_as_the_library_does(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    storage.save_safetensors(tmp_path / "a", {"x": np.arange(4.0)})
    np.testing.assert_array_equal(numpy.load_file(tmp_path / "a")["x"], np.arange(4.0))


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "truncated": ({"a": ENTRY}, 4, None, r"truncated: \d+ bytes were written, \d+ are there"),
    "too long": ({"a": ENTRY}, 12, None, "not fully covered"),
    "overlapping": ({"a": ENTRY, "b": ENTRY}, 8, None, "offset"),
    "a hole": ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [16, 24]}}, 24, None, "offset"),
    "outside": ({"a": {**ENTRY, "shape": [4], "data_offsets": [0, 16]}}, 8, None, "truncated"),
    "backwards": ({"a": {**ENTRY, "data_offsets": [8, 0]}}, 8, None, "offset"),
    "wrong size": ({"a": {**ENTRY, "shape": [3]}}, 8, None, "shape"),
    "negative size": ({"a": {**ENTRY, "shape": [-2]}}, 8, None, "integer"),
    "overflowing size": ({"a": {**ENTRY, "shape": [2**62, 2**62]}}, 8, None, "overflow"),
    "unknown type": ({"a": {**ENTRY, "dtype": "Q32"}}, 8, None, "Q32"),
    "a type NumPy lacks": ({"a": {**ENTRY, "dtype": "BF16", "shape": [4]}}, 8, None, "bfloat16"),
    "metadata no text": ({"__metadata__": {"a": 3}, "a": ENTRY}, 8, None, "string"),
    "huge header": ({"a": ENTRY}, 8, 2**63, "header"),
    "header beyond the end": ({"a": ENTRY}, 8, 2**20, "header"),
    "no dictionary": ([1, 2], 0, None, "JSON"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_safetensors_are_refused(tmp_path, case):
    header, data, length, reason = HOSTILE[case]
    text = json.dumps(header).encode()
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(data))
    with pytest.raises(ValueError, match=rf"bad\.safetensors is no sound safetensors file: .*{reason}"):
        storage.load_safetensors(path)


class Evil:
    def __reduce__(self):
        return os.abort, ()


FOREIGN = {
    "empty": (b"", "it is empty"),
    "three bytes": (b"abc", "header too small"),
    "a pickle": (pickle.dumps(Evil()), "never loaded"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "one array": (b"\x93NUMPY\x01\x00" + bytes(200), r"\.npy"),
    "noise": (bytes(range(256)), "header"),
}


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("load", [storage.load_safetensors, storage.load_npz])
def test_foreign_files_are_refused(tmp_path, load, case):
    content, reason = FOREIGN[case]
    path = tmp_path / "bad.file"
    path.write_bytes(content)
    kind = "safetensors" if load is storage.load_safetensors else r"\.npz"
    reason = reason if load is storage.load_safetensors or "header" not in reason else ""
    with pytest.raises(ValueError, match=rf"bad\.file is no sound {kind} file: .*{reason}"):
        load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_no_truncation_and_no_damage_gets_past_the_checks(tmp_path, kind):
    save, load = getattr(storage, f"save_{kind}"), getattr(storage, f"load_{kind}")
    path = tmp_path / "f"
    save(path, {"a": np.arange(40), "b": np.ones((3, 4), np.float32)})
    whole = path.read_bytes()
    for size in range(0, len(whole), 3):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="no sound"):
            load(path)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(2):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)  # safetensors has no checksum: changed numbers pass, a changed structure must not
        except ValueError as error:
            assert "no sound" in str(error)  # noqa: PT017
            refused += 1
    assert refused > (250 if kind == "npz" else 100)


def test_npz_comes_back_and_says_what_is_missing(tmp_path):
    arrays = {"images": np.zeros((2, 4, 4, 3), np.uint8), "ids": np.array(["x", "µ"])}
    storage.save_npz(tmp_path / "a.npz", arrays)
    loaded = storage.load_npz(tmp_path / "a.npz", required=("images",))
    np.testing.assert_array_equal(loaded["ids"], arrays["ids"])
    with pytest.raises(ValueError, match="has no array masks, fields, only images, ids"):
        storage.load_npz(tmp_path / "a.npz", required=("images", "masks", "fields"))
    assert list(storage.load_npz(tmp_path / "a.npz", required=("ids",), optional=("fields",))) == ["ids"]
    with pytest.raises(TypeError, match="Python objects"):
        storage.save_npz(tmp_path / "b.npz", {"o": np.array([{}])})


def test_hostile_npz_is_refused(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, o=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        storage.load_npz(path)
    storage.save_npz(path, {"zeros": np.zeros(2**20)})
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"unpack to 0\.0 GiB"):
        storage.load_npz(path, largest=2**20)
    for shape in ("(4611686018427387904,)", "(2305843009213693952, 8)", "(-1,)", "(-1, 0)", "(5,)"):
        with zipfile.ZipFile(path, "w") as archive:  # a header that asks for exabytes
            header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
            archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        with pytest.raises(ValueError, match=r"bad\.npz is no sound .* a\.npy claims to be float64"):
            storage.load_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(ValueError, match=r"bad\.npz is no sound .*magic"):
        storage.load_npz(path)
