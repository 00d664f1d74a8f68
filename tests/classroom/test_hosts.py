"""What Binder, Colab and a hub's image read: complete, and in step with the project."""

import importlib.util
import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def badges():
    spec = importlib.util.spec_from_file_location("badges", ROOT / "scripts" / "badges.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_lesson_has_its_badges(badges, capsys):
    assert badges.main(["someone/minisegnet", "--branch", "term"]) == 0
    text = capsys.readouterr().out
    for lesson in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"github/someone/minisegnet/blob/term/notebooks/{lesson.name}" in text
        assert f"gh/someone/minisegnet/term?urlpath=lab%2Ftree%2Fnotebooks%2F{lesson.name}" in text
    assert 'minisegnet[notebooks] @ git+https://github.com/someone/minisegnet@term"' in text


def test_a_repository_that_is_none_is_refused(badges, capsys):
    assert badges.main(["https://github.com/someone/minisegnet"]) == 2
    assert "repository must be OWNER/NAME" in capsys.readouterr().err


def test_binder_installs_this_project_and_compiles():
    lines = (ROOT / "binder" / "requirements.txt").read_text().split()
    assert lines == ["-c", "../constraints.txt", ".[notebooks]"]
    assert (ROOT / "binder" / lines[1]).resolve() == ROOT / "constraints.txt"
    if os.name == "posix":
        assert os.access(ROOT / "binder" / "postBuild", os.X_OK)
    python = (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
    assert f"Programming Language :: Python :: {python}" in classifiers


def test_the_image_names_what_exists():
    text = (ROOT / "docs" / "jupyterhub" / "Dockerfile").read_text()
    assert "constraints.txt" in text
    assert "minisegnet[notebooks]" in text
    assert "minisegnet lab ~/minisegnet-course --copy-only" in text
    from minisegnet.cli import lab

    assert lab.separate(["lab", "folder", "--copy-only"]) == (["lab", "folder", "--copy-only"], [])
