"""``minisegnet predict``: masks and overlays of images, by the pre-trained or another network."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import Form
from .pictures import MOST_PIXELS

if TYPE_CHECKING:
    from ..models import DensePrediction

EXAMPLES = """\
Finds nuclei in images of any size and any format that Pillow reads. For photo.png it writes OUT/photo_mask.png (255 on
nuclei, 0 elsewhere) and OUT/photo_overlay.png. An image that cannot be read is named, the others go on (exit code 1).

examples:
  minisegnet predict photo.png -o results
  minisegnet predict slides/ more/*.tif -o results
  minisegnet predict photo.png -o results --model runs/histology-field/fold-1/model.safetensors --threshold 0.3

A slide larger than memory (NAME.zarr, OME-Zarr; a TIFF pyramid with --slide) gives OUT/NAME_labels.zarr, the class of each
pixel, tile by tile; stopped at any moment, the same command goes on. Needs: pip install minisegnet[scale]
  minisegnet predict big.zarr -o results --workers 2
  minisegnet predict big.zarr -o results --scheduler tcp://10.0.0.5:8786
"""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("predict", help="find nuclei in images", description=EXAMPLES, formatter_class=Form)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders, or patterns such as *.png")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUT", help="folder for masks and overlays")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a model of `train`; default: the pre-trained one")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="probability from which a pixel is nucleus (default 0.5)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that are in OUT already")
    parser.add_argument("--max-pixels", type=int, default=MOST_PIXELS, metavar="N", help="refuse larger images")
    slides = parser.add_argument_group("slides larger than memory")
    slides.add_argument("--slide", action="store_true", help="treat every IMAGE as one (a .zarr always is)")
    slides.add_argument(
        "--scheduler",
        default="threads",
        metavar="WHERE",
        help='"threads" (default), "processes", or the address of a Dask scheduler',
    )
    slides.add_argument("--workers", type=int, default=1, metavar="N", help="threads or processes here (default 1)")
    slides.add_argument("--level", type=int, default=0, metavar="N", help="of a pyramid: 0 is the finest (default)")
    slides.add_argument("--tile", type=int, default=512, metavar="N", help="pixels a side of a tile (default 512)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Predict image by image; 1 if any failed."""
    from tqdm.auto import tqdm

    from . import one_line
    from .pictures import find

    if not 0 < args.threshold < 1:
        raise ValueError(f"--threshold must lie between 0 and 1, got {args.threshold}")
    slides = [Path(name) for name in args.images if args.slide or Path(name).suffix == ".zarr"]
    if slides:
        if len(slides) < len(args.images):
            raise ValueError("predict slides and images in separate commands")
        for name, given in (("--threshold", args.threshold != 0.5), ("--overwrite", args.overwrite)):
            if given:
                raise ValueError(
                    f"{name} is for images: a slide's result is a map of classes, and is never overwritten"
                )
        return predict_slides(slides, args)
    files, failures = find(args.images)
    if not files:
        raise ValueError("; ".join(failures))
    model = load_model(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    done = 0
    with tqdm(zip(files, output_names(files, args.out), strict=True), total=len(files), unit="image") as bar:
        for file, (mask, overlay) in bar:
            bar.set_description(file.name[:30])
            try:
                tqdm.write(f"{file}: {predict(model, file, mask, overlay, args)}")
                done += 1
            except (ValueError, TypeError, PermissionError) as error:
                failures.append(f"{file}: {one_line(error)}")
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{done} of {len(files)} images done, results in {args.out}")
    return 1 if failures else 0


def predict_slides(slides: list[Path], args: argparse.Namespace) -> int:
    """Predict slides one after the other."""
    from ..scale import predict_slide

    model = load_model(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    for slide in slides:
        out = args.out / f"{slide.name.removesuffix('.zarr').removesuffix('.ome')}_labels.zarr"
        options = {"level": args.level, "tile": args.tile, "scheduler": args.scheduler, "workers": args.workers}
        labels = predict_slide(model, slide, out, **options)
        print(f"{slide}: {labels.shape[1]}x{labels.shape[0]} pixels -> {out}")
    return 0


def load_model(path: Path | None) -> DensePrediction:
    """Return the network of a file, or the pre-trained one."""
    from .. import models

    if path is not None and not path.is_file():
        raise ValueError(f"--model: there is no file {str(path)!r}")
    return models.load_pretrained("nuclei") if path is None else models.load(path)


def predict(model: DensePrediction, file: Path, mask: Path, overlay: Path, args: argparse.Namespace) -> str:
    """Write the mask and the overlay of one image; return what was found, in words."""
    from ..figures import overlay_image
    from .pictures import read

    there = [path.name for path in (mask, overlay) if path.exists()]
    if there and not args.overwrite:
        raise ValueError(f"{' and '.join(there)} exist in {args.out}; --overwrite replaces them")
    image, notes = read(file, args.max_pixels)
    found = nuclei_of(model, image, args.threshold)
    write_png(mask, np.where(found, np.uint8(255), np.uint8(0)))
    write_png(overlay, overlay_image(image, found.astype(np.int64)))
    size = f"{image.shape[1]}x{image.shape[0]}"
    return (
        f"{size} pixels"
        + "".join(f", {note}" for note in notes)
        + f": {100 * found.mean():.1f}% nucleus -> {mask.name}"
    )


def nuclei_of(model: DensePrediction, image: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return where the model sees anything but background, bool (H, W), in an image uint8 (H, W, 3)."""
    if model.in_channels not in (1, 3):
        raise ValueError(f"the model takes images of {model.in_channels} channels, not grey or RGB")
    pixels = image if model.in_channels == 3 else np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8)
    chances = model.predict(pixels)  # (K, H, W)
    return chances[0] > threshold if model.num_classes == 1 else 1 - chances[0] > threshold


def output_names(files: Iterable[Path], out: Path) -> Iterable[tuple[Path, Path]]:
    """Yield a mask's and an overlay's path for each file: no two alike, and none of them one of the files."""
    files = list(files)
    taken = {str(file.resolve()).casefold() for file in files}  # some systems do not tell a.png from A.png
    for file in files:
        stem, count = file.stem, 1
        while True:
            name = stem if count == 1 else f"{stem}-{count}"
            pair = out / f"{name}_mask.png", out / f"{name}_overlay.png"
            keys = {str(path.resolve()).casefold() for path in pair}
            if not keys & taken:
                break
            count += 1
        taken |= keys
        yield pair


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a picture, whole or not at all."""
    from PIL import Image

    from ..storage import atomic_write

    with atomic_write(path) as file:
        Image.fromarray(pixels).save(file, format="PNG")
