"""Lesson 09: how far a finer map has to be cropped, and a skip: bring scores up, crop the finer ones, add."""

import json
from functools import lru_cache

import numpy as np

from ..checking import Exercise, Misconception


def crop(layers, reference):
    """Return how many pixels go at the top of the map behind ``layers``, so that it begins where that of ``reference`` does."""

    def first_and_step(layers):
        first, step = 0.0, 1.0  # where pixel 0 lies in the image, and how far apart pixels are
        for way, kernel, stride, padding in layers:
            middle = (kernel - 1) / 2 - padding
            if way == "down":
                first, step = first + step * middle, step * stride
            else:  # up: the same, turned round
                step = step / stride
                first = first - step * middle
        return first, step

    first, step = first_and_step(layers)
    wanted, _ = first_and_step(reference)
    return round((wanted - first) / step)


_POOL = ("down", 2, 2, 0)


def _fcn(fc, padding, level):
    """Return the layers of FCN that move pixels: as far as pool 3 or 4, or the scores at 32, or those brought up by 2, by 4."""
    start = [("down", 3, 1, padding)]
    if level in (3, 4):
        return start + [_POOL] * level
    raised = {"scores": 0, "twice": 1, "four times": 2}[level]
    return start + [_POOL] * 5 + [("down", fc, 1, 0)] + [("up", 4, 2, 0)] * raised


def _layers(rng):
    published, small = (7, 100), (3, 33)
    return [
        ([*_fcn(*published, "scores"), ("up", 64, 32, 0)], []),
        (_fcn(*published, 4), _fcn(*published, "twice")),
        ([*_fcn(*published, "twice"), ("up", 32, 16, 0)], []),
        (_fcn(*published, 3), _fcn(*published, "four times")),
        ([*_fcn(*published, "four times"), ("up", 16, 8, 0)], []),
        (_fcn(*small, 4), _fcn(*small, "twice")),
        ([*_fcn(*small, "twice"), ("up", 32, 16, 0)], []),
        ([("down", 5, 2, 8), ("down", 3, 2, 0), ("up", 4, 2, 1), ("up", 3, 2, 0)], []),
        ([("down", 3, 1, 19), ("down", 3, 2, 1)], [("down", 3, 2, 1), ("down", 3, 1, 0)]),
    ]


def _walk(layers, reference, middle=None, scaled=True, up=-1, own=True, ends=(1, -1)):
    """Return the crop by a wrong rule: each option is one mistake."""
    middle = middle or (lambda kernel, padding: (kernel - 1) / 2 - padding)

    def follow(layers):
        first, step = 0.0, 1.0
        for way, kernel, stride, padding in layers:
            if way == "up":
                step = step / stride
            first += (step if scaled else 1) * middle(kernel, padding) * (1 if way == "down" else up)
            if way == "down":
                step *= stride
        return first, step

    first, step = follow(layers)
    return round((ends[0] * follow(reference)[0] + ends[1] * first) / (step if own else 1))


def _wrong(**mistake):
    return lambda layers, reference: _walk(layers, reference, **mistake)


def _first_of_kernel(layers, reference):
    return _walk(layers, reference, middle=lambda kernel, padding: -padding)


def _padding_added(layers, reference):
    return _walk(layers, reference, middle=lambda kernel, padding: (kernel - 1) / 2 + padding)


def _whole_pixels(layers, reference):
    return _walk(layers, reference, middle=lambda kernel, padding: (kernel - 1) // 2 - padding)


def _half_kernel(layers, reference):
    return _walk(layers, reference, middle=lambda kernel, padding: kernel / 2 - padding)


def _place_crops(function):
    """Crop the trained FCN-8s by the function's numbers and let it label the lecture's scene."""
    from ... import no_grad, use_backend

    shown, x, model = _scene_and_net()
    goal, found = list(model.crops), []
    for level, raised in ((4, "twice"), (3, "four times")):
        found.append(int(function(_fcn(3, 33, level), _fcn(3, 33, raised))))
    found.append(int(function([*_fcn(3, 33, "four times"), ("up", 16, 8, 0)], [])))
    if found != goal:
        return f"Alone it is right, but for the trained FCN-8s it gives {found}, expected {goal}.", ""
    with use_backend("reference"), no_grad():  # nothing to compile
        labels = []
        for shift in (0, 1):
            model.crops[:] = [found[0] + shift, *found[1:]]
            labels.append(model(x).numpy()[0].argmax(0))
        model.crops[:] = goal
    wrong = [_share(shown, each) for each in labels]
    return "", (
        f"**In the trained FCN-8s** your crops are {', '.join(map(str, found))}, and {wrong[0]:.0f}% of the lecture's scene is "
        f"wrong. With the first of them one larger it would be {wrong[1]:.0f}%. For the published nets you derived 19 (32s), 5 and "
        "27 (16s), 5, 9 and 31 (8s): all the numbers that stand in their files."
    )


def _share(shown, labels):
    from ... import data

    known = shown.labels != data.IGNORE_INDEX
    return 100 * float((labels != shown.labels)[known].mean())


def _scene_and_net():
    """Return the lecture's scene, as a batch too, and the trained FCN-8s: one's own, the lesson's net is not to be touched."""
    from ... import data, models, storage
    from ...models.files import PRETRAINED
    from ...nn import init

    shown = data.scene(192, seed=0)
    x = np.ascontiguousarray(shown.image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    arrays, metadata = storage.load_safetensors(PRETRAINED / "explorers" / "fcn_8s.safetensors")
    with init.no_draws():
        model = models.FCN(**json.loads(metadata["config"]))
    model.load_state_dict(arrays, strict=False)  # the last upsampling never learns and is not in the file
    return shown, x, model.eval()


CROP = Exercise(
    name="crop-offset",
    title="where to crop",
    task="""`layers` leads from the image to a map, a list of `(way, kernel, stride, padding)`. With the way `"down"` it is a
convolution or a pooling, with `"up"` a transposed convolution. `reference` leads to another map, whose pixels are equally far
apart; `[]` is the image itself. Return how many pixels have to be cropped at the top of the first map, so that its first
pixel lies where the reference's first does. Layers that are not listed move nothing.""",
    solve=crop,
    cases=_layers,
    hints=(
        "Follow each list for itself. Where in the image does pixel 0 of the map lie, and how far apart are its pixels? Begin with "
        "0 and 1.",
        "Down: pixel 0 moves by the step so far times `(kernel - 1) / 2 - padding`, then the step grows by `stride`. Up is the "
        "same, turned round: first the step shrinks, then pixel 0 moves *back*.",
        "`if way == 'down': first += step * middle; step *= stride`, `else: step /= stride; first -= step * middle`. Then the crop "
        "is `round((first of the reference - first) / step)`: in the map's own pixels.",
    ),
    misconceptions=(
        Misconception(
            "where windows begin",
            _first_of_kernel,
            "You follow where windows *begin*. A value stands for the middle of its window, `(kernel - 1) / 2` further on.",
        ),
        Misconception(
            "padding added",
            _padding_added,
            "You add the padding. It puts windows *before* the image, so the first pixel moves to the left: take it off.",
        ),
        Misconception(
            "half pixels dropped",
            _whole_pixels,
            "You round half pixels away (`//`). A 2x2 pooling moves by half a pixel, and five of them add up to 15.5: keep them, "
            "round once, at the end.",
        ),
        Misconception(
            "half a kernel instead of half of its steps",
            _half_kernel,
            "You take `kernel / 2` for the middle. Three pixels 0, 1, 2 have their middle at 1: `(kernel - 1) / 2`.",
        ),
        Misconception(
            "each layer counted in its own pixels",
            _wrong(scaled=False),
            "You add up each layer's own pixels. After two poolings a pixel is four of the image: multiply by the step so far.",
        ),
        Misconception(
            "up like down",
            _wrong(up=1),
            "You go up as if it were down. A transposed convolution is the convolution *turned round*: its stamp begins before its "
            "middle, so pixel 0 moves back.",
        ),
        Misconception(
            "counted in pixels of the image",
            _wrong(own=False),
            "Your crop is counted in pixels of the image. It is the map that is cropped: divide by the step of its own pixels.",
        ),
        Misconception(
            "the reference is left out",
            _wrong(ends=(0, -1)),
            "You crop everything to the image. A skip's scores have to meet those that come up, and these begin outside: follow "
            "the `reference` too.",
        ),
        Misconception(
            "the sign",
            _wrong(ends=(-1, 1)),
            "The size is right, the sign is not: the pixels that go lie *before* the reference's first one.",
        ),
    ),
    praise="Nothing guessed, nothing tried out: where a pixel lies follows from the layers.",
    place=_place_crops,
)


def add_skip(coarse, up, skip, crop):
    """Bring coarse scores (N, K, H, W) up by 2 with weights (K, K, 4, 4), crop the skip's to their size, and add."""
    import minisegnet.functional as F

    raised = F.conv_transpose2d(coarse, up, stride=2)
    height, width = raised.shape[2:]
    return raised + skip[:, :, crop : crop + height, crop : crop + width]


def _scores(rng):
    plans = [
        ((1, 2, 3, 4), (1, 2, 12, 15), 2, np.float64),
        ((2, 3, 2, 2), (2, 3, 9, 8), 1, np.float64),
        ((1, 1, 4, 3), (1, 1, 13, 12), 3, np.float32),
        ((1, 2, 3, 3), (1, 2, 9, 11), 1, np.float32),
    ]
    cases = []
    for coarse, skip, at, kind in plans:
        k = coarse[1]
        arrays = [rng.standard_normal(shape).astype(kind) for shape in (coarse, (k, k, 4, 4), skip)]
        cases.append((*arrays, at))
    return cases


def _raised(coarse, up):
    from ... import functional as F

    return F.conv_transpose2d(coarse, up, stride=2).numpy()


def _cut(skip, size, top, left):
    return skip[:, :, top : top + size[0], left : left + size[1]]


def _joined(how):
    def answer(coarse, up, skip, crop):
        raised = _raised(coarse, up)
        return how(raised, _cut(skip, raised.shape[2:], crop, crop))

    return answer


def _not_cropped_at_the_top(coarse, up, skip, crop):
    return add_skip(coarse, up, skip, 0).numpy()


def _in_the_middle(coarse, up, skip, crop):
    raised = _raised(coarse, up)
    top, left = ((whole - part) // 2 for whole, part in zip(skip.shape[2:], raised.shape[2:], strict=True))
    return raised + _cut(skip, raised.shape[2:], top, left)


def _from_the_end(coarse, up, skip, crop):
    raised = _raised(coarse, up)
    h, w = raised.shape[2:]
    top, left = skip.shape[2] - h - crop, skip.shape[3] - w - crop
    return raised + _cut(skip, (h, w), max(0, top), max(0, left))


def _repeated(coarse, up, skip, crop):
    size = _raised(coarse, up).shape[2:]
    grown = coarse.repeat(2, axis=2).repeat(2, axis=3)
    grown = np.pad(grown, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    return grown + _cut(skip, size, crop, crop)


def _channels_exchanged(coarse, up, skip, crop):
    return add_skip(coarse, np.ascontiguousarray(up.swapaxes(0, 1)), skip, crop).numpy()


@lru_cache(maxsize=1)
def _small():
    """Return a small FCN-8s in float64, with weights thrown by dice."""
    from ... import models
    from ...nn import init

    with init.no_draws():
        model = models.FCN(
            1, 2, stride=2, widths=(2, 2, 3), convs=(1, 1, 1), fc_channels=3, fc_kernel=3, padding=9, dropout=0.0
        )
    rng = np.random.default_rng(9)
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / np.sqrt(max(1, parameter.data[0].size))
        parameter.requires_grad = True
    return model


def _run(model, x, join):
    """Send images through an FCN that joins its skips by ``join(coarse, up, skip, crop)``."""
    *features, last = model.encoder(x)
    scores = model.head(model.bottleneck(last))
    for up, head, at in zip(model.upsample, model.skip_heads, model.crops, strict=False):
        scores = join(scores, up.weight, head(features.pop()), at)
    h, w = x.shape[2:]
    at = model.crops[-1]
    return model.upsample[-1](scores)[:, :, at : at + h, at : at + w]


def _place_skip(function):
    """Let the trained FCN-8s join its scores by the function, and hand gradients back through it."""
    from ... import Tensor, no_grad, use_backend

    counted = []

    def join(*given):
        counted.append(1)
        return function(*given)

    with use_backend("reference"):  # nothing to compile
        shown, x, model = _scene_and_net()
        with no_grad():
            theirs = _run(model, x, join)
            if not isinstance(theirs, Tensor) or not isinstance(function(*_tensors(model, x)), Tensor):
                return "The values are right, but they have left the tape: return a Tensor, not an array.", ""
            labels, ours = theirs.numpy()[0].argmax(0), model(x).numpy()[0].argmax(0)
        if not np.array_equal(labels, ours):
            return "Alone it is right, in the trained FCN-8s its map differs from ours.", ""
        small, gradients = _small(), []
        picture = np.linspace(-1, 1, 16 * 16).reshape(1, 1, 16, 16)
        for how in (function, add_skip):
            for parameter in small.parameters():
                parameter.grad = None
            scores = _run(small, picture, how)
            (scores * scores).sum().backward()
            gradients.append([None if p.grad is None else p.grad.numpy() for p in small.parameters()])
    if any(theirs is None or not np.allclose(theirs, ours) for theirs, ours in zip(*gradients, strict=True)):
        return "The scores are right, but the gradients are not those of the FCN: does every step stay on the tape?", ""
    return "", (
        f"**In the trained FCN-8s** your skip was called {len(counted)} times, for pools 4 and 3, and the lecture's scene gets the "
        f"same map as with ours, pixel for pixel ({_share(shown, labels):.0f}% wrong). And it learns: all {len(gradients[0])} "
        "parameters of a small FCN get the gradients that they get through ours."
    )


def _tensors(model, x):
    *features, last = model.encoder(x)
    return model.head(model.bottleneck(last)), model.upsample[0].weight, model.skip_heads[0](features[-1]), 1


ADD_SKIP = Exercise(
    name="add-skip",
    title="a skip",
    task="""`coarse` (N, K, H, W) are scores, `skip` are the scores of a shallower layer with pixels half as far apart. Bring
`coarse` up by a transposed convolution with the weights `up` (K, K, 4, 4), stride 2, no padding (`F.conv_transpose2d`). From
`skip` take as many rows and columns as that gives, **beginning at row and column `crop`**; what is left at the end is dropped.
Return the sum.""",
    solve=add_skip,
    cases=_scores,
    tolerance=1e-4,
    hints=(
        "Three steps: up, crop, add. Which of the two maps is cropped, and to whose size?",
        "`F.conv_transpose2d(coarse, up, stride=2)` gives 2 H + 2 rows. A crop is a slice on the last two axes: it begins at "
        "`crop` and ends that many rows later, not at `-crop`.",
        "`raised = F.conv_transpose2d(coarse, up, stride=2)`, `height, width = raised.shape[2:]`, and then `return raised + "
        "skip[:, :, crop : crop + height, crop : crop + width]`.",
    ),
    misconceptions=(
        Misconception(
            "cropped at the end alone",
            _not_cropped_at_the_top,
            "You take the first rows and columns of `skip`. Those lie before what came up: begin at `crop`.",
        ),
        Misconception(
            "cropped in the middle",
            _in_the_middle,
            "You crop as much at both ends. The sizes say nothing about where pixels lie: begin at `crop`, and drop what is left.",
        ),
        Misconception(
            "counted from the end",
            _from_the_end,
            "You count the crop from the lower right end. It begins at the top left: `crop : crop + height`.",
        ),
        Misconception(
            "the larger one",
            _joined(np.maximum),
            "You let the larger score win. Then whoever shouts is right: the two are *added*, so that both have a say.",
        ),
        Misconception(
            "the mean",
            _joined(lambda raised, skip: (raised + skip) / 2),
            "You take the mean. Scores are added: the weights before them can learn any share.",
        ),
        Misconception(
            "the finer replaces the coarser",
            _joined(lambda raised, skip: skip),
            "Only the finer scores are in your result. They know where, but not what: add those that came up.",
        ),
        Misconception(
            "nothing is added",
            _joined(lambda raised, skip: raised),
            "Only what came up is in your result. Add the cropped scores of `skip`.",
        ),
        Misconception(
            "one behind the other",
            _joined(lambda raised, skip: np.concatenate([raised, skip], axis=1)),
            "You lay one behind the other, 2 K channels. One score a class and place is wanted: add.",
        ),
        Misconception(
            "repeated instead of interpolated",
            _repeated,
            "You repeat each score. The way up has weights, `up`, which begin bilinear and learn: "
            "`F.conv_transpose2d(coarse, up, stride=2)`.",
        ),
        Misconception(
            "classes exchanged",
            _channels_exchanged,
            "Your weight's first two axes are exchanged: going up, the weight begins with the channels that come *in*.",
        ),
    ),
    praise="Up, crop, add: that is all that makes a 16s of a 32s, and an 8s of a 16s.",
    place=_place_skip,
)

EXERCISES = (CROP, ADD_SKIP)
