"""Lesson 10: what a layer does with a stack of two, and the U-Net's way down and up, with skips that can be cut."""

from functools import lru_cache

import numpy as np

from ..checking import Exercise, Misconception


def conv_of_two(skip, x, weight):
    """Convolve skip (N, C, H, W) and x (N, C, H, W) with a weight (O, 2 C, KH, KW), as if they were stacked."""
    import minisegnet.functional as F

    own, other = weight[:, : skip.shape[1]], weight[:, skip.shape[1] :]
    return (F.conv2d(skip, own) + F.conv2d(x, other)).numpy()


def _pairs(rng):
    # Kernels and sizes that differ by axis; two types.
    sizes = [
        ((1, 1, 6, 7), (1, 2, 3, 3), np.float64),
        ((2, 3, 6, 5), (4, 6, 3, 2), np.float64),
        ((2, 2, 7, 6), (2, 4, 2, 3), np.float32),
        ((1, 4, 4, 4), (5, 8, 1, 1), np.float32),
    ]
    return [
        tuple(rng.standard_normal(shape).astype(kind) for shape in (features, features, weight))
        for features, weight, kind in sizes
    ]


def _order(skip, x, weight):
    return conv_of_two(x, skip, weight)


def _every_other(skip, x, weight):
    return conv_of_two(skip, x, np.concatenate([weight[:, ::2], weight[:, 1::2]], axis=1))


def _added_first(skip, x, weight):
    return conv_of_two(skip + x, np.zeros_like(x), weight)


def _all_added(skip, x, weight):
    return conv_of_two(skip + x, skip + x, weight)


def _only(which):
    def answer(skip, x, weight):
        kept = [skip, x]
        kept[1 - which] = np.zeros_like(kept[1 - which])
        return conv_of_two(kept[0], kept[1], weight)

    return answer


def _results_stacked(skip, x, weight):
    return np.concatenate([_only(0)(skip, x, weight), _only(1)(skip, x, weight)], axis=1)


CONV_OF_TWO = Exercise(
    name="conv-of-two",
    title="a layer on a stack, without the stack",
    task="""A layer behind a skip reads a stack: first the channels of `skip` (N, C, H, W), then those of `x` (N, C, H, W).
Its `weight` is (O, 2 C, KH, KW). Return what it gives (no padding, stride 1), **without stacking**: convolve the two
apart, each with its own part of the weight, and put the results together. Use `F.conv2d` of the library, or your own
convolution; return an array.""",
    solve=conv_of_two,
    cases=_pairs,
    tolerance=1e-4,
    hints=(
        "A convolution adds products over *all* channels it reads. A sum over eight channels can be taken as a sum over the "
        "first four, and one over the other four.",
        "`skip` meets the weight's channels 0 to C - 1, `x` the rest. The channels that are read are the weight's *second* "
        "axis.",
        "`own = weight[:, :skip.shape[1]]` and `other = weight[:, skip.shape[1]:]`, then "
        "`(F.conv2d(skip, own) + F.conv2d(x, other)).numpy()`.",
    ),
    misconceptions=(
        Misconception(
            "concatenation is addition",
            _added_first,
            "You add `skip` and `x` before the layer reads them. Then both meet the *same* weights, and nobody can tell who "
            "said what. In a stack each has weights of its own: add *after* the convolutions.",
        ),
        Misconception(
            "the order of the stack",
            _order,
            "You give the first weights to `x`. The stack begins with `skip`: its C channels meet the first C of the weight's.",
        ),
        Misconception(
            "two stacks of results",
            _results_stacked,
            "You stack the two *results*: twice as many channels as the layer has filters. One filter reads all of the stack and "
            "gives one map: the two parts are added.",
        ),
        Misconception(
            "only the skip is read",
            _only(0),
            "Only `skip` is in your result. The layer also reads what comes from below, with the rest of its weights.",
        ),
        Misconception(
            "only what comes from below is read",
            _only(1),
            "Only `x` is in your result: that is the layer with its skip cut. Add what `skip` gives with its own weights.",
        ),
        Misconception(
            "features and weights both added",
            _all_added,
            "You add the features, and the parts of the weight as well. (a + b)(u + v) is not a u + b v: `skip` must not meet the "
            "weights of `x`.",
        ),
        Misconception(
            "every other channel",
            _every_other,
            "You give every other channel of the weight to `skip`. The stack lies in two blocks: first all channels of `skip`, "
            "then all of `x`.",
        ),
    ),
    praise="A convolution of a stack is a sum of two convolutions. Adding `skip + x` first is the case where both share weights.",
)


def forward(model, x, cut):
    """Return the scores of a U-Net; skips of the levels in ``cut`` (1 is the finest) carry zeros."""
    import minisegnet as ms

    kept = []
    for block in model.encoder:
        x = block(x)
        kept.append(x)
        x = model.pool(x)
    x = model.bottleneck(x)
    for up, block in zip(model.upsample, model.decoder, strict=True):
        level, skip = len(kept), kept.pop()
        x = block(ms.cat([skip * 0 if level in cut else skip, up(x)], dim=1))
    return model.head(x)


def _walk(model, x, join, cut=()):
    """Go down and up; ``join(skip, x, level, cut)`` makes the stack. Return what the head is given."""
    kept = []
    for block in model.encoder:
        x = block(x)
        kept.append(x)
        x = model.pool(x)
    x = model.bottleneck(x)
    for up, block in zip(model.upsample, model.decoder, strict=True):
        level = len(kept)
        x = block(join(kept.pop(), up(x), level, cut))
    return x


def _stack(*parts):
    import minisegnet as ms

    return ms.cat(parts, dim=1)


def _wrong_order(model, x, cut):
    def join(skip, x, level, cut):
        return _stack(x, skip * (level not in cut))

    return model.head(_walk(model, x, join, cut))


def _from_below(model, x, cut):
    return forward(model, x, [model.depth + 1 - level for level in cut])


def _from_three(model, x, cut):
    return forward(model, x, [level + model.depth - 3 for level in cut])


def _counted_from_nought(model, x, cut):
    return forward(model, x, [level + 1 for level in cut])


def _ignored(model, x, cut):
    return forward(model, x, ())


def _both_cut(model, x, cut):
    def join(skip, x, level, cut):
        return _stack(skip, x) * (level not in cut)

    return model.head(_walk(model, x, join, cut))


def _other_cut(model, x, cut):
    def join(skip, x, level, cut):
        return _stack(skip, x * (level not in cut))

    return model.head(_walk(model, x, join, cut))


def _all_cut(model, x, cut):
    return forward(model, x, range(1, model.depth + 1) if cut else ())


def _way_down_cut(model, x, cut):
    kept: list = []
    for block in model.encoder:
        x = block(x)
        x = x * (len(kept) + 1 not in cut)
        kept.append(x)
        x = model.pool(x)
    x = model.bottleneck(x)
    for up, block in zip(model.upsample, model.decoder, strict=True):
        x = block(_stack(kept.pop(), up(x)))
    return model.head(x)


def _classes(model, x, cut):
    return forward(model, x, cut).detach().numpy().argmax(axis=1)


def _no_head(model, x, cut):
    return _walk(model, x, lambda skip, x, level, cut: _stack(skip * (level not in cut), x), cut)


@lru_cache(maxsize=4)
def _small(depth, channels, classes, width):
    """Return a small U-Net in float64 that is called by a short name in messages."""
    from ...models import UNet
    from ...nn import init

    class Small(UNet):
        def __repr__(self):
            return f"a U-Net of depth {self.depth}"

    with init.no_draws():
        model = Small(channels, classes, width, depth=depth, norm=None)
    rng = np.random.default_rng(10 + depth)
    for parameter in model.parameters():
        parameter.data = rng.standard_normal(parameter.shape) / np.sqrt(max(1, parameter.data[0].size))
    return model


def _nets(rng):
    plans = [
        (_small(1, 1, 2, 2), (1, 1, 4, 6), ()),
        (_small(2, 2, 3, 2), (2, 2, 8, 4), (1,)),
        (_small(3, 1, 2, 2), (1, 1, 8, 16), (3,)),
        (_small(3, 1, 2, 2), (1, 1, 16, 8), (1, 2)),
        (_small(2, 2, 3, 2), (1, 2, 4, 8), ()),
        (_small(2, 2, 3, 2), (1, 2, 8, 8), (1, 2)),
    ]
    return [(model, rng.standard_normal(shape), cut) for model, shape, cut in plans]


def _place(function):
    """Let the function run the trained U-Net on the lecture's scene, and hand gradients back through it."""
    from ... import Tensor, data, models, no_grad, use_backend
    from ...models.files import PRETRAINED

    with use_backend("reference"):  # nothing to compile
        net = models.load(PRETRAINED / "explorers" / "unet_stacked.safetensors")
        seen = data.scene(96, seed=0)
        image = np.ascontiguousarray(seen.image.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        with no_grad():
            maps = [function(net, image, cut).numpy()[0].argmax(0) for cut in ((), (2,))]
            ours = [forward(net, image, cut).numpy()[0].argmax(0) for cut in ((), (2,))]
        if not all(map(np.array_equal, maps, ours)):
            return "Alone it is right, in the trained U-Net its map differs from ours.", ""
        model, gradients = _small(2, 2, 3, 2), []
        for run in (function, forward):
            for parameter in model.parameters():
                parameter.grad = None
            scores = run(model, np.linspace(-1, 1, 64).reshape(1, 2, 4, 8), ())
            if not isinstance(scores, Tensor):
                return "The values are right, but they have left the tape: return the head's Tensor, not an array.", ""
            (scores * scores).sum().backward()
            gradients.append([parameter.grad.numpy() for parameter in model.parameters()])
    if not all(map(np.allclose, *gradients)):
        return "The scores are right, but the gradients are not those of the U-Net.", ""
    wrong = [int(((labels != seen.labels) & (seen.labels != data.IGNORE_INDEX)).sum()) for labels in maps]
    return "", (
        f"**In the trained U-Net** your way down and up gives the lecture's scene the same map as ours, pixel for pixel: "
        f"{wrong[0]:,} wrong pixels, and {wrong[1]:,} with skip 2 cut. And it can be trained: all {len(gradients[0])} parameters "
        f"of a small U-Net get the gradients that they get through ours."
    )


FORWARD = Exercise(
    name="u-forward",
    title="down and up, with skips to cut",
    task="""`model` is a U-Net of the library. Its parts are `model.encoder` (blocks, the finest first), `model.pool`,
`model.bottleneck`, `model.upsample` and `model.decoder` (both the coarsest first) and `model.head`. Send `x` down and up and
return the scores, with skips stacked as published: the skip first, then what comes up (`ms.cat([a, b], dim=1)`). `cut` is a
tuple of levels whose skip shall carry zeros; level 1 is the finest. `forward(model, x, ())` is the U-Net itself. U-Nets of
several depths are tried, not only of 3.""",
    solve=forward,
    cases=_nets,
    tolerance=1e-4,
    hints=(
        "Down: after each block keep what it gave, then pool. Up: what was kept *last* is needed *first*.",
        "`kept = []`, `kept.append(x)` on the way down, `kept.pop()` on the way up. Before the pop, `len(kept)` is the level: it "
        "counts down to 1. A skip that carries zeros is `skip * 0`.",
        "Up: `for up, block in zip(model.upsample, model.decoder):`, then `level, skip = len(kept), kept.pop()`, and "
        "`x = block(ms.cat([skip * 0 if level in cut else skip, up(x)], dim=1))`. Last `return model.head(x)`.",
    ),
    misconceptions=(
        Misconception(
            "the order of the stack",
            _wrong_order,
            "You put what comes up first. The shapes fit, so nothing complains, but the weights were learned for the other order: "
            "`ms.cat([skip, up(x)], dim=1)`.",
        ),
        Misconception(
            "levels counted from below",
            _from_below,
            "You count levels from the coarsest. Level 1 is the finest: the skip that was kept *first*.",
        ),
        Misconception(
            "levels counted from 0",
            _counted_from_nought,
            "You count the finest level as 0. Here it is 1: before `kept.pop()`, `len(kept)` is the level.",
        ),
        Misconception(
            "levels counted down from 3",
            _from_three,
            "You count the levels down from 3, whatever the depth. With fewer levels the coarsest is not 3: before `kept.pop()`, "
            "`len(kept)` is the level.",
        ),
        Misconception(
            "nothing is cut",
            _ignored,
            "All your skips are whole: `cut` is not used.",
        ),
        Misconception(
            "all skips are cut",
            _all_cut,
            "You cut every skip as soon as one is named. Only the levels in `cut` carry zeros.",
        ),
        Misconception(
            "the way down is cut too",
            _way_down_cut,
            "You cut the block's output itself, so that nothing goes down from there either. A skip is a copy: zero the copy, "
            "and let the way down go on.",
        ),
        Misconception(
            "the whole stack is cut",
            _both_cut,
            "You zero the whole stack, also what comes up from below. Only the skip is cut.",
        ),
        Misconception(
            "what comes up is cut",
            _other_cut,
            "You zero what comes up and keep the skip. It is the other way round.",
        ),
        Misconception(
            "without the head",
            _no_head,
            "You return features. The last step is `model.head`, one score a class and pixel.",
        ),
        Misconception(
            "classes instead of scores",
            _classes,
            "You return the class of each pixel. Return the scores, (N, K, H, W): a loss needs them.",
        ),
    ),
    praise="That is the U-Net, in ten lines.",
    place=_place,
)

EXERCISES = (CONV_OF_TWO, FORWARD)
