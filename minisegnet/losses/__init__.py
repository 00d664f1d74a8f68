"""What a network is trained to make small: cross-entropy, soft Dice and its relatives, and sums of them.

Every loss is a function and, with PyTorch's way of setting options first, a small class: ``DiceLoss(smooth=0)`` is called
as ``loss(input, target)``, and with ``pixel_weight=`` where single pixels shall count more or less (the border weights
of the U-Net paper). ``input`` holds scores ("logits") as the network gives them.

Letters: N batch, K classes, H W size; p probability, t one-hot target.
"""

from .criteria import (
    BCEWithLogitsLoss,
    CombinedLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    TverskyLoss,
    WeightedSum,
)
from .focal import focal_loss
from .overlap import dice_loss, tversky_loss

__all__ = [
    "BCEWithLogitsLoss",
    "CombinedLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "TverskyLoss",
    "WeightedSum",
    "dice_loss",
    "focal_loss",
    "tversky_loss",
]
