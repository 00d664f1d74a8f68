"""Networks, one file a paper, each reading from top to bottom like the paper's figure."""

from .deconvnet import DeconvNet
from .dense import DensePrediction
from .fcn import FCN
from .files import load, load_pretrained, pretrained_names, save
from .segnet import SegNet
from .unet import UNet

__all__ = [
    "FCN",
    "DeconvNet",
    "DensePrediction",
    "SegNet",
    "UNet",
    "load",
    "load_pretrained",
    "pretrained_names",
    "save",
]
