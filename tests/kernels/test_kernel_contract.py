"""Every backend has every kernel with the contract's parameters, and the page about kernels lists them as they are."""

import importlib
import inspect
from pathlib import Path

import pytest

from minisegnet.kernels.contract import KERNELS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kernels.md"


@pytest.mark.parametrize("module", ["reference", "numba_cpu"])
@pytest.mark.parametrize("name", KERNELS)
def test_parameters_are_those_of_the_contract(name, module):
    function = getattr(importlib.import_module(f"minisegnet.kernels.{KERNELS[name].family}.{module}"), name)
    found, wanted = inspect.signature(function).parameters, KERNELS[name].signature.parameters
    assert {n: (p.kind, p.default) for n, p in found.items()} == {n: (p.kind, p.default) for n, p in wanted.items()}
    assert list(found) == list(wanted)
    assert function.__doc__


def test_the_page_about_kernels_lists_them():
    rows = [line.split("`")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"{name}{kernel.signature}" for name, kernel in KERNELS.items()]
