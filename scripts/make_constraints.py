"""Write ``constraints.txt`` from the packages installed here: what the extras ask for, and what that asks for in turn.

    python scripts/make_constraints.py > constraints.txt

Run it in an environment in which the whole test suite has just passed. Packages that are not installed (those for other
systems) are left to pip. PyTorch is never pinned: it is not needed, and its builds differ from machine to machine.
"""

from __future__ import annotations

import importlib.metadata as metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("notebooks", "test", "dev", "mpi", "site", "bundle", "scale", "interop")
LEFT_OUT = {"torch", "minisegnet"}
# Where the newest version has no wheel, pip chooses an older one by itself, if it is not pinned.
NOT_INTEL_MAC = "sys_platform != 'darwin' or platform_machine != 'x86_64'"
MARKERS = {
    "argon2-cffi-bindings": NOT_INTEL_MAC,
    "llvmlite": NOT_INTEL_MAC,
    "numba": NOT_INTEL_MAC,
    "soupsieve": "python_full_version >= '3.11.5'",
}

HEADER = """\
# Versions that are known to work together, with Python 3.11 to 3.13: start.py and .ci/run install under these.
# Written by scripts/make_constraints.py in an environment in which all tests passed; pip's format of constraints files.
"""


def main() -> None:
    """Print the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [Requirement(text) for text in project["dependencies"]]
    asked += [Requirement(text) for extra in EXTRAS for text in project["optional-dependencies"][extra]]
    versions: dict[str, str] = {}
    done: set[tuple[str, str]] = set()
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if name in LEFT_OUT or (name, extra) in done:
                continue
            done.add((name, extra))
            try:
                package = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                print(f"not installed, left to pip: {name}", file=sys.stderr)
                continue
            versions[name] = package.version
            for text in package.requires or []:
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    asked.append(needed)
    lines = [
        f"{name}=={versions[name]}" + (f"; {MARKERS[name]}" if name in MARKERS else "") for name in sorted(versions)
    ]
    print(HEADER + "\n".join(lines))


if __name__ == "__main__":
    main()
