"""Networks, one file a paper, each reading from top to bottom like the paper's figure."""

from .dense import DensePrediction
from .fcn import FCN
from .files import load, load_pretrained, pretrained_names, save
from .unet import UNet

__all__ = ["FCN", "DensePrediction", "UNet", "load", "load_pretrained", "pretrained_names", "save"]
