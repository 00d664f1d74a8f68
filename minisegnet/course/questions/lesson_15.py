"""Lesson 15: where the time goes, what memory allows, and how to need fewer products."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_columns_of_im2col() -> Question:
    """Ask how much larger the matrix of im2col is (lesson 02)."""
    return quiz.number(
        "im2col lays every window out as a column, so that a convolution becomes one matrix product. A map of 32 channels, "
        "128 x 128 pixels, padded so that 3x3 kernels keep its size: how many times as many numbers has the matrix?",
        answer=9,
        explain="Each pixel stands in nine windows, and is copied into nine columns (but for the border, where some of the "
        "nine are zeros).",
        wrong={
            3: "A window has three rows *and* three columns.",
            288: "That is the height of a column, 9 · 32. The map has 32 channels itself.",
            1: "That is sliding_window_view: a view, not a copy. im2col writes the columns down.",
            32: "Channels do not multiply the numbers: they were there before.",
        },
        otherwise="In how many windows does one pixel stand?",
        label="Recall, lesson 02.",
    )


def recall_products_for_each_number() -> Question:
    """Ask how many products a depthwise layer has for each number it moves (lesson 13)."""
    return quiz.number(
        "A depthwise 3x3 layer reads each number of its map once and writes one for each. How many products does it have "
        "to do for each number moved? (Leave out the few weights.)",
        answer=4.5,
        tolerance=0.01,
        explain="Nine products for two numbers moved, one in and one out.",
        wrong={
            9: "Nine for each number that comes *out*. One was read as well.",
            18: "Two numbers are moved for nine products, not the other way round.",
            2.25: "That is operations for each *byte*, which you will meet today: 4.5 products are 9 operations, and a number has "
            "4 bytes.",
        },
        otherwise="Nine products make one number. How many numbers were moved for it?",
        label="Recall, lesson 13.",
    )


def how_much_faster_than_loops() -> Question:
    """Ask for the factor between loops in Python and this library."""
    right = "thousands of times faster"
    return quiz.option(
        "The same layer, first as loops in plain Python, then by this library's compiled kernels, on the same computer. The "
        "library is ...",
        {
            "about 10 times faster": "That is what one good idea gives. Four of them follow, one on top of the other.",
            "about 100 times faster": "That much is gained by NumPy's windows alone, and NumPy is only the first step.",
            right: "NumPy's windows gain dozens, up to a hundred. Loops that are compiled, and use memory and vectors well, gain "
            "as much again on top of it, and more on a computer with nothing else to do. Your own number is measured below.",
            "equally fast: both do the same products": "They do. But between two products a loop in Python does a lot of "
            "other things.",
        },
        answer=right,
    )


def faster_than_the_peak() -> Question:
    """Ask how a layer can be measured above the machine's peak."""
    right = "it does not do all of these products"
    return quiz.option(
        "Two cores were measured at 205 thousand million operations a second, doing nothing but multiplying and "
        "adding: the machine's peak. On the same machine and day one of the library's 3x3 layers did its work as if it "
        "took 418. How?",
        {
            "a mistake in the measurement": "It was repeated, with care, beside another program. The layer "
            "really is done in that time.",
            "the cache: numbers were near": "A cache saves waiting. It does not multiply faster than the multipliers.",
            right: "The 418 counts the products of the definition. There is a way to the same outputs with a quarter of "
            "them: last part of this lesson.",
            "it ran on a GPU": "There was none. Two cores of an ordinary processor.",
        },
        answer=right,
    )


def rows_or_columns() -> Question:
    """Ask whether the order in which numbers are visited matters."""
    right = "row by row"
    return quiz.option(
        "A table of 2048 x 2048 numbers is to be added up, either 2048 times a row, or 2048 times a column. NumPy does each "
        "in one call. Which is faster?",
        {
            right: "Row by row, by several times. The numbers of a row lie side by side in memory, and memory hands them "
            "out in blocks of sixteen. Of a column's block one number is used.",
            "column by column": "In memory the rows follow one another, so that a column's numbers lie 8 KB apart.",
            "no difference: the same additions": "The same additions, yes. But what is waited for is not the adding.",
        },
        answer=right,
    )


def fewest_products_for_two() -> Question:
    """Ask for the products of F(2, 3)."""
    return quiz.number(
        "Two neighbouring outputs of a kernel with three taps read four numbers and take 2 · 3 = 6 products. Additions, and "
        "whatever concerns the kernel alone, are free. How few products can do it?",
        answer=4,
        explain="Four: one for each number read. S. Winograd proved that fewer is impossible, and how it is done stands below.",
        wrong={
            6: "That is the definition. It can be done with fewer.",
            5: "Nearly. One fewer.",
            3: "Too few: with three products two outputs cannot depend on four numbers in all ways.",
            2: "One product for each output cannot hold three taps.",
            1: "One product cannot do.",
        },
        otherwise="Think of (a + b) · c instead of a · c + b · c, which saves one product by an addition.",
    )


def where_arithmetic_begins() -> Question:
    """Ask for the ridge of a roofline."""
    return quiz.number(
        "A computer does 100 GFLOP/s and moves 20 GB/s. From how many operations a byte on does a layer wait for "
        "arithmetic, and no longer for memory?",
        answer=5,
        tolerance=0.01,
        explain="100 / 20 = 5: with five operations for each byte both take equally long.",
        wrong={
            0.2: "Upside down: that is bytes for each operation.",
            2000: "The two numbers are divided, not multiplied.",
            20: "That would be for a number of four bytes. The question is about each *byte*.",
            1.25: "That would be for a quarter of a byte. A byte is a byte here.",
        },
        otherwise="When do n operations take as long as moving one byte?",
        label="Exit ticket.",
    )


def what_winograd_cannot_help() -> Question:
    """Ask where Winograd's saving is no saving of time."""
    right = "a depthwise 3x3 layer"
    return quiz.option(
        "Where would four times fewer products save no time?",
        {
            "a 3x3 layer with 64 channels": "It has some 130 operations for each byte: it waits for arithmetic, and that is "
            "where fewer products help.",
            "a 3x3 layer with 256 channels": "The more channels, the more arithmetic for each number moved.",
            right: "It has 2.25 operations for each byte and waits for memory already. To make its arithmetic cheaper changes "
            "nothing.",
            "a dilated 3x3 layer with 64 channels": "Every second pixel of every second row is a picture of its own, with an "
            "ordinary convolution: Winograd helps as much.",
        },
        answer=right,
        label="Exit ticket.",
    )


def why_loops_are_slow() -> Question:
    """Ask what makes a loop in Python slow."""
    right = "for each product it decides anew what to do"
    return quiz.option(
        "Numba's loops are the very loops of Python, and thousands of times faster. What did Python spend its time on?",
        {
            "multiplying: its numbers have more digits": "They have (64 bits), and the processor multiplies them as fast.",
            right: "For each product it looks up names and types, finds the right multiplication, makes a new number and "
            "throws the old one away. Numba decides once, before it begins.",
            "reading the file with the program": "That is read once, when the function is defined.",
            "using one core only": "The lesson's compiled loops use one core, too.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-columns-of-im2col": recall_columns_of_im2col,
    "recall-products-for-each-number": recall_products_for_each_number,
    "how-much-faster-than-loops": how_much_faster_than_loops,
    "faster-than-the-peak": faster_than_the_peak,
    "rows-or-columns": rows_or_columns,
    "fewest-products-for-two": fewest_products_for_two,
    "where-arithmetic-begins": where_arithmetic_begins,
    "what-winograd-cannot-help": what_winograd_cannot_help,
    "why-loops-are-slow": why_loops_are_slow,
}
