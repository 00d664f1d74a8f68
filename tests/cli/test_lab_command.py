"""``minisegnet lab``: lessons are copied, never over the user's work; Jupyter gets what is for Jupyter."""

import json

import pytest

from minisegnet.cli import lab, main


@pytest.fixture
def package(tmp_path):
    """Return a folder with two lessons as the package ships them."""
    place = tmp_path / "package"
    place.mkdir()
    for name in ("00_start.ipynb", "01_next.ipynb"):
        (place / name).write_text(f"first edition of {name}")
    return place


def copy(package, folder):
    return lab.copy_lessons(sorted(package.glob("*.ipynb")), folder)


def test_lessons_are_copied_once(package, tmp_path):
    folder = tmp_path / "deep" / "mine"
    assert copy(package, folder) == ["copied 00_start.ipynb", "copied 01_next.ipynb"]
    assert (folder / "01_next.ipynb").read_text() == "first edition of 01_next.ipynb"
    assert copy(package, folder) == []


def test_an_untouched_lesson_is_brought_up_to_date(package, tmp_path):
    copy(package, tmp_path)
    (package / "00_start.ipynb").write_text("second edition")
    assert copy(package, tmp_path) == ["brought up to date: 00_start.ipynb"]
    assert (tmp_path / "00_start.ipynb").read_text() == "second edition"


def test_work_stays_and_a_newer_version_goes_beside_it(package, tmp_path):
    copy(package, tmp_path)
    mine = tmp_path / "00_start.ipynb"
    mine.write_text("my work")
    assert copy(package, tmp_path) == []  # there is no newer version
    (package / "00_start.ipynb").write_text("second edition")
    assert copy(package, tmp_path) == ["00_start.ipynb is yours and stays; new version: 00_start.new.ipynb"]
    assert mine.read_text() == "my work"
    assert (tmp_path / "00_start.new.ipynb").read_text() == "second edition"
    assert copy(package, tmp_path) == []
    (package / "00_start.ipynb").write_text("third edition")  # the second was not touched: it is ours to replace
    assert copy(package, tmp_path) == ["brought up to date: 00_start.new.ipynb"]
    (tmp_path / "00_start.new.ipynb").write_text("my work on the third")
    (package / "00_start.ipynb").write_text("fourth edition")
    assert copy(package, tmp_path) == ["00_start.ipynb is yours and stays; new version: 00_start.new2.ipynb"]
    assert (tmp_path / "00_start.new.ipynb").read_text() == "my work on the third"
    assert mine.read_text() == "my work"


def test_a_version_that_was_put_away_does_not_come_back(package, tmp_path):
    copy(package, tmp_path)
    (tmp_path / "00_start.ipynb").write_text("my work")
    (package / "00_start.ipynb").write_text("second edition")
    copy(package, tmp_path)
    (tmp_path / "00_start.new.ipynb").unlink()
    assert copy(package, tmp_path) == []


def test_files_of_the_same_name_that_were_there_before_belong_to_the_user(package, tmp_path):
    (tmp_path / "00_start.ipynb").write_text("from another course")
    assert copy(package, tmp_path)[0].startswith("00_start.ipynb is yours")
    assert (tmp_path / "00_start.ipynb").read_text() == "from another course"


def test_a_damaged_manifest_makes_every_file_the_users(package, tmp_path):
    copy(package, tmp_path)
    (tmp_path / lab.MANIFEST).write_text("{ half a")
    (package / "00_start.ipynb").write_text("second edition")
    copy(package, tmp_path)
    assert (tmp_path / "00_start.ipynb").read_text() == "first edition of 00_start.ipynb"
    assert (tmp_path / "00_start.new.ipynb").read_text() == "second edition"
    assert json.loads((tmp_path / lab.MANIFEST).read_text())


def test_a_lesson_that_was_deleted_comes_back(package, tmp_path):
    copy(package, tmp_path)
    (tmp_path / "01_next.ipynb").unlink()
    assert copy(package, tmp_path) == ["copied 01_next.ipynb"]


@pytest.mark.parametrize(
    ("words", "own", "jupyter"),
    [
        (["lab"], ["lab"], []),
        (["lab", "here", "--no-browser"], ["lab", "here"], ["--no-browser"]),
        (["lab", "--port", "9999"], ["lab"], ["--port", "9999"]),
        (["lab", "--copy-only", "--LabApp.x=1"], ["lab", "--copy-only"], ["--LabApp.x=1"]),
    ],
)
def test_what_goes_to_jupyter(words, own, jupyter):
    assert lab.separate(words) == (own, jupyter)


def test_the_command_copies_warms_up_and_starts_jupyter_there(package, tmp_path, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(lab, "lessons", lambda: sorted(package.glob("*.ipynb")))
    monkeypatch.setattr(lab, "start_jupyter", lambda folder, extra: called.append((folder, extra)) or 3)
    monkeypatch.setattr("minisegnet.kernels.warmup.warmup", lambda: called.append("warm"))
    folder = tmp_path / "course"
    assert main(["lab", str(folder), "--no-browser"]) == 3
    assert called == ["warm", (folder, ["--no-browser"])]
    called.clear()
    assert main(["lab", str(folder), "--copy-only"]) == 0
    assert called == []


def test_without_jupyterlab_it_says_what_to_install(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "lessons", lambda: sorted(package.glob("*.ipynb")))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["lab", str(tmp_path / "course"), "--no-warmup"]) == 2
    assert "minisegnet[notebooks]" in capsys.readouterr().err


def test_a_file_in_the_way_and_missing_lessons_are_errors(package, tmp_path, monkeypatch, capsys):
    (tmp_path / "course").write_text("")
    monkeypatch.setattr(lab, "lessons", lambda: sorted(package.glob("*.ipynb")))
    assert main(["lab", str(tmp_path / "course")]) == 2
    assert "is a file" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(lab, "__file__", str(tmp_path / "nowhere" / "cli" / "lab.py"))
    with pytest.raises(FileNotFoundError, match="lessons are missing"):
        lab.lessons()


def test_jupyter_runs_in_the_folder_and_its_exit_code_is_ours(tmp_path, monkeypatch):
    import subprocess
    import sys

    code = "import os, sys; open('seen.txt', 'w').write(os.getcwd() + ' ' + ' '.join(sys.argv[1:])); sys.exit(7)"
    real = subprocess.Popen

    def start(command, cwd):
        assert command[:3] == [sys.executable, "-m", "jupyterlab"]
        return real([sys.executable, "-c", code, *command[3:]], cwd=cwd)

    monkeypatch.setattr(subprocess, "Popen", start)
    assert lab.start_jupyter(tmp_path, ["--no-browser"]) == 7
    assert (tmp_path / "seen.txt").read_text() == f"{tmp_path} --no-browser"
