"""Lesson 08: stamps, sizes, padding and checkerboards of a transposed convolution."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_after_unpooling() -> Question:
    """Ask how many of the values are zero after max-unpooling (lesson 07)."""
    return quiz.number(
        "Max-unpooling with windows of 2 by 2 takes 4 by 4 values to 8 by 8. None of the 16 values is zero. How many of the "
        "64 are zero afterwards?",
        answer=48,
        explain="Each window gets one value back, at the place that was remembered; its other three stay 0. 16 · 3 = 48.",
        wrong={
            0: "That is nearest-neighbour: it fills the window. Unpooling puts one value back in each.",
            16: "16 places are filled. The others are zero.",
            32: "Half of them would be so if a window had two places; it has four.",
        },
        otherwise="How many places has a window, and how many of them get a value?",
        label="Recall, lesson 07.",
    )


def recall_two_sizes() -> Question:
    """Ask which input sizes a strided convolution takes to two (lesson 02)."""
    right = "3 and 4"
    return quiz.option(
        "A convolution with a 3x3 kernel, stride 2 and padding 1 gives 2 rows. How many rows had its input?",
        {
            "4, surely": "4 gives (4 + 2 - 3) // 2 + 1 = 2, but so does 3.",
            right: "(3 + 2 - 3) // 2 + 1 = 2 and (4 + 2 - 3) // 2 + 1 = 2: the output does not tell which it was.",
            "2 and 3": "(2 + 2 - 3) // 2 + 1 = 1: two rows give one.",
            "4 and 5": "(5 + 2 - 3) // 2 + 1 = 3: five rows give three.",
        },
        answer=right,
        label="Recall, lesson 02.",
    )


def stamps_of_two() -> Question:
    """Ask how many places two stamps of three cover, two apart."""
    return quiz.number(
        "Two stamps, each 3 pixels wide, are pressed on an empty row. The second begins 2 pixels after the first. How many "
        "pixels of the row have ink?",
        answer=5,
        explain="The first covers pixels 0, 1, 2, the second 2, 3, 4: five, and pixel 2 has ink of both.",
        wrong={
            6: "They overlap: pixel 2 belongs to both.",
            4: "That is 2 · 2. The second stamp begins at 2 and is 3 wide: it ends at pixel 4, the fifth.",
            3: "That is one stamp.",
        },
        otherwise="Write down which pixels each stamp covers.",
    )


def most_ink() -> Question:
    """Ask where most stamps overlap in the plane."""
    return quiz.cell(
        "Now in the plane: four stamps of 3 by 3 pixels, two apart, on 5 by 5 pixels. At which pixel do most stamps overlap?",
        grid=[["·"] * 5 for _ in range(5)],
        answer=(2, 2),
        explain="Row 2 belongs to the upper and the lower stamps, column 2 to the left and the right ones: all four meet there.",
        wrong={
            (1, 1): "That is the middle of the first stamp: no other reaches it.",
            (2, 1): "Two stamps meet there, the upper and the lower one on the left.",
            (1, 2): "Two stamps meet there, the two upper ones.",
            (0, 0): "Only the first stamp reaches the corner.",
        },
        otherwise="In which row do upper and lower stamps overlap? In which column left and right ones?",
    )


def what_is_appended() -> Question:
    """Ask what stands in the row that output_padding adds."""
    right = "products that padding would have cropped"
    return quiz.option(
        "The stamps cover 5 by 5 pixels, `padding=1` leaves 3 by 3. With `output_padding=1` the result is 4 by 4. What stands "
        "in its last row and column?",
        {
            "zeros": "The name suggests it. But nothing is appended: less is cropped on that side.",
            "the row before, repeated": "No value is repeated anywhere: each is a sum of products.",
            right: "It crops one row and column less at the end; what stands there was computed all the time.",
            "it depends on the framework": "All of them crop less at the end: the sums are part of the definition.",
        },
        answer=right,
    )


def does_it_invert() -> Question:
    """Ask whether the convolution brings the input back."""
    right = "The size comes back, the numbers do not."
    return quiz.option(
        "We go up with a kernel, stride 2, and down again by the convolution with the very same kernel, stride and padding. "
        "What comes out?",
        {
            "The input.": "That would be the inverse. The transpose is another thing: this matrix is not even square.",
            "The input, times a constant.": "Neighbours mix: each of their stamps overlaps with this window.",
            right: "The two fit each other like plug and socket: sizes and connections. The numbers are another matter.",
            "Something of another size.": "Sizes are what the pair does agree on.",
        },
        answer=right,
    )


def what_will_it_learn() -> Question:
    """Ask what a 4x4 kernel will look like when it has learned to enlarge."""
    right = "a hill: large in the middle, small at the rim"
    return quiz.option(
        "A 4x4 kernel, stride 2, begins with random numbers and is trained to undo a halving of tissue pictures. What will its "
        "16 numbers look like in the end?",
        {
            "random, but smaller": "Random stamps leave a pattern all over the picture, and the loss sees it.",
            "one 1 and fifteen 0": "That is unpooling without switches: three quarters of the output would be empty.",
            right: "Every output pixel is then a mean of its nearest inputs, the nearer the heavier. You have met such a rule.",
            "all sixteen the same": "Then every output pixel would be the mean of four inputs, near or not: a blur.",
        },
        answer=right,
    )


def size_by_four() -> Question:
    """Ask for the size after a usual upsampling layer."""
    return quiz.number(
        "64 by 64 pixels go through a transposed convolution with a 4x4 kernel, stride 2, padding 1. How many rows come out?",
        answer=128,
        explain="(64 - 1) · 2 - 2 · 1 + 4 = 128: twice as many, as K = 4, S = 2, P = 1 always gives.",
        wrong={
            130: "The stamps cover 130 rows; padding crops one on each side.",
            132: "Padding does not pad here: it crops.",
            32: "That is the convolution with these numbers: the way down.",
            126: "That is the distance between first and last stamp: add the last stamp's own 4 rows, take 2 off.",
        },
        otherwise="The last stamp begins at (N - 1) · S and is K wide; then padding crops both sides.",
        label="Exit ticket.",
    )


def no_checkerboard() -> Question:
    """Ask for kernel and stride with even overlap."""
    right = "kernel 4, stride 2"
    return quiz.option(
        "Which of these lets equally many stamps reach every pixel inside the output?",
        {
            "kernel 3, stride 2": "In a row the counts go 1, 2, 1, 2: 2 does not divide 3.",
            right: "Two stamps along each axis, four in the plane: 2 divides 4.",
            "kernel 5, stride 2": "The counts go 2, 3, 2, 3: 2 does not divide 5.",
            "kernel 4, stride 3": "The counts go 2, 1, 1, 2, 1, 1: 3 does not divide 4.",
        },
        answer=right,
        label="Exit ticket.",
    )


def what_transposed_means() -> Question:
    """Ask what is transposed."""
    right = "the matrix that a convolution is"
    return quiz.option(
        "What is transposed in a transposed convolution?",
        {
            "the picture": "Rows and columns of the picture stay what they are.",
            "the kernel, rows for columns": "The kernel is stamped as it is.",
            right: "Who read from whom now writes to whom: the same connections, the other way.",
            "the channels in the output": "The weight's first two axes are named the other way round, but that is the consequence.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-after-unpooling": recall_after_unpooling,
    "recall-two-sizes": recall_two_sizes,
    "stamps-of-two": stamps_of_two,
    "most-ink": most_ink,
    "what-is-appended": what_is_appended,
    "does-it-invert": does_it_invert,
    "what-will-it-learn": what_will_it_learn,
    "size-by-four": size_by_four,
    "no-checkerboard": no_checkerboard,
    "what-transposed-means": what_transposed_means,
}
