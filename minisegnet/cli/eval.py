"""``minisegnet eval``: how good a network is on images with known nuclei."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from . import Form

EXAMPLES = """\
Prints Dice and IoU of every image and their means by kind of microscopy. Images that the model learned from are marked:
their scores say nothing about new ones.

examples:
  minisegnet eval --data histology.npz --model runs/histology-field/fold-1/model.safetensors
  minisegnet eval --data histology.npz --fields 3,9,15 --json scores.json
  minisegnet eval --data synthetic
"""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("eval", help="score a network", description=EXAMPLES, formatter_class=Form)
    parser.add_argument(
        "--data", required=True, metavar="PATH", help="an .npz file, a folder (see `minisegnet data`), or: synthetic"
    )
    parser.add_argument("--kind", choices=("histology", "fluorescence", "brightfield"), help="only images of this kind")
    parser.add_argument("--fields", metavar="1,2,3", help="only images of these fields of view")
    parser.add_argument("--model", type=Path, metavar="FILE", help="a model of `train`; default: the pre-trained one")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="probability from which a pixel is nucleus (default 0.5)"
    )
    parser.add_argument("--images", type=int, default=16, metavar="N", help="how many synthetic images (default 16)")
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic images (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score image by image, then by kind."""
    from tqdm.auto import tqdm

    from .. import metrics
    from .predict import load_model, nuclei_of
    from .report import table, write_json
    from .seen import seen
    from .train import load

    if not 0 < args.threshold < 1:
        raise ValueError(f"--threshold must lie between 0 and 1, got {args.threshold}")
    model = load_model(args.model)
    nuclei = load(args)
    if args.fields is not None:
        nuclei = nuclei.subset(fields_named(args.fields, nuclei.fields))
    known = seen(getattr(model, "about", {}) or {}, nuclei.images)
    rows: list[dict[str, Any]] = []
    for i in tqdm(range(len(nuclei)), unit="image"):
        found, truth = nuclei_of(model, nuclei.images[i], args.threshold), nuclei.labels[i] > 0
        dice = metrics.dice(found, truth, empty=1.0)
        rows.append({
            "image": str(nuclei.ids[i]), "kind": str(nuclei.kinds[i]), "field": int(nuclei.fields[i]),
            "dice": dice, "iou": dice / (2 - dice), "seen": bool(known[i]),
        })  # fmt: skip
    print(table(
        ["image", "kind", "field", "Dice", "IoU", "learned from"],
        [[r["image"][:16], r["kind"], r["field"], r["dice"], r["iou"], "yes" if r["seen"] else "no"] for r in rows],
    ))  # fmt: skip
    means = [summary(kind, [r for r in rows if r["kind"] == kind]) for kind in dict.fromkeys(r["kind"] for r in rows)]
    print("\n" + table(["kind", "images", "mean Dice", "mean IoU", "learned from"], [list(m.values()) for m in means]))
    if known.any():
        print(f"\nThe model learned from {known.sum()} of these {len(known)} images: for those this is no test.")
    if args.json:
        write_json(args.json, {"images": rows, "kinds": means})
    return 0


def summary(kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the images of one kind."""
    return {
        "kind": kind,
        "images": len(rows),
        "dice": float(np.mean([r["dice"] for r in rows])),
        "iou": float(np.mean([r["iou"] for r in rows])),
        "seen": sum(r["seen"] for r in rows),
    }


def fields_named(text: str, fields: np.ndarray) -> np.ndarray:
    """Return which images belong to the fields of a text such as "1,2,3"; bool (N,)."""
    try:
        wanted = {int(word) for word in text.split(",")}
    except ValueError:
        raise ValueError(f"--fields must be numbers with commas between, such as 1,2,3; got {text!r}") from None
    missing = sorted(wanted - set(fields.tolist()))
    if missing:
        raise ValueError(f"--fields: there is no field {missing}; there are {sorted(set(fields.tolist()))}")
    return np.isin(fields, list(wanted))
