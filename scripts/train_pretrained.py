"""Train the weights that come with the package: one U-Net for nuclei in stained tissue and in fluorescence.

    python scripts/train_pretrained.py --data ../shared/data              # folds first (the figures), then all images
    python scripts/train_pretrained.py --data ../shared/data --steps 300 --no-folds    # a quick one, not judged

``--data`` is a folder with ``histology.npz`` and ``fluorescence.npz`` (``minisegnet data nuclei`` makes one). The recipe
is ``minisegnet/recipes/nuclei.py`` with both kinds mixed, synthetic images among them (three crops in ten: they vary
more in stain than these few fields do), and more steps. The figures quoted for the weights come from four folds by field
of view, trained in the same way, for fewer steps, on the other fields; the weights themselves learn from all fields, so
that they have seen every image of this set. Everything that is known about them goes into their file
(``models.load_pretrained("nuclei").about``) and into ``docs/pretrained.md``. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

import numpy as np

import minisegnet
from minisegnet import data, models
from minisegnet.cli.seen import digests
from minisegnet.models.files import PRETRAINED
from minisegnet.recipes import nuclei as recipe

SYNTHETIC = {"histology": 40, "fluorescence": 24}  # images drawn, of 256 x 256 pixels
SOURCE = "2018 Data Science Bowl, stage 1 training set (BBBC038), corrected masks; CC0 (public domain)"


def main() -> None:
    """Measure by folds, train on everything, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with histology.npz and fluorescence.npz")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--fold-steps", type=int, default=400, help="shorter, because there are four (default 400)")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-folds", action="store_true", help="skip the measurement")
    parser.add_argument("--out", type=Path, default=PRETRAINED / "nuclei.safetensors")
    parser.add_argument("--work", type=Path, default=Path("runs/pretrained"), help="checkpoints, to go on after a stop")
    args = parser.parse_args()

    nuclei = data.load_nuclei(args.data)
    print(nuclei)
    drawn = draw(args.seed)
    options = {"steps": args.steps, "base_channels": args.width, "seed": args.seed, "resume": True}
    folds = None if args.no_folds else measure(nuclei, drawn, args.work, {**options, "steps": args.fold_steps})
    result = train(nuclei, drawn, np.arange(len(nuclei)), [], args.work / f"all-{args.steps}.safetensors", options)
    about = {
        "data": f"{SOURCE}: {', '.join(f'{np.sum(nuclei.kinds == k)} {k}' for k in kinds_of(nuclei))}, all fields",
        "licence": "CC0-1.0",
        "recipe": f"minisegnet/recipes/nuclei.py, {args.steps} steps, width {args.width}, seed {args.seed}; both kinds "
        f"mixed, and {' + '.join(f'{n} synthetic {kind}' for kind, n in SYNTHETIC.items())} images",
        "made_by": "scripts/train_pretrained.py",
        "fold_dice": folds,
        "fold_dice_means": "mean over images of whole-image Dice, four folds by field of view, trained on the other "
        f"fields for {args.fold_steps} steps",
        "date": datetime.date.today().isoformat(),
        "version": minisegnet.__version__,
        "trained_on": digests(nuclei.images),
    }
    models.save(result.model, args.out, about)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, trained in {result.seconds:.0f} s, folds: {folds}")


def draw(seed: int) -> tuple[list, list]:
    """Return synthetic images and labels."""
    tissue = data.synthetic_tissue(SYNTHETIC["histology"], seed=seed)
    glow = data.synthetic_fluorescence(SYNTHETIC["fluorescence"], seed=seed)
    return [*tissue[0], *glow[0]], [*tissue[1], *glow[1]]


def train(nuclei, drawn, train_index, test_index, checkpoint: Path, options: dict) -> recipe.Result:
    """Train on the chosen images and on all that are drawn."""
    images, labels = ([*real, *more] for real, more in zip((nuclei.images, nuclei.labels), drawn, strict=True))
    index = np.concatenate([train_index, np.arange(len(nuclei), len(images))])
    result = recipe.train_nuclei(images, labels, index, test_index, checkpoint=checkpoint, curve=0, **options)
    if result.history.interrupted:
        raise SystemExit("stopped; the same command goes on")
    return result


def measure(nuclei: data.Nuclei, drawn: tuple[list, list], work: Path, options: dict) -> dict[str, dict]:
    """Return the Dice by kind over four folds, in which each kind is divided by its own fields."""
    splits = {kind: recipe.field_folds(nuclei.subset(nuclei.kinds == kind)) for kind in kinds_of(nuclei)}
    scores: dict[str, list[float]] = {kind: [] for kind in splits}
    for fold in range(recipe.FOLDS):
        places = {kind: np.flatnonzero(nuclei.kinds == kind) for kind in splits}
        learn = np.concatenate([places[kind][splits[kind][fold][0]] for kind in splits])
        test = np.concatenate([places[kind][splits[kind][fold][1]] for kind in splits])
        done = work / f"fold-{fold + 1}-{options['steps']}.json"
        if not done.exists():
            result = train(nuclei, drawn, learn, test, done.with_suffix(".safetensors"), options)
            by_kind = {k: float(np.mean(np.array(result.dice)[nuclei.kinds[test] == k])) for k in splits}
            done.write_text(json.dumps(by_kind))
        by_kind = json.loads(done.read_text())
        print(f"fold {fold + 1}: " + ", ".join(f"{kind} {dice:.3f}" for kind, dice in by_kind.items()), flush=True)
        for kind, dice in by_kind.items():
            scores[kind].append(round(dice, 4))
    return {kind: {"mean": round(float(np.mean(values)), 4), "folds": values} for kind, values in scores.items()}


def kinds_of(nuclei: data.Nuclei) -> list[str]:
    """Return the kinds of microscopy in their order."""
    return list(dict.fromkeys(nuclei.kinds.tolist()))


if __name__ == "__main__":
    main()
