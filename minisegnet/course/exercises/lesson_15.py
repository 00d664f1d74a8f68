"""Lesson 15: a tile by Winograd, its products counted; and the least time that a machine needs."""

import numpy as np

from ..checking import Exercise, Misconception
from .placing import place

BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
DIRECT = 36  # products of four outputs by the definition


def winograd_tile(tile, kernel):
    """Return the four outputs (2, 2) of a 3x3 kernel on a tile (4, 4), by 16 products between the two."""
    spread = BT @ tile @ BT.T  # (4, 4): sums and differences of pixels
    weights = G @ kernel @ G.T  # (4, 4): the same for the kernel
    return AT @ (spread * weights) @ AT.T


def _cases(rng):
    random = [
        (rng.standard_normal((4, 4)).astype(t), rng.standard_normal((3, 3)).astype(t)) for t in ("f8", "f4", "f8")
    ]
    return [*random, (np.arange(16.0).reshape(4, 4), np.arange(9.0).reshape(3, 3))]


def _matrix_product(tile, kernel):
    return AT @ ((BT @ tile @ BT.T) @ (G @ kernel @ G.T)) @ AT.T


def _one_side(tile, kernel):
    return AT @ ((BT @ tile @ BT) * (G @ kernel @ G.T)) @ AT.T


def _without_halves(tile, kernel):
    whole = np.sign(G)
    return AT @ ((BT @ tile @ BT.T) * (whole @ kernel @ whole.T)) @ AT.T


def _all_added(tile, kernel):
    added = np.abs(AT)
    return added @ ((BT @ tile @ BT.T) * (G @ kernel @ G.T)) @ added.T


class _Number:
    """A number that knows where it comes from, and counts its products with numbers from elsewhere."""

    def __init__(self, value, source, counted):
        self.value, self.source, self.counted = value, source, counted

    def _joined(self, other, value, product=False):
        source: frozenset[str] = getattr(other, "source", frozenset())
        if product and source and self.source:
            self.counted.append(1)
        return _Number(value, self.source | source, self.counted)

    def __add__(self, other):
        return self._joined(other, self.value + getattr(other, "value", other))

    def __sub__(self, other):
        return self._joined(other, self.value - getattr(other, "value", other))

    def __rsub__(self, other):
        return self._joined(other, getattr(other, "value", other) - self.value)

    def __mul__(self, other):
        return self._joined(other, self.value * getattr(other, "value", other), product=True)

    def __truediv__(self, other):
        return self._joined(other, self.value / getattr(other, "value", other), product=True)

    def __neg__(self):
        return self._joined(None, -self.value)

    __radd__, __rmul__ = __add__, __mul__


def _numbers(values, source, counted):
    made = np.empty(values.shape, object)
    for at, value in np.ndenumerate(values):
        made[at] = _Number(value, frozenset([source]), counted)
    return made


def products_taken(function):
    """Return how many products between tile and kernel a function takes; 0 where that cannot be told."""
    counted: list[int] = []
    rng = np.random.default_rng(0)
    tile, kernel = (_numbers(rng.standard_normal((n, n)), name, counted) for name, n in (("tile", 4), ("kernel", 3)))
    try:
        function(tile, kernel)
    except Exception:  # an answer that does not take such numbers is judged by its values alone
        return 0
    return len(counted)


def _too_many(function):
    taken = products_taken(function)
    if taken <= 16:
        return ""
    definition = ": those of the definition, nine for each output" if taken == DIRECT else ""
    return (
        f"The four outputs are right, but they took {taken} products between tile and kernel{definition}. "
        "Winograd's way takes 16."
    )


def _network():
    from ... import nn
    from ...nn import init

    rng = np.random.default_rng(15)
    with init.no_draws():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    return model, rng.standard_normal((1, 3, 8, 8))


def _seat(function):
    def seat(input, weight, padding=(0, 0)):
        # The student does a tile of one map under one kernel; which tiles there are, and the sum over maps, is the seat's.
        (top, left) = padding
        around = np.pad(input, ((0, 0), (0, 0), (top, top), (left, left)))
        rows, columns = around.shape[2] - 2, around.shape[3] - 2
        output = np.zeros((len(input), len(weight), rows, columns), input.dtype)
        for n, o, c in np.ndindex(len(input), *weight.shape[:2]):
            for i in range(0, rows, 2):
                for j in range(0, columns, 2):
                    output[n, o, i : i + 2, j : j + 2] += function(around[n, c, i : i + 4, j : j + 4], weight[o, c])
        return output

    return seat


WINOGRAD_TILE = Exercise(
    name="winograd-tile",
    title="four outputs by sixteen products",
    task="""`tile` holds 4 x 4 pixels, `kernel` 3 x 3 weights. Return the four outputs (2, 2) of the convolution, by Winograd's
F(2x2, 3x3): the matrices `BT`, `G` and `AT` of this lesson, each from both sides. Our check counts the products between a pixel
and a weight: 16 are allowed, not 36. The result has the type of the tile.""",
    solve=winograd_tile,
    cases=_cases,
    tolerance=1e-4,
    hints=(
        "In one row it was `AT @ ((G @ taps) * (BT @ row))`. A matrix from the left works on the columns of a tile. What "
        "works on its rows?",
        "The same matrix, transposed, from the right: `BT @ tile @ BT.T` is (4, 4). The kernel becomes (4, 4) too, and the two "
        "are multiplied number by number.",
        "`spread = BT @ tile @ BT.T`, `weights = G @ kernel @ G.T`, and `AT @ (spread * weights) @ AT.T` is (2, 2).",
    ),
    misconceptions=(
        Misconception(
            "a matrix product in the middle",
            _matrix_product,
            "In the middle you take a matrix product, `@`: 64 products. There it must be `*`, number by number: 16.",
        ),
        Misconception(
            "a matrix product, the other way round",
            lambda tile, kernel: AT @ ((G @ kernel @ G.T) @ (BT @ tile @ BT.T)) @ AT.T,
            "In the middle stands a matrix product, `@`, of taps by pixels. There it must be `*`, number by number, 16 in all.",
        ),
        Misconception(
            "not transposed on the right",
            _one_side,
            "From the right you multiply with `BT` itself. For the rows of the tile it is the transposed matrix, `BT.T`.",
        ),
        Misconception(
            "the kernel rotated",
            lambda tile, kernel: winograd_tile(tile, kernel[::-1, ::-1]),
            "You rotate the kernel: that is convolution in the mathematician's sense. In deep learning it is laid on as it "
            "is (lesson 02).",
        ),
        Misconception(
            "the kernel transposed",
            lambda tile, kernel: winograd_tile(tile, kernel.T),
            "Rows and columns of the kernel are swapped.",
        ),
        Misconception(
            "the result transposed",
            lambda tile, kernel: winograd_tile(tile, kernel).T,
            "Rows and columns of your result are swapped.",
        ),
        Misconception(
            "without the halves",
            _without_halves,
            "The middle rows of `G` are halves: (w0 + w1 + w2) / 2 and (w0 - w1 + w2) / 2. Yours are whole.",
        ),
        Misconception(
            "all products added",
            _all_added,
            "On the way back you add where a difference is due: the second row of `AT` is 0, 1, -1, -1.",
        ),
    ),
    praise="Sixteen products where the definition takes 36.",
    further=(_too_many,),
    place=lambda function: place("conv2d", function, _network, ("conv2d_grad_input", "conv2d_grad_weight"), _seat),
)


def least_time(products, numbers, peak, bandwidth):
    """Return the milliseconds that a layer takes at least: ``peak`` in GFLOP/s, ``bandwidth`` in GB/s, float32."""
    to_compute = 2 * products / (peak * 1e9)  # a product is two operations
    to_move = 4 * numbers / (bandwidth * 1e9)  # a float32 has four bytes
    return 1000 * max(to_compute, to_move)


def _at(operations, size, join):
    def imitate(products, numbers, peak, bandwidth):
        return 1000 * join(operations * products / (peak * 1e9), size * numbers / (bandwidth * 1e9))

    return imitate


LEAST_TIME = Exercise(
    name="least-time",
    title="under the roofline",
    task="""A layer takes `products` (each a multiplication *and* an addition) and moves `numbers` of float32, four bytes each. The
machine does `peak` GFLOP/s (10⁹ operations a second) and moves `bandwidth` GB/s (10⁹ bytes a second), *both at the same
time*. Return the milliseconds that the layer takes at least. `least_time(150_994_944, 1_057_792, 205, 58)` is about 1.473.""",
    solve=least_time,
    cases=lambda rng: [
        (150_994_944, 1_057_792, 205, 58),
        (18_874_368, 4_194_592, 205, 58),
        (0, 20_000_000, 205, 58),
        (40_000_000, 1_000, 10, 20),
        (568_740_352, 60_000_000, 67_000, 3_350),
    ],
    hints=(
        "Two times: how long would it take to compute, if nothing had to be moved? How long to move, if nothing had to be "
        "computed?",
        "`2 * products` operations and `4 * numbers` bytes. Both go on at once: the layer is done when the slower of the "
        "two is done.",
        "`max(2 * products / (peak * 1e9), 4 * numbers / (bandwidth * 1e9))` are seconds; a thousand times that are milliseconds.",
    ),
    misconceptions=(
        Misconception(
            "one after the other",
            _at(2, 4, lambda a, b: a + b),
            "You add the two times. A processor multiplies *while* memory brings the next numbers: the longer of the two counts.",
        ),
        Misconception(
            "the shorter time",
            _at(2, 4, min),
            "You take the shorter time. The layer is done when *both* are done.",
        ),
        Misconception(
            "a product counted once",
            _at(1, 4, max),
            "You count a product as one operation. A peak in GFLOP/s counts the multiplication and the addition.",
        ),
        Misconception(
            "numbers taken for bytes",
            _at(2, 1, max),
            "You count a number as one byte. A float32 has four.",
        ),
        Misconception(
            "neither operations nor bytes",
            _at(1, 1, max),
            "You divide products and numbers. GFLOP/s count two operations a product, GB/s four bytes a float32.",
        ),
        Misconception(
            "arithmetic only",
            _at(2, 0, max),
            "You look at arithmetic only. A layer with few products waits for its numbers.",
        ),
        Misconception(
            "memory only",
            _at(0, 4, max),
            "You look at memory only. A layer with many products waits for arithmetic.",
        ),
        Misconception(
            "in seconds",
            lambda products, numbers, peak, bandwidth: least_time(products, numbers, peak, bandwidth) / 1000,
            "That is in seconds. Milliseconds were asked for.",
        ),
    ),
    praise="No program on that machine can be faster, unless it takes fewer products or moves fewer numbers.",
)

EXERCISES = (WINOGRAD_TILE, LEAST_TIME)
