"""A picture of one's own: by a path, by an upload, too large, and no picture at all."""

import io

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
pytest.importorskip("PIL")
from PIL import Image

from minisegnet.explorers.own_image import LARGEST, own_image


class Half:
    """A network that calls the left half of every picture nucleus."""

    def predict(self, image):
        nucleus = np.zeros(image.shape[:2])
        nucleus[:, : image.shape[1] // 2] = 1
        return np.stack([1 - nucleus, nucleus])


def test_it_waits_without_a_picture_and_stores_the_same_each_time():
    first, second = (own_image(Half())._repr_mimebundle_() for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert "choose a picture" in first["text/plain"]


def test_a_path_is_predicted_at_once(tmp_path):
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "mine.png")
    panel = own_image(Half(), tmp_path / "mine.png")
    assert panel.twin == "Your image, 20 × 40 pixels: 50% called nucleus, in 1 pieces."
    assert panel.result.value.count("<img") == 2
    with pytest.raises(FileNotFoundError):
        own_image(Half(), tmp_path / "none.png")


def test_an_upload_is_shown_and_what_is_no_picture_is_told():
    panel = own_image(Half())
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(buffer, "PNG")
    panel._uploaded({"new": ({"name": "a.png", "content": memoryview(buffer.getvalue())},)})
    assert "16 × 16" in panel.twin
    panel._uploaded({"new": ({"name": "a.txt", "content": memoryview(b"hello")},)})
    assert panel.twin.startswith("That did not work")
    assert panel.result.value == ""


def test_of_a_large_picture_the_middle_is_taken():
    panel = own_image(Half())
    assert panel.show(np.zeros((LARGEST + 100, 30, 3), np.uint8)).shape == (LARGEST, 30)
    assert f"the middle of {LARGEST + 100} × 30" in panel.twin
