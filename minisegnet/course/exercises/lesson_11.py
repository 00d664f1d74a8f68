"""Lesson 11: how large a window must be for a map of some size, and tiles with a margin, put together without seams."""

import numpy as np

from ..checking import Exercise, Misconception


def window_for(wanted, depth):
    """Return the smallest side that works without padding and whose output has at least ``wanted`` pixels."""
    grid = 2**depth
    waist = 4 - (-(wanted + 4 * (grid - 1)) // grid)  # the output is grid * (waist - 4) - 4 * (grid - 1)
    return grid * waist + 4 * (grid - 1)


def _lost(depth):
    return 12 * 2**depth - 8


def _wanted(rng):
    return [(388, 4), (400, 4), (1, 2), (50, 2), (64, 3), (100, 1), (4, 4), (int(rng.integers(200, 300)), 3)]


def _next_below(wanted, depth):
    side = window_for(wanted, depth)
    return side if side - _lost(depth) == wanted else side - 2**depth


def _next_multiple(wanted, depth):
    grid = 2**depth
    return -(-(wanted + _lost(depth)) // grid) * grid


def _with_padding(wanted, depth):
    return -(-wanted // 2**depth) * 2**depth


def _as_input(wanted, depth):
    side = window_for(1, depth)
    while side < wanted:
        side += 2**depth
    return side


def _as_the_paper(wanted, depth):
    side = window_for(1, 4)
    while side - 184 < wanted:
        side += 16
    return side


def _one_side(wanted, depth):
    lost = _lost(depth) // 2
    side = window_for(1, depth)
    while side - lost < wanted:
        side += 2**depth
    return side


def _place_window(function):
    """Send windows of the sizes that the function gives through a U-Net without padding."""
    from ... import no_grad, use_backend
    from ...models import UNet

    told = []
    with use_backend("reference"), no_grad():
        for wanted, depth in ((5, 1), (30, 2), (50, 3)):
            net = UNet(1, 2, 1, depth=depth, padding="valid", norm=None)
            side = int(function(wanted, depth))
            got = net(np.zeros((1, 1, side, side), np.float32)).shape[-1]
            if got < wanted:
                return f"A U-Net of depth {depth} gives {got} for your {side}, and {wanted} were wanted.", ""
            told.append(f"{side} to {got} (depth {depth}, at least {wanted} wanted)")
    return "", f"**In a U-Net** without padding your windows go through: {', '.join(told)}."


WINDOW = Exercise(
    name="window-for-a-map",
    title="the window for a map",
    task="""A U-Net without padding, as published, but of any `depth` (how many times it halves), shall give a map with at least
`wanted` pixels on a side. Return the side of the smallest window that it takes and that is large enough: `window_for(388, 4)` is
572, and so is `window_for(380, 4)`.""",
    solve=window_for,
    cases=_wanted,
    hints=(
        "Begin at the waist: if its side is b before its two convolutions, what goes into the net, and what comes out? "
        "The smallest b is 5.",
        "In: double b and add 4, `depth` times. Out: from b - 4, double and take off 4, `depth` times. Try b = 5, 6, 7, "
        "... until the output is large enough.",
        "`b = 5`, and a loop: `side, out = b, b - 4`; `for _ in range(depth): side, out = 2 * side + 4, 2 * out - 4`; if "
        "`out >= wanted`, return `side`, else `b += 1`.",
    ),
    misconceptions=(
        Misconception(
            "what is lost is added, and the grid is forgotten",
            lambda wanted, depth: wanted + _lost(depth),
            "You add what the net loses. That is large enough, but most such sides have no halves: take the next one "
            "*on the grid*, in steps of 2^depth.",
        ),
        Misconception(
            "rounded up to a multiple",
            _next_multiple,
            "You round up to a multiple of 2^depth. That is the rule *with* padding. Without, the sides that work are shifted: "
            "16 b + 60 for depth 4, and 60 is no multiple of 16.",
        ),
        Misconception(
            "the rule with padding",
            _with_padding,
            "That is the side for a net *with* padding, where as much comes out as goes in. Here each 3x3 takes two rows away.",
        ),
        Misconception(
            "rounded down",
            _next_below,
            "Your window works, but its map is too small: take the next side *up*.",
        ),
        Misconception(
            "184 for every depth",
            _as_the_paper,
            "Your sides are those of the published depth, 4. With fewer halvings less is lost, and the grid is finer: 2^depth.",
        ),
        Misconception(
            "wanted is taken for the input",
            _as_input,
            "You return the smallest side that is at least `wanted`. But it is the *output* that shall be so large.",
        ),
        Misconception(
            "lost on one side only",
            _one_side,
            "You count what is lost on *one* side of the picture. It is lost on both.",
        ),
    ),
    praise="The waist says it all: 2^depth b + 4 (2^depth - 1) goes in, 2^depth (b - 4) - 4 (2^depth - 1) comes out.",
    place=_place_window,
)


def tiled(net, image, tile, margin):
    """Return net's answer (K, H, W) for an image (C, H, W), tile by tile, each with a margin around it."""
    around = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    size, rows = tile + 2 * margin, []
    for y in range(0, image.shape[1], tile):
        row = []
        for x in range(0, image.shape[2], tile):
            answer = net(around[:, y : y + size, x : x + size])
            row.append(answer[:, margin : margin + tile, margin : margin + tile])
        rows.append(np.concatenate(row, axis=2))
    return np.concatenate(rows, axis=1)


class _Blur:
    """A stand-in for a net: it pads with zeros, sees ``reach`` pixels far, and gives two maps for all channels."""

    def __init__(self, reach):
        self.reach = reach

    def __repr__(self):
        return f"a net that sees {self.reach} pixel{'s' * (self.reach > 1)} far"

    def __call__(self, x):
        n = self.reach
        wide = np.pad(x.sum(axis=0), n)
        down = sum((k + 1) * wide[k : k + x.shape[1], n : n + x.shape[2]] for k in range(2 * n + 1))
        across = sum((k + 1) * wide[n : n + x.shape[1], k : k + x.shape[2]] for k in range(2 * n + 1))
        return np.stack([down, across])


def _pictures(rng):
    sizes = [
        (1, (1, 8, 12), 4, 1),
        (2, (3, 12, 6), 6, 2),
        (1, (2, 6, 9), 3, 2),
        (2, (1, 8, 8), 8, 3),
        (1, (2, 10, 5), 5, 0),
    ]
    return [(_Blur(reach), rng.standard_normal(shape), tile, margin) for reach, shape, tile, margin in sizes]


def _no_margin(net, image, tile, margin):
    return tiled(net, image, tile, 0)


def _bordered(mode):
    def answer(net, image, tile, margin):
        around = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode=mode)
        whole = [
            [
                net(around[:, y : y + tile + 2 * margin, x : x + tile + 2 * margin])[
                    :, margin : margin + tile, margin : margin + tile
                ]
                for x in range(0, image.shape[2], tile)
            ]
            for y in range(0, image.shape[1], tile)
        ]
        return np.concatenate([np.concatenate(row, axis=2) for row in whole], axis=1)

    return answer


def _each_tile_mirrored(net, image, tile, margin):
    around = ((0, 0), (margin, margin), (margin, margin))
    kept = slice(margin, margin + tile)
    rows = [
        [
            net(np.pad(image[:, y : y + tile, x : x + tile], around, mode="reflect"))[:, kept, kept]
            for x in range(0, image.shape[2], tile)
        ]
        for y in range(0, image.shape[1], tile)
    ]
    return np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)


def _corner(net, image, tile, margin):
    around = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    size = tile + 2 * margin
    rows = [
        [net(around[:, y : y + size, x : x + size])[:, :tile, :tile] for x in range(0, image.shape[2], tile)]
        for y in range(0, image.shape[1], tile)
    ]
    return np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)


def _half_margin(net, image, tile, margin):
    around = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    size = tile + margin
    rows = [
        [
            net(around[:, y + margin : y + margin + size, x + margin : x + margin + size])[:, :tile, :tile]
            for x in range(0, image.shape[2], tile)
        ]
        for y in range(0, image.shape[1], tile)
    ]
    return np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)


def _place_tiles(function):
    """Let the function cut tissue for the trained net, and compare with the whole at once."""
    from ... import functional as F
    from ... import no_grad
    from ...data import synthetic_tissue
    from ...models import load_pretrained

    net = load_pretrained("nuclei")

    def probability(x):
        with no_grad():
            scores = net(np.ascontiguousarray(x[None], np.float32))
            return np.asarray(F.softmax(scores, dim=1).numpy()[0, 1:])

    image = synthetic_tissue(1, size=(128, 192), seed=11)[0][0].transpose(2, 0, 1) / np.float32(255)
    margin = 112
    whole = probability(np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect"))
    whole = whole[:, margin:-margin, margin:-margin]
    off = []
    for given in (0, margin):
        try:
            got = np.asarray(function(probability, image, 64, given))
        except (TypeError, ValueError) as error:
            return f"The values are right, but with a U-Net it stops: {error}", ""
        if got.shape != whole.shape:
            return f"With a U-Net the shape is {got.shape}, expected {whole.shape}.", ""
        off.append(float(np.abs(got - whole).max()))
    if off[1] > 1e-3:
        return "Alone it is right, but with the trained U-Net and a margin of 112 there are seams.", ""
    return "", (
        "**With the trained U-Net** your six tiles of 64 pixels with a margin of 112 are, to the rounding, what it says of the "
        f"whole at once. Without a margin probabilities differ by up to {off[0]:.1f}."
    )


TILES = Exercise(
    name="overlap-tile",
    title="tiles without seams",
    task="""`net` takes an array (C, h, w) and returns (K, h, w): it pads inside, so near its border it knows less. Return its
answer for an `image` (C, H, W) in tiles: mirror the image by `margin` pixels on each side (`np.pad`, `mode="reflect"`), give
`net` windows of `tile + 2 * margin` pixels, keep the middle `tile` by `tile` of each answer, and put these together, (K, H, W).
H and W are multiples of `tile`, and `margin` may be 0.""",
    solve=tiled,
    cases=_pictures,
    tolerance=1e-6,
    hints=(
        "Mirror the whole image *once*, before you cut. A window that begins at row y of the mirrored image belongs to "
        "the tile that begins at row y of the image: the margin is before it.",
        'First `around = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")`. Then two loops, '
        "`for y in range(0, H, tile)` and the same for x; of each answer keep `[:, margin : margin + tile, margin : "
        "margin + tile]`.",
        "In the inner loop: `answer = net(around[:, y : y + tile + 2 * margin, x : x + tile + 2 * margin])`. Collect "
        "the middles of a row in a list, `np.concatenate(row, axis=2)`, collect the rows, and `np.concatenate(rows, axis=1)`.",
    ),
    misconceptions=(
        Misconception(
            "tiles without a margin",
            _no_margin,
            "Your tiles go in bare: at each seam the net sees its own padding instead of the neighbouring tile. Cut windows of "
            "`tile + 2 * margin`.",
        ),
        Misconception(
            "each tile mirrored by itself",
            _each_tile_mirrored,
            "You mirror each *tile* at its own border. Inside the picture the neighbours are known: mirror the *image*, "
            "once, and cut windows that overlap.",
        ),
        Misconception(
            "zeros around the image",
            _bordered("constant"),
            'You put zeros around the image. They are seen, as a black frame; mirror instead, `mode="reflect"`.',
        ),
        Misconception(
            "the border row twice",
            _bordered("symmetric"),
            'Your mirror repeats the border row itself ("symmetric"). With `mode="reflect"` row -1 is row 1.',
        ),
        Misconception(
            "the border row repeated",
            _bordered("edge"),
            'You repeat the border row outward ("edge"). Mirror what lies inside: `mode="reflect"`.',
        ),
        Misconception(
            "the corner instead of the middle",
            _corner,
            "You keep the upper left corner of each answer. It belongs to the margin: the tile itself is the *middle*, "
            "`margin` rows and columns further in.",
        ),
        Misconception(
            "a margin on two sides only",
            _half_margin,
            "Your windows see beyond the tile to the right and below, not to the left and above. The margin goes all around.",
        ),
    ),
    praise="That is overlap-tile: a picture of any size, in the memory of one window.",
    place=_place_tiles,
)

EXERCISES = (WINDOW, TILES)
