"""Every kernel of the contract once more, in plain Python loops: slow, obvious, and the judge of all the others.

Signatures as in ``minisegnet/kernels/contract.py``. Everything is summed in double precision, one number at a time, and
returned as float64 whatever came in. Letters: n batch, c input channel, o output channel, (y, x) input pixel,
(oy, ox) output pixel, (ky, kx) place in the kernel (a "tap").
"""

import math
from itertools import product

import numpy as np


def conv_links(input_shape, weight_shape, output_size, stride, padding, dilation, groups):
    """Yield (n, o, oy, ox, c, y, x, tap): output pixel, the input pixel it reads, and the weight between them.

    The three directions of a convolution are three ways to sum over the same links.
    """
    batch, _, height, width = input_shape
    out_channels, group_channels, kernel_height, kernel_width = weight_shape
    for n, o in product(range(batch), range(out_channels)):
        group = o // (out_channels // groups)
        for oy, ox in product(range(output_size[0]), range(output_size[1])):
            for k, ky, kx in product(range(group_channels), range(kernel_height), range(kernel_width)):
                y = oy * stride[0] - padding[0] + ky * dilation[0]
                x = ox * stride[1] - padding[1] + kx * dilation[1]
                if 0 <= y < height and 0 <= x < width:
                    yield n, o, oy, ox, group * group_channels + k, y, x, (o, k, ky, kx)


def output_size(size, kernel, stride, padding, dilation):
    """Count the places of the kernel along each axis, by trying them."""
    counts = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        counts.append(sum(1 for start in range(-p, n + p, s) if start + (k - 1) * d < n + p))
    return tuple(counts)


def conv2d(input, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"):
    size = output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    output = np.zeros((len(input), len(weight), *size))
    for n, o, oy, ox, c, y, x, tap in conv_links(input.shape, weight.shape, size, stride, padding, dilation, groups):
        output[n, o, oy, ox] += float(input[n, c, y, x]) * float(weight[tap])
    for o in range(len(weight)):
        output[:, o] += 0.0 if bias is None else float(bias[o])
    return output


def conv2d_relu(input, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"):
    return np.maximum(conv2d(input, weight, bias, stride, padding, dilation, groups), 0)


def conv2d_grad_input(
    grad_output, weight, input_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"
):
    shape = (len(grad_output), weight.shape[1] * groups, *input_size)
    grad_input, size = np.zeros(shape), grad_output.shape[2:]
    for n, o, oy, ox, c, y, x, tap in conv_links(shape, weight.shape, size, stride, padding, dilation, groups):
        grad_input[n, c, y, x] += float(grad_output[n, o, oy, ox]) * float(weight[tap])
    return grad_input


def conv2d_grad_weight(
    grad_output, input, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, algorithm="auto"
):
    shape = (grad_output.shape[1], input.shape[1] // groups, *kernel_size)
    grad_weight, size = np.zeros(shape), grad_output.shape[2:]
    for n, o, oy, ox, c, y, x, tap in conv_links(input.shape, shape, size, stride, padding, dilation, groups):
        grad_weight[tap] += float(grad_output[n, o, oy, ox]) * float(input[n, c, y, x])
    return grad_weight


def max_pool2d(input, kernel_size, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False):
    """Pixels of the padding never win; the first maximum wins; NaN beats every number (the last NaN, as in PyTorch).

    A window that holds nothing but padding gives -infinity at -1.
    """
    height, width = input.shape[2:]
    starts = []
    for n, k, s, p, d in zip((height, width), kernel_size, stride, padding, dilation, strict=True):
        span = (k - 1) * d
        starts.append([b for b in range(-p, n, s) if b + span < n + p or (ceil_mode and b - s + span < n + p - 1)])
    values = np.full((*input.shape[:2], len(starts[0]), len(starts[1])), -np.inf)
    indices = np.zeros(values.shape, dtype=np.int64)
    for n, c in product(range(len(input)), range(input.shape[1])):
        for (oy, top), (ox, left) in product(enumerate(starts[0]), enumerate(starts[1])):
            best, place = -math.inf, None
            for ky, kx in product(range(kernel_size[0]), range(kernel_size[1])):
                y, x = top + ky * dilation[0], left + kx * dilation[1]
                if 0 <= y < height and 0 <= x < width:
                    value = float(input[n, c, y, x])
                    if place is None or value > best or math.isnan(value):
                        best, place = value, y * width + x
            values[n, c, oy, ox], indices[n, c, oy, ox] = best, -1 if place is None else place
    return values, indices


def scatter_to_plane(values, indices, size, accumulate=True):
    """Add (or put, the last one staying) each value at its flat index in a plane of zeros; outside, it is lost."""
    plane = np.zeros((*values.shape[:2], *size))
    for n, c in product(range(len(values)), range(values.shape[1])):
        for value, index in zip(values[n, c].flat, indices[n, c].flat, strict=True):
            y, x = divmod(int(index), size[1])
            if 0 <= y < size[0]:
                plane[n, c, y, x] = float(value) + (plane[n, c, y, x] if accumulate else 0.0)
    return plane


def gather_from_plane(plane, indices):
    values = np.zeros(indices.shape)
    for place in np.ndindex(*indices.shape):
        y, x = divmod(int(indices[place]), plane.shape[3])
        if 0 <= y < plane.shape[2]:
            values[place] = float(plane[place[0], place[1], y, x])
    return values


def bilinear_taps(size, n, align_corners, scale):
    """Return, for each of ``size`` output positions on an axis of ``n`` pixels, its two sources with their weights."""
    taps = []
    for i in range(size):
        if size == n:
            source = float(i)
        elif align_corners:
            source = i * (n - 1) / (size - 1) if size > 1 else 0.0
        else:
            source = max((i + 0.5) * (n / size if scale is None else 1 / scale) - 0.5, 0.0)
        first = min(int(source), n - 1)
        second, part = min(first + 1, n - 1), min(source - first, 1.0)
        taps.append(((first, 1 - part), (second, part)))
    return taps


def bilinear_links(shape, size, align_corners, scale):
    """Yield (n, c, oy, ox, y, x, factor): output pixel, input pixel, and how much of it the output takes."""
    rows = bilinear_taps(size[0], shape[2], align_corners, scale[0])
    columns = bilinear_taps(size[1], shape[3], align_corners, scale[1])
    for n, c, oy, ox in product(range(shape[0]), range(shape[1]), range(size[0]), range(size[1])):
        for (y, part_y), (x, part_x) in product(rows[oy], columns[ox]):
            yield n, c, oy, ox, y, x, part_y * part_x


def resize_bilinear(input, size, align_corners=False, scale=(None, None)):
    output = np.zeros((*input.shape[:2], *size))
    for n, c, oy, ox, y, x, factor in bilinear_links(input.shape, size, align_corners, scale):
        output[n, c, oy, ox] += factor * float(input[n, c, y, x])
    return output


def resize_bilinear_grad(grad_output, input_size, align_corners=False, scale=(None, None)):
    shape = (*grad_output.shape[:2], *input_size)
    grad_input, size = np.zeros(shape), grad_output.shape[2:]
    for n, c, oy, ox, y, x, factor in bilinear_links(shape, size, align_corners, scale):
        grad_input[n, c, y, x] += factor * float(grad_output[n, c, oy, ox])
    return grad_input


def batch_norm(input, weight, bias, eps=1e-5):
    """Return the output, and each channel's mean and (biased) variance over batch and pixels."""
    output, means, variances = np.zeros(input.shape), [], []
    for c in range(input.shape[1]):
        values = [float(v) for v in input[:, c].flat]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
        scale = (1.0 if weight is None else float(weight[c])) / math.sqrt(variance + eps)
        shift = 0.0 if bias is None else float(bias[c])
        for n, y, x in product(range(len(input)), range(input.shape[2]), range(input.shape[3])):
            output[n, c, y, x] = (float(input[n, c, y, x]) - mean) * scale + shift
        means.append(mean)
        variances.append(variance)
    return output, np.array(means), np.array(variances)


def batch_norm_grad(grad_output, input, weight, mean, variance, eps=1e-5):
    """Return the gradients of input, weight and bias; mean and variance depend on the input too."""
    grad_input, grad_weights, grad_biases = np.zeros(input.shape), [], []
    for c in range(input.shape[1]):
        deviation = math.sqrt(float(variance[c]) + eps)
        places = [(n, c, y, x) for n, y, x in product(*(range(input.shape[a]) for a in (0, 2, 3)))]
        normal = {place: (float(input[place]) - float(mean[c])) / deviation for place in places}
        grad_bias = math.fsum(float(grad_output[place]) for place in places)
        grad_weight = math.fsum(float(grad_output[place]) * normal[place] for place in places)
        scale = 1.0 if weight is None else float(weight[c])
        for place in places:
            from_statistics = (grad_bias + normal[place] * grad_weight) / len(places)
            grad_input[place] = scale / deviation * (float(grad_output[place]) - from_statistics)
        grad_weights.append(grad_weight)
        grad_biases.append(grad_bias)
    return grad_input, np.array(grad_weights), np.array(grad_biases)


def channel_affine(input, scale, shift):
    output = np.zeros(input.shape)
    for n, c, y, x in np.ndindex(*input.shape):
        output[n, c, y, x] = float(input[n, c, y, x]) * float(scale[c]) + float(shift[c])
    return output


def batch_norm_relu(input, weight, bias, eps=1e-5):
    """Batch norm, and zero instead of what is negative."""
    output, mean, variance = batch_norm(input, weight, bias, eps)
    return np.where(output < 0, 0, output), mean, variance


def batch_norm_relu_grad(grad_output, input, weight, bias, mean, variance, eps=1e-5):
    """Only where the output was positive a gradient comes through; from there on as batch norm."""
    output, _, _ = batch_norm(input, weight, bias, eps)
    return batch_norm_grad(np.where(output > 0, grad_output, 0), input, weight, mean, variance, eps)


def channel_affine_relu(input, scale, shift):
    output = channel_affine(input, scale, shift)
    return np.where(output < 0, 0, output)


def softmax_cross_entropy(logits, target, pixel_weight):
    """Return -pixel_weight * log(softmax(logits)[target]) and log(sum(exp(logits))), pixel by pixel.

    A pixel of weight zero costs nothing, and its target is not looked at.
    """
    losses, log_sum_exp = np.zeros(target.shape), np.zeros(target.shape)
    for n, y, x in np.ndindex(*target.shape):
        scores = [float(v) for v in logits[n, :, y, x]]
        top = max(scores)
        log_sum_exp[n, y, x] = top + math.log(math.fsum(math.exp(v - top) for v in scores))
        if pixel_weight[n, y, x] != 0:
            loss = log_sum_exp[n, y, x] - scores[int(target[n, y, x])]
            losses[n, y, x] = float(pixel_weight[n, y, x]) * loss
    return losses, log_sum_exp


def softmax_cross_entropy_grad(grad_losses, logits, target, pixel_weight, log_sum_exp):
    """Return the gradient with respect to the logits: pixel_weight * (softmax - one-hot target)."""
    grad_logits = np.zeros(logits.shape)
    for n, c, y, x in np.ndindex(*logits.shape):
        if pixel_weight[n, y, x] != 0:
            softmax = math.exp(float(logits[n, c, y, x]) - float(log_sum_exp[n, y, x]))
            factor = float(grad_losses[n, y, x]) * float(pixel_weight[n, y, x])
            grad_logits[n, c, y, x] = factor * (softmax - (c == int(target[n, y, x])))
    return grad_logits
