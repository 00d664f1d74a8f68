"""Lesson 07: places of pixels, weights of neighbours, switches."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_after_three_pools() -> Question:
    """Ask for how many pixels one number stands after three poolings (lesson 05)."""
    return quiz.number(
        "A picture of 96 by 96 pixels goes through three max-poolings, 2 by 2 with stride 2. Of how many pixels of the picture is "
        "each number the maximum?",
        answer=64,
        explain="Each pooling doubles the side of the square: 2, 4, 8. A square of 8 by 8 has 64 pixels.",
        wrong={
            8: "That is the side of its square. The square has 8 · 8 pixels.",
            6: "2 + 2 + 2? Each pooling doubles what one number covers.",
            12: "That is 96 / 8: how many numbers are left along one side.",
            4: "That is one pooling alone.",
            144: "That is how many numbers are left in all, 12 · 12.",
        },
        otherwise="A pooling halves both sides; so one number covers twice as many pixels along each.",
        label="Recall, lesson 05.",
    )


def recall_closed_gate() -> Question:
    """Ask where a ReLU lets a gradient through (lesson 03)."""
    right = "0 to the first, 5 to the second"
    return quiz.option(
        "Two numbers, -1 and 2, went through a ReLU. On the way back, a gradient of 5 arrives at each of its two outputs. What "
        "is handed on to the inputs?",
        {
            "5 to both": "At -1 the output stays 0 when the input moves a little: it has no influence, so no gradient.",
            right: "The gate is open where the value went through, and only there. Today another gate works the same way.",
            "-5 to the first, 10 to the second": "The slope of the ReLU is 0 or 1; the value itself does not multiply.",
            "2.5 to both": "Nothing is shared out: each output has one input.",
        },
        answer=right,
        label="Recall, lesson 03.",
    )


def stretched_row() -> Question:
    """Ask for the second pixel of a doubled row."""
    return quiz.number(
        "Two pixels, 10 and 20, are stretched to four. A pixel's value sits in its middle, between two middles it changes "
        "along a straight line, beyond the outermost it stays. Which value has the second of the four?",
        answer=12.5,
        explain="The old middles lie at 0.5 and 1.5 (in old pixels), the new ones at 0.25, 0.75, 1.25, 1.75. From 0.5 to 0.75 is a "
        "quarter of the way from 10 to 20.",
        tolerance=0.1,
        wrong={
            13.33: "That puts the *outermost middles* on each other: 10, 13.3, 16.7, 20. Here the picture's edges stay, so each "
            "new pixel is half as wide as an old one. (Programs differ in exactly this: see at the end of the lesson.)",
            15: "That is half way, at the border between the two old pixels. The new pixel's middle lies a quarter of an old pixel "
            "before it.",
            10: "That is nearest-neighbour: each value twice.",
        },
        otherwise="Draw two old pixels, their middles, and four new ones above them.",
    )


def where_it_goes_back() -> Question:
    """Ask for the cell to which the first value of the lecture's example goes."""
    return quiz.cell(
        "The lecture's 4 by 4. Pooling takes the maximum of each 2 by 2 window: 5, 6, 7, 8, and remembers where each stood. "
        "The rest of the network makes of them 1, 2, 3, 4. In which cell does the 1 come back?",
        grid=[["1", "2", "6", "3"], ["3", "5", "2", "1"], ["1", "2", "2", "1"], ["7", "3", "4", "8"]],
        answer=(1, 1),
        explain="The 1 came out where the 5 went in, so it goes to the place of the 5. What its own value is does not matter.",
        wrong={
            (
                0,
                0,
            ): "There a 1 stood before, but that is chance: this 1 was made by the network. It goes where its *maximum* was.",
            (0, 2): "That is the place of the 6, the second window's. The 2 goes there.",
            (1, 3): "Another 1 of the input. Values are not looked up: places are remembered.",
            (2, 0): "Another 1 of the input. Values are not looked up: places are remembered.",
        },
        otherwise="Which window does the 1 belong to, and where in that window was the maximum?",
    )


def how_many_restored() -> Question:
    """Ask how much unpooling restores: the misconception of this lesson."""
    return quiz.number(
        "Now nothing is changed in between: the maxima 5, 6, 7, 8 themselves go back to their places. How many of the 16 numbers "
        "of the 4 by 4 are as they were?",
        answer=4,
        explain="The four maxima. The other twelve are 0 now, and were not: nobody remembered them. Places come back, "
        "values do not.",
        wrong={
            16: "The lecture says *preserves spatial information*: that is the places. Twelve values were thrown away, and "
            "nothing can bring them back.",
            12: "Twelve are *not*: each window had four numbers, and one of them was kept.",
            0: "The maxima are: each returns to where it stood.",
        },
        otherwise="How many numbers were handed on, and where do they stand now?",
    )


def between_rose_and_die() -> Question:
    """Ask what bilinear interpolation does to class numbers."""
    right = "pixels of glass, which is class 2"
    return quiz.option(
        "A map of classes (1 rose, 2 glass, 3 die) is made larger by bilinear interpolation, and rounded to whole numbers. What "
        "appears where a rose touches a die?",
        {
            "a sharp border, as before": "It has no sharp borders: between 1 and 3 it passes all numbers between.",
            right: "Half way between 1 and 3 lies 2. The arithmetic does not know that classes are names.",
            "unlabelled pixels, number 255": "Nothing marks them. They have a perfectly good number, a wrong one.",
            "pixels half rose, half die": "A map holds one class a pixel; half is what the average means, 2 is what it writes.",
        },
        answer=right,
    )


def stretch_three() -> Question:
    """Ask for one pixel of a doubled row of three."""
    return quiz.number(
        "A row 0, 8, 0 is stretched to six pixels by straight lines (edges on edges). Which value has the third?",
        answer=6,
        explain="Its middle lies at 2.5 / 2 = 1.25, between the old middles 0.5 and 1.5: three quarters of the way from 0 to 8.",
        wrong={
            8: "That is nearest-neighbour. Only a pixel on the old middle at 1.5 would have the whole 8, and there is none.",
            2: "That is the second: it is three quarters 0 and one quarter 8.",
            4: "That is at the border between two old pixels; the new pixel's middle lies a quarter beyond it.",
            6.4: "That puts the outermost middles on each other: then 6 pixels take 5 steps over a length of 2.",
        },
        otherwise="New middles lie at 0.25, 0.75, 1.25 ... old ones at 0.5, 1.5, 2.5. Weigh the two nearest.",
        label="Exit ticket.",
    )


def read_a_switch() -> Question:
    """Ask for the cell that a flat index names."""
    return quiz.cell(
        "A plane has 4 rows and 6 columns. One of its switches is 15. Where does the value go?",
        grid=[["·"] * 6 for _ in range(4)],
        answer=(2, 3),
        explain="15 = 2 · 6 + 3: row 2, column 3, both counted from 0.",
        wrong={
            (3, 3): "That is 15 divided by the *height*. A row holds 6 numbers, so divide by the width.",
            (3, 2): "Row and column are exchanged: 15 // 6 = 2 is the row, 15 % 6 = 3 the column.",
            (2, 2): "That is 14: the first place is 0, not 1.",
        },
        otherwise="Row = 15 // 6, column = 15 % 6.",
        label="Exit ticket.",
    )


def what_switches_bring() -> Question:
    """Ask what a decoder gets from the switches."""
    right = "where in each window the maximum stood"
    return quiz.option(
        "What do its switches tell a decoder about the picture?",
        {
            "the values that pooling dropped": "They are gone. In their places stand zeros, which the next convolution fills by "
            "guessing from the neighbours.",
            right: "Two bits for a 2 by 2 window: one of four places. It is little, and it is what nothing else in the small "
            "features says so precisely.",
            "how large each maximum was": "That is the pooled value itself, which goes through the rest of the network.",
            "which class each pixel has": "No label is in them: they come from the encoder, which finds edges and spots.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-after-three-pools": recall_after_three_pools,
    "recall-closed-gate": recall_closed_gate,
    "stretched-row": stretched_row,
    "where-it-goes-back": where_it_goes_back,
    "how-many-restored": how_many_restored,
    "between-rose-and-die": between_rose_and_die,
    "stretch-three": stretch_three,
    "read-a-switch": read_a_switch,
    "what-switches-bring": what_switches_bring,
}
