"""``minisegnet train``: the nuclei recipe over the folds of a data set, with everything written down."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import Form

if TYPE_CHECKING:
    from ..data import Nuclei
    from ..recipes.nuclei import Result

EXAMPLES = """\
Trains the U-Net of the nuclei recipe (minisegnet/recipes/nuclei.py) and judges it on fields of view that it did not see:
in four folds, so that each field is judged once. Prints time and Dice as it goes; a fold takes one to three minutes on
two cores.

examples:
  minisegnet train --data synthetic --steps 100 --fold 1   a first try, without any data
  minisegnet train --data histology.npz                    real tissue, four folds
  minisegnet train --data stage1_train --kind histology    the folders of the Data Science Bowl
  minisegnet train --data histology.npz --resume           go on after Ctrl-C or a power cut
  minisegnet train --data my.npz --folds 0                 learn from all images, judge none

In the folder --out, for each fold: model.safetensors (for `predict` and `eval`), checkpoint.safetensors (to resume),
history.json, curves.png, overlays of the best and the worst test image, result.json; and summary.md, summary.json.
"""

SETTINGS = ("data", "kind", "split", "folds", "steps", "width", "crop", "batch", "seed")


def add_to(commands: Any) -> None:
    """Add this command to the parser."""
    parser = commands.add_parser("train", help="train a network on nuclei", description=EXAMPLES, formatter_class=Form)
    parser.add_argument(
        "--data", required=True, metavar="PATH", help="an .npz file, a folder (see `minisegnet data`), or: synthetic"
    )
    parser.add_argument("--kind", choices=("histology", "fluorescence", "brightfield"), help="only images of this kind")
    parser.add_argument("--folds", type=int, default=4, help="how many folds; 0 learns from all images (default 4)")
    parser.add_argument("--fold", type=int, metavar="I", help="only this fold, counted from 1")
    parser.add_argument(
        "--split", choices=("field", "leaky"), default="field", help="by field of view, or wrongly by image (lesson 14)"
    )
    parser.add_argument("--steps", type=int, help="length of the training (default: the recipe's)")
    parser.add_argument("--width", type=int, default=8, help="channels of the first level (default 8)")
    parser.add_argument("--crop", type=int, default=128, help="side of the crops in pixels (default 128)")
    parser.add_argument("--batch", type=int, default=8, help="crops of a step (default 8)")
    parser.add_argument("--seed", type=int, default=0, help="where chance starts (default 0)")
    parser.add_argument("--images", type=int, default=48, metavar="N", help="how many synthetic images (default 48)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where results go (default: a new one below runs/)")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run of --out stopped")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train fold by fold; what is finished is not done again by ``--resume``."""
    from ..recipes import nuclei as recipe
    from .report import read_json, write_json

    args.steps = recipe.STEPS if args.steps is None else args.steps
    check(args)
    nuclei = load(args)
    folds = split(nuclei, args)
    chosen = [args.fold] if args.fold is not None else sorted(folds)
    out = args.out or default_folder(args)
    prepare(out, args)
    print(f"{nuclei!r}\n{args.steps} steps a fold, results in {out}", flush=True)
    started = time.perf_counter()
    for number in chosen:
        folder = out / f"fold-{number}"
        if args.resume and (folder / "result.json").is_file():
            print(f"{name_of(number)}: done before, Dice {read_json(folder / 'result.json')['mean_dice']}")
            continue
        train_index, test_index = folds[number]
        print(f"{name_of(number)}: learning from {len(train_index)} images, judging {len(test_index)}", flush=True)
        result = recipe.train_nuclei(
            nuclei.images,
            nuclei.labels,
            train_index,
            test_index,
            steps=args.steps,
            base_channels=args.width,
            seed=args.seed,
            crop=args.crop,
            batch=args.batch,
            checkpoint=folder / "checkpoint.safetensors",
            resume=args.resume,
            callbacks=[say_validation],
        )
        if result.history.interrupted:
            print(f"stopped at step {result.history.steps}; the same command with --resume --out {out} goes on there")
            return 130
        write_fold(folder, nuclei, train_index, result, args)
        write_json(folder / "result.json", summary_of(number, nuclei, result))  # last: it says that the fold is whole
        score = f"Dice {result.mean_dice:.3f}, " if result.dice else ""
        print(f"{name_of(number)}: {score}trained in {result.seconds:.0f} s", flush=True)
    summarize(out, folds, args)
    print(f"{time.perf_counter() - started:.0f} s in all; everything is in {out}")
    return 0


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense before anything is loaded."""
    limits = {"steps": 1, "width": 1, "crop": 16, "batch": 1, "images": 4, "seed": 0, "folds": 0}
    for name, least in limits.items():
        if getattr(args, name) < least:
            raise ValueError(f"--{name} must be at least {least}, got {getattr(args, name)}")
    if args.folds == 1:
        raise ValueError("--folds must be 0 (learn from all images) or at least 2, got 1")
    if args.fold is not None and not 1 <= args.fold <= args.folds:
        raise ValueError(f"--fold must be from 1 to --folds {args.folds}, got {args.fold}")


def load(args: argparse.Namespace) -> Nuclei:
    """Return the images: drawn, or read from the path."""
    from .. import data

    if args.data != "synthetic":
        return data.load_nuclei(args.data, args.kind)
    return synthetic(args.images, args.kind or "histology", args.seed)


def synthetic(n: int, kind: str, seed: int) -> Nuclei:
    """Return ``n`` synthetic images as a data set; each is a slide of its own, so each is a field."""
    import numpy as np

    from .. import data

    draw = {"histology": data.synthetic_tissue, "fluorescence": data.synthetic_fluorescence}.get(kind)
    if draw is None:
        raise ValueError(f"--kind {kind} cannot be drawn, only histology and fluorescence")
    images, labels = draw(n, seed=seed)
    ids = np.array([f"synthetic-{i:04d}" for i in range(n)])
    return data.Nuclei(images, labels, ids, np.arange(n, dtype=np.int32), np.array([kind] * n), "synthetic")


def split(nuclei: Nuclei, args: argparse.Namespace) -> dict[int, tuple[Any, Any]]:
    """Return (train, test) by fold number, from 1; fold 0 learns from everything."""
    import numpy as np

    from ..recipes.nuclei import SPLITS

    if args.folds == 0:
        return {0: (np.arange(len(nuclei)), np.array([], dtype=np.int64))}
    return dict(enumerate(SPLITS[args.split](nuclei, args.folds), start=1))


def name_of(fold: int) -> str:
    """Return what a fold is called."""
    return f"fold {fold}" if fold else "all images"


def default_folder(args: argparse.Namespace) -> Path:
    """Return ``runs/DATA-SPLIT``, numbered: a new one, or with ``--resume`` the newest there is."""
    from .report import file_name

    name = file_name(f"{Path(args.data).stem}-{args.split if args.folds else 'all'}")
    taken = [p for p in [Path("runs") / name, *(Path("runs") / f"{name}-{k}" for k in range(2, 1000))] if p.exists()]
    if args.resume:
        if not taken:
            raise ValueError(f"--resume: there is no run of this kind in {Path('runs').resolve()}; name one with --out")
        return taken[-1]
    return Path("runs") / (f"{name}-{len(taken) + 1}" if taken else name)


def prepare(out: Path, args: argparse.Namespace) -> None:
    """Make the folder and note the settings; refuse to mix runs of different settings, or to overwrite one."""
    from .report import read_json, write_json

    file = out / "settings.json"
    settings = {name: getattr(args, name) for name in SETTINGS}
    if file.is_file():
        before = read_json(file)
        other = [
            f"--{name} {before.get(name)} (now {settings[name]})"
            for name in SETTINGS
            if before.get(name) != settings[name]
        ]
        if other and args.resume:
            raise ValueError(f"{out} holds a run with {', '.join(other)}: give the same settings, or another --out")
        # Folds of one run may be trained one by one: only a fold that is there already would be overwritten.
        mine = [args.fold] if args.fold is not None else list(range(1, args.folds + 1)) or [0]
        there = [f"fold-{k}" for k in mine if (out / f"fold-{k}").exists()]
        if not args.resume and (other or there):
            raise ValueError(f"{out} holds a run already: choose another --out, or go on with it by --resume")
    write_json(file, settings)


def say_validation(state: Any) -> None:
    """Print one line at each validation: step, time, loss and Dice so far."""
    if state.event != "validation":
        return
    from tqdm.auto import tqdm

    history = state.history
    newest = history.validation[-1]
    tqdm.write(
        f"  step {state.step}: {history.seconds[-1]:.0f} s, loss {history.loss[-1]:.3f}, test Dice {newest['dice']:.3f}"
    )


def write_fold(folder: Path, nuclei: Nuclei, train_index: Any, result: Result, args: argparse.Namespace) -> None:
    """Write model, history, curves, and the overlays of the best and the worst test image."""
    from .. import figures, models
    from .seen import digests

    about = {
        "data": str(nuclei.source),
        "recipe": {name: getattr(args, name) for name in SETTINGS},
        "test_dice": round(result.mean_dice, 4) if result.dice else None,
        "trained_on": digests(nuclei.images[i] for i in train_index),
    }
    models.save(result.model, folder / "model.safetensors", about)
    result.history.save(folder / "history.json")
    figures.save(figures.curves(result.history), folder / "curves.png", dpi=100)
    order = sorted(range(len(result.dice)), key=result.dice.__getitem__)
    for name, k in (("best", order[-1]), ("worst", order[0])) if order else ():
        i = result.test_index[k]
        image, target = nuclei.images[i], (nuclei.labels[i] > 0).astype("int64")
        found = result.model.predict(image).argmax(0)
        picture = figures.show(image, target, found, ["background", "nucleus"])
        figures.save(picture, folder / f"{name}.png", dpi=100)


def summary_of(number: int, nuclei: Nuclei, result: Result) -> dict[str, Any]:
    """Return the numbers of one fold."""
    return {
        "fold": number,
        "mean_dice": round(result.mean_dice, 4),
        "seconds": round(result.seconds, 1),
        "images": {str(nuclei.ids[i]): round(d, 4) for i, d in zip(result.test_index, result.dice, strict=True)},
        "fields": sorted({int(nuclei.fields[i]) for i in result.test_index}),
    }


def summarize(out: Path, folds: dict[int, Any], args: argparse.Namespace) -> None:
    """Write and print the table of all folds that are finished."""
    from .report import read_json, table, write_json, write_text

    files = [out / f"fold-{number}" / "result.json" for number in sorted(folds)]
    results = [read_json(file) for file in files if file.is_file()]
    if not results:
        return
    scores = [r["mean_dice"] for r in results if r["mean_dice"] is not None]
    mean = sum(scores) / len(scores) if scores else None
    rows = [
        [name_of(r["fold"]), len(r["images"]), r["mean_dice"], min(r["images"].values(), default=None), r["seconds"]]
        for r in results
    ]
    text = table(["fold", "test images", "mean Dice", "worst image", "seconds"], rows)
    if mean is not None:
        text += f"\n\nMean Dice of {len(scores)} of {len(folds)} folds (split by {args.split}): {mean:.3f}"
    write_text(out / "summary.md", text + "\n")
    write_json(out / "summary.json", {"mean_dice": mean, "finished": len(scores), "folds": results})
    print(f"\n{text}\n", flush=True)
