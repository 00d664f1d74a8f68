"""Lesson 00: images as arrays. From the way files store them to the way networks read them, and back to a mask."""

import numpy as np

from ..checking import Exercise, Misconception


def to_chw(image):
    """Turn an image as files have it, (H, W, 3) in 0..255, into one as networks read it, (3, H, W) in 0..1."""
    channels_first = image.transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
    return channels_first.astype(np.float32) / np.float32(255)


def _images(rng):
    # Height and width differ, so that a swap shows; one pixel, because it is easily forgotten.
    sizes = [(4, 6), (7, 5), (1, 1), (16, 16)]
    return [(rng.integers(0, 256, (*size, 3), dtype=np.uint8),) for size in sizes]


TO_CHW = Exercise(
    name="to-chw",
    title="channels first",
    task="""An image file gives `uint8` numbers from 0 to 255 in an array of shape (H, W, 3): row, column, colour.
A network wants `float32` from 0 to 1 in shape (3, H, W). Turn the one into the other.""",
    solve=to_chw,
    cases=_images,
    hints=(
        "Two things change: the *order of the axes*, and the *numbers*. Do one after the other and print the shape.",
        "`image.transpose(2, 0, 1)` puts the old axis 2 first. `reshape` would cut the same row of numbers elsewhere.",
        "`image.transpose(2, 0, 1).astype(np.float32) / 255`, and mind what type the division gives.",
    ),
    misconceptions=(
        Misconception(
            "reshape is not transpose",
            lambda image: image.reshape(3, *image.shape[:2]).astype(np.float32) / np.float32(255),
            "You used `reshape`, which leaves the numbers in their order in memory and only cuts the rows elsewhere: red, "
            "green and blue of neighbouring pixels end up mixed. To *reorder axes* use `transpose(2, 0, 1)`.",
        ),
        Misconception(
            "the scale was left out",
            lambda image: image.transpose(2, 0, 1).astype(np.float32),
            "The axes are right, but the numbers still run from 0 to 255. Divide by 255: a network trained on 0 to 1 "
            "would see an image 255 times too bright.",
        ),
        Misconception(
            "height and width swapped",
            lambda image: image.T.astype(np.float32) / np.float32(255),
            "You have (3, W, H): `.T` reverses *all* axes, so the image lies on its side. Height must stay before width: "
            "`transpose(2, 0, 1)`.",
        ),
        Misconception(
            "float64",
            lambda image: image.transpose(2, 0, 1) / 255,
            "Right numbers, but in `float64`: `uint8 / 255` gives twice the memory that a network uses. "
            "Convert with `.astype(np.float32)`.",
        ),
        Misconception(
            "integer division",
            lambda image: (image.transpose(2, 0, 1) // 255).astype(np.float32),
            "`//` rounds down: everything below 255 became 0. Use `/`, after `.astype(np.float32)`.",
        ),
    ),
    praise="(H, W, 3) in 0..255 became (3, H, W) in 0..1: what every network of this course reads.",
)


def to_mask(probabilities, threshold):
    """Turn class probabilities (K, H, W) into a mask (H, W): where class 1 is more likely than ``threshold``."""
    return probabilities[1] > threshold  # (K, H, W) -> (H, W)


def _probabilities(rng):
    cases = []
    for size, threshold in (((4, 6), 0.5), ((7, 5), 0.3), ((1, 3), 0.8), ((9, 9), 0.5)):
        nucleus = rng.random(size, dtype=np.float32)
        cases.append((np.stack([1 - nucleus, nucleus]), threshold))
    return cases


TO_MASK = Exercise(
    name="to-mask",
    title="from probabilities to a mask",
    task="""A network returns probabilities of shape (K, H, W): for each class one map, here class 0 background and class 1
nucleus. Return the mask, `bool` of shape (H, W): true where the nucleus' probability is above `threshold`.""",
    solve=to_mask,
    cases=_probabilities,
    hints=(
        "Which of the K maps do you need? Print `probabilities.shape`, and the shape of what you take out of it.",
        "`probabilities[1]` is the map of the nuclei, (H, W). Comparing an array with a number gives an array of bools.",
        "`return probabilities[1] > threshold`: nothing else.",
    ),
    misconceptions=(
        Misconception(
            "threshold ignored",
            lambda probabilities, threshold: probabilities.argmax(0) == 1,
            "`argmax` takes the most likely class: with two classes that is a threshold of 0.5, whatever was asked for. "
            "Compare `probabilities[1]` with `threshold`.",
        ),
        Misconception(
            "background instead of nucleus",
            lambda probabilities, threshold: probabilities[0] > threshold,
            "You took class 0, which is background: the mask is true where there is *no* nucleus. Classes count from 0, "
            "the nuclei are class 1.",
        ),
        Misconception(
            "all classes at once",
            lambda probabilities, threshold: probabilities > threshold,
            "You compared all K maps: the result still has a class axis, (K, H, W). Take the map of class 1 first.",
        ),
    ),
    praise="One comparison turns probabilities into a mask; the threshold is yours to choose, not the network's.",
)

EXERCISES = (TO_CHW, TO_MASK)
