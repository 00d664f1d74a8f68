"""Lesson 10: what redrawing changes, what pooling forgets, what a skip carries and how it is joined."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_scores_meet() -> Question:
    """Ask how FCN-16s joins the scores of two depths (lesson 09)."""
    right = "They are added, class by class."
    return quiz.option(
        "In FCN-16s scores from pool4 meet the scores that come up from below. What happens to the two?",
        {
            right: "One score a class from each side, and their sum goes on.",
            "The larger one goes on.": "That would be pooling over the two. They are added.",
            "They are laid one after the other.": "That comes today. The FCN adds.",
            "The finer one replaces the coarser one.": "Then the deep layers would have worked for nothing.",
        },
        answer=right,
        label="Recall, lesson 09.",
    )


def recall_pixels_of_a_cell() -> Question:
    """Ask how many pixels stand behind a cell after three poolings (lesson 05)."""
    return quiz.number(
        "A picture goes through three 2x2 max-poolings, stride 2. How many of its pixels lie under one cell of the result?",
        answer=64,
        explain="8 along each side, 2 · 2 · 2; 8 · 8 = 64 in the plane.",
        wrong={
            8: "That is one side of the square.",
            4: "That is one pooling.",
            12: "Three times four: but each pooling *multiplies* by four.",
            6: "Three times two: sides multiply, 2 · 2 · 2, and there are two of them.",
        },
        otherwise="Each pooling doubles the side of the square.",
        label="Recall, lesson 05.",
    )


def bent_into_a_u() -> Question:
    """Ask how many pixels change when the drawing is bent."""
    return quiz.number(
        "A trained hourglass of nine blocks is drawn in a row, then bent into a U. It labels a picture of 96 by 96 pixels "
        "before and after. How many of the 9,216 pixels change their class?",
        answer=0,
        explain="None: the same layers are called in the same order. Where they stand on the page is not in the computation.",
        wrong={
            9216: "Then every layer would have noticed. None of them is told where it is drawn.",
            147: "So many the net of our question has wrong, before and after.",
        },
        otherwise="Which line of the computation has become another one?",
    )


def edges_after_pooling() -> Question:
    """Ask how many of 96 edges can be told apart after three poolings."""
    return quiz.number(
        "A row of 96 pixels is dark, and bright from some pixel on: 96 such rows, one for each place of the edge. After three "
        "max-poolings, how many different rows are left?",
        answer=12,
        explain="12 cells are left, and an edge can only stand before one of them: 8 neighbouring edges share each result.",
        wrong={
            96: "Each cell keeps the largest of its eight pixels: bright, wherever in the eight the edge is.",
            8: "8 edges share one result. How many results are that?",
            32: "Three poolings divide by 2 · 2 · 2 = 8, not by 3.",
            48: "That is one pooling.",
        },
        otherwise="How many cells are left, and what can stand in each?",
    )


def stack_of_channels() -> Question:
    """Ask how many channels a stack of two has."""
    return quiz.number(
        "From the left come 6 channels of 96 by 96, from below 6 more of the same size. They are concatenated. How many "
        "channels has the result?",
        answer=12,
        explain="One after the other: nothing is computed, and nothing is lost. The next layer has to read 12.",
        wrong={6: "So many are left after *adding* them. Concatenation adds up nothing.", 36: "Nothing is multiplied."},
        otherwise="Lay 6 sheets on 6 sheets.",
    )


def cut_or_never_had() -> Question:
    """Ask how a net does that learned without the skip whose loss is so costly."""
    right = "about as well as with all three"
    return quiz.option(
        "On 40 other pictures, cutting skip 2 out of this net makes its errors near rims ten times as many. Another net is trained "
        "from the beginning without skip 2. How does it do there?",
        {
            "as badly as the net that was cut": "The cut net met zeros that it had never seen. This one has learned to do without.",
            "about half way between": "One might think so. Read the table that comes now.",
            right: "What came through skip 2 can come by the other ways, if the net has learned so.",
            "better than with all three": "In some seeds by a hair; not so that one could rely on it.",
        },
        answer=right,
    )


def weights_after_a_stack() -> Question:
    """Ask for the weights of the layer that reads the stack."""
    return quiz.number(
        "64 channels of a skip are concatenated with 64 from below. A 3x3 convolution makes 64 of them. How many weights has it, "
        "without bias?",
        answer=73728,
        explain="64 · (64 + 64) · 9 = 73,728, twice as many as after adding.",
        wrong={
            36864: "So many after *adding*, where 64 channels are left.",
            1152: "That is one filter, 128 · 9; there are 64.",
            147456: "That would make 128 channels of 128.",
        },
        otherwise="Filters times channels read times 9.",
        label="Exit ticket.",
    )


def what_a_cut_shows() -> Question:
    """Ask what follows from a net that fails when a skip is cut."""
    right = "This net depends on it; others may not."
    return quiz.option(
        "The finest skip of a trained U-Net is set to zero, and most of its edges are wrong. What follows?",
        {
            "A U-Net needs its finest skip.": "In our table, nets that never had it did about as well in two seeds of three.",
            "The finest skip matters more than the others.": "Another seed, another order: in ours it never cost most.",
            right: "Dependence is about this net. Need is about all nets that could have been learned: train one without it.",
            "The net was trained badly.": "It was trained well, with the skip there.",
        },
        answer=right,
        label="Exit ticket.",
    )


def which_changes_the_function() -> Question:
    """Ask which step of the lecture's morph computes something else."""
    right = "The maps of the left arm are concatenated on the right."
    return quiz.option(
        "Which of these steps makes a net compute something else?",
        {
            "The chain is drawn as an hourglass.": "Sheets drawn as large as they are: the same layers.",
            "The hourglass is laid horizontally.": "The same layers, turned.",
            "The row is bent into a U.": "The same layers, bent.",
            right: "New ways for the data, and layers that read more channels.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-scores-meet": recall_scores_meet,
    "recall-pixels-of-a-cell": recall_pixels_of_a_cell,
    "bent-into-a-u": bent_into_a_u,
    "edges-after-pooling": edges_after_pooling,
    "stack-of-channels": stack_of_channels,
    "cut-or-never-had": cut_or_never_had,
    "weights-after-a-stack": weights_after_a_stack,
    "what-a-cut-shows": what_a_cut_shows,
    "which-changes-the-function": which_changes_the_function,
}
