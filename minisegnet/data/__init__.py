"""Pictures with their maps: the lecture's scene, tissue with nuclei (synthetic and real), augmentation, tiling.

Arrays in, arrays out: nothing here knows what a Tensor is. Pillow and pooch are imported where they are used.
"""

from __future__ import annotations

from .augmentation import add_eosin, adjust_light, augment, dihedral, elastic, jitter_stain, random_crop
from .borders import border_weights, squared_distance
from .download import download_nuclei
from .drawing import IGNORE_INDEX
from .fields import find_fields, split_by_field
from .images import to_input
from .nuclei import Nuclei, cache_folder, load_nuclei
from .pictures import read_mask, read_picture
from .sampler import CropSampler
from .scene import CLASSES, COLORS, Scene, scene, scenes
from .synthetic import synthetic_fluorescence, synthetic_tissue
from .tiling import predict_tiled

__all__ = [
    "CLASSES",
    "COLORS",
    "IGNORE_INDEX",
    "CropSampler",
    "Nuclei",
    "Scene",
    "add_eosin",
    "adjust_light",
    "augment",
    "border_weights",
    "cache_folder",
    "dihedral",
    "download_nuclei",
    "elastic",
    "find_fields",
    "jitter_stain",
    "load_nuclei",
    "predict_tiled",
    "random_crop",
    "read_mask",
    "read_picture",
    "scene",
    "scenes",
    "split_by_field",
    "squared_distance",
    "synthetic_fluorescence",
    "synthetic_tissue",
    "to_input",
]
