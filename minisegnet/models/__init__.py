"""Networks, one file a paper, each reading from top to bottom like the paper's figure."""

from .deconvnet import DeconvNet
from .dense import DensePrediction
from .dilated import ContextModule, DeepLab, DilatedNet
from .fcn import FCN
from .files import load, load_pretrained, pretrained_names, save
from .fully_convolutional import (
    FullyConvolutional,
    dilate_instead_of_stride,
    shift_and_stitch,
    to_fully_convolutional,
)
from .mobilenet import MobileNet, MobileNetUNet
from .mobilenet_v2 import InvertedResidual, MobileNetV2
from .resnet import ResNet18
from .rtseg import RTSeg
from .segnet import SegNet
from .shufflenet import ShuffleNet
from .sliding_window import PatchClassifier, slide
from .unet import UNet

__all__ = [
    "FCN",
    "ContextModule",
    "DeconvNet",
    "DeepLab",
    "DensePrediction",
    "DilatedNet",
    "FullyConvolutional",
    "InvertedResidual",
    "MobileNet",
    "MobileNetUNet",
    "MobileNetV2",
    "PatchClassifier",
    "RTSeg",
    "ResNet18",
    "SegNet",
    "ShuffleNet",
    "UNet",
    "dilate_instead_of_stride",
    "load",
    "load_pretrained",
    "pretrained_names",
    "save",
    "shift_and_stitch",
    "slide",
    "to_fully_convolutional",
]
