"""Models on disk: one safetensors file with the weights and, in its metadata, how to build the network again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__, storage
from ..nn import init
from ..nn.module import at_most_parameters
from .base import Model
from .deconvnet import DeconvNet
from .dense import DensePrediction
from .dilated import DeepLab, DilatedNet
from .fcn import FCN
from .fully_convolutional import FullyConvolutional
from .mobilenet import MobileNet, MobileNetUNet
from .mobilenet_v2 import MobileNetV2
from .resnet import ResNet18
from .rtseg import RTSeg
from .segnet import SegNet
from .shufflenet import ShuffleNet
from .sliding_window import PatchClassifier
from .unet import UNet

FORMAT = "minisegnet-model-1"
ARCHITECTURES: dict[str, Any] = {
    "DeconvNet": DeconvNet,
    "DeepLab": DeepLab,
    "DilatedNet": DilatedNet,
    "FCN": FCN,
    "FullyConvolutional": FullyConvolutional,
    "MobileNet": MobileNet,
    "MobileNetUNet": MobileNetUNet,
    "MobileNetV2": MobileNetV2,
    "PatchClassifier": PatchClassifier,
    "RTSeg": RTSeg,
    "ResNet18": ResNet18,
    "SegNet": SegNet,
    "ShuffleNet": ShuffleNet,
    "UNet": UNet,
}
LARGEST_COUNT = 4096  # of layers, pixels of a window and the like; channels may be as many as an array has
PRETRAINED = Path(__file__).parent / "pretrained"


def save(model: Model, path: Any, about: dict[str, Any] | None = None) -> None:
    """Write weights, buffers and architecture to a ``.safetensors`` file, whole or not at all; see ``Model.save``."""
    name = type(model).__name__
    if ARCHITECTURES.get(name) is not type(model):
        raise TypeError(
            f"save: there is no way to build a {name} again from a file; one of {', '.join(ARCHITECTURES)} can be"
        )
    about = getattr(model, "about", {}) if about is None else about
    metadata = {
        "format": FORMAT,
        "version": __version__,
        "architecture": name,
        "config": json.dumps(model.config),
        "about": json.dumps(about),
    }
    storage.save_safetensors(path, model.state_dict(), metadata)


def load(path: Any) -> Any:
    """Return the network of a file that ``save`` wrote, in evaluation mode; ``model.about`` tells where it comes from.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, truncated, corrupt, or not a model of this package; the message names file and reason.
    """
    arrays, metadata = storage.load_safetensors(path)
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "no format at all")
        raise ValueError(
            f"{path}: not a model written by minisegnet (its metadata says {found!r}, expected {FORMAT!r})"
        )
    architecture = metadata.get("architecture", "")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"{path}: unknown architecture {architecture!r}; this version knows {', '.join(ARCHITECTURES)}"
        )
    try:
        config, about = json.loads(metadata["config"]), json.loads(metadata.get("about", "{}"))
        if not isinstance(config, dict):
            raise ValueError("its configuration is not a table of arguments")
        largest = max([LARGEST_COUNT, *(n for array in arrays.values() for n in array.shape)])
        if any(n > largest for n in _numbers(config)):
            raise ValueError("its configuration has a number that fits none of its arrays")
        # Whatever the configuration says: not many more numbers than the file holds (some layers are replaced as they are made).
        with init.no_draws(), at_most_parameters(2 * sum(array.size for array in arrays.values())):
            model = ARCHITECTURES[architecture](**config)
        model.load_state_dict(arrays)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, MemoryError) as error:
        written = f" (written by version {metadata['version']}, this is {__version__})" if "version" in metadata else ""
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: the model cannot be built from this file{written}: {reason}") from error
    model.about = about
    return model.eval()


def pretrained_names() -> list[str]:
    """Return the names of the networks that come with the package."""
    return sorted(p.stem for p in PRETRAINED.glob("*.safetensors"))


def _numbers(value: Any) -> Iterator[float]:
    """Yield the numbers in what JSON gave, however deep."""
    if isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)
    elif isinstance(value, (int, float)):
        yield value


def load_pretrained(name: str = "nuclei") -> DensePrediction:
    """Return a network that comes with the package, in evaluation mode. "nuclei" finds nuclei in tissue and fluorescence.

    It is a U-Net for RGB images; class 1 is nucleus. ``model.about`` holds data, recipe and the Dice of the folds.
    """
    if name not in pretrained_names():
        raise ValueError(f"load_pretrained: name must be one of {', '.join(pretrained_names())}, got {name!r}")
    return load(PRETRAINED / f"{name}.safetensors")
