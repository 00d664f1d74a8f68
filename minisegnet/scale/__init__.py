"""Beyond memory: slides of gigapixels, predicted tile by tile, by one process or many (docs/gigapixel.md).

Needs the extra ``scale``: ``pip install minisegnet[scale]`` (Dask, Zarr, tifffile), which are imported on use.
"""

from .predict import predict_slide
from .slides import Slide, open_slide

__all__ = ["Slide", "open_slide", "predict_slide"]
