"""Lesson 02: windows, weights, channels and sizes of a convolution."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_green_channel() -> Question:
    """Ask how to take one colour of a picture as a file keeps it (lesson 00)."""
    return quiz.option(
        "`image` comes from a file and has the shape (192, 192, 3). Which line is its green channel, of shape (192, 192)?",
        {
            "image[1]": "That is the second *row*, with all its colours: shape (192, 3).",
            "image[:, :, 1]": "All rows, all columns, colour 1 of red, green, blue.",
            "image[:, 1]": "That is the second column, of shape (192, 3).",
            "image.transpose(2, 0, 1)[0]": "Colours first is right, but number 0 is red.",
        },
        answer="image[:, :, 1]",
        label="Recall, lesson 00.",
    )


def recall_lazy_program() -> Question:
    """Ask what a program that finds nothing scores (lesson 01)."""
    right = "pixel accuracy 0.90, Dice 0"
    return quiz.option(
        "A tenth of the pixels are nucleus. A program calls everything background. What does it score?",
        {
            "pixel accuracy 0.10, Dice 0.10": "It is right on all background pixels, nine tenths of them.",
            right: "Right on nine tenths of the pixels, and it overlaps with no nucleus: the measure decides what you see.",
            "pixel accuracy 0.90, Dice 0.90": "Dice counts the overlap with the nuclei, and there is none.",
            "pixel accuracy 0, Dice 0": "Background pixels count for pixel accuracy too, and it has all of them right.",
        },
        answer=right,
        label="Recall, lesson 01.",
    )


def places_of_a_window() -> Question:
    """Ask how many output values a 3 x 3 window gives on 6 x 6 pixels."""
    return quiz.number(
        "A picture has 6 rows and 6 columns. How many places has a window of 3 by 3 on it, moved by one pixel at a time?",
        answer=16,
        explain="4 places along each axis: the window begins at row 0, 1, 2 or 3. So 4 · 4 = 16, and in general N - K + 1.",
        wrong={
            36: "One for each pixel: but at the last two rows and columns the window would stick out.",
            9: "6 - 3 = 3 along an axis forgets the first place: it is 6 - 3 + 1.",
            4: "That is how many do not overlap, or how many there are along *one* axis.",
            25: "5 along an axis: that would be a window of 2.",
        },
        otherwise="Count along one axis first: at which rows can the window begin?",
    )


def strongest_answer() -> Question:
    """Ask where the kernel of the lesson answers most strongly."""
    return quiz.cell(
        "The weights are -1, 0, 1 along each row: what is on the right counts plus, what is on the left minus. The grid shows "
        "a picture's brightness. At which cell, as the middle of the window, is the answer largest?",
        grid=[[9, 9, 9, 1, 1], [9, 9, 9, 1, 1], [1, 5, 9, 9, 9], [1, 5, 9, 9, 9], [1, 5, 9, 9, 9]],
        answer=(3, 1),
        explain="Around (3, 1) the left column holds 1, 1, 1 and the right one 9, 9, 9: 27 - 3 = 24, the most that is possible.",
        wrong={
            (1, 3): "There bright is on the left and dark on the right: the answer is negative.",
            (3, 3): "Around it all is 9: right minus left is 0.",
            (1, 2): "Right minus left is 1 + 1 + 9 minus 9 + 9 + 5: negative.",
            (3, 2): "The left column holds 5, 5, 5 there: 27 - 15 = 12. One cell further left it holds 1, 1, 1.",
            (2, 1): "Nearly: but the window's upper row holds 9 on both sides and adds nothing: 16.",
        },
        otherwise="Look for a window with dark on its left and bright on its right, in all three rows.",
    )


def weights_of_a_layer() -> Question:
    """Ask how many weights a layer has."""
    return quiz.number(
        "A layer takes 3 channels and makes 64, with windows of 3 by 3. How many weights does it have (without biases)?",
        answer=64 * 3 * 9,
        explain="64 kernels, each 3 channels deep, 3 by 3: 64 · 3 · 3 · 3 = 1,728.",
        wrong={
            64 * 9: "That would be one flat kernel for each output map: each must read all three input channels.",
            3 * 9: "That is one kernel; there are 64 of them.",
            (64 + 3) * 9: "Channels in and out multiply: every output map has its own weights for every input channel.",
            9: "Each of the 64 output maps has weights of its own, for each of the 3 channels.",
        },
        otherwise="How deep is one kernel? How many kernels are there?",
    )


def size_after_two_layers() -> Question:
    """Ask for the size after two layers."""
    return quiz.number(
        "64 by 64 pixels go through a 3x3 layer with stride 2 and padding 1, then through a 5x5 layer without padding. How "
        "many rows come out?",
        answer=28,
        explain="(64 + 2 - 3) // 2 + 1 = 32, then 32 - 5 + 1 = 28.",
        wrong={
            32: "That is after the first layer; the second takes 4 off.",
            27: "In one of the layers the first place of the window was not counted.",
            60: "The stride of 2 halves the rows.",
            26: "Without padding the first layer would give 31; it has padding 1.",
        },
        otherwise="One layer after the other: floor((N + 2P - K) / S) + 1.",
        label="Exit ticket.",
    )


def what_is_added() -> Question:
    """Ask what one output value adds up."""
    right = "all products in the window, of all input channels"
    return quiz.option(
        "One output value of a layer with 16 input channels is the sum of ...",
        {
            "the products in the window of one input channel": "Then 15 channels would go unread: a kernel is 16 deep.",
            "16 values, one for each channel, before any window": "The window is in it too: 16 · KH · KW products.",
            right: "16 · KH · KW products, and the bias.",
            "the values of all output channels": "Output channels do not see each other in one layer.",
        },
        answer=right,
        label="Exit ticket.",
    )


def one_by_one() -> Question:
    """Ask what a 1x1 convolution can do."""
    right = "turn a colour picture into a grey one"
    return quiz.option(
        "Which of these can a 1x1 convolution do?",
        {
            "blur a picture": "Blurring mixes neighbouring pixels; a window of one pixel has no neighbours.",
            "find edges": "An edge is a difference of neighbours, which it does not see.",
            right: "It mixes the channels of each pixel, here a third of each colour.",
            "halve the number of rows, at stride 1": "At stride 1 it has as many places as there are pixels.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-green-channel": recall_green_channel,
    "recall-lazy-program": recall_lazy_program,
    "places-of-a-window": places_of_a_window,
    "strongest-answer": strongest_answer,
    "weights-of-a-layer": weights_of_a_layer,
    "size-after-two-layers": size_after_two_layers,
    "what-is-added": what_is_added,
    "one-by-one": one_by_one,
}
