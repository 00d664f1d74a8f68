"""Reading nuclei: both layouts, and every kind of damage gets one error that names the file and the fault."""

import zipfile

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data import nuclei as nuclei_module

PIL = pytest.importorskip("PIL.Image")


def arrays(n=3, h=20, w=24, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros((n, h, w), np.uint16)
    labels[:, 2:8, 3:9] = 1
    labels[:, 12:15, 10:20] = 2
    return {
        "images": rng.integers(0, 256, (n, h, w, 3), dtype=np.uint8),
        "labels": labels,
        "ids": np.array([f"picture{i}" for i in range(n)]),
        "fields": np.array([4, 4, 9], np.int32)[:n],
    }


def folder(root, n=3, h=20, w=24, mode="RGBA"):
    """Write the Data Science Bowl's layout; return what should be read."""
    content = arrays(n, h, w)
    for name, image, label in zip(content["ids"], content["images"], content["labels"], strict=True):
        (root / name / "images").mkdir(parents=True)
        (root / name / "masks").mkdir()
        PIL.fromarray(image).convert(mode).save(root / name / "images" / f"{name}.png")
        for k in (1, 2):
            PIL.fromarray(((label == k) * 255).astype(np.uint8)).save(root / name / "masks" / f"{'ab'[k - 1]}.png")
    return content


def test_npz(tmp_path):
    content = arrays()
    np.savez(tmp_path / "own.npz", **content)
    read = data.load_nuclei(tmp_path / "own.npz")
    for name in ("images", "labels", "ids", "fields"):
        np.testing.assert_array_equal(getattr(read, name), content[name])
    assert read.labels.dtype == np.int32
    assert len(read) == 3
    assert "3 images" in repr(read)
    assert "6 nuclei" in repr(read)
    np.testing.assert_array_equal(read.masks(), content["labels"] > 0)
    assert read.masks().dtype == np.int64


def test_ids_and_fields_may_be_absent(tmp_path):
    content = arrays()
    np.savez(tmp_path / "own.npz", images=content["images"], labels=content["labels"].astype(bool))
    read = data.load_nuclei(tmp_path / "own.npz")
    assert len(set(read.ids)) == 3
    np.testing.assert_array_equal(read.fields, data.find_fields(content["images"]))


def test_subset(tmp_path):
    np.savez(tmp_path / "own.npz", **arrays())
    read = data.load_nuclei(tmp_path / "own.npz")
    some = read.subset([2, 0])
    np.testing.assert_array_equal(some.ids, ["picture2", "picture0"])
    np.testing.assert_array_equal(some.images, read.images[[2, 0]])
    np.testing.assert_array_equal(read.subset(read.fields == 4).ids, ["picture0", "picture1"])
    with pytest.raises(IndexError, match="one boolean per image"):
        read.subset(np.array([True]))


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_folders(tmp_path, above, mode):
    content = folder(tmp_path / "stage1_train", mode=mode)
    read = data.load_nuclei(tmp_path if above else tmp_path / "stage1_train")
    for name in ("images", "labels", "ids"):
        np.testing.assert_array_equal(getattr(read, name), content[name])


def test_folders_of_several_sizes_give_lists(tmp_path):
    folder(tmp_path, n=1)
    content = arrays(n=1, h=30)
    (tmp_path / "tall" / "images").mkdir(parents=True)
    (tmp_path / "tall" / "masks").mkdir()
    PIL.fromarray(content["images"][0]).save(tmp_path / "tall" / "images" / "tall.png")
    read = data.load_nuclei(tmp_path)
    assert isinstance(read.images, list)
    assert [image.shape for image in read.images] == [(20, 24, 3), (30, 24, 3)]
    assert read.labels[1].max() == 0  # no masks is a picture without nuclei
    assert isinstance(read.subset([1]).images, np.ndarray)


def test_grey_16_bit_pictures(tmp_path):
    values = np.array([[0, 257, 65535]], np.uint16).repeat(4, axis=0)
    PIL.fromarray(values).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(data.read_picture(tmp_path / "deep.png")[0, :, 1], [0, 1, 255])


def test_kinds_are_recognized():
    grey = np.full((8, 8, 3), 20, np.uint8)
    assert nuclei_module.kind_of(grey) == "fluorescence"
    assert nuclei_module.kind_of(255 - grey) == "brightfield"
    assert nuclei_module.kind_of(np.full((8, 8, 3), (150, 90, 180), np.uint8)) == "histology"


def test_kind_chooses(tmp_path):
    content = arrays()
    content["images"][1] = content["images"][1, ..., :1] // 8
    np.savez(tmp_path / "mixed.npz", **content)
    assert data.load_nuclei(tmp_path, kind="fluorescence").ids.tolist() == ["picture1"]
    assert data.load_nuclei(tmp_path / "mixed.npz", kind="histology").ids.tolist() == ["picture0", "picture2"]
    with pytest.raises(ValueError, match="no image of kind 'brightfield'"):
        data.load_nuclei(tmp_path, kind="brightfield")
    with pytest.raises(ValueError, match="kind must be one of"):
        data.load_nuclei(tmp_path, kind="electron")


def test_several_files_never_share_a_field(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(n=3))
    np.savez(tmp_path / "b.npz", **arrays(n=3, h=40, seed=1))
    read = data.load_nuclei(tmp_path)
    assert len(read) == 6
    assert isinstance(read.images, list)
    assert not set(read.fields[:3].tolist()) & set(read.fields[3:].tolist())


def test_where_it_looks(tmp_path, monkeypatch):
    np.savez(tmp_path / "own.npz", **arrays())
    monkeypatch.setenv("MINISEGNET_DATA", str(tmp_path / "own.npz"))
    assert len(data.load_nuclei()) == 3
    monkeypatch.setenv("MINISEGNET_DATA", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="MINISEGNET_DATA"):
        data.load_nuclei()
    monkeypatch.delenv("MINISEGNET_DATA")
    monkeypatch.setattr(nuclei_module, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match=r"minisegnet data nuclei.*synthetic_tissue"):
        data.load_nuclei()
    (tmp_path / "cache").mkdir()
    np.savez(tmp_path / "cache" / "histology.npz", **arrays())
    assert data.load_nuclei().kinds.tolist() == ["histology"] * 3
    with pytest.raises(FileNotFoundError, match="path: there is no file or folder"):
        data.load_nuclei(tmp_path / "nowhere.npz")


def corrupt(name, **changes):
    content = arrays()
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value(content[key]) if callable(value) else value
    return pytest.param(content, id=name)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (*corrupt("no images", images=None).values, "no array images"),
        (*corrupt("no labels", labels=None).values, "no array labels"),
        (*corrupt("float images", images=lambda a: a / 255).values, "images must be uint8"),
        (*corrupt("grey images", images=lambda a: a[..., 0]).values, "images must be uint8"),
        (*corrupt("float labels", labels=lambda a: a / 2).values, "labels must be integers"),
        (*corrupt("other size", labels=lambda a: a[:, 1:]).values, "labels must be integers of shape"),
        (*corrupt("negative", labels=lambda a: a.astype(int) - 1).values, "from 0"),
        (*corrupt("huge", labels=lambda a: a.astype(np.int64) * 2**40).values, "2\\*\\*31"),
        (*corrupt("empty", images=lambda a: a[:0], labels=lambda a: a[:0]).values, "empty"),
        (*corrupt("fields short", fields=np.arange(2)).values, "fields must be integers"),
        (*corrupt("fields text", fields=np.array(["a", "b", "c"])).values, "fields must be integers"),
        (*corrupt("ids numbers", ids=np.arange(3)).values, "ids must be text"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, content, fault):
    path = tmp_path / "wrong.npz"
    np.savez(path, **content)
    with pytest.raises(ValueError, match=fault) as caught:
        data.load_nuclei(path)
    assert "wrong.npz" in str(caught.value)


def test_pickled_objects_are_refused(tmp_path):
    content = arrays()
    content["ids"] = np.array([print, "b", "c"], dtype=object)
    np.savez(tmp_path / "evil.npz", **content)
    with pytest.raises(ValueError, match=r"evil\.npz.*Python objects"):
        data.load_nuclei(tmp_path / "evil.npz")


def test_truncated_and_foreign_files(tmp_path):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    for content in (b"", b"no zip at all", whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"own\.npz"):
            data.load_nuclei(path)
    flipped = bytearray(whole)
    flipped[200:204] = bytes(255 - b for b in flipped[200:204])
    path.write_bytes(bytes(flipped))
    with pytest.raises(ValueError, match=r"own\.npz"):
        data.load_nuclei(path)


def test_zip_bomb(tmp_path):
    """A file of some kilobytes that claims to hold 30 GB: refused before memory is taken."""
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1, 1, 3), np.uint8))
    header["shape"] = (100_000, 320, 320, 3)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("images", "labels"):
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                stream.write(bytes(1000))
    with pytest.raises(ValueError, match=r"bomb\.npz.*stored"):
        data.load_nuclei(tmp_path / "bomb.npz")


def test_corrupt_png_is_named(tmp_path):
    folder(tmp_path)
    for part in ("images/picture1.png", "masks/a.png"):
        path = tmp_path / "picture1" / part
        whole = path.read_bytes()
        for content in (b"", b"GIF89a?", whole[:40], whole[: len(whole) - 30]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="no picture that can be read") as caught:
                data.load_nuclei(tmp_path)
            assert path.name in str(caught.value)
        path.write_bytes(whole)
    assert len(data.load_nuclei(tmp_path)) == 3


def test_enormous_png_is_refused(tmp_path, monkeypatch):
    from minisegnet.data import pictures

    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    PIL.new("L", (20, 20)).save(tmp_path / "big.png")
    with pytest.raises(ValueError, match=r"big\.png.*20x20 pixels, the limit is 100"):
        data.read_picture(tmp_path / "big.png")


def test_folder_faults_are_named(tmp_path):
    with pytest.raises(ValueError, match="the data set is empty"):
        data.load_nuclei(tmp_path)
    folder(tmp_path)
    mask = tmp_path / "picture0" / "masks" / "a.png"
    PIL.fromarray(np.zeros((10, 24), np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r"a\.png: the mask is 10x24.*20x24"):
        data.load_nuclei(tmp_path)
    mask.unlink()
    (tmp_path / "picture0" / "masks" / "b.png").unlink()
    (tmp_path / "picture0" / "masks").rmdir()
    with pytest.raises(ValueError, match="no folder 'masks'"):
        data.load_nuclei(tmp_path)
    (tmp_path / "picture0" / "masks").mkdir()
    (tmp_path / "picture0" / "images" / "picture0.png").unlink()
    with pytest.raises(ValueError, match=r"expected one \.png, found 0"):
        data.load_nuclei(tmp_path)


def test_real_files(histology_path, fluorescence_path):
    tissue, glow = data.load_nuclei(histology_path), data.load_nuclei(fluorescence_path)
    assert repr(tissue) == "<Nuclei: 71 images (71 histology) of 18 fields, 3293 nuclei>"
    assert repr(glow) == "<Nuclei: 64 images (64 fluorescence) of 16 fields, 2220 nuclei>"
    both = data.load_nuclei(histology_path.parent)
    assert len(both) == 135
    assert len(np.unique(both.fields)) == 34
    for image, kind in zip(both.images, both.kinds, strict=True):
        assert nuclei_module.kind_of(image) == kind
