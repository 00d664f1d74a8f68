"""``minisegnet predict``: any picture, names that never collide, nothing overwritten, bad files named."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from minisegnet import models
from minisegnet.cli import main
from minisegnet.cli.pictures import find, read
from minisegnet.cli.predict import nuclei_of, output_names


def test_mask_and_overlay_have_the_size_and_the_pixels_of_the_prediction(model, picture, tmp_path, capsys):
    Image.fromarray(picture).save(tmp_path / "a.png")
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "a.png"), "-o", str(out), "--model", model]) == 0
    mask = np.asarray(Image.open(out / "a_mask.png"))
    assert mask.shape == picture.shape[:2]
    assert np.array_equal(mask == 255, nuclei_of(models.load(model), picture))
    assert set(np.unique(mask)) <= {0, 255}
    assert np.asarray(Image.open(out / "a_overlay.png")).shape == picture.shape
    assert f"{100 * (mask > 0).mean():.1f}% nucleus" in capsys.readouterr().out


def test_a_lower_threshold_finds_more(model, picture):
    network = models.load(model)
    few, many = nuclei_of(network, picture, 0.9), nuclei_of(network, picture, 0.1)
    assert few.sum() < many.sum()
    assert np.all(many[few])


def test_a_bad_file_is_named_and_the_others_go_on(model, picture, tmp_path, capsys):
    Image.fromarray(picture).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:900])
    (tmp_path / "letter.png").write_text("Dear Sir")
    (tmp_path / "notes.txt").write_text("no picture, not looked at")
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path), "-o", str(out), "--model", model]) == 1
    text = capsys.readouterr().out
    assert "cut.png: is damaged" in text
    assert "letter.png: is no picture" in text
    assert "notes.txt" not in text
    assert "1 of 3 images done" in text
    assert sorted(path.name for path in out.iterdir()) == ["good_mask.png", "good_overlay.png"]


def test_results_are_not_overwritten_unless_asked(model, picture, tmp_path, capsys):
    Image.fromarray(picture).save(tmp_path / "a.png")
    drawn = tmp_path / "a_mask.png"
    drawn.write_bytes(b"drawn by hand in a week")
    command = ["predict", str(tmp_path / "a.png"), "-o", str(tmp_path), "--model", model]
    assert main(command) == 1
    assert "a_mask.png exist" in capsys.readouterr().out
    assert drawn.read_bytes() == b"drawn by hand in a week"
    assert not (tmp_path / "a_overlay.png").exists()
    assert main([*command, "--overwrite"]) == 0
    assert np.asarray(Image.open(drawn)).shape == picture.shape[:2]


def test_output_names_never_collide_and_never_hit_an_input(tmp_path):
    files = [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png", tmp_path / "A.tif", tmp_path / "a_mask.png"]
    names = [path for pair in output_names(files, tmp_path) for path in pair]
    assert len({str(name).lower() for name in names}) == len(names) == 8
    assert not {str(f) for f in files} & {str(n) for n in names}


def test_folders_and_patterns_are_searched_and_our_results_left_out(tmp_path):
    for name in ("b.PNG", "a.jpg", "a_mask.png", "a_overlay.png", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    files, wrong = find([str(tmp_path), str(tmp_path / "*.jpg"), str(tmp_path / "none-*.png"), str(tmp_path / "c.txt")])
    assert [file.name for file in files] == ["a.jpg", "b.PNG", "c.txt"]  # each once; a file that is named is tried
    assert wrong == [f"{tmp_path / 'none-*.png'}: there is no such file or folder"]


def _rgba(picture):
    opacity = np.full((*picture.shape[:2], 1), 255, dtype=np.uint8)
    opacity[:10] = 0
    return Image.fromarray(np.concatenate([picture, opacity], axis=2))


@pytest.mark.parametrize(
    ("suffix", "make", "expected", "told"),
    [
        ("png", Image.fromarray, lambda p: p, None),
        ("png", lambda p: Image.fromarray(p[..., 0]), lambda p: p[..., :1].repeat(3, axis=2), "grey to RGB"),
        ("png", lambda p: Image.fromarray(p).quantize(8), None, "palette to RGB"),
        ("png", _rgba, None, "transparent taken as white"),
        ("tif", lambda p: Image.fromarray(p).convert("CMYK"), None, "CMYK to RGB"),
        ("png", lambda p: Image.fromarray(p[..., 0].astype(np.uint16) * 16), None, "12-bit grey"),
        (
            "tif",
            lambda p: Image.fromarray(p[..., 0].astype(np.uint16) * 257),
            lambda p: p[..., :1].repeat(3, axis=2),
            "16-bit",
        ),
        (
            "tif",
            lambda p: Image.fromarray(p[..., 0].astype(np.float32) / 255),
            lambda p: p[..., :1].repeat(3, axis=2),
            "floating",
        ),
        ("gif", lambda p: Image.fromarray(p).convert("1"), None, None),
    ],
)
def test_every_kind_of_picture_becomes_rgb_and_it_is_said(suffix, make, expected, told, picture, tmp_path):
    path = tmp_path / f"x.{suffix}"
    make(picture).save(path)
    pixels, notes = read(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == picture.shape
    if expected is not None:
        assert np.array_equal(pixels, expected(picture))
    assert (not notes) if told is None and suffix == "png" else told is None or told in " ".join(notes)


def test_what_is_transparent_becomes_white(picture, tmp_path):
    _rgba(picture).save(tmp_path / "x.png")
    pixels, _ = read(tmp_path / "x.png")
    assert np.all(pixels[:10] == 255)
    assert np.array_equal(pixels[10:], picture[10:])


def test_twelve_bits_are_stretched_to_eight(gradient, tmp_path):
    Image.fromarray(np.rint(gradient * 4095).astype(np.uint16)).save(tmp_path / "x.png")
    pixels, _ = read(tmp_path / "x.png")
    assert np.abs(pixels[..., 0] - gradient * 255).max() <= 1


def test_a_stack_gives_its_first_picture_and_says_so(picture, tmp_path):
    first, second = Image.fromarray(picture), Image.fromarray(255 - picture)
    first.save(tmp_path / "x.tif", save_all=True, append_images=[second])
    pixels, notes = read(tmp_path / "x.tif")
    assert np.array_equal(pixels, picture)
    assert notes == ["the first of 2 pictures in the file"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.full((4, 4), 7.5, dtype=np.float32), "0..1"),
        (np.full((4, 4), np.nan, dtype=np.float32), "floating-point"),
        (np.full((4, 4), -3, dtype=np.int32), "integers from -3"),
    ],
)
def test_numbers_without_obvious_meaning_are_refused(values, told, tmp_path):
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match=told):
        read(tmp_path / "x.tif")


def test_a_huge_picture_is_refused_before_it_is_unpacked(tmp_path, model, capsys):
    Image.new("1", (30000, 30000)).save(tmp_path / "bomb.png")  # 110 KB on disk, 2.7 GB as RGB
    assert main(["predict", str(tmp_path / "bomb.png"), "-o", str(tmp_path / "out"), "--model", model]) == 1
    assert "900,000,000 pixels is more than the limit" in capsys.readouterr().out
    with pytest.raises(ValueError, match="limit of 100;"):
        read(_grey(tmp_path / "small.png"), most_pixels=100)


def _grey(path):
    Image.new("L", (11, 10)).save(path)
    return path


def test_nothing_to_do_or_no_model_is_bad_input(model, picture, tmp_path, capsys):
    assert main(["predict", str(tmp_path / "none.png"), "-o", str(tmp_path), "--model", model]) == 2
    assert "none.png: there is no such file" in capsys.readouterr().err
    Image.fromarray(picture).save(tmp_path / "a.png")
    command = ["predict", str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    assert main([*command, "--model", str(tmp_path / "none.safetensors")]) == 2
    assert main([*command, "--model", str(tmp_path / "a.png")]) == 2
    assert main([*command, "--model", model, "--threshold", "0"]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    sys.platform == "win32" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="root may read all"
)
def test_a_file_without_permission_is_named(model, picture, tmp_path, capsys):
    path = tmp_path / "secret.png"
    Image.fromarray(picture).save(path)
    path.chmod(0)
    assert main(["predict", str(path), "-o", str(tmp_path / "out"), "--model", model]) == 1
    assert "secret.png" in capsys.readouterr().out


def test_a_full_disk_ends_it_and_leaves_no_half_file(model, picture, tmp_path, monkeypatch, capsys):
    Image.fromarray(picture).save(tmp_path / "a.png")
    out = tmp_path / "out"

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert main(["predict", str(tmp_path / "a.png"), "-o", str(out), "--model", model]) == 2
    assert "disk is full" in capsys.readouterr().err
    assert list(out.iterdir()) == []
