"""What a convolution costs, in products and in bytes: standard, depthwise separable, and the whole of MobileNet v1.

MobileNets (Howard et al., 2017), sections 3.1 to 3.3, equations 2 to 7. A product is one multiply-accumulate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

FLOAT = 4  # bytes
FULL = 224  # the image side that the resolution multiplier is counted from


class Layer(NamedTuple):
    """A layer's numbers: kernel k x k, C channels in, O out, maps F x F (the output's size)."""

    kernel: int
    inputs: int
    outputs: int
    size: int

    @property
    def standard(self) -> int:
        """Products of a standard convolution, equation 2."""
        return self.kernel**2 * self.inputs * self.outputs * self.size**2

    @property
    def depthwise(self) -> int:
        """Products of its depthwise half, equation 4: each channel is filtered alone."""
        return self.kernel**2 * self.inputs * self.size**2

    @property
    def pointwise(self) -> int:
        """Products of the 1 x 1 convolution that mixes the channels, second term of equation 5."""
        return self.inputs * self.outputs * self.size**2

    @property
    def separable(self) -> int:
        """Products of both halves, equation 5."""
        return self.depthwise + self.pointwise

    @property
    def standard_bytes(self) -> int:
        """Bytes moved if each array is read or written once: maps in, weights, maps out."""
        maps = (self.inputs + self.outputs) * self.size**2
        return FLOAT * (maps + self.kernel**2 * self.inputs * self.outputs)

    @property
    def depthwise_bytes(self) -> int:
        """The same for the depthwise half: its maps are written, to be read again."""
        return FLOAT * (2 * self.inputs * self.size**2 + self.kernel**2 * self.inputs)

    @property
    def pointwise_bytes(self) -> int:
        """The same for the 1 x 1 convolution."""
        return FLOAT * ((self.inputs + self.outputs) * self.size**2 + self.inputs * self.outputs)

    @property
    def separable_bytes(self) -> int:
        """Bytes that both halves move, one after the other."""
        return self.depthwise_bytes + self.pointwise_bytes

    def thinner(self, width: float, side: int) -> Layer:
        """Return the layer under the width multiplier and an image of this side, equations 6 and 7."""
        return Layer(
            self.kernel,
            max(1, round(self.inputs * width)),
            max(1, round(self.outputs * width)),
            max(1, round(self.size * side / FULL)),
        )


class Net(NamedTuple):
    """MobileNet v1 in numbers: products of the first layer, of each separable layer, of the classes; its parameters."""

    first: int
    layers: tuple[Layer, ...]
    classes: int
    parameters: int

    @property
    def depthwise(self) -> int:
        """Products of all depthwise halves."""
        return sum(layer.depthwise for layer in self.layers)

    @property
    def pointwise(self) -> int:
        """Products of all 1 x 1 convolutions."""
        return sum(layer.pointwise for layer in self.layers)

    @property
    def products(self) -> int:
        """Products of the net."""
        return self.first + self.depthwise + self.pointwise + self.classes

    @property
    def standard(self) -> int:
        """Products of the same net with standard convolutions (the first row of table 4)."""
        return self.first + sum(layer.standard for layer in self.layers) + self.classes


@lru_cache(maxsize=1)
def _published() -> tuple[Layer, tuple[Layer, ...], tuple[int, int]]:
    """Return the first layer, the separable ones, and the last layer's (inputs, classes), read off the model itself.

    The model is made with a quarter of the channels, and quickly so; here are four times as many.
    """
    from ..models import MobileNet

    model, thin = MobileNet(width=0.25), 4
    modules = dict(model.named_modules())
    rows = [row for row in model.summary((3, FULL, FULL)).rows if row.multiply_accumulates]
    found: list[Layer] = []
    for row in rows[:-1]:
        module = modules[row.name]
        inputs = module.in_channels * (thin if found else 1)  # the image has three
        found.append(Layer(module.kernel_size[0], inputs, module.out_channels * thin, row.output_shape[-1]))
    pairs = zip(found[1::2], found[2::2], strict=True)  # depthwise, then pointwise
    layers = tuple(Layer(spatial.kernel, mix.inputs, mix.outputs, mix.size) for spatial, mix in pairs)
    head = modules[rows[-1].name]
    return found[0], layers, (head.in_features * thin, head.out_features)


@lru_cache(maxsize=32)
def mobilenet(width: float = 1.0, side: int = FULL) -> Net:
    """Return MobileNet v1 in numbers, thinned by the width multiplier, on images of this side."""
    first, layers, (features, classes) = _published()
    stem = Layer(first.kernel, first.inputs, max(1, round(first.outputs * width)), round(first.size * side / FULL))
    thin = tuple(layer.thinner(width, side) for layer in layers)
    features = max(1, round(features * width))
    convolutions = stem.kernel**2 * stem.inputs * stem.outputs
    convolutions += sum(layer.kernel**2 * layer.inputs + layer.inputs * layer.outputs for layer in thin)
    batch_norm = 2 * (stem.outputs + sum(layer.inputs + layer.outputs for layer in thin))
    return Net(stem.standard, thin, features * classes, convolutions + batch_norm + (features + 1) * classes)


def in_words(ratio: float) -> str:
    """Return how much less there is now, in words; ``ratio`` is before / after."""
    if abs(ratio - 1) < 0.005:
        return "about as many"
    return f"{times(ratio)} fewer" if ratio > 1 else f"{times(1 / ratio)} more"


def times(ratio: float) -> str:
    """Return a factor in words."""
    return f"{ratio:.2f} times" if ratio < 100 else f"{ratio:,.0f} times"


def in_short(value: float, unit: str = "") -> str:
    """Return a large number in short: 462 M, 5.24 M, 903 k."""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            text = f"{scaled:.0f}" if scaled >= 99.95 else f"{scaled:.1f}" if scaled >= 9.995 else f"{scaled:.2f}"
            return f"{text} {name}{unit}"
    return f"{value:.0f} {unit}".strip()
