"""``start.py``, the README's two commands: what it makes, installs and runs, without a network."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return start.py as a module whose project is an empty folder, and that notes its commands instead of running them."""
    spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    module.ROOT = tmp_path
    module.commands, module.codes = [], {}

    def note(command, cwd=None):
        words = [str(part) for part in command]
        module.commands.append(words)
        if words[1:3] == ["-m", "venv"]:
            make_environment(Path(words[-1]))
        return next((code for word, code in module.codes.items() if word in words), 0)

    def make_environment(folder):
        python = folder / ("Scripts/python.exe" if module.os.name == "nt" else "bin/python")
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text("")
        module.made = python

    def answer(command, **options):
        folder = Path(command[0]).parent.parent
        return subprocess.CompletedProcess(command, 0 if folder.is_dir() else 1, stdout=f"{folder}\n")

    monkeypatch.setattr(module, "run", note)
    monkeypatch.setattr(module.subprocess, "run", answer)
    monkeypatch.setattr(module.sys, "prefix", module.sys.base_prefix)
    monkeypatch.delenv("CONDA_DEFAULT_ENV", raising=False)
    return module


def test_the_first_start_makes_an_environment_installs_and_opens_the_lessons(start, tmp_path):
    assert start.main([]) == 0
    venv, pip, lab = start.commands
    python = str(start.made)
    assert venv == [sys.executable, "-m", "venv", str(tmp_path / ".venv")]
    assert pip[:4] == [python, "-m", "pip", "install"]
    assert pip[-4:] == ["-c", str(tmp_path / "constraints.txt"), "-e", f"{tmp_path}[notebooks]"]
    assert lab == [python, "-m", "minisegnet", "lab"]


def test_the_second_start_installs_nothing_until_something_changes(start, tmp_path):
    start.main([])
    start.commands.clear()
    start.main([])
    assert [words[2] for words in start.commands] == ["minisegnet"]
    (tmp_path / "constraints.txt").write_text("numpy==2\n")
    start.commands.clear()
    start.main([])
    assert [words[2] for words in start.commands] == ["pip", "minisegnet"]


def test_tests_get_their_own_extra_which_serves_the_lessons_too(start, tmp_path):
    start.main([])
    start.commands.clear()
    assert start.main(["test", "-k", "unet"]) == 0
    pip, tests = start.commands
    assert pip[-1] == f"{tmp_path}[test]"
    assert tests[1:] == ["-m", "pytest", "-k", "unet"]
    start.commands.clear()
    start.main([])
    assert [words[2] for words in start.commands] == ["minisegnet"]


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["my-folder", "--no-browser"], ["lab", "my-folder", "--no-browser"]),
        (["--no-browser"], ["lab", "--no-browser"]),
        (["doctor"], ["doctor"]),
        (["train", "--data", "synthetic"], ["train", "--data", "synthetic"]),
    ],
)
def test_arguments_reach_the_command(words, passed, start):
    start.main(words)
    assert start.commands[-1][3:] == passed


def test_an_active_environment_is_used(start, tmp_path, monkeypatch):
    place = tmp_path / "mine" / "bin"
    place.mkdir(parents=True)
    monkeypatch.setattr(start.sys, "prefix", str(tmp_path / "mine"))
    monkeypatch.setattr(start.sys, "executable", str(place / "python"))
    start.main([])
    assert [words[2] for words in start.commands] == ["pip", "minisegnet"]
    assert start.commands[0][0] == str(place / "python")
    assert not (tmp_path / ".venv").exists()


def test_exit_codes_and_failures_are_told(start):
    start.codes = {"minisegnet": 3}
    assert start.main(["doctor"]) == 3
    start.codes = {"pip": 1}
    (start.ROOT / "constraints.txt").write_text("changed\n")
    with pytest.raises(SystemExit, match="pip could not install"):
        start.main([])
    start.commands.clear()
    start.codes = {}
    start.main([])  # a failed installation leaves no stamp
    assert [words[2] for words in start.commands] == ["pip", "minisegnet"]


def test_no_environment_says_what_to_install(start):
    start.codes = {"venv": 1}
    with pytest.raises(SystemExit, match="python3-venv"):
        start.main([])


def test_help_needs_nothing():
    result = subprocess.run([sys.executable, ROOT / "start.py", "--help"], capture_output=True, text=True, check=True)
    assert "python start.py test" in result.stdout


def test_an_old_python_is_told_what_to_do():
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 1, 'final', 0);"
        f"sys.argv = ['start.py']; runpy.run_path({str(ROOT / 'start.py')!r}, run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "needs Python 3.11 or newer; this is Python 3.9" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_command_that_a_signal_ended_counts_as_in_a_shell():
    spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.run([sys.executable, "-c", "raise SystemExit(5)"]) == 5
    if sys.platform != "win32":
        assert module.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) == 137


def test_constraints_pin_all_that_the_project_asks_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for name in ("notebooks", "test", "dev") for line in extras[name])]
    names = {line.split(">")[0].split("[")[0].strip().replace("_", "-").lower() for line in asked} - {"minisegnet"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    assert names <= pinned
    assert "torch" not in pinned
