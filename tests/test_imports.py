"""Who may import whom (docs/design.md, the tree), read from the sources; and what ``import minisegnet`` loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "minisegnet"
HEAVY = (
    "numba",
    "cupy",
    "matplotlib",
    "IPython",
    "PIL",
    "pooch",
    "tqdm",
    "safetensors",
    "ipywidgets",
    "torch",
    "scipy",
)

# From the bottom to the top: a part may import, at its top level or in functions, those listed for it and itself.
BOTTOM = {"arrays", "autograd", "deferred", "random", "ranks", "shapes"}
KERNELS = BOTTOM | {"kernels", "backend", "storage"}
LAYERS = KERNELS | {"functional", "nn"}
BESIDE_LAYERS = {"data", "metrics", "optim", "losses"}
BELOW_FIGURES = LAYERS | BESIDE_LAYERS | {"models", "training", "interop", "recipes", "scale"}
ALLOWED = {
    "autograd": set(),
    "shapes": set(),
    "random": set(),
    "arrays": {"autograd", "deferred"},
    "deferred": set(),
    "ranks": {"arrays", "autograd", "random"},
    "storage": {"arrays", "autograd"},
    "kernels": {"arrays", "shapes", "backend"},  # backend: warmup and sources walk over all backends
    "backend": {"arrays", "kernels"},
    "functional": KERNELS,
    "nn": KERNELS | {"functional", "losses"},
    "metrics": {"arrays", "autograd", "shapes"},
    "optim": {"arrays", "autograd", "backend", "kernels"},
    "losses": KERNELS | {"functional"},
    "data": {"shapes", "storage", "arrays"},
    "models": LAYERS | {"data"},
    "training": LAYERS | BESIDE_LAYERS,
    "interop": LAYERS | {"models"},
    "scale": LAYERS | {"data", "models"},
    "recipes": LAYERS | BESIDE_LAYERS | {"models", "training"},
    "figures": BELOW_FIGURES,
    "course": BELOW_FIGURES,
    "explorers": BELOW_FIGURES | {"figures", "course"},
    "cli": BELOW_FIGURES | {"figures", "explorers", "course"},
}


def imports_of(file):
    """Yield (module as a dotted name, whether at top level) of everything that a file imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = ["minisegnet", *file.relative_to(PACKAGE).parts[:-1]]
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            names = [".".join([*base, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) not in inside


FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(file.relative_to(PACKAGE)) for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_imports_go_downwards(file):
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part in ("__init__", "__main__"):
        return
    for name, _ in imports_of(file):
        top, _, rest = name.partition(".")
        if top != "minisegnet":
            continue
        target = rest.split(".")[0]
        if target in ALLOWED and target != part:
            assert target in ALLOWED[part], f"{part} must not import {target}"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_autograd_imports_numpy_alone_and_heavy_packages_only_where_they_belong(file):
    place = file.relative_to(PACKAGE).as_posix()
    for name, at_top in imports_of(file):
        top = name.split(".")[0]
        assert top != "scipy", "scipy is not a dependency"
        if top == "torch":
            assert place.startswith("interop/"), "torch is not a dependency"
            assert not at_top
        if place == "autograd.py":
            assert top in ("__future__", "numpy", *sys.stdlib_module_names)
        if top == "numba":
            allowed = file.name.startswith("numba_cpu") or place in ("kernels/threads.py", "cli/doctor.py")
            assert allowed, "only numba_cpu files touch Numba"
            assert not at_top or file.name.startswith("numba_cpu")
        if top == "cupy":
            assert place == "arrays.py" or file.name.startswith("cuda_gpu") or place == "cli/doctor.py"
            assert not at_top or file.name.startswith("cuda_gpu")
        if top in ("PIL", "pooch", "tqdm"):
            assert not at_top, f"{top} is imported where it is used"


@pytest.mark.parametrize("file", [f for f in FILES if "kernels" in f.parts], ids=str)
def test_kernel_families_know_neither_the_tape_nor_each_other(file):
    parts = file.relative_to(PACKAGE / "kernels").parts
    for name, _ in imports_of(file):
        assert not name.startswith("minisegnet.autograd")
        if len(parts) == 2 and name.startswith("minisegnet.kernels."):
            other = name.split(".")[2]
            assert other == parts[0] or not (PACKAGE / "kernels" / other).is_dir(), f"{parts[0]} imports {other}"


def loaded_after(code):
    names = f"{HEAVY!r}"
    probe = f"{code}; import sys; print([n for n in {names} if n in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "error", "-c", probe], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_import_loads_numpy_and_nothing_heavy():
    assert loaded_after("import minisegnet") == "[]"


@pytest.mark.parametrize("part", ["data", "losses", "metrics", "models", "optim", "training", "figures", "recipes"])
def test_parts_load_nothing_heavy_either(part):
    assert loaded_after(f"import minisegnet.{part}") == "[]"


def test_a_net_can_be_built_without_the_compiler():
    assert loaded_after("import minisegnet as ms; ms.models.UNet(3, 2, 4, 2).summary") == "[]"


def test_every_part_of_the_tree_has_its_rule():
    parts = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()} | {
        p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("__")
    }
    assert parts == set(ALLOWED)
