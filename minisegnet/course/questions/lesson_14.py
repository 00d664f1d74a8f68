"""Lesson 14: which images may judge a network, what augmentation may change, what a leak looks like."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_train_and_validation() -> Question:
    """Ask what two curves that part mean (lesson 03)."""
    right = "it learns its training images by heart"
    return quiz.option(
        "Lesson 03: the loss on the training images keeps falling; on the validation images it has been rising for a while. What "
        "happens?",
        {
            "the learning rate is too large": "Then the training loss would jump or grow; it falls.",
            right: "What it still learns holds for the training images only. That is why we keep others to judge it.",
            "the validation images are too hard": "They have been equally hard all the time, and the loss fell at first.",
            "it needs more steps": "More of the same: the two curves would part further.",
        },
        answer=right,
        label="Recall.",
    )


def recall_mean_of_images() -> Question:
    """Ask what one small image does to the mean of Dice (lesson 12)."""
    right = "the mean over the images"
    return quiz.option(
        "Lesson 12: nine images full of nuclei are found with Dice 0.9; on a tenth there is one small nucleus, and it is missed "
        "(Dice 0). Which figure drops from 0.90 to 0.81?",
        {
            right: "Every image has one vote: (9 · 0.9 + 0) / 10 = 0.81.",
            "the Dice of all pixels pooled": "One small nucleus among hundreds hardly moves it: pixels have the votes there.",
            "both, they are the same": "They are the same only if each image has equally many pixels in prediction and target.",
            "pixel accuracy": "It hardly moves: a few missed pixels among hundreds of thousands.",
        },
        answer=right,
        label="Recall.",
    )


def pairs_of_neighbours() -> Question:
    """Ask how many neighbours a program finds in a shuffled heap of tiles."""
    return quiz.number(
        "Twelve slides are cut into four tiles each, and the 48 tiles are shuffled. A program of a few lines may look at "
        "nothing but the outermost row and column of each tile. Of the 72 pairs of tiles that come from the same slide, how "
        "many does it reunite?",
        answer=69,
        tolerance=3,
        unit="of 72",
        explain="It reunites 69 and joins no two strangers. A tile carries its slide's signature on its very rim.",
        wrong={
            0: "Stain, light and half-cut nuclei go on across the cut: there is much to see on a rim.",
            18: "That would be chance at its best; neighbours continue one another, so it finds nearly all.",
            36: "Half? There is more on the rim than that: colours, and nuclei that go on across the cut.",
        },
        otherwise="Count on more than you would think: colours and half-cut nuclei go on across the cut.",
    )


def flattered_by_how_much() -> Question:
    """Ask how large the leak is for a rule that remembers."""
    right = "about 0.9: they look alike"
    return quiz.option(
        "A rule without a network: for a new tile, look up the training tile whose mean colour is closest, and use the "
        "threshold that was best there. Judged on tiles of slides that it has never seen, it reaches a Dice of 0.52. What does "
        "it reach on the same tiles if their neighbours are in the training set?",
        {
            "0.52 again: it has not seen these tiles": "It has not; but it has seen their slide, and that is all it needs.",
            "about 0.55: neighbours are few": "It need not learn anything about nuclei: it only has to recognize the slide.",
            right: "It finds the neighbour, and with it the right threshold: it has learned slides, not nuclei.",
            "below 0.5: more tiles confuse it": "It has as many as before; some strangers were exchanged for neighbours.",
        },
        answer=right,
    )


def tiles_are_not_independent() -> Question:
    """Ask which split judges what a new hospital will see."""
    right = "by patient"
    return quiz.option(
        "You have 10,000 tiles of 200 slides of 60 patients, and want to know how the network will do on the next patient. "
        "How do you split?",
        {
            "at random: 10,000 tiles are plenty": "Plenty, and not independent: each test tile has siblings in the training set.",
            "by slide": "Better; but slides of one patient share the patient, often the staining of one day. They leak too.",
            right: "The unit that is new tomorrow is the unit that is kept together today.",
            "at random, but with augmentation": "Augmentation makes learning by heart harder; it does not make tiles strangers.",
        },
        answer=right,
        label="Exit ticket.",
    )


def what_moves_with_the_image() -> Question:
    """Ask which changes the map has to follow."""
    right = "the quarter turn, and nothing else"
    return quiz.option(
        "A training image is turned by a quarter, made a little pinker, and darkened. Which of these must be done to its "
        "map of nuclei as well?",
        {
            "all three": "A map holds class numbers, not colours: darker nuclei are still class 1.",
            right: "What moves pixels moves labels; what recolours pixels leaves labels alone.",
            "none: the map is the truth": "Then the nuclei of the turned image would be marked where they were before.",
            "turn and darkening": "Class 1 made darker would be ... 0.8? Class numbers are names.",
        },
        answer=right,
        label="Exit ticket.",
    )


def too_good_to_be_true() -> Question:
    """Ask what to look at first when a figure is very good."""
    right = "which slides the test tiles came from"
    return quiz.option(
        "A colleague reports a Dice of 0.97 on held-out tiles; on the first slide of another hospital it is 0.55. What do "
        "you look at first?",
        {
            "the learning rate and the steps": "It learned something. The question is *what*, and on which tiles it was judged.",
            right: "Held-out tiles whose neighbours were learned from measure how well slides are remembered.",
            "the other hospital's annotations": "Possible, and second: such a gap usually has a leak or a new stain behind it.",
            "the number of parameters": "A large network remembers more, but it can remember only what the split gives it.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-train-and-validation": recall_train_and_validation,
    "recall-mean-of-images": recall_mean_of_images,
    "pairs-of-neighbours": pairs_of_neighbours,
    "flattered-by-how-much": flattered_by_how_much,
    "tiles-are-not-independent": tiles_are_not_independent,
    "what-moves-with-the-image": what_moves_with_the_image,
    "too-good-to-be-true": too_good_to_be_true,
}
