"""Networks, one file a paper, each reading from top to bottom like the paper's figure."""

from .deconvnet import DeconvNet
from .dense import DensePrediction
from .dilated import ContextModule, DeepLab, DilatedNet
from .fcn import FCN
from .files import load, load_pretrained, pretrained_names, save
from .mobilenet import MobileNet, MobileNetUNet
from .mobilenet_v2 import InvertedResidual, MobileNetV2
from .resnet import ResNet18
from .rtseg import RTSeg
from .segnet import SegNet
from .shufflenet import ShuffleNet
from .unet import UNet

__all__ = [
    "FCN",
    "ContextModule",
    "DeconvNet",
    "DeepLab",
    "DensePrediction",
    "DilatedNet",
    "InvertedResidual",
    "MobileNet",
    "MobileNetUNet",
    "MobileNetV2",
    "RTSeg",
    "ResNet18",
    "SegNet",
    "ShuffleNet",
    "UNet",
    "load",
    "load_pretrained",
    "pretrained_names",
    "save",
]
