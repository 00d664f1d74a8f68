"""Collect everything that a class needs into one folder, for machines without a network.

    python start.py bundle                               for this kind of machine, this Python
    python start.py bundle OUT --platform windows --python 3.12
    python start.py bundle OUT --platform linux-x86 macos-arm windows --python 3.12 3.13

Copy the folder to a stick. There, ``python start.py`` installs from it and opens the lessons, and nothing is downloaded;
Python itself must be installed on those machines. Which versions fit a system is found by uv, for that system and not for
this one; pip then downloads exactly those.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# For each system: its name for uv, and for pip the tags of the wheels that run there (pip adds older macOS by itself).
PLATFORMS = {
    "linux-x86": ("x86_64-manylinux_2_28", [f"manylinux{v}_x86_64" for v in ("_2_28", "_2_27", "_2_17", "2014")]),
    "linux-arm": ("aarch64-manylinux_2_28", [f"manylinux{v}_aarch64" for v in ("_2_28", "_2_27", "_2_17", "2014")]),
    "macos-arm": ("aarch64-apple-darwin", ["macosx_14_0_arm64", "macosx_14_0_universal2"]),
    "macos-x86": ("x86_64-apple-darwin", ["macosx_14_0_x86_64", "macosx_14_0_universal2"]),
    "windows": ("x86_64-pc-windows-msvc", ["win_amd64"]),
}
PYTHONS = {"3.11": "3.11.9", "3.12": "3.12.0", "3.13": "3.13.0"}  # 3.11.0 itself is too old for some packages

README = """\
minisegnet, without a network
=============================

For {platforms} with Python {pythons}.

1. Copy this folder to the machine (a stick is slow: its hard disk is better).
2. In the folder:  python start.py

The first start installs into the folder .venv beside this file and takes one to three minutes; then the lessons open.
Nothing is downloaded.
"""


def main(arguments: list[str] | None = None) -> int:
    """Collect, and say what came out; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, default=Path("minisegnet-bundle"), help="the folder to make")
    parser.add_argument("--platform", nargs="+", choices=PLATFORMS, default=[this_platform()], help="which systems")
    here = ".".join(platform.python_version_tuple()[:2])
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=[here], help="which versions of Python")
    args = parser.parse_args(arguments)
    missing = [name for name in ("uv", "hatchling") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{' and '.join(missing)} missing: pip install -e .[bundle], or python start.py bundle", file=sys.stderr)
        return 2
    out = args.out.resolve()
    if out.exists():
        print(f"{out} exists: choose another folder, or remove that one", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "bundle"
        collect(made, args.platform, args.python)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, out)  # whole, or not at all
    wheels = list((out / "wheels").glob("*.whl"))
    size = sum(file.stat().st_size for file in wheels)
    print(
        f"{out}: {len(wheels)} wheels, {size / 2**20:.0f} MiB, for {', '.join(args.platform)}, Python {', '.join(args.python)}"
    )
    print("copy it to a machine without a network; there: python start.py")
    return 0


def this_platform() -> str:
    """Return the name of the system that this is."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    names = {"Linux": "linux-arm" if arm else "linux-x86", "Darwin": "macos-arm" if arm else "macos-x86"}
    return names.get(platform.system(), "windows")


def collect(folder: Path, platforms: list[str], pythons: list[str]) -> None:
    """Fill a folder with the package's wheel, the wheels of all it needs, and the file that installs them."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=ROOT)
    for system in platforms:
        for python in pythons:
            pins = folder / "pins.txt"
            pins.write_text(resolve(system, python), encoding="utf-8")
            download(pins, system, python, wheels)
            pins.unlink()
    shutil.copy(ROOT / "start.py", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    text = README.format(platforms=", ".join(platforms), pythons=", ".join(pythons))
    (folder / "README.txt").write_text(text, encoding="utf-8")


def resolve(system: str, python: str) -> str:
    """Return name==version, a line each, of what the lessons need on another system."""
    command = (sys.executable, "-m", "uv", "pip", "compile", str(ROOT / "pyproject.toml"), "--extra", "notebooks")
    target = ("--python-platform", PLATFORMS[system][0], "--python-version", PYTHONS[python], "--no-build")
    return run(*command, *target, "-c", str(ROOT / "constraints.txt"), "--no-header", "--no-annotate", "--quiet")


def download(pins: Path, system: str, python: str, wheels: Path) -> None:
    """Download the wheels of these versions for another system."""
    tags = [word for tag in (*PLATFORMS[system][1], "any") for word in ("--platform", tag)]
    abi = f"cp{python.replace('.', '')}"
    tags += ["--python-version", PYTHONS[python], "--implementation", "cp"]
    tags += [word for tag in (abi, "abi3", "none") for word in ("--abi", tag)]
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
    run(*pip, "--only-binary=:all:", *tags, "-d", str(wheels), "-r", str(pins))


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return what it printed; where it fails, show it."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} ... failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
