"""The nuclei recipe here and in PyTorch, on the same folds, from the same first weights, with the same batches.

    python benchmarks/nuclei_folds.py --data ../shared/data/histology.npz --engine torch
    python benchmarks/nuclei_folds.py --data ../shared/data/histology.npz --engine minisegnet --split leaky

Prints Dice and seconds of each fold and adds a dated row to ``benchmarks/results/nuclei_folds.json`` and ``.md``.
The number of threads is that of the environment (``OMP_NUM_THREADS`` for PyTorch, ``NUMBA_NUM_THREADS`` here), or
``--threads``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    args = arguments()
    if args.threads:
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)
    if args.engine != "minisegnet":
        import torch  # noqa: F401  (outside of what is timed)
    from minisegnet import data
    from minisegnet.recipes import nuclei as recipe

    begin = time.perf_counter()
    nuclei = data.load_nuclei(args.data)
    split = recipe.SPLITS[args.split]
    folds = list(enumerate(split(nuclei, args.folds), start=1))
    run = our_fold if args.engine == "minisegnet" else torch_fold
    rows = []
    for fold, (train, test) in folds if not args.fold else [folds[args.fold - 1]]:
        start = time.perf_counter()
        scores, seconds = run(nuclei, train, test, args)
        rows.append({"fold": fold, "images": len(test), "dice": float(np.mean(scores)), "seconds": round(seconds, 1)})
        print(f"fold {fold}: {len(train)} images to learn from, {len(test)} to judge: Dice {rows[-1]['dice']:.4f}, "
              f"trained in {seconds:.1f} s, {time.perf_counter() - start:.1f} s in all", flush=True)  # fmt: skip
    mean = float(np.mean([row["dice"] for row in rows]))
    print(f"{args.engine}, split by {args.split}: mean Dice of {len(rows)} folds {mean:.4f}")
    if args.json:
        whole = time.perf_counter() - begin  # reading, augmentation, training and judging
        print(json.dumps({**rows[-1], "training": rows[-1]["seconds"], "seconds": round(whole, 1)}))
    if not args.fold:
        record(args, rows, mean)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="an .npz file or a folder that data.load_nuclei reads")
    parser.add_argument("--engine", choices=("torch", "torch-channels-last", "minisegnet"), default="minisegnet")
    parser.add_argument("--split", choices=("field", "leaky"), default="field")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--fold", type=int, help="only this one, counted from 1; nothing is recorded")
    parser.add_argument("--steps", type=int, default=396)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true", help="with --fold: end with a line for other programs")
    return parser.parse_args()


def our_fold(nuclei, train, test, args) -> tuple[list[float], float]:
    from minisegnet.recipes import nuclei as recipe

    result = recipe.train_nuclei(
        nuclei.images, nuclei.labels, train, test, steps=args.steps, base_channels=args.width, seed=args.seed, curve=0
    )
    return list(result.dice), result.seconds


def torch_fold(nuclei, train, test, args, losses: list[float] | None = None) -> tuple[list[float], float]:
    """The recipe of ``minisegnet/recipes/nuclei.py``, line by line in PyTorch; adds each step's loss to ``losses``."""
    import torch
    from torch.nn import functional as F
    from torch_unet import twin_of

    from minisegnet import metrics
    from minisegnet.data import to_input
    from minisegnet.recipes import nuclei as recipe

    if args.threads:
        torch.set_num_threads(args.threads)
    last = getattr(args, "engine", "torch").endswith("last")
    layout = torch.channels_last if last else torch.contiguous_format
    model = twin_of(recipe.new_model(args.width, args.seed)).train().to(memory_format=layout)
    batches = recipe.batches(nuclei.images, nuclei.labels, train, args.steps, args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.MAX_LR, weight_decay=recipe.WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.MAX_LR, total_steps=args.steps, pct_start=recipe.PCT_START
    )
    start = time.perf_counter()
    for x, y in batches:
        scores, target = model(torch.from_numpy(x).contiguous(memory_format=layout)), torch.from_numpy(y)
        chance, nucleus = scores.softmax(1)[:, 1], (target == 1).float()
        overlap = (chance * nucleus).sum()
        soft_dice = (2 * overlap + recipe.SMOOTH) / (chance.sum() + nucleus.sum() + recipe.SMOOTH)
        loss = F.cross_entropy(scores, target) + 1 - soft_dice
        if losses is not None:
            losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    model.eval()
    scores = []
    with torch.no_grad():
        for i in test:
            found = model(torch.from_numpy(to_input(nuclei.images[i]))).argmax(1)[0].numpy()
            scores.append(metrics.dice(found == 1, nuclei.labels[i] > 0, empty=recipe.EMPTY))
    return scores, seconds


def record(args: argparse.Namespace, rows: list[dict], mean: float) -> None:
    """Add this run to the JSON file and write the table anew from all of them."""
    version = __import__("torch").__version__ if args.engine != "minisegnet" else __import__("minisegnet").__version__
    run = {
        "date": datetime.date.today().isoformat(),
        "engine": f"{args.engine} {version}",
        "data": Path(args.data).name,
        "split": args.split,
        "steps": args.steps,
        "width": args.width,
        "seed": args.seed,
        "threads": args.threads or os.cpu_count(),
        "machine": platform.machine(),
        "mean_dice": round(mean, 4),
        "folds": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "nuclei_folds.json"
    runs = [*(json.loads(file.read_text()) if file.exists() else []), run]
    file.write_text(json.dumps(runs, indent=1) + "\n")
    columns = ["date", "engine", "data", "split", "steps", "width", "seed", "threads"]
    lines = ["# The nuclei recipe, fold by fold", "", "Written by `benchmarks/nuclei_folds.py`. Dice: mean over the "
             "images of a fold; its mean over the folds; seconds of training (all folds).", ""]  # fmt: skip
    lines.append("| " + " | ".join([*columns, "Dice by fold", "mean Dice", "seconds"]) + " |")
    lines.append("|" + "---|" * (len(columns) + 3))
    for run in runs:
        dice = ", ".join(f"{row['dice']:.3f}" for row in run["folds"])
        total = sum(row["seconds"] for row in run["folds"])
        cells = [str(run[c]) for c in columns] + [dice, f"{run['mean_dice']:.4f}", f"{total:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    (RESULTS / "nuclei_folds.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
