"""How good is a map? Confusion matrix, accuracies, IoU and Dice, and nuclei counted, with an explicit rule for what is empty.

Maps are integer labels, arrays or Tensors, on any device; scores become labels by ``labels_of(scores)`` and nowhere
silently. Counts are int64, ratios float64. Names: Long, Shelhamer, Darrell (CVPR 2015), section 5.

A ratio 0/0 (a class that neither the prediction nor the target has) is not a number. Two rules are possible, and every
function here takes one as an argument: leave it out of the mean (``nan``), or give it a value, such as Kaggle's 1 for a
Dice of two empty sets (nothing to find, nothing found). What scikit-learn, torchmetrics and MONAI do instead stands in
docs/metrics.md.
"""

from .components import connected_components
from .confusion import ConfusionMatrix, pixel_accuracy
from .instances import DSB_THRESHOLDS, InstancePrecision, instance_precision, match_instances
from .labels import labels_of
from .overlap import MeanDice, dice, iou, mean_dice, pooled_dice

__all__ = [
    "DSB_THRESHOLDS",
    "ConfusionMatrix",
    "InstancePrecision",
    "MeanDice",
    "connected_components",
    "dice",
    "instance_precision",
    "iou",
    "labels_of",
    "match_instances",
    "mean_dice",
    "pixel_accuracy",
    "pooled_dice",
]
