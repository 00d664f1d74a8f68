"""Fully Convolutional Networks for Semantic Segmentation (Long, Shelhamer, Darrell, CVPR 2015).

``forward`` reads like the paper's figure 3: VGG16 whose fully connected layers have become convolutions, a score a class at
every 32nd pixel, and bilinear upsampling; the finer nets add the scores of finer pools on the way up.

    image -> stages 1 to 3 ---> stage 4 ---> stage 5 ---> fc6 7x7, fc7 1x1 -> score
             stride     8 |          16 |          32                           |
                          |             |                                       +------> up 32 -> crop   FCN-32s
                          |             |                                       | up 2
                          |             +----------> score -> crop ----------> (+) ----> up 16 -> crop   FCN-16s
                          |                                                     | up 2
                          +------------------------> score -> crop ----------> (+) ----> up 8 --> crop   FCN-8s

The first convolution pads the image by 100 pixels, so that fc6 fits even on a small image; what that shifts is cropped again.
The paper's code crops by 19 (32s), 5 and 27 (16s), 5, 9 and 31 (8s): numbers found by hand that here follow from the layers,
see ``crops``. As published for PASCAL VOC: ``FCN(3, 21, stride=32)``, 16 and 8, 134 million parameters.

A net for a laptop has fewer and narrower stages, and a smaller fc6, which needs less padding:
``FCN(3, 2, stride=2, widths=(16, 32, 64), convs=(2, 2, 2), fc_channels=64, fc_kernel=3, padding=12, dropout=0,
norm="batch")``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import nn
from ..autograd import Tensor
from ..shapes import CoordinateMap, crop_offset, pair
from .blocks import he_initialization
from .dense import DensePrediction
from .vgg import CONVS, WIDTHS, VGGEncoder, check_stages


class FCN(DensePrediction):
    """FCN-32s, FCN-16s and FCN-8s, on VGG16's stages or on smaller ones.

    Parameters
    ----------
    in_channels : channels of the image, C
    num_classes : scores a pixel, K
    stride : pixels between neighbouring scores before the last upsampling, the number in the paper's names: the trunk's
        (32 for five stages), a half or a quarter of it
    widths, convs : channels, and how many 3x3 convolutions, of each stage; a stage halves the size
    fc_channels, fc_kernel : of the convolutions that were fully connected: channels of both, kernel size of the first
    padding : zeros around the image, pixels; with fewer than 97 (as published) the smallest images do not work, see ``output_size``
    dropout : probability of dropout after both of them, while training
    norm : None (as published, on trained weights) or "batch" (after each convolution but the scores: learns from nothing)

    Input (N, C, H, W) float32, output (N, K, H, W) scores. As published, any size from 1 pixel on works.

    The layers that give scores begin at zero, and the last upsampling stays bilinear; those between begin bilinear and learn
    (paper, sections 4.2 and 4.3). So a net without pretrained weights learns from its second step on.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        stride: int = 8,
        widths: Sequence[int] = WIDTHS,
        convs: Sequence[int] = CONVS,
        fc_channels: int = 4096,
        fc_kernel: int = 7,
        padding: int = 100,
        dropout: float = 0.5,
        norm: str | None = None,
    ):
        super().__init__()
        check_stages("FCN", widths, convs, norm)
        numbers = {"in_channels": in_channels, "num_classes": num_classes, "fc_channels": fc_channels}
        for name, value in numbers.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"FCN: {name} must be a positive integer, got {value!r}")
        if not isinstance(fc_kernel, int) or fc_kernel < 3:
            raise ValueError(
                f"FCN: fc_kernel must be an integer of 3 or more, so that finer scores cover coarser ones, got {fc_kernel!r}"
            )
        if not isinstance(padding, int) or padding < 0:
            raise ValueError(f"FCN: padding must be an integer of 0 or more, got {padding!r}")
        coarsest = 2 ** len(widths)
        strides = [coarsest // 2**i for i in range(min(len(widths), 3))]
        if stride not in strides:
            raise ValueError(
                f"FCN: stride must be one of {', '.join(map(str, strides))} for {len(widths)} stages, got {stride!r}"
            )
        least = coarsest * (fc_kernel - 2) // 2 + 1  # below it the upsampled scores begin inside the image
        if padding < least:
            raise ValueError(
                f"FCN: padding must be {least} or more with {len(widths)} stages and fc_kernel={fc_kernel}, so that the "
                f"upsampled scores cover the image, got {padding}"
            )
        self.config = {**numbers, "stride": stride, "widths": list(widths), "convs": list(convs)}
        self.config |= {"fc_kernel": fc_kernel, "padding": padding, "dropout": dropout, "norm": norm}
        self.in_channels, self.num_classes, self.score_stride = in_channels, num_classes, stride

        self.encoder = VGGEncoder(in_channels, widths, convs, norm, padding=padding, ceil_mode=True)
        fc6, fc7 = nn.Conv2d(widths[-1], fc_channels, fc_kernel), nn.Conv2d(fc_channels, fc_channels, 1)
        norms = [nn.BatchNorm2d(fc_channels) for _ in (fc6, fc7)] if norm == "batch" else []
        self.bottleneck = nn.Sequential(
            fc6, *norms[:1], nn.ReLU(), nn.Dropout(dropout), fc7, *norms[1:], nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = nn.Conv2d(fc_channels, num_classes, 1)
        self.skip_heads, self.upsample = nn.ModuleList(), nn.ModuleList()
        for i in range(strides.index(stride)):
            self.skip_heads.append(nn.Conv2d(widths[-2 - i], num_classes, 1))
            self.upsample.append(nn.ConvTranspose2d(num_classes, num_classes, 4, 2, bias=False))
        self.upsample.append(nn.ConvTranspose2d(num_classes, num_classes, 2 * stride, stride, bias=False))
        self._initialize()
        self.crops = self._derive_crops()

    def forward(self, x: Any) -> Tensor:
        """Return one score a class and pixel, (N, K, H, W), of images (N, C, H, W)."""
        self.check_input(x)
        image_size = x.shape[2:]
        *features, pool5 = self.encoder(x)
        x = self.head(self.bottleneck(pool5))
        *to_fuse, to_image = zip(self.upsample, self.crops, strict=True)
        for (up, offset), head in zip(to_fuse, self.skip_heads, strict=True):
            x = up(x)
            skip = _crop(head(features.pop()), offset, x.shape[2:])
            x = _crop(x, 0, skip.shape[2:]) + skip  # a small fc6 can leave x more pixels at the end than the skip has
        up, offset = to_image
        return _crop(up(x), offset, image_size)

    @classmethod
    def from_coarser(cls, coarser: FCN) -> FCN:
        """Return the net with half the stride that begins where ``coarser`` stands: 32s to 16s to 8s (paper, section 4.2).

        All weights are copied. The new skip's scores begin at zero, so that the scores before the last upsampling are the
        coarser net's, interpolated. (The pixels' scores are then equal where the coarse ones lie on a plane, and elsewhere
        differ by up to 1/8 of the second differences on each axis: interpolating by 2 and by s/2 is not quite interpolating by s.)
        """
        with nn.init.no_draws():
            fine = cls(**{**coarser.config, "stride": coarser.score_stride // 2})
        fine.to(coarser.head.weight.dtype).to(coarser.device)
        last = f"upsample.{len(coarser.upsample) - 1}."
        state = {name: value for name, value in coarser.state_dict().items() if not name.startswith(last)}
        fine.load_state_dict(state, strict=False)
        return fine.train(coarser.training)

    @property
    def stride(self) -> int:
        """The trunk's total stride, 32 for five stages, whatever the argument: shifting the image by it shifts the prediction."""
        return self.encoder.strides[-1]

    def output_size(self, size: int) -> int | None:
        """Return ``size``; None where an image is so small that fc6 does not fit. As published, none is."""
        padded = size + 2 * (self.config["padding"] - 1)
        return size if size > 0 and -(-padded // self.stride) >= self.config["fc_kernel"] else None

    def _initialize(self) -> None:
        """He's weights in the trunk; scores from zero; bilinear upsampling, of which the last stays as it is."""
        self.encoder.apply(he_initialization)
        self.bottleneck.apply(he_initialization)
        for head in [self.head, *self.skip_heads]:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        for up in self.upsample:
            nn.init.bilinear_(up.weight)
        self.upsample[-1].weight.requires_grad = False

    def _derive_crops(self) -> list[int]:
        """Return the crops at the top and left: of each skip's scores, coarse to fine, and of what is upsampled at last."""
        features = [CoordinateMap()]
        for stage in self.encoder:
            features.append(_after(features[-1], stage))
        x = _after(features.pop(), [*self.bottleneck, self.head])
        crops = []
        *to_fuse, to_image = self.upsample
        for up, head in zip(to_fuse, self.skip_heads, strict=True):
            x = _after(x, [up])
            crops.append(crop_offset(_after(features.pop(), [head]), reference=x))
        return [*crops, crop_offset(_after(x, [to_image]), reference=CoordinateMap())]


def _after(chain: CoordinateMap, layers: Iterable[nn.Module]) -> CoordinateMap:
    """Return where the pixels of a chain lie in the image after more layers; activations and dropout move none."""
    for layer in layers:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.ConvTranspose2d)):
            rule = CoordinateMap.transposed if isinstance(layer, nn.ConvTranspose2d) else CoordinateMap.convolution
            options: tuple[Any, ...] = (layer.kernel_size, layer.stride, layer.padding)
            kernel, stride, padding = (pair(option, "kernel_size, stride, padding")[0] for option in options)
            chain = chain.after(rule(kernel, stride, padding))
    return chain


def _crop(x: Tensor, offset: int, size: tuple[int, int]) -> Tensor:
    """Return up to ``size`` pixels of (N, K, H, W) from ``offset`` on, on both axes."""
    if offset == 0 and x.shape[2:] == size:
        return x
    return x[:, :, offset : offset + size[0], offset : offset + size[1]]
