"""Dilated (atrous) convolution: the context module (Yu and Koltun, ICLR 2016) and DeepLab (Chen et al., 2016, 2017).

Both keep the later features fine and let the taps of the filters step over pixels instead, so that a filter made for a
coarse feature still sees as far. ``DilatedNet`` is VGG16 without its last two pools (section 4), and behind it the context
module, which looks around each score by rates that double (section 3, table 1):

    image -> [64 64] pool -> [128 128] pool -> [256 256 256] pool -> [512 512 512] -> [512 512 512] -> fc6 -> fc7 -> scores
      rate      1                1                  1                    1                 2           4                |
      stride        2                4                     8         the pools that are left out count twice           |
    up 8 <- 1x1 <- 1 <- 16 <- 8 <- 4 <- 2 <- 1 <- 1 <------- context: 3x3 convolutions of these rates ------------------+
            67    67    65   33   17    9    5    3          a score then sees so many of its neighbours

``DeepLab`` looks at several distances side by side, its *atrous spatial pyramid pooling* (ASPP), on an encoder whose last
stages dilate. Version 2 (section 3.2, figure 7) adds the branches' scores, version 3 (section 3.3, figure 5) stacks
their features together with the mean of the whole image:

    v2   x -> 3x3 rate  6 -> 1x1 -> 1x1 -> (+) -> up      v3   x -> 1x1 ---------------------> stack -> 1x1 -> 1x1 -> up
         x -> 3x3 rate 12 -> 1x1 -> 1x1 ----+                  x -> 3x3, three rates ------------+
         x -> 3x3 rate 18 -> 1x1 -> 1x1 ----+                  x -> mean of all pixels -> 1x1 ---+
         x -> 3x3 rate 24 -> 1x1 -> 1x1 ----+

As published: ``DilatedNet(3, 21)``, 134,346,581 parameters (FCN-32s' without its upsampling) and the context module's 28,392.
For a laptop: ``DilatedNet(3, 4, widths=(16, 32, 64), convs=(1, 1, 1), fc_channels=64, fc_kernel=3, output_stride=2,
padding="same", norm="batch", dropout=0.0)``, ``DeepLab(3, 4, "mobilenet", width=0.25, channels=64)``, or for images as small as
32 x 32 ``DeepLab(3, 4, "vgg16", 1/8, output_stride=2, head="v2", rates=(2, 4, 8), channels=32)``.

The authors train the front end first, ``DilatedNet(..., context=None)``, then both, ``DilatedNet.from_front_end(net)``.

Which pixels a stack of rates leaves out is ``minisegnet.shapes.gridding``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..autograd import Tensor
from ..functional import cat, interpolate, pad
from .blocks import Encoder, Layer, conv_block, he_initialization, paces
from .classifier import check_count, check_width
from .dense import DensePrediction
from .mobilenet import MobileNetEncoder
from .resnet import ResNetEncoder
from .vgg import CONVS, WIDTHS, check_stages

RATES = (1, 1, 2, 4, 8, 16, 1)  # of the context module, before its 1x1 convolution
ENCODERS = ("resnet18", "mobilenet", "vgg16")
HEADROOM = 4.0  # DilatedNet's context module begins as the identity for scores above minus this
MULTIPLES = {"basic": (1, 1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32, 1)}  # of the classes, table 1


class ContextModule(nn.Sequential):
    """Seven dilated 3x3 convolutions and a 1x1 one that look around scores, or any other maps (section 3).

    A ReLU follows each but the last. Initially the module passes its input on: its output *is* its input, but for scores
    below ``-headroom``, which the ReLUs (the paper's truncation) raise to it. The border is filled up with zeros.

    Parameters
    ----------
    channels : of input and output, C: the classes
    form : "basic" (64 C^2 weights) or "large" (up to 32 C channels inside, 15,422 C^2 weights)
    noise : of the large form, standard deviation over the weight that passes a map on; the paper only says much less than 1
    headroom : what the first layer's bias adds and the last one's takes off again; 0 as published, for scores that were
        trained below the module

    Input and output (N, C, H, W).
    """

    def __init__(self, channels: int, form: str = "basic", noise: float = 0.01, headroom: float = 0.0):
        check_count("ContextModule", channels=channels)
        if form not in MULTIPLES:
            raise ValueError(f'ContextModule: form must be "basic" or "large", got {form!r}')
        if not isinstance(noise, (int, float)) or not 0 <= noise < 1:
            raise ValueError(f"ContextModule: noise must be at least 0 and less than 1, got {noise!r}")
        if not isinstance(headroom, (int, float)) or headroom < 0:
            raise ValueError(f"ContextModule: headroom must be a number, 0 or more, got {headroom!r}")
        widths = [channels * multiple for multiple in MULTIPLES[form]]
        layers: list[nn.Module] = []
        for before, after, rate in zip([channels, *widths], widths[:-1], RATES, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=rate, dilation=rate), nn.ReLU()]
        layers.append(nn.Conv2d(widths[-2], channels, 1))
        super().__init__(*layers)
        self.channels, self.form, self.noise, self.headroom = channels, form, noise, headroom
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the identity: equation 4 (basic) and 5 (large), where several maps carry a class, told apart by noise."""
        convs = [layer for layer in self if isinstance(layer, nn.Conv2d)]
        for layer in convs:
            identity_(layer.weight, self.channels, self.noise if self.form == "large" else 0.0)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(convs[0].bias, self.headroom * self.channels / convs[0].out_channels)
        nn.init.constant_(convs[-1].bias, -self.headroom)


def identity_(weight: Tensor, channels: int, noise: float = 0.0) -> Tensor:
    """Fill the weight of a convolution between multiples of C maps so that it passes each on (Yu and Koltun, equation 5).

    An output map takes, at the middle tap, C / O of each input map of its own class; so the sum over the maps of a class stays.

    Parameters
    ----------
    weight : (O, I, KH, KW) with O and I multiples of ``channels``, C, and odd KH, KW
    noise : standard deviation of all other weights, over C / O
    """
    after, before, height, width = weight.shape
    if after % channels or before % channels or not height % 2 or not width % 2:
        raise ValueError(
            f"identity_: weight must be (O, I, KH, KW), O and I multiples of channels={channels}, KH and KW odd, "
            f"got shape {weight.shape}"
        )
    share = channels / after
    nn.init.normal_(weight, 0.0, noise * share) if noise else nn.init.zeros_(weight)
    values = weight.data
    for output in range(after):
        group = output * channels // after
        first, last = group * before // channels, (group + 1) * before // channels
        values[output, first:last, height // 2, width // 2] = share
    weight.data = values
    return weight


class DilatedVGGEncoder(Encoder):
    """VGG's stages, without the pools that would halve further than ``output_stride``; what follows those dilates (section 4).

    Parameters
    ----------
    in_channels : channels of the image, C
    widths, convs : channels, and how many convolutions, of each stage
    norm : "batch" or None (as published)
    output_stride : total stride of the last feature, a power of two; a pool keeps the last, partial window
    padding : "same", or "valid": no convolution pads

    Attributes
    ----------
    rate : by which a layer behind the last stage has to dilate
    lost : pixels of the image that the convolutions take off each side without padding
    """

    rate: int
    lost: int

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        norm: str | None = None,
        output_stride: int = 8,
        padding: str = "same",
    ):
        stages, steps, total, lost = [], paces(len(widths), output_stride), 1, 0
        for before, width, count, pace in zip([in_channels, *widths], widths, convs, steps, strict=False):
            block = conv_block(before, width, count, padding, norm, _dilated(pace.dilation))
            stages.append(nn.Sequential(*block, *([nn.MaxPool2d(2, ceil_mode=True)] if pace.stride == 2 else [])))
            lost += 0 if padding == "same" else count * pace.dilation * total
            total = pace.total
        super().__init__(stages, widths, [pace.total for pace in steps])
        self.rate, self.lost = steps[-1].after, lost


class DilatedNet(DensePrediction):
    """VGG16 that stays at stride 8, and the context module on its scores (Yu and Koltun, 2016).

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    widths, convs : channels, and how many convolutions, of each stage of the encoder
    fc_channels, fc_kernel : of fc6 and fc7, and of fc6 (odd)
    output_stride : at which the scores are made, a power of two: as many pools stay
    context : "basic", "large", or None: the front end alone
    padding : "reflect" (as published: the image is mirrored around its border, by 186 pixels, and no convolution of the front
        end pads) or "same" (each convolution fills up with zeros, also for small images)
    norm : "batch" or None (as published)
    dropout : probability of dropout after fc6 and fc7

    Input (N, C, H, W) float32, H and W multiples of the output stride; output (N, K, H, W) scores.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        fc_channels: int = 4096,
        fc_kernel: int = 7,
        output_stride: int = 8,
        context: str | None = "basic",
        padding: str = "reflect",
        norm: str | None = None,
        dropout: float = 0.5,
    ):
        super().__init__()
        counts = {"in_channels": in_channels, "num_classes": num_classes}
        counts |= {"fc_channels": fc_channels, "fc_kernel": fc_kernel}
        check_count("DilatedNet", **counts)
        check_stages("DilatedNet", widths, convs, norm)
        if fc_kernel % 2 == 0:
            raise ValueError(f"DilatedNet: fc_kernel must be odd to have a middle, got {fc_kernel}")
        _check_power("DilatedNet", output_stride, len(widths))
        if context not in (*MULTIPLES, None):
            raise ValueError(f'DilatedNet: context must be "basic", "large" or None, got {context!r}')
        if padding not in ("reflect", "same"):
            raise ValueError(f'DilatedNet: padding must be "reflect" or "same", got {padding!r}')
        self.config = {**counts, "widths": list(widths), "convs": list(convs), "output_stride": output_stride}
        self.config |= {"context": context, "padding": padding, "norm": norm, "dropout": dropout}
        self.in_channels, self.num_classes, self.padding = in_channels, num_classes, padding

        border = "same" if padding == "same" else "valid"
        self.encoder = DilatedVGGEncoder(in_channels, widths, convs, norm, output_stride, border)
        rate, reach = self.encoder.rate, self.encoder.rate * (fc_kernel // 2)
        self.margin = self.encoder.lost + reach * output_stride if padding == "reflect" else 0
        fc6 = nn.Conv2d(widths[-1], fc_channels, fc_kernel, padding=reach if padding == "same" else 0, dilation=rate)
        fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        self.bottleneck = nn.Sequential(fc6, nn.ReLU(), nn.Dropout(dropout), fc7, nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Conv2d(fc_channels, num_classes, 1)
        self.apply(he_initialization)
        # Scores begin negative as often as positive, and where a class is truncated no gradient reaches it: without headroom,
        # most nets trained from nothing never learn some class (5 of 8 seeds ended below a mean IoU of 0.9, with it none).
        self.context = ContextModule(num_classes, context, headroom=HEADROOM) if context else nn.Identity()

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        if self.margin:
            x = pad(x, (self.margin,) * 4, mode="reflect")
        *_, x = self.encoder(x)
        scores = self.context(self.head(self.bottleneck(x)))
        return interpolate(scores, scale_factor=self.stride, mode="bilinear")

    @classmethod
    def from_front_end(cls, front_end: DilatedNet, context: str = "basic") -> DilatedNet:
        """Return a net with a context module that begins where ``front_end``, a net without, stands (section 4).

        Weights are copied. As the module begins as the identity, scores above -4 stay as they are (see ``headroom``).
        """
        if front_end.config["context"] is not None:
            raise ValueError(
                f'from_front_end: the net has a context module already, "{front_end.config["context"]}"; train the front end '
                "by itself, DilatedNet(..., context=None)"
            )
        with nn.init.no_draws():
            net = cls(**{**front_end.config, "context": context})
        net.context.reset_parameters()
        net.to(front_end.head.weight.dtype).to(front_end.device)
        net.load_state_dict(front_end.state_dict(), strict=False)
        return net.train(front_end.training)

    @property
    def stride(self) -> int:
        """The total stride: shifting the image by so many pixels shifts the prediction, by fewer changes it."""
        return self.encoder.strides[-1]

    def output_size(self, size: int) -> int | None:
        """Return ``size`` if it is a multiple of the stride, and wider than what is mirrored; otherwise None."""
        return size if size > self.margin and size % self.stride == 0 else None


class ASPPv2(nn.Module):
    """Scores by several branches of dilated 3x3, 1x1, 1x1, added (DeepLab v2, figure 7; "ASPP-L" with the rates given here).

    Parameters
    ----------
    in_channels : of the feature
    num_classes : scores, K
    rates : one a branch
    channels : inside each branch
    dropout : probability of dropout after the first two layers of each

    Input (N, in_channels, H, W), output (N, K, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rates: Sequence[int] = (6, 12, 18, 24),
        channels: int = 1024,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_count("ASPPv2", in_channels=in_channels, num_classes=num_classes, channels=channels)
        _check_rates("ASPPv2", rates)
        self.branches = nn.ModuleList()
        for rate in rates:
            see = nn.Conv2d(in_channels, channels, 3, padding=rate, dilation=rate)
            layers = [see, nn.ReLU(), nn.Dropout(dropout), nn.Conv2d(channels, channels, 1), nn.ReLU()]
            self.branches.append(nn.Sequential(*layers, nn.Dropout(dropout), nn.Conv2d(channels, num_classes, 1)))
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return the sum of the branches' scores of (N, in_channels, H, W)."""
        first, *others = self.branches
        scores = first(x)
        for branch in others:
            scores = scores + branch(x)
        return scores


class ASPPv3(nn.Module):
    """Scores by a 1x1 and dilated 3x3 convolutions and the mean of the image, stacked (DeepLab v3, section 3.3, figure 5).

    Batch norm and ReLU follow every convolution but the last. A rate so large that all taps but the middle one fall on
    the border's zeros is a 1x1 convolution; the mean of the image is what reaches further.

    Parameters
    ----------
    in_channels : of the feature
    num_classes : scores, K
    rates : one a 3x3 branch
    channels : of each branch, and of the 1x1 convolution that joins them
    image_pooling : whether the mean of the image is a branch
    dropout : probability of dropout before the last layer

    Input (N, in_channels, H, W), output (N, K, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rates: Sequence[int] = (6, 12, 18),
        channels: int = 256,
        image_pooling: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_count("ASPPv3", in_channels=in_channels, num_classes=num_classes, channels=channels)
        _check_rates("ASPPv3", rates)
        self.branches = nn.ModuleList([_normed(in_channels, channels)])
        for rate in rates:
            self.branches.append(_normed(in_channels, channels, 3, rate))
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_normed(in_channels, channels)) if image_pooling else None
        stacked = channels * (1 + len(rates) + bool(image_pooling))
        self.join = nn.Sequential(*_normed(stacked, channels), nn.Dropout(dropout))
        self.head = nn.Conv2d(channels, num_classes, 1)
        self.apply(he_initialization)

    def forward(self, x: Any) -> Tensor:
        """Return the scores of (N, in_channels, H, W).

        Raises
        ------
        ValueError
            While training by a single image: batch norm needs more than the one pixel that its mean is.
        """
        features = [branch(x) for branch in self.branches]
        if self.image is not None:
            if self.training and x.shape[0] == 1:
                raise ValueError(
                    "ASPPv3: the mean of an image is a single pixel, and the batch norm behind it needs two or more "
                    "while training: use batches of 2 images or more, or image_pooling=False; got a batch of 1"
                )
            features.append(interpolate(self.image(x), size=x.shape[2:], mode="bilinear"))
        return self.head(self.join(cat(features, dim=1)))


class DeepLab(DensePrediction):
    """ASPP on an encoder that dilates instead of striding (Chen et al., 2016, 2017, whose trunks are VGG16 and ResNet-101).

    Scores are upsampled from where they are made. With strided convolutions that is at the pixels 0, s, 2s ..., so the papers'
    crops of 321 and 513 pixels begin and end with one; with VGG's pools it is in the middle of s pixels. Any size works.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    encoder : "resnet18", "mobilenet", or "vgg16" (with batch norm; its last stages keep no pool)
    width : every layer of the encoder has this times the published channels
    output_stride : at which the scores are made, 8, 16 or 32; with "vgg16" also 1, 2 or 4, for small images
    head : "v3" or "v2"
    rates : of the head; by default v2's 6, 12, 18, 24 at stride 8, v3's 6, 12, 18 at stride 16; at other strides the same in
        pixels of the image, so v3's 12, 24, 36 at stride 8
    channels : of the head's branches; by default the published ones, 256 for v3, 1024 for v2
    image_pooling : whether v3's head sees the mean of the image; with it, predict() cannot work in tiles
    dropout : probability of dropout in the head

    Input (N, C, H, W) float32 of any size, output (N, K, H, W) scores.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        encoder: str = "resnet18",
        width: float = 1.0,
        output_stride: int = 16,
        head: str = "v3",
        rates: Sequence[int] | None = None,
        channels: int | None = None,
        image_pooling: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_count("DeepLab", in_channels=in_channels, num_classes=num_classes)
        check_width("DeepLab", width)
        if encoder not in ENCODERS:
            raise ValueError(f"DeepLab: encoder must be one of {', '.join(ENCODERS)}, got {encoder!r}")
        if head not in ("v2", "v3"):
            raise ValueError(f'DeepLab: head must be "v2" or "v3", got {head!r}')
        self.in_channels, self.num_classes = in_channels, num_classes
        self.encoder: Encoder
        if encoder == "resnet18":
            self.encoder = ResNetEncoder(in_channels, width, output_stride)
        elif encoder == "mobilenet":
            self.encoder = MobileNetEncoder(in_channels, width, output_stride=output_stride)
        else:
            _check_power("DeepLab", output_stride, len(WIDTHS))
            widths = [max(1, round(c * width)) for c in WIDTHS]
            self.encoder = DilatedVGGEncoder(in_channels, widths, norm="batch", output_stride=output_stride)
        if rates is None:
            unit = 8 if head == "v2" else 16  # the output stride at which the paper's first rate is 6
            rates = [max(1, rate * unit // output_stride) for rate in (6, 12, 18, 24)[: 4 if head == "v2" else 3]]
        _check_rates("DeepLab", rates)
        if channels is None:
            channels = 1024 if head == "v2" else 256
        self.config = {"in_channels": in_channels, "num_classes": num_classes, "encoder": encoder, "width": width}
        self.config |= {"output_stride": output_stride, "head": head, "rates": list(rates), "channels": channels}
        self.config |= {"image_pooling": image_pooling, "dropout": dropout}

        self.encoder.apply(he_initialization)
        self.head: nn.Module
        if head == "v2":
            self.head = ASPPv2(self.encoder.channels[-1], num_classes, rates, channels, dropout)
        else:
            self.head = ASPPv3(self.encoder.channels[-1], num_classes, rates, channels, image_pooling, dropout)

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        *_, feature = self.encoder(x)
        scores = self.head(feature)
        if isinstance(self.encoder, DilatedVGGEncoder):
            return interpolate(scores, scale_factor=self.stride, mode="bilinear")[:, :, : x.shape[2], : x.shape[3]]
        return upsample_from_first(scores, self.stride, x.shape[2:])

    @property
    def stride(self) -> int:
        """The total stride: shifting the image by it shifts the prediction, by fewer pixels changes it."""
        return self.encoder.strides[-1]

    def output_size(self, size: int) -> int | None:
        """Return ``size``: the encoders round up where they halve, what is upsampled is cropped, so any size works."""
        return size if size > 0 else None


def upsample_from_first(x: Any, stride: int, size: Sequence[int]) -> Tensor:
    """Return (N, C, *size): bilinear between pixels of ``x`` put at 0, ``stride``, 2 ``stride`` ..., constant behind the last.

    That is where an encoder of odd kernels with padding (k - 1) / 2 has its features, whatever the size of the image;
    ``interpolate`` by a factor puts them in the middle of ``stride`` pixels, where 2x2 pools have them.
    """
    height, width = x.shape[2:]
    x = interpolate(
        pad(x, (0, 1, 0, 1), mode="replicate"),
        size=(stride * height + 1, stride * width + 1),
        mode="bilinear",
        align_corners=True,
    )
    return x[:, :, : size[0], : size[1]]


def _dilated(rate: int) -> Layer:
    """Return what makes a convolution of this rate for ``conv_block``, whose padding is that of rate 1."""

    def convolution(before: int, after: int, kernel: int, padding: int = 0, bias: bool = True) -> nn.Conv2d:
        return nn.Conv2d(before, after, kernel, padding=rate * padding, dilation=rate, bias=bias)

    return convolution


def _normed(before: int, after: int, kernel: int = 1, rate: int = 1) -> nn.Sequential:
    """Return convolution, batch norm, ReLU; the size stays."""
    conv = nn.Conv2d(before, after, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


def _check_power(name: str, output_stride: Any, stages: int) -> None:
    """Raise a ValueError, in the name of a network, unless so many stages that halve or not can give this stride."""
    possible = [2**pools for pools in range(stages + 1)]
    if output_stride not in possible:
        raise ValueError(
            f"{name}: output_stride must be one of {', '.join(map(str, possible))} with {stages} stages, "
            f"got {output_stride!r}"
        )


def _check_rates(name: str, rates: Any) -> None:
    """Raise a ValueError, in the name of a head, unless these are positive integers, at least one."""
    if not isinstance(rates, (tuple, list)) or not rates or any(not isinstance(r, int) or r < 1 for r in rates):
        raise ValueError(f"{name}: rates must be positive integers, one a branch, got {rates!r}")
