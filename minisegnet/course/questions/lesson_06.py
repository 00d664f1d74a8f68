"""Lesson 06: taps apart, stacked rates and their holes, context from parallel rates."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_padding_that_keeps() -> Question:
    """Ask which padding keeps the size under a 5x5 kernel (lesson 02)."""
    return quiz.number(
        "A layer has 5x5 kernels and stride 1. How many rings of zeros does it need so that the size stays?",
        answer=2,
        explain="N + 2P - 5 + 1 = N asks for P = 2: half the kernel, rounded down.",
        wrong={
            1: "That is right for 3x3. A window of 5 loses two pixels on each side.",
            4: "Four rows are lost, but padding gives one on *each* side for every ring.",
            0: "Without padding 4 rows and 4 columns are lost.",
            5: "N + 10 - 5 + 1 is six more than N.",
        },
        otherwise="Solve N + 2P - K + 1 = N for P.",
        label="Recall, lesson 02.",
    )


def recall_field_of_three() -> Question:
    """Ask for the receptive field of three 3x3 layers (lesson 05)."""
    return quiz.number(
        "Three 3x3 layers, stride 1, no pooling. How many pixels wide is the receptive field of one output pixel?",
        answer=7,
        explain="Each layer adds one pixel on each side: 3, 5, 7.",
        wrong={
            9: "3 + 3 + 3 counts the middle three times: each layer after the first adds only 2.",
            27: "That would be 3 · 3 · 3: with a stride of 3 the windows would not overlap. At stride 1 they do.",
            3: "That is the field of one layer; each pixel it reads has itself read others.",
            5: "That is the field after two layers.",
        },
        otherwise="Begin with one pixel and go down: how much does each layer add on each side?",
        label="Recall, lesson 05.",
    )


def span_at_rate_three() -> Question:
    """Ask how wide a 3x3 kernel is at rate 3."""
    return quiz.number(
        "The rate says how far apart neighbouring weights are: at rate 1 they touch. How many pixels from the first to the last, "
        "both counted, does a row of 3 weights span at rate 3?",
        answer=7,
        explain="Two steps of 3 from the first weight to the last, and the first itself: 2 · 3 + 1 = 7.",
        wrong={
            9: "3 · 3 leaves a gap after the last weight as well; there are only two steps.",
            5: "That is rate 2: one pixel left out between two weights.",
            6: "Two steps of 3 are 6, but the pixel you start from counts too.",
            3: "That many weights there are; the gaps between them count for the span.",
        },
        otherwise="Put three coins on a line, three cells apart, and count cells.",
    )


def weights_at_rate_three() -> Question:
    """Ask how many weights a kernel has at rate 3."""
    return quiz.number(
        "And that kernel as a whole, 3x3 at rate 3: how many weights does it learn (one channel, no bias)?",
        answer=9,
        explain="Nine, at every rate. They stand further apart, and between them nothing is read, nothing multiplied.",
        wrong={
            49: "49 cells lie in its span of 7 by 7, but 40 of them hold no weight.",
            27: "The rate multiplies distances, not weights.",
            81: "The kernel is not enlarged by repeating weights: dilation adds none.",
            7: "7 is the width of its span.",
        },
        otherwise="The kernel is the same; only the places that it reads have moved.",
    )


def blinking_pixel() -> Question:
    """Ask for a cell that three layers at rate 2 do not see."""
    return quiz.cell(
        "Three layers of 3x3, each at rate 2; the output pixel stands over the cell marked `o`, row 2 and column 2. Choose "
        "the one lettered cell whose brightness reaches it.",
        grid=[
            ["·", "a", "·", "·", "·"],
            ["·", "b", "·", "c", "·"],
            ["·", "·", "o", "d", "·"],
            ["·", "·", "·", "·", "e"],
            ["f", "·", "·", "g", "·"],
        ],
        answer=(4, 0),
        explain="Each layer steps by 2 or not at all, so the distance is even in both directions: (4, 0) lies 2 rows down, 2 "
        "columns left. Of the direct neighbours none is ever seen.",
        wrong={
            (2, 3): "The direct neighbour! One column away, and all steps are 2: no sum of them is 1.",
            (0, 1): "Two rows are fine, but one column is odd: 1 is no sum of twos.",
            (1, 3): "One row and one column away: steps of 2 never add up to 1.",
            (3, 4): "Two columns are fine, but one row is odd.",
            (4, 3): "Two rows are fine, but one column is odd.",
        },
        otherwise="Steps are -2, 0 or +2 in each direction, three times. Which distances can they make?",
    )


def field_of_a_stack() -> Question:
    """Ask for the receptive field of rates 1, 3, 9."""
    return quiz.number(
        "Three 3x3 layers with the rates 1, 3, 9. How wide is the receptive field?",
        answer=27,
        explain="1 + 2 · (1 + 3 + 9) = 27, and without a hole: each layer's step is what the layers below see whole (3, then 9).",
        wrong={
            19: "That is the last layer alone: 9 + 1 + 9. The layers below add 2 · 1 and 2 · 3.",
            13: "You added the rates; each adds on *both* sides.",
            26: "You left out the pixel in the middle.",
            7: "That is three layers of rate 1.",
            29: "You added the spans, 3 + 7 + 19: a layer adds only what lies beyond the pixel it stands on.",
        },
        otherwise="1 + 2 · (sum of the rates).",
        label="Exit ticket.",
    )


def what_dilation_keeps() -> Question:
    """Ask what changes when a layer's rate goes from 1 to 4."""
    right = "which pixels meet the weights"
    return quiz.option(
        "A 3x3 layer with stride 1 and padding 1 becomes one with rate 4 and padding 4. What changes?",
        {
            "the number of weights": "The kernel is the same array of O · C · 3 · 3 numbers.",
            "the size of the output": "Padding grew with the rate: 2 · 4 rows added, 2 · 4 lost. The size stays.",
            "the number of products": "Nine products for each channel and output pixel, as before.",
            right: "The eight outer weights now meet pixels 4 away. All else is as before.",
        },
        answer=right,
        label="Exit ticket.",
    )


def rates_to_choose() -> Question:
    """Ask which stack sees far without holes."""
    right = "1, 2, 5"
    return quiz.option(
        "Objects in your pictures may be a single pixel. Which rates for three 3x3 layers see furthest and miss none of them?",
        {
            "2, 4, 8": "It spans 29, but all steps are even: only 15 of 29 are seen, and never a direct neighbour.",
            "2, 2, 2": "7 of 13 are seen.",
            "1, 2, 4": "No holes, 15 of 15; but another of these sees further, without a hole as well.",
            right: "17 of 17: the layers below see 7 pixels whole, so a step of 5 leaves no gap.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-padding-that-keeps": recall_padding_that_keeps,
    "recall-field-of-three": recall_field_of_three,
    "span-at-rate-three": span_at_rate_three,
    "weights-at-rate-three": weights_at_rate_three,
    "blinking-pixel": blinking_pixel,
    "field-of-a-stack": field_of_a_stack,
    "what-dilation-keeps": what_dilation_keeps,
    "rates-to-choose": rates_to_choose,
}
