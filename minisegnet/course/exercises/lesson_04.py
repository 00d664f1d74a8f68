"""Lesson 04: a linear layer read as a convolution, and the outputs of shifted images put together."""

import numpy as np

from ..checking import Exercise, Misconception


def linear_as_conv(weight, channels, rows, columns):
    """Return a linear layer's weight (O, channels * rows * columns) as a convolution's (O, channels, rows, columns)."""
    return weight.reshape(len(weight), channels, rows, columns)


def _weights(rng):
    shapes = [(2, 3, 2, 4), (1, 1, 3, 2), (4, 2, 3, 5)]
    return [(rng.standard_normal((o, c * h * w)), c, h, w) for o, c, h, w in shapes]


def _in_a_classifier(function):
    """Slide a classifier by hand, and put the student's kernel behind its convolution: both give the same scores."""
    from ... import Tensor, models, nn, no_grad, use_backend
    from ... import functional as F
    from ...nn import init

    rng = np.random.default_rng(4)
    with init.no_draws():
        linear = nn.Linear(4 * 5 * 5, 3)
        classifier = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), linear)
    for parameter in classifier.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    image = rng.standard_normal((1, 2, 12, 14))
    with use_backend("reference"), no_grad():
        slid = models.slide(classifier, image, patch_size=7).numpy()
        features = classifier[1](classifier[0](Tensor(image)))
        kernel = np.asarray(function(linear.weight.numpy(), 4, 5, 5))
        once = F.conv2d(features, kernel, linear.bias.numpy()).numpy()
    off = float(np.abs(once - slid).max())
    if off > 1e-9:
        return f"The values are right, but in a classifier the scores differ from the patches' by {off:.2g}.", ""
    places = slid.shape[2] * slid.shape[3]
    return "", (
        f"**In a classifier** your kernel took the place of its linear layer: one pass over 12 x 14 pixels gave the scores "
        f"of all {places} patches, as sliding did. No weight was changed, so its gradient is the linear layer's."
    )


LINEAR_AS_CONV = Exercise(
    name="linear-as-conv",
    title="a linear layer is a convolution",
    task="""A linear layer reads a feature of shape `(channels, rows, columns)`, flattened by `feature.reshape(-1)`. Its
`weight` is `(O, channels * rows * columns)`. Return the weight of the convolution that computes the same: `(O, C, KH, KW)`.""",
    solve=linear_as_conv,
    cases=_weights,
    hints=(
        "How many places has the convolution's window on a feature of `rows` by `columns`, if it is to do what the linear "
        "layer does? So how large is the window?",
        "The kernel is as large as the feature: `(O, channels, rows, columns)`. Which number of the flat weight meets which "
        "number of the feature? Flattening goes along columns first, then rows, then channels.",
        "`reshape` splits an axis in the same order in which flattening joined it: `weight.reshape(O, channels, rows, columns)`.",
    ),
    misconceptions=(
        Misconception(
            "channels last",
            lambda weight, channels, rows, columns: weight.reshape(-1, rows, columns, channels).transpose(0, 3, 1, 2),
            "You read the flat weight as rows, columns, channels. `reshape(-1)` of a feature (C, H, W) goes through one "
            "whole channel before it begins the next.",
        ),
        Misconception(
            "the kernel is rotated",
            lambda weight, channels, rows, columns: weight.reshape(-1, channels, rows, columns)[:, :, ::-1, ::-1],
            "You rotated the kernel by 180 degrees. Convolutions of networks do not rotate (lesson 02): weight (0, 0) meets "
            "the feature's upper left number.",
        ),
        Misconception(
            "a 1x1 kernel",
            lambda weight, channels, rows, columns: weight[:, :, None, None],
            "A 1x1 kernel with all features as channels fits only where the feature is flat already, as at the *second* "
            "linear layer. Here the window must be as large as the feature.",
        ),
        Misconception(
            "rows and columns swapped",
            lambda weight, channels, rows, columns: weight.reshape(-1, channels, columns, rows),
            "Your kernel has `columns` rows and `rows` columns. Rows come first.",
        ),
        Misconception(
            "the transposed weight",
            lambda weight, channels, rows, columns: weight.T.reshape(-1, channels, rows, columns),
            "You transposed the weight first. Each *row* of it belongs to one output already: (O, features).",
        ),
    ),
    praise="The same numbers, seen as a window; and a window can slide.",
    place=_in_a_classifier,
)


def stitch(parts):
    """Interlace the outputs (S, S, K, H, W) of S * S shifted images into one (K, S * H, S * W)."""
    s, _, k, h, w = parts.shape
    return parts.transpose(2, 3, 0, 4, 1).reshape(k, h * s, w * s)  # (K, H, S down, W, S across)


def _parts(rng):
    return [
        (rng.standard_normal(shape).astype(t),)
        for shape, t in (
            ((2, 2, 1, 2, 3), np.float64),
            ((3, 3, 2, 2, 4), np.float64),
            ((4, 4, 3, 3, 2), np.float32),
            ((1, 1, 2, 3, 5), np.float64),
        )
    ]


def _tiles(parts):
    s, _, k, h, w = parts.shape
    return parts.transpose(2, 0, 3, 1, 4).reshape(k, s * h, s * w)


def _means(parts):
    s = len(parts)
    return parts.mean(axis=(0, 1)).repeat(s, axis=1).repeat(s, axis=2)


STITCH = Exercise(
    name="stitch",
    title="stitch",
    task="""A network of stride S ran over S · S shifted images: `parts[a, b]` (K, H, W) holds the scores of the image without
its first `a` rows and `b` columns, so its place (i, j) belongs to row `i*S + a` and column `j*S + b` of the full map. `parts`
has the shape (S, S, K, H, W). Return the full map, `(K, S*H, S*W)`, in the type of `parts`.""",
    solve=stitch,
    cases=_parts,
    hints=(
        "Take S = 2 and one row: part 0 holds places 0, 2, 4, part 1 holds places 1, 3, 5. How do you write every second "
        "place of an array in NumPy?",
        "A slice with a step: `full[:, a::S, b::S]` are the places that belong to shift (a, b), and they have the shape of "
        "`parts[a, b]`.",
        "Make `full = np.empty((K, S * H, S * W), parts.dtype)`, then in two loops over a and b: "
        "`full[:, a::S, b::S] = parts[a, b]`.",
    ),
    misconceptions=(
        Misconception(
            "tiles side by side",
            _tiles,
            "You lay the parts side by side like tiles: S · S small copies of the picture. Each part holds every S-th place "
            "of the *whole* picture, so they are interlaced.",
        ),
        Misconception(
            "shifts swapped",
            lambda parts: stitch(parts.swapaxes(0, 1)),
            "You use `a` for columns and `b` for rows. The first shift is that of the rows.",
        ),
        Misconception(
            "the mean of the shifts",
            _means,
            "You average the parts and enlarge the result. Each part speaks about *other* pixels: nothing is averaged.",
        ),
        Misconception(
            "a plain reshape",
            lambda parts: parts.reshape(parts.shape[2], len(parts) * parts.shape[3], len(parts) * parts.shape[4]),
            "A reshape alone keeps the order in memory and mixes places, and classes. Bring the axes into the order "
            "(K, H, a, W, b) first.",
        ),
    ),
    praise="Every place has its own score again, and no score was invented.",
)

EXERCISES = (LINEAR_AS_CONV, STITCH)
