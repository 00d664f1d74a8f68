"""What a user sees for a mistake: one error that names the argument, what came, and what was expected."""

import numpy as np
import pytest

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import nn

IMAGE = np.zeros((1, 3, 8, 8), np.float32)
WEIGHT = np.zeros((4, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.conv2d(IMAGE[0, 0], WEIGHT), ValueError, r"input must have 4 axes \(N, C, H, W\) or 3.*got 2: shape \(8, 8\)"),
        (lambda: F.conv2d(IMAGE[:, :2], WEIGHT), ValueError, r"expects 3 input channels, but input \(1, 2, 8, 8\) has 2"),
        (lambda: F.conv2d(IMAGE[:, :, :2], WEIGHT), ValueError, r"height: kernel_size 3.*the input has 2 \+ 2\*0 = 2"),
        (lambda: F.conv2d(IMAGE, WEIGHT, dilation=4), ValueError, r"dilation 4 spans 3 \+ \(3 - 1\)\*\(4 - 1\) = 9 pixels"),
        (lambda: F.conv2d(IMAGE.astype(np.uint8), WEIGHT), TypeError, r"got uint8.*astype\(np.float32\) / 255"),
        (lambda: F.conv2d(IMAGE.astype(np.float64), WEIGHT), TypeError, "input is float64, but weight is float32"),
        (lambda: F.conv2d(IMAGE, WEIGHT, np.zeros(3, np.float32)), ValueError, r"bias.*4 output channels, got shape \(3,\)"),
        (lambda: F.conv2d(IMAGE, WEIGHT[0]), ValueError, "weight must have 4 axes"),
        (lambda: F.conv2d(IMAGE, WEIGHT, stride=0), ValueError, "stride must be at least 1, got 0"),
        (lambda: F.conv2d(IMAGE, WEIGHT, stride=1.5), TypeError, "stride must be an integer or a pair of integers, got 1.5"),
        (lambda: F.conv2d(IMAGE, WEIGHT, padding=(1, 2, 3)), ValueError, r"padding must be one integer or two.*got 3"),
        (lambda: F.conv2d(IMAGE, WEIGHT, padding="full"), ValueError, '"same" or "valid", got \'full\''),
        (lambda: F.conv2d(IMAGE, WEIGHT, padding="same", stride=2), ValueError, "only at stride 1"),
        (lambda: F.conv2d(IMAGE, WEIGHT, groups=2), ValueError, "groups=2 expects 6 input channels"),
        (lambda: F.conv2d(IMAGE[:, :0], WEIGHT[:, :0]), ValueError, r"conv2d: weight \(4, 0, 3, 3\) is empty"),
        (lambda: F.conv2d(IMAGE, WEIGHT[:0]), ValueError, r"conv2d: weight \(0, 3, 3, 3\) is empty: each of its sizes must be at least 1"),
        (lambda: F.conv_transpose2d(IMAGE[:, :0], WEIGHT[:0]), ValueError, r"conv_transpose2d: weight \(0, 3, 3, 3\) is empty"),
        (lambda: F.conv2d(IMAGE, WEIGHT[:, :1], groups=3), ValueError, "4 output channels of weight must be a multiple of groups=3"),
        (lambda: F.conv_transpose2d(IMAGE, WEIGHT), ValueError, r"expects 4 input channels \(its first axis\)"),
        (lambda: F.conv_transpose2d(IMAGE, WEIGHT[:3], output_padding=1), ValueError, "output_padding must be smaller than stride or dilation"),
        (lambda: F.conv_transpose2d(IMAGE, WEIGHT[:3], padding=9), ValueError, r"\(8 - 1\)\*1 - 2\*9"),
        (lambda: F.max_pool2d(IMAGE, 9), ValueError, "window is larger than the padded input"),
        (lambda: F.max_pool2d(IMAGE, 2, padding=2), ValueError, "at most half of the kernel"),
        (lambda: F.max_pool2d(IMAGE[:, :, :0], 2), ValueError, "at least one channel and one pixel"),
        (lambda: F.max_unpool2d(IMAGE, IMAGE, 2), TypeError, "indices must be integers from max_pool2d, got float32"),
        (lambda: F.max_unpool2d(IMAGE, np.zeros((1, 3, 4, 4), int), 2), ValueError, "indices must have the shape of input"),
        (lambda: F.max_unpool2d(IMAGE, np.full(IMAGE.shape, 256), 2), ValueError, "holds 256, but a plane of 16 x 16 has the places 0 to 255"),
        (lambda: F.max_unpool2d(IMAGE, np.full(IMAGE.shape, -1), 2), ValueError, "holds -1"),
        (lambda: F.max_unpool2d(IMAGE, np.zeros(IMAGE.shape, int), 2, output_size=(20, 16)), ValueError, "from 15 to 17, got 20"),
        (lambda: F.interpolate(IMAGE), ValueError, "give either size or scale_factor"),
        (lambda: F.interpolate(IMAGE, 4, mode="bicubic"), ValueError, "got 'bicubic'"),
        (lambda: F.interpolate(IMAGE, 4, align_corners=True), ValueError, "align_corners belongs to"),
        (lambda: F.interpolate(IMAGE, scale_factor=0.01), ValueError, "nothing is left"),
        (lambda: F.batch_norm(IMAGE, np.zeros(2), np.zeros(2)), ValueError, r"running_mean.*3 channels.*got shape \(2,\)"),
        (lambda: F.batch_norm(IMAGE[:, :, :1, :1], None, None, training=True), ValueError, "more than one value a channel"),
        (lambda: F.cross_entropy(IMAGE, np.zeros((1, 8, 7), int)), ValueError, r"shape \(1, 8, 8\) for input \(1, 3, 8, 8\), got \(1, 8, 7\)"),
        (lambda: F.cross_entropy(IMAGE, np.full((1, 8, 8), 3)), ValueError, r"label 3, but input has 3 classes \(0 to 2\); ignore_index is -100"),
        (lambda: F.cross_entropy(IMAGE, np.zeros((1, 8, 8))), TypeError, r"integers \(class numbers\), got float64"),
        (lambda: F.cross_entropy(IMAGE, np.zeros((1, 8, 8), int), reduction="avg"), ValueError, "mean, sum, none, got 'avg'"),
        (lambda: F.softmax(IMAGE, 4), ValueError, "dim must be an axis"),
        (lambda: F.dropout(IMAGE, 1.5), ValueError, "between 0 and 1, got 1.5"),
        (lambda: F.pad(IMAGE, (8, 0), "reflect"), ValueError, "border narrower than the image"),
        (lambda: F.pad(IMAGE, (1, 1), "mirror"), ValueError, "got 'mirror'"),
        (lambda: F.channel_shuffle(IMAGE, 2), ValueError, r"the 3 channels of input \(1, 3, 8, 8\) must be a multiple of groups=2"),
        (lambda: F.channel_shuffle(IMAGE, 0), ValueError, "groups must be a positive integer, got 0"),
        (lambda: F.channel_shuffle(IMAGE[0, 0], 1), ValueError, r"3 axes or more \(N, C, ...\), got shape \(8, 8\)"),
        (lambda: F.relu6(IMAGE.astype(int)), TypeError, "relu6: input must be float32 or float64, got int64"),
        (lambda: nn.ChannelShuffle(0), ValueError, "groups must be a positive integer, got 0"),
        (lambda: ms.cat([]), ValueError, "nothing to join"),
        (lambda: ms.cat([IMAGE, IMAGE[:, :, 1:]], 1), ValueError, r"all sizes but axis 1 must be equal.*\(1, 3, 7, 8\)"),
        (lambda: ms.tensor([[1.0]]) @ ms.tensor([[1.0], [2.0]]), ValueError, "inner sizes must agree"),
        (lambda: F.linear(np.zeros((2, 3), np.float32), np.zeros((4, 5), np.float32)), ValueError, "5 features"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "multiples of groups=2, got 3 and 4"),
        (lambda: nn.Conv2d(0, 4, 3), ValueError, "in_channels must be a positive integer, got 0"),
        (lambda: nn.BatchNorm2d(3)(IMAGE[0]), ValueError, "BatchNorm2d: input must have 4 axes"),
        (lambda: nn.Dropout(2), ValueError, "between 0 and 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "minisegnet" in str(caught.traceback[-1].path)  # not three levels down in NumPy


def test_a_batch_of_no_images_passes_through(backend):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.ConvTranspose2d(4, 2, 2, 2))
    out = net(np.zeros((0, 3, 8, 8), np.float32))
    assert out.shape == (0, 2, 8, 8)
    out.sum().backward()
    assert not net[0].weight.grad.numpy().any()
