"""The one command of this project: ``python start.py`` opens the lessons, ``python start.py test`` runs the tests.

The first time it makes a virtual environment in the folder ``.venv`` (inside an environment of your own it uses that),
and installs the package with JupyterLab into it; that takes a few minutes. After that it starts at once. Needs Python
3.11 or newer and nothing else; works on Windows, macOS and Linux.

    python start.py                    the lessons, in the folder minisegnet-course, in your browser
    python start.py my-folder          the lessons in a folder of your choice
    python start.py lab --no-browser   what `minisegnet lab --help` lists
    python start.py doctor             any command of `minisegnet`: doctor, train, predict, ...
    python start.py test               all tests; what follows goes to pytest
    python start.py test -k unet
    python start.py site               the course as a website, without an installation (docs/classroom.md)
    python start.py bundle             all that a machine without a network needs, in one folder

In the folder that ``bundle`` made, it installs from the wheels there, and nothing is downloaded.
"""

import compileall
import hashlib
import os
import subprocess
import sys

NEEDED = (3, 11)
if sys.version_info < NEEDED:
    sys.exit(
        "minisegnet needs Python {}.{} or newer; this is Python {}.{} ({}).\n"
        "Install a newer one (python.org, or your system's packages) and start this file with it.".format(
            *NEEDED, sys.version_info[0], sys.version_info[1], sys.executable
        )
    )

from pathlib import Path  # noqa: E402  (an old Python should see that message and no other)

ROOT = Path(__file__).resolve().parent
TOOLS = {"site": "build_site.py", "bundle": "make_bundle.py"}  # each with an extra of its name
COMMANDS = ("lab", "doctor", "warmup", "train", "predict", "eval", "export", "data")


def main(arguments: list[str]) -> int:
    """Install what is missing, then run the lessons, a command or the tests; returns the exit code."""
    if arguments[:1] and arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    task = arguments[0] if arguments[:1] and arguments[0] in ("test", *TOOLS) else ""
    if task and (ROOT / "wheels").is_dir():
        sys.exit(f"{task!r} needs the project's sources; this folder holds only what the lessons need.")
    python = environment()
    install(python, task or "notebooks")
    if task == "test":
        return run([python, "-m", "pytest", *arguments[1:]], cwd=ROOT)
    if task:
        return run([python, ROOT / "scripts" / TOOLS[task], *arguments[1:]])
    if not arguments or arguments[0] not in COMMANDS:
        arguments = ["lab", *arguments]
    return run([python, "-m", "minisegnet", *arguments])


def environment() -> Path:
    """Return the Python of the environment to use; make ``.venv`` unless we are inside an environment already."""
    conda = os.environ.get("CONDA_DEFAULT_ENV", "base") != "base"  # conda's base holds conda itself: leave it alone
    if sys.prefix != sys.base_prefix or conda:
        print(f"using the environment that is active: {sys.prefix}", flush=True)
        if not works(Path(sys.executable)):
            run([sys.executable, "-m", "ensurepip", "--upgrade"])
        return Path(sys.executable)
    folder = ROOT / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not works(python):
        print(f"making a virtual environment in {folder} ...", flush=True)
        options = ["--clear"] if folder.exists() else []  # one that is broken, or was made by a Python that is gone
        if run([sys.executable, "-m", "venv", *options, folder]) != 0:
            sys.exit(
                "The virtual environment could not be made. On Debian and Ubuntu `sudo apt install python3-venv` "
                "brings what is missing; or make and activate an environment yourself and start this file in it."
            )
    return python


def works(python: Path) -> bool:
    """Return whether this interpreter runs and is new enough."""
    check = f"import sys, pip; sys.exit(sys.version_info < {NEEDED})"
    try:
        return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install(python: Path, extra: str) -> None:
    """Install the package, editable, with this extra; a stamp in the environment says what has been installed."""
    wheels = ROOT / "wheels"  # in a bundle, which has all that is needed, and nothing else
    if wheels.is_dir():
        asked = "".join(sorted(path.name for path in wheels.iterdir())).encode()
        what = ["--no-index", "--find-links", wheels, f"minisegnet[{extra}]"]
    else:
        asked = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
        what = ["-c", ROOT / "constraints.txt", "-e", f"{ROOT}[{extra}]"]
    wanted = hashlib.sha256(asked).hexdigest()
    prefix = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    stamp = Path(prefix) / "minisegnet-installed.txt"
    line = f"{wanted} {ROOT}"
    installed = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
    if any(entry in installed for entry in (f"{extra} {line}", f"test {line}")):
        return
    print(f"installing minisegnet and its {extra!r} extra: two to five minutes, once ...", flush=True)
    code = run([python, "-m", "pip", "install", "--disable-pip-version-check", *what])
    if code != 0 and wheels.is_dir():
        sys.exit(
            f"pip could not install (exit code {code}); its message is above. README.txt says for which systems and which "
            "versions of Python this folder was made: this is Python {}.{} on {}.".format(
                *sys.version_info[:2], sys.platform
            )
        )
    if code != 0:
        sys.exit(
            f"pip could not install (exit code {code}); its message is above. Without a network: install once where "
            "there is one. If a version is not to be had for your system, delete its line from constraints.txt."
        )
    if not wheels.is_dir():
        compileall.compile_dir(ROOT / "minisegnet", quiet=2)  # as pip does for what is not editable: imports are faster
    stamp.write_text(f"{extra} {line}\n", encoding="utf-8")


def run(command: list, cwd: "Path | None" = None) -> int:
    """Run a command with this terminal's input and output; return its exit code. Ctrl-C is for the command to handle."""
    process = subprocess.Popen([str(part) for part in command], cwd=cwd)
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code  # ended by a signal: as a shell counts
        except KeyboardInterrupt:  # the terminal sent it to the command, too: wait for its tidy end
            continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
