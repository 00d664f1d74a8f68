"""Lesson 01: maps, unlabelled pixels, and what the measures see."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_shape_of_probabilities() -> Question:
    """Ask what a network returns for a picture (lesson 00)."""
    right = "(2, 64, 96): a map of probabilities for each class"
    return quiz.option(
        "A network that knows background and nucleus gets a colour picture of 64 rows and 96 columns. What is the shape of "
        "its answer, before any threshold?",
        {
            "(64, 96, 3): a colour picture": "That is what went in. What comes out are probabilities, one map a class.",
            "(64, 96): the classes": "That is the map *after* a threshold; the network leaves the choice to you.",
            right: "Class first, then row, then column; at each pixel the two numbers add up to 1.",
            "(2,): one number for each class": "That would be one answer for the whole picture. Here every pixel gets its own.",
        },
        answer=right,
        label="Recall, lesson 00.",
    )


def recall_error_colors() -> Question:
    """Ask how to read an error (lesson 00)."""
    right = "missed"
    return quiz.option(
        "A pixel belongs to a nucleus, and its probability of nucleus is 0.4. The threshold is 0.5. The error map calls it ...",
        {
            "found": "0.4 is below the threshold: the mask does not hold it.",
            "a false alarm": "That is the other error: called nucleus where there is none.",
            right: "A nucleus is there, and the mask leaves it out. With a threshold of 0.3 it would have been found.",
            "unlabelled": "Somebody did label it, as nucleus.",
        },
        answer=right,
        label="Recall, lesson 00.",
    )


def accuracy_without_the_die() -> Question:
    """Ask what a map scores that lacks the die only."""
    return quiz.number(
        "In a close-up the die covers 30 of 200 labelled pixels. A map calls the whole die background, and is right "
        "everywhere else. What percentage of the labelled pixels does it have right?",
        answer=85,
        unit="percent",
        explain="All but the die's 30: 170 of 200. It has not found the die *at all*, and the number looks like a good mark. "
        "In the picture above the die is smaller still: 4 in 100, and 96% is left.",
        wrong={
            15: "That is what it has wrong.",
            170: "So many pixels are right, of 200. As a percentage that is half as much.",
            70: "That would be 30 of *100* pixels; there are 200.",
            96: "That is the score of the maps above, whose die is smaller. Count again for these numbers.",
            80: "Four classes of five would be 80: but classes do not count here, pixels do.",
            0: "For the die alone it would be 0. The question is about all pixels.",
        },
        otherwise="It is wrong on the die's pixels, and on no others.",
    )


def same_accuracy() -> Question:
    """Ask whether equal accuracy means equally good."""
    right = "pixel accuracy calls them equal, though only one has found everything"
    return quiz.option(
        "A second map finds every thing, but all of it lies two pixels too far right. It has 96% of the pixels right, too. "
        "What do you expect?",
        {
            "both are equally good: 96% is 96%": "You would notice a missing die at once, and two pixels hardly.",
            right: "The errors are as *many*, but in one map they are a thin rim of everything, in the other all of one thing.",
            "the one without the die is better: its outlines are exact": "Exact outlines of what it found. It has no die.",
        },
        answer=right,
    )


def half_a_die() -> Question:
    """Ask for the IoU of half a thing."""
    return quiz.number(
        "A die covers 100 pixels. A program marks 100 pixels as die, 50 of them right and 50 beside it. What is the IoU?",
        answer=0.33,
        tolerance=0.006,
        explain="The intersection is 50; the union 100 + 100 - 50 = 150. So 50 / 150 = 1/3, while Dice is 100 / 200 = 0.5.",
        wrong={
            0.5: "That is Dice, 2 · 50 / 200. The union of the two is 150 pixels.",
            0.25: "Below the line you have 200: the overlap is counted twice there.",
        },
        otherwise="Intersection: pixels in both. Union: pixels in at least one, each counted once.",
    )


def what_255_does() -> Question:
    """Ask what unlabelled pixels do to a score when they are forgotten."""
    right = "no map can reach 1, not even a perfect one"
    return quiz.option(
        "5% of the pixels are unlabelled (255), and somebody computes `(prediction == target).mean()` all the same. Then ...",
        {
            "nothing changes: 255 is no class": "The comparison does not know that: no prediction is 255, so all are wrong.",
            "the score is too good": "Only if the prediction said 255 there, and a network never does.",
            right: "All unlabelled pixels count as errors: the best possible score is 0.95.",
            "Python stops with an error": "Nothing warns you. That is what makes it dangerous.",
        },
        answer=right,
        label="Exit ticket.",
    )


def two_bears() -> Question:
    """Ask what a semantic map says of two things of one class."""
    right = "one region, teddy bear"
    return quiz.option(
        "Two teddy bears sit side by side and touch. What does a semantic segmentation map show?",
        {
            "two regions with different numbers": "That would be a map of *instances*. Here all bears have the number 4.",
            right: "A class for every pixel, and no word on where one bear ends and the next begins.",
            "a rim of unlabelled pixels between them": "Both sides have the same label: there is nothing to be unsure about.",
        },
        answer=right,
        label="Exit ticket.",
    )


def tumour_share() -> Question:
    """Ask which number to trust where the class is rare."""
    right = "the IoU of tumour"
    return quiz.option(
        "Tumour covers 1 pixel in 100. Two programs report a pixel accuracy of 0.99. Which number do you ask for?",
        {
            "the third decimal of pixel accuracy": "Finding nothing gives 0.990 already: the third is about the background.",
            right: "It is 0 for a program that finds nothing, however large the background is.",
            "the IoU of background": "Near 0.99 for the program that finds nothing.",
            "the mean over pixels of being right": "That is pixel accuracy by another name.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-shape-of-probabilities": recall_shape_of_probabilities,
    "recall-error-colors": recall_error_colors,
    "accuracy-without-the-die": accuracy_without_the_die,
    "same-accuracy": same_accuracy,
    "half-a-die": half_a_die,
    "what-255-does": what_255_does,
    "two-bears": two_bears,
    "tumour-share": tumour_share,
}
