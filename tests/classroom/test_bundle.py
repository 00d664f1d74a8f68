"""The folder for machines without a network: made for this system, and installed from it with every door closed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uv", reason="uv is not installed: pip install -e .[bundle]")
ROOT = Path(__file__).resolve().parents[2]


def tool():
    spec = importlib.util.spec_from_file_location("make_bundle", ROOT / "scripts" / "make_bundle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Collect once: as `python start.py bundle` does; skip where nothing can be downloaded."""
    out = tmp_path_factory.mktemp("bundle") / "minisegnet-bundle"
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)):
        pytest.skip("bundles are made for Python 3.11 to 3.13")
    try:
        assert tool().main([str(out)]) == 0
    except SystemExit as error:
        if " download " in str(error) or " uv " in str(error):
            pytest.skip(f"the wheels cannot be downloaded here: {str(error)[-300:]}")
        raise
    return out


def test_it_installs_and_runs_without_a_network(bundle, tmp_path):
    closed = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    own = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    base = Path(getattr(sys, "_base_executable", sys.executable))  # not this environment: a new one is to be made
    code = "import json, minisegnet, jupyterlab, pathlib; p = pathlib.Path(minisegnet.__file__).parent; "
    code += "print(json.dumps([str(p), len(list((p / 'notebooks').glob('*.ipynb')))]))"
    done = subprocess.run(
        [base, bundle / "start.py", "data", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**own, **closed, "PIP_CONFIG_FILE": os.devnull, "NUMBA_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    python = bundle / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env=own, cwd=tmp_path)
    place, lessons = json.loads(done.stdout)
    assert str(bundle) in place
    assert lessons == len(list((ROOT / "notebooks").glob("*.ipynb")))


def test_it_holds_no_sources_and_says_for_whom_it_is(bundle):
    names = {path.name for path in bundle.iterdir()} - {".venv"}
    assert names == {"start.py", "README.txt", "LICENSE", "wheels"}
    assert tool().this_platform() in (bundle / "README.txt").read_text()
    assert all(path.suffix == ".whl" for path in (bundle / "wheels").iterdir())


def test_the_sources_tasks_are_refused_there(bundle):
    done = subprocess.run([sys.executable, bundle / "start.py", "test"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'test' needs the project's sources" in done.stderr


def test_another_system_gets_its_own_packages():
    """What only Windows needs is found on any machine; numba is older where its makers left Intel's Macs behind."""
    try:
        windows, mac = tool().resolve("windows", "3.12"), tool().resolve("macos-x86", "3.13")
    except SystemExit as error:
        pytest.skip(f"no package index here: {str(error)[-300:]}")
    pins = {line.split("==")[0] for line in windows.splitlines()}
    assert {"pywinpty", "colorama", "numba", "jupyterlab", "ipywidgets"} <= pins
    assert "pexpect" not in pins
    assert "numba==" in mac


def test_a_folder_that_exists_is_left_alone(tmp_path, capsys):
    assert tool().main([str(tmp_path)]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_unknown_systems_are_told_which_there_are(capsys):
    with pytest.raises(SystemExit):
        tool().main(["out", "--platform", "amiga"])
    assert "choose from" in capsys.readouterr().err
