"""Train the small FCN-32s, 16s and 8s of the explorer "FCN skips", and one FCN-32s for as many steps as the 8s took.

    python scripts/train_fcn_nets.py                     # about 10 minutes on one core

Still lifes of 192 x 192 pixels (``data.scenes``), each time mirrored or not. In stages, as in the paper (Long et al., CVPR
2015, section 4.2): the 32s first, the 16s begins where it stands, the 8s where the 16s stands. The 32s is also trained on for
the same steps: what is finer is then the skips' doing, not the training's. Two seeds are judged; seed 0 is packaged.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scene_batches import Batches, drawn

import minisegnet
from minisegnet import data, losses, models, optim, random, training
from minisegnet.autograd import no_grad
from minisegnet.explorers.fcn_nets import RIM, SIZE, mistakes, pack
from minisegnet.models.files import PRETRAINED

SMALL = {"widths": (8, 16, 24, 32, 48), "convs": (1, 1, 1, 1, 1), "fc_channels": 64, "fc_kernel": 3, "padding": 33}
OPTIONS = {**SMALL, "dropout": 0.0, "norm": "batch"}
FIRST, MORE, BATCH, MAX_LR = 600, 300, 4, 1e-2
LEARN, JUDGE = 160, 40  # scenes
NAMES = ("fcn_32s", "fcn_16s", "fcn_8s", "fcn_32s_longer")


def train(model: models.FCN, batches: Batches, steps: int, rate: float) -> models.FCN:
    """Train a net and return it."""
    optimizer = optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=1e-2)
    training.fit(
        model,
        batches,
        loss=losses.CombinedLoss(ignore_index=data.IGNORE_INDEX, smooth=1.0),
        optimizer=optimizer,
        scheduler=optim.OneCycleLR(optimizer, rate, total_steps=steps),
        steps=steps,
        clip=5.0,
        progress=False,
    )
    return model


def judge(model: models.FCN, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the mean IoU of the five classes (pooled), and the shares of wrong pixels near edges and elsewhere."""
    both, either, wrong = np.zeros(5), np.zeros(5), np.zeros(4)
    model.eval()
    with no_grad():
        for image, truth in zip(images, labels, strict=True):
            found = model(image[None]).numpy()[0].argmax(0)
            known = truth != data.IGNORE_INDEX
            wrong += mistakes(found, truth)
            for k in range(5):
                both[k] += np.sum((found == k) & (truth == k))
                either[k] += np.sum(((found == k) | (truth == k)) & known)
    return {
        "iou": round(float(np.mean(both / either)), 3),
        "wrong_near_edges": round(float(wrong[0] / wrong[1]), 4),
        "wrong_elsewhere": round(float(wrong[2] / wrong[3]), 4),
    }


def copied(model: models.FCN) -> models.FCN:
    """Return a net with the same weights."""
    again = models.FCN(**model.config)
    again.load_state_dict(model.state_dict())
    return again


def one_seed(seed: int, work: Path) -> dict[str, dict[str, float]]:
    """Train the four nets of one seed, or take those that are finished, and return their scores by name."""
    learn, judged = drawn(LEARN, seed=0, side=SIZE), drawn(JUDGE, seed=1, side=SIZE)
    made: dict[str, models.FCN] = {}
    for name in NAMES:
        path = work / f"{name}-{seed}-{FIRST}-{MORE}.safetensors"
        if not path.exists():
            start = time.perf_counter()
            random.manual_seed(seed)
            if name == "fcn_32s":
                model = train(models.FCN(3, 5, stride=32, **OPTIONS), Batches(*learn, seed, size=BATCH), FIRST, MAX_LR)
            elif name == "fcn_32s_longer":
                model = copied(made["fcn_32s"])
                for stage in (1, 2):
                    train(model, Batches(*learn, seed + 10 * stage, size=BATCH), MORE, MAX_LR / 2)
            else:
                stage = 1 if name == "fcn_16s" else 2
                model = models.FCN.from_coarser(made[NAMES[stage - 1]])
                train(model, Batches(*learn, seed + 10 * stage, size=BATCH), MORE, MAX_LR / 2)
            models.save(model, path)
            print(f"{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)
        made[name] = models.load(path)
    return {name: judge(model, *judged) for name, model in made.items()}


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=PRETRAINED / "explorers")
    parser.add_argument("--work", type=Path, default=Path("runs/fcn_nets"), help="what is finished already")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [one_seed(seed, args.work) for seed in range(args.seeds)]
    table = {name: [row[name] for row in rows] for name in NAMES}
    print(json.dumps(table, indent=1))
    for name in NAMES:
        steps = {"fcn_32s": f"{FIRST}", "fcn_16s": f"{FIRST} + {MORE}"}.get(name, f"{FIRST} + {MORE} + {MORE}")
        about = {
            "data": f"{LEARN} scenes of {SIZE} x {SIZE} pixels, data.scenes({LEARN}, seed=0, size={SIZE})",
            "licence": "CC0-1.0",
            "recipe": f"FCN(3, 5, ..., {OPTIONS}), {steps} steps of {BATCH} scenes, mirrored half of the time; 32s, then "
            "16s from it, then 8s from that (Long et al., 2015, section 4.2), fcn_32s_longer from 32s; cross-entropy + soft "
            f"Dice; AdamW (weight decay 0.01), one-cycle rate up to {MAX_LR}, later {MAX_LR / 2}; seed 0",
            "made_by": "scripts/train_fcn_nets.py",
            "judged_on": f"data.scenes({JUDGE}, seed=1, size={SIZE}); one score a seed; edges: {RIM} pixels on both sides",
            "scores": {name: table[name]},
            "version": minisegnet.__version__,
        }
        path = args.out / f"{name}.safetensors"
        pack(models.load(args.work / f"{name}-0-{FIRST}-{MORE}.safetensors"), path, about)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
