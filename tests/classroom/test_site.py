"""The course as a website: built and checked. What a browser makes of it: tests/browser/test_site_in_browser.py."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("jupyterlite_core", reason="jupyterlite-core is not installed: pip install -e .[site]")
pytest.importorskip("jupyterlite_pyodide_kernel", reason="jupyterlite-pyodide-kernel is not installed")
ROOT = Path(__file__).resolve().parents[2]


def tool():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "scripts" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site once: as `python start.py site` does."""
    out = tmp_path_factory.mktemp("site") / "course"
    try:
        assert tool().main([str(out)]) == 0
    except SystemExit as error:
        if "pip download" in str(error):
            pytest.skip(f"the wheels beside ours cannot be downloaded here: {str(error)[-300:]}")
        raise
    return out


def test_it_has_all_lessons_and_its_own_wheels(site):
    lessons = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in (site / "files").glob("*.ipynb")) == lessons
    wheels = {path.name for path in site.rglob("*.whl")}
    assert all(name.endswith("none-any.whl") for name in wheels)
    for name in ("minisegnet", "ipywidgets", "anywidget", "pooch"):
        assert [w for w in wheels if w.startswith(f"{name}-")], f"{name} is not on the site"
    assert (site / "lab" / "index.html").exists()


def test_lessons_install_the_package_before_their_first_line(site):
    notebook = json.loads((site / "files" / "02_convolution.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code[0]["source"].splitlines()[-1] == "%pip install -q minisegnet anywidget"
    assert "import" in code[1]["source"]
    original = json.loads((ROOT / "notebooks" / "02_convolution.ipynb").read_text(encoding="utf-8"))
    assert len(notebook["cells"]) == len(original["cells"]) + 1
    assert all(isinstance(cell["source"], str) for cell in notebook["cells"])


def test_the_wheel_asks_a_browser_for_no_compiler(site):
    from importlib.metadata import PathDistribution
    from zipfile import Path as ZipPath

    from packaging.requirements import Requirement

    (wheel,) = site.rglob("minisegnet-*.whl")
    (info,) = [p for p in ZipPath(wheel).iterdir() if p.name.endswith(".dist-info")]
    needs = [Requirement(text) for text in PathDistribution(info).requires]
    browser = {"sys_platform": "emscripten", "extra": ""}
    names = {need.name for need in needs if need.marker is None or need.marker.evaluate(browser)}
    assert names == {"numpy", "safetensors", "pillow", "tqdm", "pooch", "matplotlib"}


def test_a_folder_that_exists_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep")
    assert tool().main([str(tmp_path)]) == 2
    assert "choose another folder, or --force" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").exists()


def test_what_is_missing_is_named(monkeypatch, tmp_path, capsys):
    module = tool()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jupyterlite_core" else find(name))
    assert module.main([str(tmp_path / "site")]) == 2
    assert "jupyterlite_core missing: pip install -e .[site], or python start.py site" in capsys.readouterr().err


def test_a_build_that_fails_leaves_nothing(monkeypatch, tmp_path):
    module = tool()
    monkeypatch.setattr(module, "build", lambda work, pyodide: sys.exit("no"))
    with pytest.raises(SystemExit):
        module.main([str(tmp_path / "site")])
    assert not (tmp_path / "site").exists()
