"""Lesson 11: which sizes a U-Net takes, what is cut off a skip, where tiles may begin, what a gap between cells weighs."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_block_without_padding() -> Question:
    """Ask what two unpadded convolutions leave of a side (lesson 02)."""
    return quiz.number(
        "32 rows go through two 3x3 convolutions, one after the other, stride 1, no padding. How many rows come out?",
        answer=28,
        explain="Each loses one row above and one below: 32, 30, 28.",
        wrong={
            30: "That is after the first of the two.",
            32: "So it would be with a padding of 1. Here there is none.",
            26: "A 3x3 loses 2 rows in all, not 3: n - 3 + 1.",
        },
        otherwise="n - 3 + 1, twice.",
        label="Recall, lesson 02.",
    )


def recall_down_and_up_again() -> Question:
    """Ask what a pooling and a stamp of 2 x 2 make of an odd side (lessons 05 and 08)."""
    return quiz.number(
        "25 rows go through a 2x2 pooling, stride 2, and then through a transposed convolution, 2x2, stride 2. How many "
        "rows come out?",
        answer=24,
        explain="25 become 12, because the last row has no partner, and 12 become 24. One row is gone.",
        wrong={
            25: "The pooling makes 12 of 25, and of 12 nobody can tell any more that they were 25.",
            26: "13 would be rounding up: a pooling drops the row that has no partner.",
            12: "That is after the pooling.",
        },
        otherwise="Half, rounded down, then twice as many.",
        label="Recall, lessons 05 and 08.",
    )


def published_takes_512() -> Question:
    """Ask what the published net does with 512 pixels: the lecture's any size."""
    right = "nothing, as published: one pooling meets an odd side"
    return quiz.option(
        "The published net has no padding and halves four times. It turns 572 by 572 pixels into 388 by 388. What does "
        "it make of 512 by 512?",
        {
            "512 by 512: it is fully convolutional, any size works": "There is no dense layer, so no weight depends on "
            "a size. But each 3x3 takes two rows away.",
            "328 by 328: it loses 184, as it does of 572": "184 less would be right if it went through. "
            "Follow the sides: 512, 508, 254, 250, 125, 121.",
            "388 by 388: that is the size it gives": "Nothing in a convolution knows of 388: less comes out when less goes in.",
            right: "512, 508, 254, 250, 125, 121: and 121 rows have no halves. The next that works is 524.",
        },
        answer=right,
    )


def row_of_the_skip() -> Question:
    """Ask which row of the skip meets the first row that comes up."""
    return quiz.number(
        "On the finest level the skip has 568 rows, and what comes up has 392. They are to lie on each other so that each row "
        "stands where it lies in the picture. Counted from 0, which row of the skip meets row 0 of what comes up?",
        answer=88,
        explain="176 rows too many, half of them above and half below.",
        wrong={
            176: "So many are too many in all. Half of them are below.",
            0: "Then the skip lies 88 pixels too low: rows that come up belong to the *middle* of the picture.",
            87: "Nearly: rows 0 to 87 are cut, so the first that is left is 88.",
            92: "So many the whole net loses on each side. Two 3x3 on each arm of this level stand outside this sum.",
        },
        otherwise="What comes up belongs to the middle of the picture.",
    )


def where_the_next_tile_starts() -> Question:
    """Ask where the second window of 572 may begin so that the seam is exact."""
    right = "at 384"
    return quiz.option(
        "The first window of 572 begins at pixel 0 and gives 388 columns. Where may the second begin, so that both "
        "together are exactly what the whole picture would give at once? (Where outputs overlap, one is taken.)",
        {
            "at 388, where the first output ends": "So it stands in many programs. Look at what the next cell prints for 388.",
            "at 572, where the first window ends": "Then 184 columns between the two outputs would get no label.",
            right: "The largest multiple of 16 that leaves no gap: its poolings cut the picture as those of the whole do.",
            "anywhere up to 388: a convolution does not care where it is": "A convolution does not. A pooling of stride "
            "2 does: it cares about odd and even, and four of them about sixteenths.",
        },
        answer=right,
    )


def output_of_two_levels() -> Question:
    """Ask for the output of a small unpadded U-Net."""
    return quiz.number(
        "A U-Net without padding halves only twice (two 3x3 on each level and at the waist, as published). 100 rows go "
        "in. How many come out?",
        answer=60,
        explain="100, 96 | 48, 44 | 22, 18 | 36, 32 | 64, 60.",
        wrong={
            80: "Five blocks, four rows each: but the rows of a deeper level are 2 and 4 pixels wide.",
            100: "Not without padding.",
            64: "The last block is missing: it takes four more.",
            92: "That is without the waist and the way up.",
        },
        otherwise="100, 96, and half of that is 48: go on like this.",
        label="Exit ticket.",
    )


def weight_between_two_cells() -> Question:
    """Ask for the border term at a pixel."""
    return quiz.number(
        "A pixel lies 2 pixels from one cell and 6 from another. How large is its border term, 10 · exp(-(d1 + d2)² / "
        "(2 · 5²))? One decimal will do.",
        answer=2.78,
        tolerance=0.06,
        explain="10 · exp(-64 / 50) = 10 · exp(-1.28) = 2.8.",
        wrong={
            9.2: "You took the nearest cell alone, 2² = 4. The sum of both distances is squared.",
            7.3: "You took the nearest cell twice, (2 + 2)². The second distance is to *another* cell.",
            4.5: "You added the squares, 4 + 36. First add, then square.",
            0.8: "(2 + 6)² is 64, and 2 · 5² is 50, not 25.",
        },
        otherwise="(2 + 6)² = 64, over 50.",
        label="Exit ticket.",
    )


def any_size() -> Question:
    """Ask how to label a picture of an odd size."""
    right = "Mirror it at its border up to 1008 by 704, predict, and cut the map to 1000 by 700."
    return quiz.option(
        "A U-Net of today (padding, four halvings) learned on nuclei of some 20 pixels. A picture has 1000 by 700 "
        "pixels, and each of them shall get a label. What do you do?",
        {
            "Put it in as it is: the net is fully convolutional, and the map has 1000 by 700.": "700 halves to "
            "350, 175, and then a row is lost: what comes up does not fit its skip.",
            "Resize it to 512 by 512, predict, and resize the map to 1000 by 700.": "Then a nucleus is half as wide as those it "
            "learned from, and squeezed besides.",
            "Cut off 8 rows and 12 columns, so that it has 992 by 688, and predict.": "That runs, but their "
            "pixels never get a label.",
            right: "Everything keeps its size, all pixels get a label, and 1008 and 704 are multiples of 16.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-block-without-padding": recall_block_without_padding,
    "recall-down-and-up-again": recall_down_and_up_again,
    "published-takes-512": published_takes_512,
    "row-of-the-skip": row_of_the_skip,
    "where-the-next-tile-starts": where_the_next_tile_starts,
    "output-of-two-levels": output_of_two_levels,
    "weight-between-two-cells": weight_between_two_cells,
    "any-size": any_size,
}
