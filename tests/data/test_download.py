"""The download against a server of our own: interruption, truncation, wrong pixels, no network; never half a file."""

import functools
import http.server
import io
import json
import threading
import zipfile

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import download, registry

pytest.importorskip("pooch")
PIL = pytest.importorskip("PIL.Image")


def png(array):
    stream = io.BytesIO()
    PIL.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def content():
    """Two kinds with three and two images; masks are numbered by name."""
    rng = np.random.default_rng(0)
    sets = {}
    for kind, n, width in (("histology", 3, 30), ("fluorescence", 2, 20)):
        labels = np.zeros((n, 20, width), np.int32)
        labels[:, 2:8, 2:8], labels[:, 10:16, 5:15] = 1, 2
        sets[kind] = (rng.integers(0, 256, (n, 20, width, 3), dtype=np.uint8), labels)
    return sets


def archive(sets, spoil=None, prefix="repository-3035/stage1_train/"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as stored:
        for kind, (images, labels) in sets.items():
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                name = f"{kind}{i}"
                if spoil == ("image", name):
                    image = image.copy()
                    image[3, 3, 0] ^= 1
                stored.writestr(f"{prefix}{name}/images/{name}.png", png(image))
                for k in (1, 2):
                    mask = (label == k).astype(np.uint8) * 255
                    if spoil == ("mask", name) and k == 2:
                        mask[0, 0] = 255
                    stored.writestr(f"{prefix}{name}/masks/m{k}.png", png(mask))
        stored.writestr(f"{prefix}another/images/another.png", b"not one of ours")
        stored.writestr("readme.txt", "hello")
    return stream.getvalue()


class Server:
    """A web server on this machine that serves one file, and can be told to misbehave."""

    def __init__(self, body):
        self.body, self.requests = body, []
        self.break_after = self.status = None
        self.ranges = True
        handler = functools.partial(_Handler, self)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/archive.zip"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, owner, *args):
        self.owner = owner
        super().__init__(*args)

    def log_message(self, *_):
        pass

    def do_GET(self):
        owner, wanted = self.owner, self.headers.get("Range")
        owner.requests.append(wanted)
        if owner.status:
            self.send_error(owner.status)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and owner.ranges else 0
        if start >= len(owner.body) > 0 and wanted:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(owner.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = owner.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if owner.break_after is not None:
            body = body[: owner.break_after]
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def served(monkeypatch):
    """A server with the archive, and the registry that belongs to it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sets = content()
    entries = {
        kind: [
            {
                "id": f"{kind}{i}",
                "field": i // 2,
                "image": registry.digest_image(image),
                "mask": registry.digest_mask(label),
            }
            for i, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        for kind, (images, labels) in sets.items()
    }
    monkeypatch.setattr(download, "read_registry", lambda: json.loads(json.dumps(entries)))
    server = Server(archive(sets))
    yield server, sets
    server.stop()


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def check(folder, sets):
    assert files(folder) == ["fluorescence.npz", "histology.npz"]
    for kind, (images, labels) in sets.items():
        read = data.load_nuclei(folder, kind=kind)
        np.testing.assert_array_equal(read.images, images)
        np.testing.assert_array_equal(read.labels, labels)
        assert read.ids.tolist() == [f"{kind}{i}" for i in range(len(images))]
        assert read.fields.tolist() == [i // 2 for i in range(len(images))]


def test_download(served, tmp_path):
    server, sets = served
    folder = data.download_nuclei(tmp_path / "new" / "place", progress=False, url=server.url)
    assert folder == tmp_path / "new" / "place"
    check(folder, sets)
    data.download_nuclei(folder, progress=False, url=server.url)
    assert len(server.requests) == 1, "what is there and sound is not fetched again"


def test_progress_bars_are_shown(served, tmp_path, capsys):
    server, _ = served
    data.download_nuclei(tmp_path, progress=True, url=server.url)
    shown = capsys.readouterr().err
    assert "downloading" in shown
    assert "unpacking histology" in shown


def test_without_target_it_fills_the_cache(served, tmp_path, monkeypatch):
    server, sets = served
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("minisegnet.data.nuclei.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("MINISEGNET_DATA", raising=False)
    data.download_nuclei(progress=False, url=server.url)
    check(tmp_path / "cache", sets)
    assert len(data.load_nuclei()) == 5


def test_goes_on_with_the_missing_and_the_damaged(served, tmp_path):
    server, sets = served
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    kept = (tmp_path / "histology.npz").stat().st_mtime_ns
    (tmp_path / "fluorescence.npz").write_bytes((tmp_path / "fluorescence.npz").read_bytes()[:300])
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    check(tmp_path, sets)
    assert (tmp_path / "histology.npz").stat().st_mtime_ns == kept


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(served, tmp_path, monkeypatch, ranges):
    server, sets = served
    monkeypatch.setattr(download, "BLOCK", 100)
    server.ranges, server.break_after = ranges, len(server.body) // 3 + 100
    if ranges:  # it asks for the rest by itself as long as something comes
        data.download_nuclei(tmp_path, progress=False, url=server.url)
        assert [bool(wanted) for wanted in server.requests] == [False, True, True]
    else:
        with pytest.raises(ConnectionError, match="are kept, and the next attempt"):
            data.download_nuclei(tmp_path, progress=False, url=server.url)
        assert files(tmp_path) == ["corrected.zip.part"]
        server.break_after = None
        data.download_nuclei(tmp_path, progress=False, url=server.url)
    check(tmp_path, sets)


def test_a_second_run_goes_on_where_the_first_stopped(served, tmp_path, monkeypatch):
    server, sets = served
    monkeypatch.setattr(download, "BLOCK", 100)
    server.break_after = 1000
    with pytest.raises(ConnectionError, match=r"could not download.*MB are kept"):
        data.download_nuclei(tmp_path, progress=False, url=server.url)
    have = (tmp_path / "corrected.zip.part").stat().st_size
    assert have == 3000
    server.break_after = None
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    assert server.requests[-1] == "bytes=3000-"
    check(tmp_path, sets)


def test_a_complete_part_is_used(served, tmp_path):
    server, sets = served
    (tmp_path / "corrected.zip.part").write_bytes(server.body)
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    check(tmp_path, sets)


def test_a_part_of_another_file_is_dropped(served, tmp_path):
    server, sets = served
    (tmp_path / "corrected.zip.part").write_bytes(server.body + b"more")
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    check(tmp_path, sets)


def test_an_archive_fetched_by_hand_is_used(served, tmp_path):
    server, sets = served
    (tmp_path / "corrected.zip").write_bytes(server.body)
    data.download_nuclei(tmp_path, progress=False, url="http://127.0.0.1:9/nothing")
    check(tmp_path, sets)


@pytest.mark.parametrize("body", ["truncated", "flipped", "html"])
def test_a_damaged_archive_is_removed(served, tmp_path, body):
    server, sets = served
    whole = server.body
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    server.body = {"truncated": whole[: len(whole) * 2 // 3], "flipped": bytes(flipped), "html": b"<html>"}[body]
    with pytest.raises(ValueError, match=r"damaged|not the ones expected"):
        data.download_nuclei(tmp_path, progress=False, url=server.url)
    assert not (tmp_path / "corrected.zip").exists()
    server.body = whole
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    check(tmp_path, sets)


@pytest.mark.parametrize("what", ["image", "mask"])
def test_wrong_pixels_are_named_and_not_written(served, tmp_path, what):
    server, sets = served
    server.body = archive(sets, spoil=(what, "fluorescence1"))
    with pytest.raises(ValueError, match=r"1 of 2 fluorescence images.*fluorescence.*'original'"):
        data.download_nuclei(tmp_path, progress=False, url=server.url)
    assert files(tmp_path) == ["histology.npz"], "what was sound is kept"


def test_missing_images_are_named(served, tmp_path):
    server, sets = served
    server.body = archive({"histology": sets["histology"]})
    with pytest.raises(ValueError, match="2 of 2 fluorescence images"):
        data.download_nuclei(tmp_path, progress=False, url=server.url)


def test_the_original_archive_may_have_other_masks(served, tmp_path):
    server, sets = served
    server.body = archive(sets, spoil=("mask", "histology2"), prefix="")
    with pytest.warns(UserWarning, match="1 of 3 histology images have masks other"):
        data.download_nuclei(tmp_path, progress=False, source="original", url=server.url)
    assert data.load_nuclei(tmp_path, "histology").labels[2, 0, 0] == 2
    server.body = archive(sets, spoil=("image", "histology2"), prefix="")
    with pytest.raises(ValueError, match="1 of 3 histology"):
        data.download_nuclei(tmp_path / "other", progress=False, source="original", url=server.url)


@pytest.mark.parametrize("status", [404, 503])
def test_server_errors_say_what_to_do(served, tmp_path, status):
    server, _ = served
    server.status = status
    with pytest.raises(ConnectionError, match=rf"{status}.*What to do.*synthetic_tissue"):
        data.download_nuclei(tmp_path, progress=False, url=server.url)
    assert files(tmp_path) == []


def test_offline_says_what_to_do(tmp_path):
    with pytest.raises(ConnectionError, match=r"could not download .*save it as .*corrected\.zip") as caught:
        data.download_nuclei(tmp_path, progress=False, url="http://127.0.0.1:9/archive.zip")
    assert "\n" not in str(caught.value)


def test_a_killed_run_leaves_nothing_half_written(served, tmp_path, monkeypatch):
    server, sets = served

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", killed)
        with pytest.raises(KeyboardInterrupt):
            data.download_nuclei(tmp_path, progress=False, url=server.url)
    assert files(tmp_path) == ["corrected.zip"], "the archive is kept, no .npz is begun"
    data.download_nuclei(tmp_path, progress=False, url=server.url)
    assert len(server.requests) == 1
    check(tmp_path, sets)


def test_enormous_members_are_refused(served, tmp_path, monkeypatch):
    server, _ = served
    monkeypatch.setattr(download, "MAX_MEMBER", 100)
    with pytest.raises(ValueError, match="unpacks to"):
        data.download_nuclei(tmp_path, progress=False, url=server.url)


def test_source_is_checked():
    with pytest.raises(ValueError, match="source must be one of corrected, original"):
        data.download_nuclei(source="elsewhere")


def test_registry_is_of_the_real_images(histology_path):
    """The digests that ship with the package are those of the real images, in their order, with their fields."""
    entries = registry.read_registry()
    for kind, rows in entries.items():
        nuclei = data.load_nuclei(histology_path.with_name(f"{kind}.npz"))
        assert [row["id"] for row in rows] == nuclei.ids.tolist()
        assert [row["field"] for row in rows] == nuclei.fields.tolist()
        assert [row["image"] for row in rows] == [registry.digest_image(image) for image in nuclei.images]
        assert [row["mask"] for row in rows] == [registry.digest_mask(label) for label in nuclei.labels]
    assert {kind: len(rows) for kind, rows in entries.items()} == {"histology": 71, "fluorescence": 64}


def test_real_images_packed_as_the_archive_are_unpacked_again(histology_path, tmp_path, monkeypatch):
    """The whole way with real pixels: a few images of each kind, packed as folders of PNG files and served."""
    some = {}
    for kind in ("histology", "fluorescence"):
        nuclei = data.load_nuclei(histology_path.with_name(f"{kind}.npz")).subset([0, 1])
        some[kind] = nuclei
    entries = {kind: rows[:2] for kind, rows in registry.read_registry().items()}
    monkeypatch.setattr(download, "read_registry", lambda: entries)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as stored:
        for nuclei in some.values():
            for name, image, label in zip(nuclei.ids, nuclei.images, nuclei.labels, strict=True):
                stored.writestr(f"top/stage1_train/{name}/images/{name}.png", png(image))
                for k in range(1, label.max() + 1):
                    stored.writestr(f"top/stage1_train/{name}/masks/{k:03d}.png", png((label == k) * np.uint8(255)))
    server = Server(stream.getvalue())
    try:
        data.download_nuclei(tmp_path, progress=False, url=server.url)
    finally:
        server.stop()
    for kind, nuclei in some.items():
        read = data.load_nuclei(tmp_path / f"{kind}.npz")
        np.testing.assert_array_equal(read.labels, nuclei.labels)
        np.testing.assert_array_equal(read.fields, nuclei.fields)
