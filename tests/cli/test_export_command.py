"""``minisegnet export``: a file that ONNX Runtime runs, and words for what is wrong."""

import numpy as np
import pytest

from minisegnet import models
from minisegnet.autograd import Tensor, no_grad
from minisegnet.cli import main

pytest.importorskip("onnx", reason="onnx is not installed: pip install minisegnet[interop]")


def test_a_packaged_network_is_exported_and_equal(tmp_path, capsys):
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install minisegnet[interop]")
    out = tmp_path / "nuclei.onnx"
    assert main(["export", "nuclei", "-o", str(out), "--size", "64", "64"]) == 0
    assert "UNet -> " in capsys.readouterr().out
    session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).random((2, 3, 48, 80), dtype=np.float32)
    (scores,) = session.run(None, {"image": x})
    with no_grad():
        wanted = models.load_pretrained("nuclei")(Tensor(x)).numpy()
    np.testing.assert_allclose(scores, wanted, atol=1e-4 * abs(wanted).max())


def test_a_saved_network_for_one_size(tmp_path):
    models.save(models.UNet(1, 2, base_channels=4, depth=1), tmp_path / "net.safetensors")
    out = tmp_path / "net.onnx"
    assert main(["export", str(tmp_path / "net.safetensors"), "-o", str(out), "--size", "32", "48", "--fixed"]) == 0
    assert out.exists()


def test_what_is_wrong_is_said(tmp_path, capsys):
    (tmp_path / "there.onnx").write_text("mine")
    assert main(["export", "nuclei", "-o", str(tmp_path / "there.onnx")]) == 2
    assert "there.onnx exists; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "there.onnx").read_text() == "mine"
    assert main(["export", "nucleus", "-o", str(tmp_path / "x.onnx")]) == 2
    assert "MODEL must be one of nuclei" in capsys.readouterr().err
    assert main(["export", "nuclei", "-o", str(tmp_path / "x.onnx"), "--size", "50", "50"]) == 2
    assert "50 pixels does not work" in capsys.readouterr().err
