"""Lesson 03: slopes, the tape, the gradient of a convolution, and what a training tells."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_dice_of_a_map() -> Question:
    """Ask for the Dice of a small map (lesson 01)."""
    return quiz.number(
        "A nucleus has 10 pixels. A program finds 6 of them, and calls 2 pixels of the background nucleus. What is its Dice?",
        answer=12 / 18,
        tolerance=0.006,
        explain="2 · 6 / (8 + 10) = 0.67: it said 8 pixels, 10 are true, 6 are in both.",
        wrong={
            0.6: "That is the share that was found. The false alarms count in Dice as well.",
            0.5: "6 of the 12 pixels that one of the two calls nucleus: that is the IoU.",
            0.75: "6 of the 8 that it said: the four that it missed count as well.",
            0.33: "Twice the overlap, 12, over the sum of both sizes, 8 + 10.",
        },
        otherwise="Dice is twice the overlap over the sum of both sizes.",
        label="Recall, lesson 01.",
    )


def recall_kernel_places() -> Question:
    """Ask what a kernel of 3 leaves of 8 by 8 pixels (lesson 02)."""
    return quiz.number(
        "8 by 8 pixels, a kernel of 3 by 3, no padding, stride 1. How many output values are there?",
        answer=36,
        explain="6 places along each axis, 8 - 3 + 1, so 36 values. Each of them used all nine weights once.",
        wrong={
            6: "That is along one axis.",
            25: "8 - 3 = 5 forgets the first place.",
            64: "Without padding the window does not reach over the rim.",
            9: "So many weights there are; how many places?",
        },
        otherwise="Count the places along one axis, then square.",
        label="Recall, lesson 02.",
    )


def one_step_downhill() -> Question:
    """Ask for one step of gradient descent on one weight."""
    return quiz.number(
        "One weight `w = 2`, one input 3. It gives w · 3 = 6 and shall give 5, so the loss is (w · 3 - 5)² = 1. "
        "With the learning rate 0.1, what is `w` after one step downhill, `w - 0.1 · slope`?",
        answer=1.4,
        tolerance=0.004,
        explain="The slope is 2 · (6 - 5) · 3 = 6: the square gives the 2, the way from w to the output the 3. "
        "2 - 0.1 · 6 = 1.4. It then gives 4.2: the loss fell from 1 to 0.64.",
        wrong={
            2.6: "That is uphill: the loss would grow from 1 to 7.84.",
            1.8: "The input is missing: a small change of w changes the output three times as much.",
            1.7: "The square is missing: the slope of u² is 2u.",
            1.67: "That is the weight that gives exactly 5. One step does not know it, it only knows the slope.",
        },
        otherwise="How much does the loss change if w grows by 0.001? Divide by 0.001: that is the slope.",
    )


def used_twice() -> Question:
    """Ask for the slope of a value that is used in two places."""
    return quiz.number(
        "`y = x · x + x`, at x = 3. How many times as fast as x does y grow?",
        answer=7,
        explain="x goes into y three times: twice in the product, where each way brings 3, and once alone, which brings 1. "
        "3 + 3 + 1 = 7.",
        wrong={
            6: "That is the product alone. The last x adds 1.",
            1: "That is the last x alone, as if it had overwritten the others.",
            4: "The product uses x twice, and each use brings 3.",
            12: "That is y itself.",
        },
        otherwise="Nudge: what is y at 3.001?",
    )


def loss_of_a_guess() -> Question:
    """Ask for the cross-entropy of a network that knows nothing."""
    return quiz.number(
        "A network that has learned nothing gives both classes the same score at every pixel. What is its cross-entropy, the "
        "mean of -log(p of the right class)? (log is the natural one; log 2 = 0.69, log 4 = 1.39.)",
        answer=0.69,
        tolerance=0.006,
        explain="Both classes get p = 0.5, and -log 0.5 = log 2 = 0.69. With K classes it is log K: the number to look for at "
        "the start of every training.",
        wrong={
            0.5: "That is the probability; the loss is minus its logarithm.",
            1: "The logarithm here is the natural one: log 2 = 0.69.",
            0: "Zero would mean that it gives the right class probability 1.",
            1.39: "That would be four classes.",
        },
        otherwise="Two equal scores: which probability has each class?",
    )


def size_of_the_other_kernel() -> Question:
    """Ask for the sizes in the convolution that gives the weights' gradient."""
    return quiz.number(
        "Input 8 by 8, kernel 3 by 3, output 6 by 6. The gradient of the kernel is a convolution of the input. With a kernel "
        "of how many rows?",
        answer=6,
        explain="The output's gradient, 6 by 6, slides over the input, 8 by 8, and has 3 by 3 places: one for each weight.",
        wrong={
            3: "3 by 3 is what must come out. 8 - K + 1 = 3.",
            8: "A kernel of 8 on 8 pixels has one place; there are nine weights.",
            9: "It would not fit on 8 rows.",
            5: "8 - 5 + 1 = 4: that would be a gradient for a kernel of 4.",
        },
        otherwise="What comes out must have the size of the weights: 8 - K + 1 = 3.",
        label="Exit ticket.",
    )


def what_the_score_gets() -> Question:
    """Ask for the gradient of a score."""
    return quiz.number(
        "One pixel, two classes. The network gives the right class the probability 0.9. What is the gradient of the "
        "cross-entropy with respect to the right class's score?",
        answer=-0.1,
        tolerance=0.004,
        explain="What was said minus what is right: 0.9 - 1 = -0.1. Negative: going downhill raises this score, a little, as it "
        "is nearly right. The other class gets +0.1.",
        wrong={
            0.1: "That is the other class's. Downhill, the right score must rise: its gradient is negative.",
            0.9: "That is what was said; take away what is right, 1.",
            -0.9: "So much would a pixel get that is nearly wrong, with p = 0.1.",
            -1.11: "-1/p is the slope with respect to the probability; softmax lies in between.",
        },
        otherwise="What was said, minus what is right.",
        label="Exit ticket.",
    )


def two_curves() -> Question:
    """Ask what it means that one loss falls and the other rises."""
    right = "it has begun to memorize: stop there"
    return quiz.option(
        "After step 500 the training loss goes on falling, the validation loss rises. What is going on?",
        {
            "the learning rate is too large: halve it": "Then the training loss would not fall so smoothly.",
            right: "What still gets better holds for the training images only. The validation loss is the one to believe. More "
            "images would help as well.",
            "its gradients are wrong: check them": "With wrong gradients the training loss would not fall.",
            "nothing is wrong: go on, it is still learning": "It learns the training images, by heart. What counts are images "
            "that it has not seen.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-dice-of-a-map": recall_dice_of_a_map,
    "recall-kernel-places": recall_kernel_places,
    "one-step-downhill": one_step_downhill,
    "used-twice": used_twice,
    "loss-of-a-guess": loss_of_a_guess,
    "size-of-the-other-kernel": size_of_the_other_kernel,
    "what-the-score-gets": what_the_score_gets,
    "two-curves": two_curves,
}
