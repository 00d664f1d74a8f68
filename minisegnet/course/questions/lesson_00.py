"""Lesson 00: arrays as pictures, rows before columns, thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import quiz
from ..quiz import Question


def numbers_in_a_picture() -> Question:
    """Ask how many numbers a colour picture takes."""
    return quiz.number(
        "The picture is 256 pixels high and 256 wide, in colour. How many numbers does the computer keep for it?",
        answer=256 * 256 * 3,
        explain="256 · 256 · 3 = 196,608: red, green and blue for each of 65,536 pixels.",
        wrong={
            256 * 256: "That is how many pixels there are; each has three colours.",
            256 * 3: "That is one row of the picture.",
            256 + 256 + 3: "The sizes of the axes multiply; they do not add.",
        },
        otherwise="Multiply: rows, columns, colours.",
    )


def share_of_nuclei(target: Any) -> Question:
    """Ask what percentage of the pixels belongs to nuclei, given the map (H, W)."""
    percent = 100 * float(np.mean(np.asarray(target) > 0))
    return quiz.number(
        "Look at the picture again, for five seconds. What percentage of its pixels belongs to nuclei?",
        answer=round(percent),
        tolerance=3,
        unit="percent",
        explain=f"It is {percent:.0f}%. Note what follows: a program that finds nothing at all is right on "
        f"{100 - percent:.0f}% of the pixels. Lesson 01 asks what a fair measure is.",
        otherwise="Your guess is more than 3 off: eyes are poor at areas, which is why people let computers measure.",
    )


def row_and_column() -> Question:
    """Ask which cell an index means."""
    return quiz.cell(
        "This is `a`, an array of 3 rows and 4 columns. Which cell is `a[1, 2]`?",
        grid=[[11, 12, 13, 14], [21, 22, 23, 24], [31, 32, 33, 34]],
        answer=(1, 2),
        explain="`a[1, 2]` is 23: row 1 (the second), column 2 (the third). Counting starts at 0, and rows come first.",
        wrong={
            (2, 1): "You went 1 to the right and 2 down: that is (x, y). Arrays are asked for row, column.",
            (0, 1): "You counted from 1. Python counts from 0.",
            (1, 0): "You counted from 1, and took columns before rows.",
        },
        otherwise="Row first, then column, both counted from 0.",
    )


def shape_of_a_picture() -> Question:
    """Ask what a shape says."""
    right = "a colour picture, 480 high and 640 wide, as networks read it"
    return quiz.option(
        "An array has the shape `(3, 480, 640)`. What is it, most likely?",
        {
            "a colour picture as files keep it": "Files keep the colours last: (480, 640, 3).",
            right: "Colours first, then rows, then columns.",
            "a colour picture, 640 high and 480 wide, as networks read it": "Rows come first: 480 is the height.",
            "three pixels": "The 3 counts the colours; there are 480 · 640 pixels.",
        },
        answer=right,
        label="Exit ticket.",
    )


def raising_the_threshold() -> Question:
    """Ask what a higher threshold does to the errors."""
    right = "fewer false alarms, more pixels missed"
    return quiz.option(
        "You raise the threshold from 0.5 to 0.9. What happens?",
        {
            "more false alarms, fewer pixels missed": "That is what lowering it does: the mask grows.",
            "fewer of both": "No threshold can do that: the mask shrinks, so right pixels leave it as well.",
            right: "The mask can only shrink: what leaves it was a false alarm, or was right and is now missed.",
            "nothing, the network was trained with 0.5": "The network gives probabilities; the threshold is your choice.",
        },
        answer=right,
        label="Exit ticket.",
    )


def right_shape_wrong_picture() -> Question:
    """Ask which line mixes the contents up."""
    return quiz.option(
        "`image` has the shape (H, W, 3). Which line gives an array of shape (3, H, W) with wrong contents?",
        {
            "image.transpose(2, 0, 1)": "That is the right way: it reorders the axes.",
            "image.T": "That gives (3, W, H): the shape betrays it, unless the picture is square.",
            "image[None]": "That adds an axis: (1, H, W, 3). The shape betrays it.",
            "image.reshape(3, H, W)": "The numbers stay in their order in memory, so colours and places mix.",
        },
        answer="image.reshape(3, H, W)",
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "numbers-in-a-picture": numbers_in_a_picture,
    "share-of-nuclei": share_of_nuclei,
    "row-and-column": row_and_column,
    "shape-of-a-picture": shape_of_a_picture,
    "raising-the-threshold": raising_the_threshold,
    "right-shape-wrong-picture": right_shape_wrong_picture,
}
