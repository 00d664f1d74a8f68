"""Lesson 05: pooling and its gradient, batch norm, and what a pixel can see, and does."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_bill_of_a_stride() -> Question:
    """Ask what a stride saves in the layers behind it (lesson 04)."""
    return quiz.number(
        "A network of 3x3 layers at full size. Now the first layer gets a stride of 2, all else stays. By which factor do the "
        "products of the second layer become fewer?",
        answer=4,
        explain="Half as many rows and half as many columns: a quarter of the places, with as many products at each.",
        wrong={
            2: "Half as many rows, and half as many columns too.",
            1: "Its weights are the same, but it is applied at fewer places.",
            9: "That is how many weights a 3x3 kernel has; the stride does not change it.",
            8: "That would be three halvings, and a map has two axes.",
        },
        otherwise="A layer does as many products as it has output places times weights. Which of the two changed?",
        label="Recall, lesson 04.",
    )


def recall_read_by_three() -> Question:
    """Ask for the gradient of a pixel that several outputs have read (lesson 03)."""
    return quiz.number(
        "Three outputs have read the same pixel, each with the weight 1. They send back the gradients 2, -1 and 4. What is the "
        "gradient of the pixel?",
        answer=5,
        explain="Where ways join, gradients add up: 2 - 1 + 4 = 5.",
        wrong={
            4: "That is the last to arrive: assigning, where it must add up.",
            1.67: "That is the mean. A pixel that is used three times has three times the effect: add.",
            7: "The -1 keeps its sign: more of this pixel makes that way's loss smaller.",
            2: "That is the first of three ways.",
        },
        otherwise="A nudge of the pixel goes up all three ways at once.",
        label="Recall, lesson 03.",
    )


def how_large_a_transplant() -> Question:
    """Ask how much of what a pixel can see it needs: the misconception of this lesson."""
    return quiz.option(
        "The network can see 204 by 204 pixels around each pixel (you will compute such numbers in this lesson). A larger and "
        "larger square of the old surroundings moves along. From which size on is the answer background again?",
        {
            "about 41 by 41: little more than the 33": "You expect that hardly anything was missing, a rim of four pixels. "
            "The end of the lesson tells the size.",
            "about 65 by 65": "You expect a part of what it can see to be enough, a tenth. Keep that in mind until the end.",
            "about 150 by 150: half of the area": "You expect that all pixels have about the same say, and a majority "
            "decides. Let us count, and see at the end.",
            "204 by 204: less than all it sees will not do": "If all that is seen counts alike, that is so. Let us "
            "count, and see at the end.",
        },
        answer="about 65 by 65",
    )


def field_through_a_pool() -> Question:
    """Ask for the receptive field of 3x3, pool 2, 3x3, 3x3."""
    return quiz.number(
        "A 3x3 layer, a 2x2 pooling that moves by 2, then two more 3x3 layers. How many pixels of the picture, along one axis, "
        "can have a say in one output value?",
        answer=12,
        explain="From the output down: 1, 3, 5 places behind the pooling; these are 10 before it; and the first layer reads one "
        "more on each side, 12.",
        wrong={
            11: "3 + 2 + 3 + 3 adds windows. They overlap, and behind the pooling each place is two pixels wide.",
            8: "You let each window add its size less one: 1 + 2 + 1 + 2 + 2. But behind the pooling each step is two pixels long.",
            7: "That is three 3x3 layers without the pooling.",
            54: "You multiplied the windows: so it would be if none of them overlapped.",
            10: "Before the pooling it is 10. The first 3x3 layer reads one more on each side.",
            9: "3 · 3 for three layers: but windows that move by one overlap.",
        },
        otherwise="Draw it from the top down: one cell; the cells that it reads; the cells that these read; and so on.",
    )


def who_hears_of_it() -> Question:
    """Ask for the pixel that gets the gradient of a pooled value."""
    return quiz.cell(
        "2x2 max-pooling that moves by 2 makes 5, 6 / 7, 8 of this map. The loss wants the upper right of these to be larger. "
        "Which number of the map gets the gradient?",
        grid=[["1", "2", "6", "3"], ["3", "5", "2", "1"], ["1", "2", "2", "1"], ["7", "3", "4", "8"]],
        answer=(0, 2),
        explain="The 6, the largest of its window. If it grows a little, so does the output. If the 3, 2 or 1 beside it grow a "
        "little, nothing changes.",
        wrong={
            (1, 1): "That is the winner of the window on the left.",
            (3, 3): "The largest of the whole map, but in another window.",
            (0, 3): "In the right window; but while the 6 is there, a nudge of this 3 changes nothing.",
            (1, 2): "In the right window; but this 2 was not the largest, so a nudge of it changes nothing.",
            (1, 3): "In the right window; but this 1 was not the largest, so a nudge of it changes nothing.",
            (
                0,
                1,
            ): "Upper right in the first window. The pooled map is meant: its right column comes from columns 2 and 3.",
        },
        otherwise="Find the window first, rows 0 and 1, columns 2 and 3. Which of its numbers, nudged, would change the maximum?",
    )


def what_sits_beside_it() -> Question:
    """Ask on what the scores of a picture depend while a net with batch norm trains."""
    right = "they differ in training, and are equal afterwards"
    return quiz.option(
        "A network with batch norm gets a picture, once alone and once in a batch with seven others. What about the scores of "
        "that picture?",
        {
            "they are equal in both cases": "So it is with convolutions. But in training, mean and variance come from all "
            "pictures of the batch: the others shift this one's numbers.",
            right: "In training the batch decides on mean and variance. Afterwards the running means are used, which no "
            "neighbour can change.",
            "they differ, in training and afterwards": "Afterwards fixed numbers are used in place of the batch's, just so that "
            "an answer does not depend on its neighbours.",
        },
        answer=right,
    )


def ways_from_the_middle() -> Question:
    """Ask by how much the middle of the field outweighs its rim."""
    right = "about 9,000 times as much"
    return quiz.option(
        "Ten layers on a line, each with a kernel of three weights, all of them 1: a field of 21 pixels. The outermost pixel "
        "contributes once. How much does the pixel in the middle contribute?",
        {
            "once, too: all weights are alike": "The weights are, the numbers of ways are not. From the rim there is one way up, "
            "from the middle there are many. Count them for two layers: 1 2 3 2 1.",
            "10 times: once for each layer": "Two layers give 3 in the middle, three give 7, four 19: it grows nearly threefold "
            "each time.",
            right: "8,953 ways. All ways together are 3 to the 10th, 59,049, and most of them end near where they began.",
            "59,049 times as much": "That is the number of *all* ways, 3 to the 10th. They spread over 21 pixels.",
        },
        answer=right,
    )


def field_with_strides() -> Question:
    """Ask for the receptive field of three layers, two of them strided."""
    return quiz.number(
        "Three 3x3 layers with the strides 2, 2, 1. How wide is the receptive field?",
        answer=15,
        explain="1 + 2 · 1 + 2 · 2 + 2 · 4 = 15: the steps before the three layers are 1, 2 and 4 pixels long.",
        wrong={
            7: "That is without strides. Behind the first layer each step is 2 pixels long, behind the second 4.",
            9: "3 · 3 would be windows side by side; and the strides are missing.",
            13: "The steps are 1, 2 and 4 pixels long, not 1, 2 and 3: strides multiply.",
            29: "A layer's own stride makes the steps of the layers *behind* it longer, not its own.",
            27: "You multiplied the windows. They overlap: 3 that move by 2.",
        },
        otherwise="Each layer adds 2 steps. How long is a step, in pixels of the picture, before each of the three layers?",
        label="Exit ticket.",
    )


def what_a_field_says() -> Question:
    """Ask what a theoretical receptive field tells."""
    right = "nothing further away than that can change the pixel's answer"
    return quiz.option(
        "A network has a receptive field of 404 by 404 pixels. What do you know for certain?",
        {
            "all of these pixels have about the same say": "They have not: many ways lead up from the middle, one from a corner. "
            "Most of the gradient lies in a small part.",
            right: "It is a limit: outside of it nothing, inside perhaps something. How much, the gradient says.",
            "it recognizes objects that are 400 pixels wide": "It could use that much. Whether it does must be measured: by its "
            "gradient, or by a transplant.",
            "pictures must have at least 404 pixels a side": "It runs on smaller ones as well; part of the field then lies in the "
            "padding.",
        },
        answer=right,
        label="Exit ticket.",
    )


def alone_in_the_clinic() -> Question:
    """Ask what goes wrong when evaluation mode is forgotten."""
    right = "`model.eval()` was forgotten: mean and variance come from the batch"
    return quiz.option(
        "A network with batch norm does well on a batch of eight pictures. One of them alone, and its map looks different. Nobody "
        "trained in between. What is the most likely reason?",
        {
            "a single picture is too small for its receptive field": "The field did not change with the batch: it lies within "
            "one picture.",
            right: "Alone, the picture is normalized by itself. In evaluation mode the running means are used, and neighbours do "
            "not matter.",
            "max-pooling chose other winners": "Pooling looks at one picture and channel at a time. If winners change, their "
            "numbers changed before.",
            "it has overfitted": "Then it would do badly on new pictures, alone or not. This one is the same picture.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-bill-of-a-stride": recall_bill_of_a_stride,
    "recall-read-by-three": recall_read_by_three,
    "how-large-a-transplant": how_large_a_transplant,
    "field-through-a-pool": field_through_a_pool,
    "who-hears-of-it": who_hears_of_it,
    "what-sits-beside-it": what_sits_beside_it,
    "ways-from-the-middle": ways_from_the_middle,
    "field-with-strides": field_with_strides,
    "what-a-field-says": what_a_field_says,
    "alone-in-the-clinic": alone_in_the_clinic,
}
