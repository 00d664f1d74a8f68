"""The frame of the command line: help, exit codes, errors on one line."""

import subprocess
import sys

import pytest

from minisegnet import cli
from minisegnet.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: minisegnet {command}")
    assert command == "doctor" or "examples:" in text


def test_help_names_every_command_and_no_command_shows_the_help(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in COMMANDS)
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_bad_arguments_are_exit_code_2(capsys):
    assert main(["no-such-command"]) == 2
    assert main(["train"]) == 2
    assert main(["train", "--data", "synthetic", "--steps", "many"]) == 2
    assert "error" in capsys.readouterr().err


def test_bad_input_is_one_line_and_exit_code_2(capsys):
    assert main(["train", "--data", "no/such/file.npz"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("minisegnet train: error: ")
    assert "file.npz" in lines[0]


def test_debug_shows_where_an_error_arose():
    with pytest.raises(FileNotFoundError):
        main(["--debug", "train", "--data", "no/such/file.npz"])


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device", "x.bin"), 2)]
)
def test_exit_codes_of_what_stops_a_command(error, code, monkeypatch, capsys):
    def stop(args):
        raise error

    monkeypatch.setattr("minisegnet.cli.warmup.run", stop)
    assert main(["warmup"]) == code
    text = capsys.readouterr().err
    assert "Traceback" not in text
    if code == 2:
        assert "x.bin: No space left on device" in text


def test_version_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "minisegnet", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("minisegnet 0.")


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe whose reader has gone is another error on Windows")
def test_a_reader_that_has_had_enough_is_no_traceback():
    code = (
        "import minisegnet.cli.warmup as w\n"
        "w.run = lambda args: [print('x' * 9999, flush=True) for _ in range(99)] and 0\n"
        "from minisegnet.cli import main\n"
        "raise SystemExit(main(['warmup']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
    process.stderr.close()


def test_the_parser_loads_neither_numba_nor_matplotlib():
    code = (
        "import sys; from minisegnet.cli import make_parser; make_parser();"
        "print({'numba', 'matplotlib', 'PIL'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_one_line_of_an_error_of_many():
    assert cli.one_line(ValueError("a\n  b")) == "a b"
    assert cli.one_line(MemoryError()) == "MemoryError"
