"""Explorer: from probabilities to a mask. Opacity, threshold, what is laid over; at which threshold does Dice peak?"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.colors import ERROR_STYLES, OKABE_ITO
from ..figures.raster import as_image, as_labels, error_counts, error_image, overlay_image
from ..figures.svg import Canvas
from ..figures.svg_image import data_uri
from ..figures.svg_plot import plot
from .controls import Choice, Control, Slider, Toggle
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer

VIEWS = ("prediction", "target", "errors", "image only")
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.05), 2)


def dice_by_threshold(target: np.ndarray, probability: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """Return the Dice score of ``probability > t`` against ``target`` (both (H, W)) for each threshold t."""
    truth = np.asarray(target) == 1
    scores = []
    for threshold in thresholds:
        guess = probability > threshold
        total = int(truth.sum()) + int(guess.sum())
        scores.append(2 * int((truth & guess).sum()) / total if total else 1.0)
    return np.array(scores)


def draw_overlay(
    image: Any,
    target: Any,
    probability: np.ndarray,
    threshold: float = 0.5,
    opacity: float = 0.45,
    view: str = "prediction",
    outline: bool = True,
    scores: np.ndarray | None = None,
) -> Drawing:
    """Draw one state: the overlay, the curve of Dice over the threshold, formula, code and twin; no widgets needed.

    Parameters
    ----------
    image, target : (H, W, 3) and (H, W)
        The picture and the map drawn by people (0 background, 1 nucleus).
    probability : float (H, W)
        The probability of a nucleus.
    threshold, opacity, view, outline
        The state; ``view`` is one of ``VIEWS``.
    scores : (T,), optional
        ``dice_by_threshold(target, probability)`` where it is known already.
    """
    if view not in VIEWS:
        raise ValueError(f"view must be one of {VIEWS}, got {view!r}")
    picture = as_image(image)
    truth = as_labels(target, "target", like=picture)
    guess = (np.asarray(probability) > threshold).astype(np.int64)
    counts = error_counts(truth, guess)
    scale = max(1, round(600 / max(picture.shape[:2])))
    if view == "errors":
        pixels = error_image(picture, truth, guess, scale=scale)
    elif view == "image only":
        pixels = overlay_image(picture, np.zeros_like(truth), scale=scale)
    else:
        shown = truth if view == "target" else guess
        pixels = overlay_image(picture, shown, alpha=opacity, outline=outline, scale=scale)
    scores = dice_by_threshold(truth, probability) if scores is None else scores
    twin = (
        f"Threshold {threshold:.2f}, showing {view}: {100 * guess.mean():.1f}% of the pixels are called nucleus "
        f"({100 * truth.mean():.1f}% are), {100 * counts['FP'] / truth.size:.1f}% false alarms, "
        f"{100 * counts['FN'] / truth.size:.1f}% missed, Dice {counts['Dice']:.2f}."
    )
    found, alarm, missed = (int(counts[k]) for k in ("TP", "FP", "FN"))
    formula = (
        f"Dice = 2·TP / (2·TP + FP + FN) = 2·{found:,} / (2·{found:,} + {alarm:,} + {missed:,}) = {counts['Dice']:.3f}"
    )
    height, width = (round(side * 440 / max(pixels.shape[:2])) for side in pixels.shape[:2])
    return Drawing(
        f'<img alt="{escape(twin)}" width="{width}" height="{height}" style="max-width:100%;height:auto" '
        f'src="{data_uri(pixels, jpeg=True)}"/>',
        twin,
        formula,
        f"mask = model.predict(image)[1] > {threshold:.2f}",
        f"mask = model(x).softmax(dim=1)[0, 1] > {threshold:.2f}",
        aside=_curve(scores, threshold, counts["Dice"]) + _key(view, counts),
    )


def _curve(scores: np.ndarray, threshold: float, dice: float) -> str:
    """Return the curve of Dice over the threshold, a dot where we are."""
    canvas = Canvas(400, 196, "Dice over the threshold")
    low = math.floor(10 * float(scores.min())) / 10  # from the lowest score on, so that the peak can be seen
    middle, halves = round((low + 1) / 2, 2), (0, 0.5, 1)
    axes = plot(
        canvas, 44, 30, 340, 108, (0, 1), (low, 1), x="threshold", y="Dice", xticks=halves, yticks=(low, middle, 1)
    )
    axes.line(THRESHOLDS.tolist(), scores.tolist())
    axes.drop(threshold, dice)
    x, y = axes.mark(threshold, dice)
    anchor, side = ("end", -12) if threshold > 0.7 else ("start", 12)
    canvas.text(x + side, y + 24, f"{dice:.3f}", anchor=anchor, bold=True)
    return canvas.svg(f"Dice over the threshold: {dice:.2f} at {threshold:.2f}, at most {scores.max():.2f}.")


def _key(view: str, counts: dict[str, float]) -> str:
    """Return the legend of the view: names, colours, and signs that stand for the patterns."""
    if view == "errors":
        signs = {"solid": "■", "diagonal": "▨", "dots": "▦", "bars": "▤"}
        items = [(s.color, signs[s.pattern], f"{s.name} {int(counts[s.short]):,}") for s in ERROR_STYLES[:3]]
    elif view == "image only":
        items = []
    else:
        items = [(OKABE_ITO["bluish green"], "■", f"nucleus ({view})")]
    return "<p>{}</p>".format(
        "".join(
            f'<span style="margin-right:14px;white-space:nowrap"><span aria-hidden="true" style="color:{color};font-size:20px;'
            f'-webkit-text-stroke:.5px currentColor">{sign}</span> {escape(name)}</span>'
            for color, sign, name in items
        )
    )


def overlay(image: Any = None, target: Any = None, probability: np.ndarray | None = None, **state: Any) -> Explorer:
    """Explore how probabilities become a mask; without arguments, on synthetic tissue and the pre-trained U-Net.

    Parameters
    ----------
    image : (H, W, 3) uint8, optional
        The picture; synthetic tissue by default.
    target : (H, W), optional
        Its map, 0 background and 1 nucleus (or instance numbers).
    probability : (H, W), optional
        The probability of a nucleus for each pixel; by default the pre-trained network's.
    **state
        Where to begin: ``threshold=0.3, view="errors"``.
    """
    from .explorer import Explorer

    if image is None:
        from ..data import synthetic_tissue

        images, labels = synthetic_tissue(1, size=(256, 256), seed=0)
        image, target = images[0], labels[0]
    if target is None:
        raise ValueError("target is missing: the map (H, W) that the prediction is compared with")
    if probability is None:
        from ..models import load_pretrained

        probability = load_pretrained("nuclei").predict(image)[1]
    truth = (as_labels(target, "target") > 0).astype(np.int64)
    scores = dice_by_threshold(truth, probability)
    best = float(THRESHOLDS[int(scores.argmax())])
    controls: dict[str, Control] = {
        "threshold": Slider([float(t) for t in THRESHOLDS], 0.05, "threshold", play=True),
        "opacity": Slider([round(0.05 * i, 2) for i in range(21)], 0.45, "opacity"),
        "view": Choice(VIEWS, "prediction", "show"),
        "outline": Toggle(True, "outline"),
    }
    discovery = Discovery(
        question="At which threshold does Dice peak, and what happens to the errors on either side?",
        path=(("view", "errors"), ("threshold", best)),
        fact=f"Dice is highest at threshold {best:.2f}: below it false alarms grow, above it more is missed.",
    )
    return Explorer(
        "From probabilities to a mask.",
        controls,
        lambda **values: draw_overlay(image, truth, probability, scores=scores, **values),
        discovery,
        presets={"the errors at 0.3": {"threshold": 0.3, "view": "errors"}, "what people drew": {"view": "target"}},
        name="overlay",
        page={"opacity": (0.45,), "threshold": tuple(float(t) for t in THRESHOLDS[1::2]), "outline": (True,)},
        state=state,
    )
