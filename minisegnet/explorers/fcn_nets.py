"""The nets behind the explorer "FCN skips": what FCN-32s, 16s and 8s predict for a scene, and the scores that are added.

Four small networks, all ``models.FCN`` with one trunk of five stages, made by ``scripts/train_fcn_nets.py`` on still lifes of
192 x 192 pixels: 32s, 16s begun from it, 8s begun from that, and a 32s that was trained for as many steps as the 8s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import data, models, storage
from ..autograd import no_grad
from ..models.files import PRETRAINED
from ..nn import init

SIZE = 192  # pixels of a scene
RIM = 4  # pixels: what is so close to another class is "near an edge"
NETS = {"32s": "fcn_32s", "16s": "fcn_16s", "8s": "fcn_8s", "32s, longer": "fcn_32s_longer"}


def rim(labels: np.ndarray) -> np.ndarray:
    """Return where a map (H, W) has another class at most RIM pixels away, in rows and columns; unlabelled pixels have none."""
    known = labels != data.IGNORE_INDEX
    # The least and the greatest label in the window around each pixel: another than its own is there if one of them is another.
    least, most = np.where(known, labels, 255), np.where(known, labels, -1)
    for axis in (0, 1):
        least = _windows(least, axis, 255).min(axis=-1)
        most = _windows(most, axis, -1).max(axis=-1)
    return known & ((least != labels) | (most != labels))


def _windows(values: np.ndarray, axis: int, beyond: int) -> np.ndarray:
    """Return the 2 RIM + 1 neighbours of each value along an axis, on a last axis of their own."""
    border = [(RIM, RIM) if at == axis else (0, 0) for at in range(values.ndim)]
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, border, constant_values=beyond), 2 * RIM + 1, axis)


def mistakes(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return four numbers: wrong pixels near edges, pixels there, wrong pixels elsewhere, pixels there."""
    near, known = rim(truth), truth != data.IGNORE_INDEX
    wrong, far = (found != truth) & known, known & ~near
    return np.array([np.sum(wrong & near), near.sum(), np.sum(wrong & far), far.sum()])


def pack(model: models.FCN, path: Path, about: dict[str, Any]) -> None:
    """Write a net without its last upsampling, which never learns: it is the larger part of a narrow net."""
    last = f"upsample.{len(model.upsample) - 1}."
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(last)}
    storage.save_safetensors(path, state, {"config": json.dumps(model.config), "about": json.dumps(about)})


@lru_cache(maxsize=8)
def net(name: str) -> models.FCN:
    """Return a trained net by its name in ``NETS``; ``about`` holds recipe and scores."""
    arrays, metadata = storage.load_safetensors(PRETRAINED / "explorers" / f"{NETS[name]}.safetensors")
    with init.no_draws():
        model = models.FCN(**json.loads(metadata["config"]))
    model.load_state_dict(arrays, strict=False)
    model.about = json.loads(metadata["about"])
    return model.eval()


@lru_cache(maxsize=8)
def picture(seed: int) -> data.Scene:
    """Return a scene of SIZE x SIZE pixels."""
    return data.scene(SIZE, seed=seed)


class Scores(NamedTuple):
    """One map of scores on the way up: what it is, the best class at each of its places, and the crop at its top and left."""

    kind: str  # "scores", "pool", "sum"
    labels: np.ndarray
    stride: int
    crop: int = 0


class Prediction(NamedTuple):
    """What a net says of a scene.

    Attributes
    ----------
    labels : int (H, W)
        The class with the largest score.
    way : tuple of Scores
        The scores at stride 32, then for each skip its own scores (as far as they are added) and the sum.
    wrong : int (4,)
        What ``mistakes`` returns.
    """

    labels: np.ndarray
    way: tuple[Scores, ...]
    wrong: tuple[int, ...]

    @property
    def near(self) -> float:
        """The share of wrong pixels near edges, percent."""
        return 100 * self.wrong[0] / self.wrong[1]

    @property
    def elsewhere(self) -> float:
        """The share of wrong pixels elsewhere, percent."""
        return 100 * self.wrong[2] / self.wrong[3]


@lru_cache(maxsize=64)
def predict(name: str, seed: int) -> Prediction:
    """Return the prediction of a net for a scene, with all the scores on its way."""
    model, shown = net(name), picture(seed)
    x = shown.image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    inputs: list[np.ndarray] = []
    skips: list[np.ndarray] = []
    undo = [
        up.register_forward_pre_hook(lambda module, given: inputs.append(given[0].numpy())) for up in model.upsample
    ]
    undo += [
        head.register_forward_hook(lambda module, given, output: skips.append(output.numpy()))
        for head in model.skip_heads
    ]
    try:
        with no_grad():
            labels = model(x).numpy()[0].argmax(0).astype(np.int64)
    finally:
        for remove in undo:
            remove()
    stride = model.stride
    way = [Scores("scores", inputs[0][0].argmax(0), stride)]
    for at, (skip, joined) in enumerate(zip(skips, inputs[1:], strict=True)):
        stride, crop, size = stride // 2, model.crops[at], joined.shape[2:]
        cut = skip[0, :, crop : crop + size[0], crop : crop + size[1]]
        way += [Scores("pool", cut.argmax(0), stride, crop), Scores("sum", joined[0].argmax(0), stride)]
    return Prediction(labels, tuple(way), tuple(map(int, mistakes(labels, shown.labels))))


def prepare(scenes: Iterable[int]) -> None:
    """Predict all scenes by all nets, so that no slider has to wait for one."""
    for seed in scenes:
        for name in NETS:
            predict(name, seed)


@lru_cache(maxsize=4)
def published_crops(stride: int) -> tuple[int, ...]:
    """Return the crops of FCN as published (padding 100, fc6 of 7 x 7), derived from its layers; widths do not matter."""
    with init.no_draws():
        return tuple(models.FCN(1, 1, stride=stride, widths=(1,) * 5, fc_channels=1).crops)
