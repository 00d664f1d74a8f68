"""Lesson 13: filter, then mix; what it costs to the last product; why fewer products are not as much faster."""

from __future__ import annotations

from collections.abc import Callable

from .. import quiz
from ..quiz import Question


def recall_weights_after_a_skip() -> Question:
    """Ask how many weights the first layer after a concatenation has (lesson 10)."""
    return quiz.number(
        "In a U-Net's decoder 32 channels came up, and a skip of 32 channels is concatenated to them. Then a 3x3 layer "
        "makes 32 channels. How many weights has it (no bias)?",
        answer=18_432,
        explain="Concatenated, 64 channels go in: 9 · 64 · 32 = 18,432.",
        wrong={
            9_216: "That would be right for U-Nets that *add* their skips: 9 · 32 · 32. Concatenation leaves 64 channels.",
            2_048: "That is a 1x1 layer. A 3x3 layer has nine weights for each pair of channels.",
            576: "9 · 64 are the weights of *one* output channel; there are 32.",
            288: "9 · 32: each output channel would read one channel only. A convolution's output channel reads them all.",
        },
        otherwise="Nine weights for each pair of an input and an output channel: how many go in, how many come out?",
        label="Recall, lesson 10.",
    )


def recall_seven_rows() -> Question:
    """Ask for the size after a stride of 2 on seven rows (lesson 05)."""
    return quiz.number(
        "A 3x3 layer with padding 1 and stride 2 gets a map with 7 rows. How many rows come out?",
        answer=4,
        explain="(7 + 2 - 3) // 2 + 1 = 4. You will need it today to catch a misprint.",
        wrong={
            3: "Half of 7, rounded down: but the first window stands on row 0 thanks to the padding, the last on row 6.",
            3.5: "There are no half rows: count the places 0, 2, 4, 6.",
            7: "That would be stride 1.",
            5: "That is stride 1 without padding.",
        },
        otherwise="(N + 2P - K) // S + 1 with N = 7, P = 1, K = 3, S = 2.",
        label="Recall, lesson 05.",
    )


def products_in_two_steps() -> Question:
    """Ask for the products of a separable layer, for each pixel."""
    return quiz.number(
        "64 channels in, 64 channels out, kernels of 3x3. A convolution takes 9 · 64 · 64 = 36,864 products for each "
        "output pixel. Now in two steps: first each channel is filtered alone by one 3x3 kernel of its own; then a 1x1 "
        "layer mixes the 64 channels to 64 new ones. How many products for each pixel, both steps together?",
        answer=4_672,
        explain="9 · 64 = 576 to filter, 64 · 64 = 4,096 to mix: together 4,672, and 36,864 / 4,672 = 7.89 times fewer.",
        wrong={
            576: "That is the first step alone. Mixing takes 64 · 64 more.",
            4_096: "That is the second step alone. Filtering takes 9 · 64 more.",
            2_359_296: "576 · 4,096: the steps follow each other, so their products are added.",
            40_960: "The first step gives each channel *one* kernel: 9 · 64, not 9 · 64 · 64.",
            36_864: "That is what one step takes that filters and mixes at once.",
        },
        otherwise="First step: nine products for each of 64 channels. Second: one for each pair of channels. Add them.",
    )


def as_many_times_faster() -> Question:
    """Ask whether nine times fewer products are nine times faster: the lesson's misconception."""
    right = "clearly less than eight times"
    return quiz.option(
        "The layer in two steps takes about eight times fewer products. How much faster will it run on the computer in "
        "front of you?",
        {
            "about eight times: time is products": "So thinks everybody at first. It would hold if a processor did "
            "nothing but multiply. Look at the clock below.",
            "more than eight times: smaller kernels read less": "The weights are fewer, yes. But the *maps* are most of "
            "what is read, and now there is one more of them between the steps.",
            right: "Measured below. The maps have to be fetched and put away as before, one of them twice more, and with "
            "few products to do in between, a processor waits for its numbers.",
            "not at all: it is the same function": "It is not the same function (fewer weights), and it mostly does need less "
            "time: how much less?",
        },
        answer=right,
    )


def share_of_depthwise() -> Question:
    """Ask for the share of MobileNet's products that its 3x3 kernels take."""
    return quiz.number(
        "MobileNet has thirteen such layers. What percentage of the net's products do you think its depthwise 3x3 kernels "
        "take, all thirteen together?",
        answer=3,
        tolerance=1.0,
        unit="%",
        explain="3.06%: nine products for each channel and pixel, where mixing takes as many as there are output "
        "channels, 64 to 1024.",
        wrong={
            50: "Filtering and mixing are far from equal: 9 products against 64 to 1024.",
            90: "The other way round: 95% are 1x1 convolutions.",
            11: "1/9 is what remains of a *standard* layer. Within the separable layer it is 9 of 9 + O.",
        },
        otherwise="For each channel and pixel: 9 products to filter, O to mix, and O goes from 64 to 1024.",
    )


def flops_or_products() -> Question:
    """Ask what a number of GFLOPs means in products (RTSeg)."""
    return quiz.number(
        "RTSeg prints 6.2 GFLOPs for its fastest MobileNet: 6.2 thousand million operations, where a multiplication and "
        "an addition count as two. MobileNet's own paper counts both together as one. How many thousand million "
        "products is 6.2 GFLOPs?",
        answer=3.1,
        tolerance=0.01,
        explain="Half of it, 3.1. Before you compare two papers, find out what each of them counts.",
        wrong={
            6.2: "Each product comes with an addition, and RTSeg counts both.",
            12.4: "The other way: two operations make *one* product.",
        },
        otherwise="Two operations to a product.",
    )


def products_of_five_by_five() -> Question:
    """Ask for the products of a separable 5x5 layer."""
    return quiz.number(
        "A depthwise separable layer with 5x5 kernels, 16 channels in, 32 out, on maps of 10 x 10 (padding keeps them). "
        "How many products?",
        answer=91_200,
        explain="25 · 16 · 100 = 40,000 to filter and 16 · 32 · 100 = 51,200 to mix. (A standard layer: 1,280,000.)",
        wrong={
            1_280_000: "That is the standard layer, 25 · 16 · 32 · 100.",
            912: "That is for one pixel; there are 100.",
            131_200: "Filtering takes one kernel for each *input* channel, 16, not 32.",
            40_000: "That is the depthwise half. The 1x1 layer comes on top.",
            51_200: "That is the 1x1 half. The depthwise kernels come on top.",
        },
        otherwise="25 · 16 for each pixel to filter, 16 · 32 for each pixel to mix; 100 pixels.",
        label="Exit ticket.",
    )


def what_depthwise_cannot() -> Question:
    """Ask what a depthwise layer alone cannot do."""
    right = "answer where red is high and green is low"
    return quiz.option(
        "A net of depthwise layers only, without any 1x1 layer. What can it not do, however deep it is?",
        {
            "find edges": "One 3x3 kernel is enough for an edge in its channel.",
            "see far": "The receptive field grows with each layer, as always.",
            "make maps smaller": "A depthwise layer may have a stride; MobileNet's do.",
            right: "Each channel stays by itself from the first layer to the last: red never meets green. That is what "
            "the 1x1 layer is for.",
        },
        answer=right,
        label="Exit ticket.",
    )


def why_not_six_times() -> Question:
    """Ask why a net with six times fewer products is not six times faster."""
    right = "no fewer numbers are moved to and from memory"
    return quiz.option(
        "A MobileNet-U-Net takes six times fewer products than a plain U-Net, and its time is hardly better. The main reason?",
        {
            "the library is written for standard layers": "Better loops help. But a depthwise layer has only 4.5 products to "
            "do for each number that it moves, in any library.",
            "its kernels are larger and read more pixels": "They are 3x3, as before.",
            right: "A layer must read its maps and write them, whatever it computes with them. There are more layers, "
            "hence more maps.",
            "it has more weights to fetch from memory": "It has far fewer.",
        },
        answer=right,
        label="Exit ticket.",
    )


QUESTIONS: dict[str, Callable[..., Question]] = {
    "recall-weights-after-a-skip": recall_weights_after_a_skip,
    "recall-seven-rows": recall_seven_rows,
    "products-in-two-steps": products_in_two_steps,
    "as-many-times-faster": as_many_times_faster,
    "share-of-depthwise": share_of_depthwise,
    "flops-or-products": flops_or_products,
    "products-of-five-by-five": products_of_five_by_five,
    "what-depthwise-cannot": what_depthwise_cannot,
    "why-not-six-times": why_not_six_times,
}
