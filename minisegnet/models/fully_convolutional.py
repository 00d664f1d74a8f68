"""How a classifier for patches slides by itself (Long, Shelhamer, Darrell, 2015, section 3).

Without padding, a convolution is itself a sliding window; only the linear layers insist on one size of patch. But a linear
layer on a (C, h, w) feature *is* a convolution with an h x w kernel, and so the whole net takes an image of any size:

    to_fully_convolutional      the classifier's scores at every s-th pixel, s the total stride: smaller output due to pooling
    shift_and_stitch            at every pixel: s * s shifted images through that net, the outputs interlaced
    dilate_instead_of_stride    at every pixel in one go: no strides, each later window dilated by those left out ("a trous")

All give the numbers of ``slide``, to rounding, as long as nothing pads: with padding a patch ends in zeros where an image goes on.
A ``border`` goes around the image, once, before the first layer, so that its outermost pixels have a patch too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..arrays import array_module, to_device
from ..autograd import Tensor
from ..functional import pad
from ..functional.checks import images as as_images
from ..functional.checks import together
from ..nn import init
from ..shapes import ReceptiveField, conv_output_size, pair, pool_output_size
from .dense import DensePrediction
from .sliding_window import BORDERS, PatchClassifier, predicting

# The layers that do the same at every pixel, and the arguments that make each of them again.
SETTINGS: dict[str, tuple[str, ...]] = {
    "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "MaxPool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    "AvgPool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "BatchNorm2d": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    "Dropout": ("p",),
    "Dropout2d": ("p",),
    "Identity": (),
    "LeakyReLU": ("negative_slope",),
    "ReLU": (),
    "ReLU6": (),
    "Sigmoid": (),
}
WINDOWS = ("Conv2d", "MaxPool2d", "AvgPool2d")  # those that look at more than one pixel
Settings = dict[str, Any]


class Window(NamedTuple):
    """What a convolution or pool looks at, on one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int
    ceil_mode: bool
    pool: bool

    @classmethod
    def of(cls, kind: str, settings: Settings) -> Window:
        """Return the window of a layer, which must be square."""

        def side(name: str, default: Any) -> int:
            high, wide = pair(settings.get(name, default), name)
            if high != wide:
                raise ValueError(f"FullyConvolutional: windows must be square, got {name}={(high, wide)} in a {kind}")
            return high

        pool, kernel = kind != "Conv2d", side("kernel_size", None)
        stride = side("stride", kernel if pool else 1)
        return cls(kernel, stride, side("padding", 0), side("dilation", 1), settings.get("ceil_mode", False), pool)

    def output_size(self, size: int) -> int:
        """Return how many windows fit into ``size`` pixels; raises a ValueError for none."""
        s, k, t, p, d = ((v, v) for v in (size, self.kernel, self.stride, self.padding, self.dilation))
        if self.pool:
            return pool_output_size(s, k, t, p, d, self.ceil_mode)[0]
        return conv_output_size(s, k, t, p, d)[0]


class FullyConvolutional(DensePrediction):
    """A chain of layers that do the same at every pixel, so that it takes images of any size from a patch's on.

    Made by ``to_fully_convolutional``; ``config`` holds the chain, and so it can be trained on, saved and loaded.

    Parameters
    ----------
    layers : pairs (name of the layer, its settings), in order
    border : "valid": only pixels whose patch lies inside the image. "reflect" or "zeros": pixels 0, s, 2 s, ... of the image,
        which is mirrored at its border, or set in zeros; the middle of P pixels is number P // 2
    patch_size : what the classifier was made for, P; by default as many pixels as one output needs

    Attributes
    ----------
    field : one output's receptive field: its size, the stride to the next one
    exact : whether each output is what the classifier says about its patch: nothing pads, and in a patch no pool has a partial
        window (``ceil_mode``), which in an image would see what follows the patch

    Input (N, C, H, W), output (N, K, H', W'): every s-th pixel, s the ``stride``.
    """

    def __init__(self, layers: Sequence[Sequence[Any]], border: str = "valid", patch_size: int | None = None):
        super().__init__()
        if border not in BORDERS:
            raise ValueError(f"FullyConvolutional: border must be one of {', '.join(BORDERS)}, got {border!r}")
        unknown = [kind for kind, _ in layers if kind not in SETTINGS]
        if unknown:
            raise ValueError(f"FullyConvolutional: layers must be of {', '.join(SETTINGS)}, got {unknown[0]!r}")
        convolutions = [settings for kind, settings in layers if kind == "Conv2d"]
        if not convolutions:
            raise ValueError("FullyConvolutional: layers must have at least one convolution or linear layer, got none")
        self.in_channels, self.num_classes = convolutions[0]["in_channels"], convolutions[-1]["out_channels"]
        self.windows = [Window.of(kind, settings) for kind, settings in layers if kind in WINDOWS]
        self.field = ReceptiveField()
        for w in self.windows:
            self.field = self.field.through(w.kernel, w.stride, w.padding, w.dilation)
        self.border, self.padding = border, "valid" if border == "valid" else "same"
        self.pads = any(w.padding for w in self.windows)
        if patch_size is None:
            patch_size = self.field.size
            if self.pads:  # a patch may then be smaller than what an output sees
                patch_size = next((n for n in range(1, patch_size) if self._inside(n) == 1), patch_size)
        self.patch_size = patch_size
        self.exact = not self.pads and self.field.size <= patch_size
        if border != "valid" and not (self.exact and self._floored()):
            raise ValueError(
                f"FullyConvolutional: border={border!r} needs layers without padding and pools without ceil_mode; "
                'take border="valid"'
            )
        # a patch may have a few pixels at its end that nothing sees, where a pool leaves them over
        self.around = patch_size // 2, self.field.size - 1 - patch_size // 2
        chain = [[kind, dict(settings)] for kind, settings in layers]
        self.config = {"layers": chain, "border": border, "patch_size": patch_size}
        self.layers = nn.Sequential(*(getattr(nn, kind)(**settings) for kind, settings in layers))

    def _floored(self) -> bool:
        return not any(w.ceil_mode for w in self.windows)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class at every ``stride``-th pixel, (N, K, H', W'), of images (N, C, H, W)."""
        self.check_input(x)
        return self.layers(self._with_border(x))

    @property
    def stride(self) -> int:
        """The total stride: how many pixels lie between two outputs."""
        return self.field.stride

    def output_size(self, size: int) -> int | None:
        """Return the output size for one side of the input, window by window; None where one does not fit."""
        if self.border == "valid":
            return self._inside(size)
        least = max(self.around) + 1 if self.border == "reflect" else 1  # a mirror shows no more than there is
        return self._inside(size + self.field.size - 1) if size >= least else None

    def _with_border(self, x: Any) -> Any:
        if self.border == "valid":
            return x
        return pad(x, self.around * 2, "reflect" if self.border == "reflect" else "constant")

    def _inside(self, size: int) -> int | None:
        try:
            for window in self.windows:
                size = window.output_size(size)
        except ValueError:
            return None
        return size if size > 0 else None

    def predict(
        self,
        image: Any,
        tile: int | None = 512,
        margin: int | None = None,
        out: np.ndarray | None = None,
        progress: Any = None,
    ) -> np.ndarray:
        """Return the probabilities (K, H, W) of every pixel of an image of any size, as ``DensePrediction.predict``.

        Strides are dilated away; without a border of its own the net sees the image mirrored, as ``slide(..., border="reflect")``.
        """
        if self.pads:
            raise ValueError(
                "predict: needs a net whose layers do not pad, or each tile would end in zeros; "
                'slide(classifier, images, border="reflect") labels every pixel with any classifier'
            )
        if self.stride == 1 and self.border != "valid":
            return super().predict(image, tile, margin, out, progress)
        border = "reflect" if self.border == "valid" else self.border
        return dilate_instead_of_stride(self, border).predict(image, tile, margin, out, progress)


State = dict[str, np.ndarray]


def _assembled(
    parts: Sequence[tuple[str, Settings, State]], like: nn.Module, border: str, patch_size: int | None
) -> FullyConvolutional:
    """Return the net of (name, settings, state) of each layer, in the type, on the device and in the mode of another one."""
    with init.no_draws():
        network = FullyConvolutional([(kind, settings) for kind, settings, _ in parts], border, patch_size)
    dtype, device = next((p.dtype for p in like.parameters()), np.dtype(np.float32)), like.device
    for layer, (*_, state) in zip(network.layers, parts, strict=True):
        for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
            array = state[name].astype(dtype) if value.dtype.kind == "f" else state[name]
            value.data = to_device(array, device)
    return network.train(like.training)


def _chain(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a module in the order in which the data pass them, with their dotted names."""
    if type(module) in (nn.Sequential, PatchClassifier, nn.DepthwiseSeparableConv2d):
        for key, part in module.named_children():
            yield from _chain(part, f"{name}.{key}" if name else key)
    else:
        yield name, module


def _settings(name: str, layer: nn.Module) -> tuple[str, Settings]:
    """Return the name of a layer's class and the arguments that make it again; raise for one that cannot slide."""
    kind = type(layer).__name__
    if getattr(nn, kind, None) is not type(layer) or kind not in SETTINGS or getattr(layer, "return_indices", False):
        what = "MaxPool2d with return_indices" if kind == "MaxPool2d" else kind
        raise ValueError(
            f"to_fully_convolutional: layer {name or 0!r} is a {what}, which cannot be turned into a convolution; the classifier "
            f"must be a Sequential of {', '.join(SETTINGS)}, then Flatten and Linear"
        )
    settings: Settings = {argument: getattr(layer, argument) for argument in SETTINGS[kind]}
    if kind == "Conv2d":
        settings["bias"] = layer.bias is not None
        if settings["padding"] == "valid":
            settings["padding"] = 0
        elif settings["padding"] == "same":
            spans = [d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
            if any(span % 2 for span in spans):
                raise ValueError(
                    f'to_fully_convolutional: layer {name!r} pads one side more than the other: padding="same" with '
                    f"kernel_size {layer.kernel_size}; pad by a number"
                )
            settings["padding"] = tuple(span // 2 for span in spans)
    return kind, settings


def to_fully_convolutional(
    classifier: nn.Module, border: str = "valid", patch_size: int | None = None
) -> FullyConvolutional:
    """Return the net that gives a classifier's scores for all patches of an image at once; no weight is changed.

    A linear weight (O, C h w) is read as a convolution's (O, C, h, w): Flatten joins the axes in that order (Long et al.,
    2015, section 3.1). Weights are copied: training one net leaves the other as it is.

    Parameters
    ----------
    classifier : a ``PatchClassifier``, or a ``Sequential`` (of Sequentials) of layers in ``SETTINGS``, ``Flatten``, ``Linear``
    border : as in ``FullyConvolutional``
    patch_size : what the classifier was made for, P; by default its attribute, or as many pixels as one output sees

    Raises
    ------
    ValueError
        For a layer that looks at the whole image (global pooling), or in another way does not slide; for a wrong ``patch_size``.
    """
    if patch_size is None:
        patch_size = getattr(classifier, "patch_size", None)
    parts: list[tuple[str, Settings, State]] = []
    channels, flat = 0, False
    for name, layer in _chain(classifier):
        if type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) in ((1, -1), (1, 3)):
            flat = True
        elif type(layer) is nn.Linear:
            area, rest = divmod(layer.in_features, channels or layer.in_features + 1)
            side = math.isqrt(area)
            if not flat or rest or side * side != area:
                raise ValueError(
                    f"to_fully_convolutional: layer {name!r} takes {layer.in_features} features; expected, behind a Flatten, "
                    f"C x h x h with the C = {channels} channels of the layer before it"
                )
            state = layer.state_dict()
            state["weight"] = state["weight"].reshape(layer.out_features, channels, side, side)
            settings = {"in_channels": channels, "out_channels": layer.out_features, "kernel_size": side}
            parts.append(("Conv2d", {**settings, "bias": layer.bias is not None}, state))
            channels = layer.out_features
        else:
            kind, settings = _settings(name, layer)
            if flat and kind in (*WINDOWS, "BatchNorm2d", "Dropout2d"):
                raise ValueError(f"to_fully_convolutional: layer {name!r}, a {kind}, cannot come behind a Flatten")
            parts.append((kind, settings, layer.state_dict()))
            channels = settings.get("out_channels", channels)
    network = _assembled(parts, classifier, border, patch_size)
    if network._inside(network.patch_size) != 1:
        raise ValueError(
            f"to_fully_convolutional: patch_size must be what the classifier takes, a size that gives one output; "
            f"{patch_size} gives {network._inside(network.patch_size) or 'none'}, one output sees {network.field.size} pixels"
        )
    return network


def _checked(network: Any, what: str) -> FullyConvolutional:
    if not isinstance(network, FullyConvolutional):
        raise TypeError(
            f"{what}: network must be a FullyConvolutional, made by to_fully_convolutional(), got {type(network).__name__}"
        )
    return network


def shift_and_stitch(network: FullyConvolutional, images: Any) -> Tensor:
    """Return scores for every pixel from a net of stride s: s * s shifted images, outputs interlaced (Long et al., section 3.2).

    Output (y, x) comes from the image without its first ``y % s`` rows and ``x % s`` columns. In evaluation mode, off the tape.

    Parameters
    ----------
    images : (N, C, H, W), or (C, H, W) for one image

    Returns
    -------
    (N, K, H - P + 1, W - P + 1) for a net that sees P pixels, (N, K, H, W) for one with a border
    """
    s = _checked(network, "shift_and_stitch").stride
    _, images = together(next(network.parameters(), None), images)
    x, single = as_images(images, "shift_and_stitch")
    network.check_input(x)
    x = network._with_border(x)
    rows, columns = (_positions(network, size) for size in x.shape[2:])
    output: Any = None
    with predicting(network):
        for dy, dx in product(range(min(s, rows)), range(min(s, columns))):
            scores = network.layers(x[:, :, dy:, dx:]).data
            if output is None:
                output = array_module(scores).empty((*scores.shape[:2], rows, columns), scores.dtype)
            place = output[:, :, dy::s, dx::s]
            place[...] = scores[:, :, : place.shape[2], : place.shape[3]]
    return Tensor(output[0] if single else output)


def _positions(network: FullyConvolutional, size: int) -> int:
    """Return how many outputs the shifted images have together, on one axis; without padding, those whose patch lies inside."""
    if network.pads:
        return sum(network._inside(size - shift) or 0 for shift in range(network.stride))
    if size < network.field.size:
        raise ValueError(
            f"shift_and_stitch: images must have at least the {network.field.size} pixels that an output sees, got {size}"
        )
    return size - network.field.size + 1


def dilate_instead_of_stride(network: FullyConvolutional, border: str | None = None) -> FullyConvolutional:
    """Return the net that gives scores for every pixel: strides removed, the windows behind them dilated by as much ("a trous").

    The same weights, the same receptive field, no pixel left out (Long et al., 2015, section 3.2; Chen et al., 2015, section
    3.1). Mean pools behind a stride become depthwise convolutions with constant, frozen weights.

    Parameters
    ----------
    border : as in ``FullyConvolutional``; by default the network's own
    """
    _checked(network, "dilate_instead_of_stride")
    parts: list[tuple[str, Settings, State]] = []
    means = []
    rate, channels = 1, network.in_channels
    for (kind, before), layer in zip(network.config["layers"], network.layers, strict=True):
        state, settings = layer.state_dict(), dict(before)
        if kind in WINDOWS:
            window = Window.of(kind, before)
            settings |= {"stride": 1, "padding": window.padding * rate}
            if kind == "AvgPool2d" and rate > 1:
                state = {"weight": _mean_weight(before, channels, window)}
                settings = {"in_channels": channels, "out_channels": channels, "groups": channels, "bias": False}
                settings |= {"kernel_size": window.kernel, "padding": window.padding * rate}
                kind = "Conv2d"
                means.append(len(parts))
            if kind != "AvgPool2d":
                settings["dilation"] = window.dilation * rate
            if "ceil_mode" in settings:  # without strides no window is partial
                settings["ceil_mode"] = False
            rate *= window.stride
        channels = settings.get("out_channels", channels)
        parts.append((kind, settings, state))
    patch_size = network.patch_size if network.exact else None  # the same middle
    dense = _assembled(parts, network, border or network.border, patch_size)
    for index in means:
        dense.layers[index].requires_grad_(False)
    return dense


def _mean_weight(settings: Settings, channels: int, window: Window) -> np.ndarray:
    """Return the depthwise weights (C, 1, k, k) that take the mean of a window."""
    if window.padding and not settings["count_include_pad"]:
        raise ValueError(
            "dilate_instead_of_stride: a mean that leaves out the padding has another weight at each border; "
            "AvgPool2d behind a stride needs count_include_pad=True or padding=0"
        )
    area = settings["divisor_override"] or window.kernel**2
    return np.full((channels, 1, window.kernel, window.kernel), 1 / area)
