"""Lesson 09: what a coarse grid of scores can say, how a finer one is added, and where pixels lie."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_sixteen_scores() -> Question:
    """Ask for the size after FCN-32s' upsampling (lesson 08)."""
    return quiz.number(
        "16 scores in a row go up by a transposed convolution with kernel 64 and stride 32, without padding. How many come out?",
        answer=544,
        explain="The last stamp begins at 15 · 32 = 480, and is 64 wide: 544.",
        wrong={
            512: "That is 16 · 32. The last stamp is 64 wide, not 32.",
            576: "That is 16 · 32 + 64: the first stamp begins at 0, so the last at 15 · 32.",
            480: "There the last stamp begins.",
            1024: "Stamps of 64 overlap: they lie only 32 apart.",
        },
        otherwise="(N - 1) S + K, with N = 16, S = 32, K = 64.",
        label="Recall, lesson 08.",
    )


def recall_one_by_one() -> Question:
    """Ask for the numbers in a 1x1 convolution with bias (lesson 02)."""
    return quiz.number(
        "A 1x1 convolution reads 32 channels and gives 5 scores, with a bias for each. How many numbers does it learn?",
        answer=165,
        explain="32 weights for each score, and one bias: 5 · 33 = 165. Remember that number, it does something today.",
        wrong={
            160: "Those are the weights. Each score has a bias too.",
            37: "Each of the 5 scores has 32 weights of its own.",
            1445: "That is a 3x3 convolution. Here the kernel is a single pixel.",
            192: "One bias for each score, not for each channel.",
        },
        otherwise="Each score has a weight for each channel, and one bias.",
        label="Recall, lesson 02.",
    )


def trained_twice_as_long() -> Question:
    """Ask what the net gains from a second training as long as the first."""
    right = "about 21"
    return quiz.option(
        "Of 100 pixels within four of an edge, this FCN-32s has 22 wrong. It is trained on, twice as many steps in all. How many "
        "of 100 are wrong then?",
        {
            right: "The very same net hardly becomes finer. Whether that is the training's fault, you will see in a minute.",
            "about 15": "It had the time for that, and did not use it. What held it back?",
            "about 10": "So good is a net of as many steps that is built otherwise. It comes below.",
            "next to none": "Then thin things would have to come out of 36 places. Wait for the next question.",
        },
        answer=right,
    )


def knows_the_answer() -> Question:
    """Ask how well the best scores on a grid of 6 x 6 do."""
    return quiz.number(
        "Somebody who knows the right map sets the 6 by 6 scores of each class as well as can be, for this one picture; then they "
        "are interpolated to 192 by 192, as before. How many of 100 pixels near edges are still wrong?",
        answer=21,
        tolerance=5,
        explain="About 21: knowing everything helps no more than that, because 36 places cannot say it.",
        wrong={
            0: "Between two scores there is only interpolation. A petal of ten pixels has no score of its own.",
            10: "It is about twice as many: scores are 32 pixels apart, and the things are about as large as that.",
        },
        otherwise="Think of how many scores a petal gets.",
    )


def zero_at_first() -> Question:
    """Ask what a net predicts whose new scores are all zero."""
    right = "nearly the same map as before"
    return quiz.option(
        "The 165 numbers that turn pool 4 into scores all begin at 0. What does the net with this skip predict before "
        "its first step of training?",
        {
            right: "Zero is added everywhere. (Nearly: interpolating by 2 and then by 16 is not quite interpolating by 32.)",
            "background everywhere": "That would be so if *all* scores were zero. Those of the deep layers are still there.",
            "noise": "That would be so if the numbers were thrown by dice; and it would be bad for a net that already works.",
            "nothing: it cannot learn from 0": "The gradient of a weight is what it reads times what is wrong: neither is zero.",
        },
        answer=right,
    )


def middle_of_a_pool() -> Question:
    """Ask where the first value of a 2x2 pooling lies in the picture."""
    return quiz.number(
        "The first 2x2 pooling reads pixels 0 and 1 of a row. Where in the row lies its first value, the middle of what "
        "it reads?",
        answer=0.5,
        explain="Between pixel 0 and pixel 1. Five poolings, and the half pixels add up to 15.5: 0.5 · (1 + 2 + 4 + 8 + 16).",
        wrong={
            0: "There it begins. Its middle lies between the two pixels.",
            1: "Pixels are numbered by their middles: pixel 0 lies at 0, pixel 1 at 1. Between them is 0.5.",
        },
        otherwise="Pixel 0 lies at 0, pixel 1 at 1.",
    )


def weights_of_a_skip() -> Question:
    """Ask what scores of pool 2 would cost in an FCN-4s."""
    return quiz.number(
        "Somebody goes on to an FCN-4s. Pool 2 of the published net has 128 channels, and there are 21 classes. How many numbers "
        "more does its skip learn, a 1x1 convolution with bias?",
        answer=2709,
        explain="21 · (128 + 1) = 2,709, in a net of 134 million.",
        wrong={
            2688: "Those are the weights. Each score has a bias too.",
            149: "Each of the 21 scores reads all 128 channels with weights of its own.",
            24213: "That would be a 3x3 convolution with bias.",
            5397: "That is pool 3, with its 256 channels.",
        },
        otherwise="Each class has one weight for each channel, and one bias.",
        label="Exit ticket.",
    )


def thin_cables() -> Question:
    """Ask what helps a net whose scores stand too far apart."""
    right = "give it scores from a shallower layer as well"
    return quiz.option(
        "An FCN-32s finds cars and loses all cables, which are 5 pixels wide. Its validation loss has been flat for days. What "
        "do you do?",
        {
            "train it for longer": "Its scores stand 32 pixels apart, and between them is only interpolation.",
            "more training pictures": "They help where it does not know what a cable is, not where it has no place to say it.",
            "learn the last upsampling too": "One stamp for all places: it becomes another interpolation, and knows nothing of "
            "this picture's cables.",
            right: "Only there are places enough, and the cable is still to be seen.",
        },
        answer=right,
        label="Exit ticket.",
    )


def crop_of_a_small_net() -> Question:
    """Ask for a crop that can be derived in the head."""
    return quiz.number(
        "A 3x3 convolution with padding 5, a 2x2 pooling, and up again by a transposed convolution with kernel 4, stride 2. How "
        "many pixels have to be cropped at the top, so that the result lies on the image?",
        answer=5,
        explain="The convolution: 1 - 5 = -4. The pooling: -4 + 0.5 = -3.5. Up: -3.5 - 1.5 = -5. So pixel 5 lies on pixel 0.",
        wrong={
            2: "Up, the half kernel is *taken off*: a stamp begins before its middle. -3.5 - 1.5, not + 1.5.",
            4: "So far it is right for the convolution. The pooling and the way up move it once more.",
            10: "You counted 5 at both ends, or the crop at the coarse pixels: these here are as fine as the image's.",
            6: "The convolution's own middle: a 3x3 window lies one pixel after where it begins.",
        },
        otherwise="Down: add (K - 1)/2 - P, times the step so far. Up: take off (K - 1)/2, times the new step.",
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-sixteen-scores": recall_sixteen_scores,
    "recall-one-by-one": recall_one_by_one,
    "trained-twice-as-long": trained_twice_as_long,
    "knows-the-answer": knows_the_answer,
    "zero-at-first": zero_at_first,
    "middle-of-a-pool": middle_of_a_pool,
    "weights-of-a-skip": weights_of_a_skip,
    "thin-cables": thin_cables,
    "crop-of-a-small-net": crop_of_a_small_net,
}
