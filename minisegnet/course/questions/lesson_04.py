"""Lesson 04: patches, shared products, and what a network at full resolution costs."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_window_of_five() -> Question:
    """Ask for the size of a strided layer's output (lesson 02)."""
    return quiz.number(
        "29 by 29 pixels go through a 5x5 convolution with stride 2, without padding. How many rows come out?",
        answer=13,
        explain="(29 - 5) // 2 + 1 = 13. You will meet this very layer again in a minute.",
        wrong={
            12: "That counts the steps. The window stands once before its first step.",
            25: "That is at stride 1; here every second place is left out.",
            15: "That would be with a padding of 2.",
        },
        otherwise="floor((N - K) / S) + 1, with N = 29, K = 5, S = 2.",
        label="Recall, lesson 02.",
    )


def recall_held_out() -> Question:
    """Ask what a training score says (lesson 03)."""
    right = "it can repeat what it was shown; nothing about other pictures"
    return quiz.option(
        "A network is right on 99% of the pixels that it was trained on. What do you know?",
        {
            "it will be right on 99% of new pixels": "Only examples that were held out can tell that.",
            right: "Judge it on what was held out of the training: that is what the validation part is for.",
            "it has learned too long": "Perhaps, perhaps not: compare with the score on what was held out.",
        },
        answer=right,
        label="Recall, lesson 03.",
    )


def patches_of_a_picture() -> Question:
    """Ask how many patches have to be classified."""
    return quiz.number(
        "A picture of 96 by 96 pixels, patches of 29 by 29 that lie inside it, one for every place. How many times does the "
        "classifier run?",
        answer=4624,
        explain="96 - 29 + 1 = 68 places along each axis: 68 · 68 = 4,624 runs for one small picture.",
        wrong={
            9: "That is patches side by side, without overlap: then most pixels would get no label.",
            9216: "One for every pixel: but patches around pixels near the border would stick out.",
            4489: "67 · 67: the first place counts too.",
            68: "That is along one axis.",
        },
        otherwise="It is the number of places of a window, as in lesson 02: 96 - 29 + 1 along one axis.",
    )


def why_faster() -> Question:
    """Ask why one pass is faster than many: the misconception of this lesson."""
    right = "because patches that overlap share products"
    return quiz.option(
        "One pass of a network over the whole picture gives the scores of all patches much faster than patch by patch. Why?",
        {
            "because a GPU does all patches at the same time": "A GPU may, but it still does the same products again and "
            "again. Count products instead of seconds, and the difference is there on any machine.",
            "because it has fewer weights": "It has the very same weights. Look at how often each of them is used.",
            right: "Two patches one pixel apart share 28 of their 29 columns. One pass computes each product once.",
            "because it looks at fewer pixels for each label": "Each label still depends on the same 29 by 29 pixels.",
        },
        answer=right,
    )


def patches_of_a_pixel() -> Question:
    """Ask in how many patches one pixel lies."""
    return quiz.number(
        "Patches of 29 by 29 at every place. In how many of them does one pixel in the middle of the picture lie?",
        answer=841,
        explain="It can be any of the 29 · 29 = 841 places of a patch, and for each there is one patch.",
        wrong={
            29: "That is along one row; patches overlap downward too.",
            1: "In the middle of one patch, and near the border of many others.",
            68: "That is how many places a patch has along an axis.",
            4624: "That is how many patches there are in all.",
        },
        otherwise="Which place of a patch can this pixel be? For each of these there is one patch.",
        label="Exit ticket.",
    )


def linear_becomes() -> Question:
    """Ask for the kernel that a linear layer is."""
    right = "(10, 16, 6, 6)"
    return quiz.option(
        "A linear layer with 10 outputs sits on a feature of 16 channels and 6 by 6 places. As a convolution, which shape has "
        "its weight?",
        {
            right: "One kernel for each output, as large as the whole feature: 10 · 576 weights, as before.",
            "(10, 576, 1, 1)": "Such a kernel expects 576 channels at each place; the feature has 16.",
            "(16, 10, 6, 6)": "Outputs first: (O, C, KH, KW).",
            "(10, 16, 1, 1)": "Those are 160 weights, the layer has 5,760. A 1x1 kernel comes for the *next* linear layer.",
        },
        answer=right,
        label="Exit ticket.",
    )


def when_not_equal() -> Question:
    """Ask when one pass and many patches differ."""
    right = "the classifier's convolutions pad with zeros"
    return quiz.option(
        "When does one pass over the picture give other scores than patch by patch?",
        {
            "the picture is larger than a patch": "That is what it is for. Each output still reads one patch.",
            right: "A patch alone ends in zeros, in the picture it goes on. So padding breaks the equality.",
            "a convolution has a stride": "Then there are fewer outputs, but each is equal to its patch's.",
            "the last layer was linear": "A linear layer is a convolution as large as its feature.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-window-of-five": recall_window_of_five,
    "recall-held-out": recall_held_out,
    "patches-of-a-picture": patches_of_a_picture,
    "why-faster": why_faster,
    "patches-of-a-pixel": patches_of_a_pixel,
    "linear-becomes": linear_becomes,
    "when-not-equal": when_not_equal,
}
