"""Lesson 12: the denominator, pooled scores, what soft Dice pulls, thresholds, empty pictures."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_dice_without_alarms() -> Question:
    """Ask for the Dice of a mask that is too small (lesson 01)."""
    return quiz.number(
        "A nucleus has 30 pixels. A mask of 10 pixels lies wholly inside it. What is its Dice?",
        answer=0.5,
        tolerance=0.006,
        explain="2 · 10 / (10 + 30) = 0.5. Nothing that it says is wrong, but it says too little.",
        wrong={
            0.33: "10 of 30 is the share that was found, and here the IoU as well. Dice counts the overlap twice: 20 / 40.",
            1: "All that it says is right, but Dice counts what is missed, too.",
            0.25: "The overlap counts twice above the line: 20 / 40.",
        },
        otherwise="Twice the overlap, 20, over the sum of both sizes.",
        label="Recall, lesson 01.",
    )


def recall_pull_on_a_score() -> Question:
    """Ask for cross-entropy's gradient at one background pixel (lesson 03)."""
    return quiz.number(
        "A pixel is background, and the softmax gives nucleus a probability of 0.2. What gradient does cross-entropy, for this "
        "pixel alone, send to its score of nucleus?",
        answer=0.2,
        tolerance=0.006,
        explain="What was said minus what is right: 0.2 - 0. So the score falls, and it falls less the nearer it is to right.",
        wrong={
            -0.8: "So it would be if the pixel were nucleus: 0.2 - 1. It is background.",
            -0.2: "The size is right, the sign is not: a gradient points uphill, towards more loss.",
            0.8: "That is the probability of background.",
            0: "The pixel is on the right side of 0.5, but it could be surer: what was said, 0.2, minus what is right, 0.",
        },
        otherwise="The gradient of softmax cross-entropy is what was said minus what is right.",
        label="Recall, lesson 03.",
    )


def overlap_stays() -> Question:
    """Ask what Dice does when only the mask's size changes: the misconception of the lecture."""
    right = "it rises to 1"
    return quiz.option(
        "The target has 4 pixels. A mask of 8 pixels covers all four, so its Dice is 2 · 4 / (8 + 4) = 0.67. Now the mask loses "
        "the four pixels that were beside the target. The overlap is 4, as before. What does Dice do?",
        {
            "it stays 0.67: the overlap has not changed": "So it would be if the denominator were constant. It was 8 + 4, "
            "now it is 4 + 4.",
            right: "2 · 4 / (4 + 4) = 1. The overlap is what it was. The denominator fell, because the mask is in it.",
            "it falls: the mask is smaller": "The mask is smaller by four *false* pixels. It is perfect now.",
        },
        answer=right,
    )


def pooled_of_two_pictures() -> Question:
    """Ask for the pooled Dice of a large success and a small failure."""
    return quiz.number(
        "Two pictures. In the first a colony of 99 pixels is found perfectly: Dice 1. In the second a single bacterium of 2 pixels "
        "is missed, and nothing else is marked: Dice 0. The mean is 0.5. What is the Dice of all pixels of both pictures together?",
        answer=0.99,
        tolerance=0.006,
        explain="2 · 99 / (99 + 101) = 198 / 200 = 0.99. In the mean, the second picture is half of all there is; pooled, it is 2 "
        "pixels in 101.",
        wrong={
            0.5: "That is the mean of the two scores. Pooled, all pixels go into one fraction: count again.",
            1: "Nearly. Two pixels are missed, and they do count.",
            0.98: "99 of 101 is the share that was found, and here the IoU as well. Dice: 198 / 200.",
        },
        otherwise="Overlap 99; the masks have 99 pixels, the targets 101.",
    )


def pull_of_a_missed_pixel() -> Question:
    """Ask how much harder soft Dice pulls on the target than on the rest."""
    return quiz.number(
        "A net has a soft Dice of 0.1. How many times as hard is a pixel of the target pulled up as a pixel of the background is "
        "pushed down?",
        answer=19,
        tolerance=0.2,
        explain="(2 - 0.1) / 0.1 = 19. The rarer the thing and the worse the net, the larger the factor. At a Dice of 1 it is 1.",
        wrong={
            20: "2 / 0.1 forgets that a pixel of the target, too, makes the denominator larger: (2 - 0.1) / 0.1.",
            10: "1 / 0.1: the 2 of 2 t is missing.",
            1.9: "That is 2 - D, the pull up alone. Divide it by the push down, D.",
        },
        otherwise="Put t = 1, then t = 0, into (2 t - D) / S, and divide.",
    )


def threshold_of_half() -> Question:
    """Ask for the threshold that a Dice of 0.6 calls for."""
    return quiz.number(
        "A net gives honest probabilities, and the best Dice that any threshold reaches on its maps is 0.6. At which threshold?",
        answer=0.3,
        tolerance=0.011,
        explain="Half of the best Dice. A pixel of probability p adds 2 p above the line, on average, and 1 below: it pays as "
        "long as 2 p > D.",
        wrong={
            0.5: "More likely than not: that makes the fewest wrong *pixels*. Dice has another price.",
            0.6: "A pixel adds 2 p above the line and 1 below: it pays as long as 2 p > 0.6.",
            0.4: "Not what is left to 1, but half of it.",
        },
        otherwise="When does one more pixel raise a fraction that is 0.6 now, if it adds 2 p above and 1 below?",
        label="Exit ticket.",
    )


def without_the_denominator() -> Question:
    """Ask what a net learns that maximizes the overlap alone."""
    right = "to say yes at every pixel"
    return quiz.option(
        "A colleague has read that the denominator is constant. So she leaves it out, and trains a net to make the overlap "
        "sum(p · t) as large as possible. What does it learn?",
        {
            "the same as with soft Dice": "That would be so if the denominator were constant. It holds sum(p).",
            right: "No pixel outside the target is ever pushed down, and whoever says yes everywhere has all of the overlap.",
            "to say no at every pixel": "Then the overlap is 0, the worst there is.",
            "the target, more slowly": "What would keep it from marking the rest as well? Only the denominator does that.",
        },
        answer=right,
        label="Exit ticket.",
    )


def which_report() -> Question:
    """Ask what has to stand beside a Dice score."""
    right = "how it was averaged, and what an empty picture counts"
    return quiz.option(
        "A paper says “Dice 0.91” of 200 pictures, in half of which there is nothing to find. What do you ask first?",
        {
            "nothing: Dice is Dice, whoever computes it": "Half of the pictures may count 1, or 0, or not at all: so ask.",
            right: "A program that marks nothing has a mean of 0.5 by Kaggle's rule already, and a pooled Dice of 0.",
            "the IoU of the same masks: it is the stricter one": "For one picture and one class it follows from Dice: nothing new.",
            "the pixel accuracy: it counts all pixels alike": "That says mostly how large the background is.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-dice-without-alarms": recall_dice_without_alarms,
    "recall-pull-on-a-score": recall_pull_on_a_score,
    "overlap-stays": overlap_stays,
    "pooled-of-two-pictures": pooled_of_two_pictures,
    "pull-of-a-missed-pixel": pull_of_a_missed_pixel,
    "threshold-of-half": threshold_of_half,
    "without-the-denominator": without_the_denominator,
    "which-report": which_report,
}
