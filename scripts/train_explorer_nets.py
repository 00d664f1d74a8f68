"""Train the small nets of the explorer "from hourglass to U", and measure what its skips are needed for.

    python scripts/train_explorer_nets.py                     # all nets and the table, about 20 minutes on one core
    python scripts/train_explorer_nets.py --seeds 1 --no-need # the four nets alone

Still lifes of 96 x 96 pixels (``data.scenes``), each time mirrored or not; the same scenes, order, steps and rates for
every net. The packaged weights are those of seed 0. The table answers two questions for each skip, with three seeds:
*dependence* (it is cut out of the trained net) and *need* (a net is trained without it). It goes into the ``about`` of
``unet_stacked.safetensors``. A run that was interrupted goes on after the last net that was finished.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scene_batches import Batches, drawn

import minisegnet
from minisegnet import data, losses, models, optim, random, training
from minisegnet.autograd import no_grad
from minisegnet.explorers.hourglass_nets import RIM, SIZE, errors, through
from minisegnet.models.files import PRETRAINED

WIDTH, STEPS, BATCH, MAX_LR = 6, 400, 8, 1e-2
LEARN, JUDGE = 160, 40  # scenes
NETS: dict[str, dict[str, Any]] = {
    "hourglass_short": {"depth": 1, "skips": None},
    "hourglass_deep": {"depth": 3, "skips": None},
    "unet_added": {"depth": 3, "skips": "add"},
    "unet_stacked": {"depth": 3, "skips": "concatenate"},
}


class Without(models.UNet):
    """A U-Net, one of whose skips carries zeros from the first step on."""

    level = 1

    def forward(self, x: Any) -> Any:
        """Return the scores."""
        return through(self, x, {self.level: nothing})


def train(model: models.UNet, batches: Batches, steps: int) -> models.UNet:
    """Train a net and return it."""
    optimizer = optim.AdamW(model.parameters(), lr=MAX_LR, weight_decay=1e-2)
    training.fit(
        model,
        batches,
        loss=losses.CombinedLoss(ignore_index=data.IGNORE_INDEX, smooth=1.0),
        optimizer=optimizer,
        scheduler=optim.OneCycleLR(optimizer, MAX_LR, total_steps=steps),
        steps=steps,
        clip=5.0,
        progress=False,
    )
    return model


def judge(model: models.UNet, images: np.ndarray, labels: np.ndarray, operate: Any = None) -> dict[str, float]:
    """Return the mean IoU of the five classes (pooled), and the shares of wrong pixels near edges and elsewhere."""
    both, either, wrong = np.zeros(5), np.zeros(5), np.zeros(4)
    with no_grad():
        for image, truth in zip(images, labels, strict=True):
            found = through(model, image[None], operate).numpy()[0].argmax(0)
            known = truth != data.IGNORE_INDEX
            wrong += errors(found, truth)
            for k in range(5):
                both[k] += np.sum((found == k) & (truth == k))
                either[k] += np.sum(((found == k) | (truth == k)) & known)
    return {
        "iou": round(float(np.mean(both / either)), 3),
        "wrong_near_edges": round(float(wrong[0] / wrong[1]), 4),
        "wrong_elsewhere": round(float(wrong[2] / wrong[3]), 4),
    }


def one_seed(seed: int, steps: int, work: Path, need: bool) -> dict[str, dict[str, float]]:
    """Train the nets of one seed, or take those that are finished, and return their scores by name."""
    learn, judged = drawn(LEARN, seed=0, side=SIZE), drawn(JUDGE, seed=1, side=SIZE)
    scores = {}
    for name, options in NETS.items():
        path = work / f"{name}-{seed}-{steps}.safetensors"
        if not path.exists():
            start = time.perf_counter()
            random.manual_seed(seed)
            models.save(train(models.UNet(3, 5, WIDTH, **options), Batches(*learn, seed, size=BATCH), steps), path)
            print(f"{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)
        model = models.load(path)
        scores[name] = judge(model, *judged)
        if name == "unet_stacked":
            for level in (1, 2, 3):
                scores[f"skip {level} cut out"] = judge(model, *judged, {level: nothing})
            scores["all skips cut out"] = judge(model, *judged, dict.fromkeys((1, 2, 3), nothing))
    for level in (1, 2, 3) if need else ():
        done = work / f"without-{level}-{seed}-{steps}.json"
        if not done.exists():
            random.manual_seed(seed)
            without = Without(3, 5, WIDTH, **NETS["unet_stacked"])
            without.level = level
            reached = judge(train(without, Batches(*learn, seed, size=BATCH), steps), *judged, {level: nothing})
            done.write_text(json.dumps(reached))
        scores[f"trained without skip {level}"] = json.loads(done.read_text())
    return scores


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--no-need", action="store_true", help="no nets that learn without one of their skips")
    parser.add_argument("--out", type=Path, default=PRETRAINED / "explorers")
    parser.add_argument("--work", type=Path, default=Path("runs/explorer_nets"), help="what is finished already")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [one_seed(seed, args.steps, args.work, not args.no_need) for seed in range(args.seeds)]
    table = {name: [row[name] for row in rows] for name in rows[0]}
    for name, scores in table.items():
        print(f"{name}: {scores}")
    for name, options in NETS.items():
        about = {
            "data": f"{LEARN} scenes of {SIZE} x {SIZE} pixels, data.scenes({LEARN}, seed=0, size={SIZE})",
            "licence": "CC0-1.0",
            "recipe": f"UNet(3, 5, {WIDTH}, {options}), {args.steps} steps of {BATCH} scenes, mirrored half of the time; "
            f"cross-entropy + soft Dice; AdamW (weight decay 0.01), one-cycle rate up to {MAX_LR}; seed 0",
            "made_by": "scripts/train_explorer_nets.py",
            "judged_on": f"data.scenes({JUDGE}, seed=1, size={SIZE}); one score a seed; edges: {RIM} pixels on both sides",
            "scores": table if name == "unet_stacked" else {name: table[name]},
            "version": minisegnet.__version__,
        }
        path = args.out / f"{name}.safetensors"
        models.save(models.load(args.work / f"{name}-0-{args.steps}.safetensors"), path, about)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def nothing(skip: Any) -> Any:
    """Return zeros in the place of a skip."""
    return skip * 0.0


if __name__ == "__main__":
    main()
