"""``minisegnet export``: a network as an ONNX file, for ONNX Runtime and whatever else reads it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import Form

EXAMPLES = """\
Writes a network as an ONNX file: the input "image" (batch, channels, height, width), 0 to 1 as in training, the output
"scores". It takes every size that the network takes here, unless --fixed. Needs: pip install minisegnet[interop]

examples:
  minisegnet export nuclei -o nuclei.onnx
  minisegnet export runs/histology-field/fold-1/model.safetensors -o mine.onnx --size 256 256
"""


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("export", help="write a network as ONNX", description=EXAMPLES, formatter_class=Form)
    parser.add_argument("model", metavar="MODEL", help="a packaged network's name, or a .safetensors file")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="FILE", help="the .onnx file to write")
    parser.add_argument("--size", nargs=2, type=int, default=[256, 256], metavar=("H", "W"), help="default: 256 256")
    parser.add_argument("--fixed", action="store_true", help="for this size alone")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load, export, say what came out."""
    from .. import models
    from ..interop import export_onnx

    if args.out.exists() and not args.overwrite:
        raise ValueError(f"{args.out} exists; --overwrite replaces it")
    named = args.model in models.pretrained_names()
    if not named and not Path(args.model).is_file():
        known = ", ".join(models.pretrained_names())
        raise ValueError(f"MODEL must be one of {known}, or a .safetensors file; there is no file {args.model!r}")
    model = models.load_pretrained(args.model) if named else models.load(args.model)
    export_onnx(model, args.out, (model.in_channels, *args.size), dynamic_size=not args.fixed)
    print(f"{type(model).__name__} -> {args.out} ({args.out.stat().st_size / 2**20:.1f} MiB)")
    return 0
