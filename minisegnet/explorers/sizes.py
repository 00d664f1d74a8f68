"""Explorer: sizes along a chain of layers. Which inputs give the same output, and why does the size not always come back?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..figures.svg import Canvas
from ..figures.svg_grid import legend
from ..shapes import conv_output_size, conv_transpose_output_size
from .controls import Choice, Control, Slider, State
from .drawing import Discovery, Drawing

if TYPE_CHECKING:
    from .explorer import Explorer


class Layer(NamedTuple):
    """A layer that changes sizes; ``up`` marks a transposed convolution."""

    name: str
    kernel: int
    stride: int
    padding: int = 0
    up: bool = False


_POOL, _UP2 = Layer("pool 2", 2, 2), Layer("up 2", 2, 2, up=True)
_STRIDED, _BACK = Layer("3, s 2, p 1", 3, 2, 1), Layer("up 3, s 2", 3, 2, 1, up=True)
CHAINS = {
    "3 × 3, stride 2, and back": (_STRIDED, _BACK),
    "hourglass: two pools": (_POOL, _POOL, _UP2, _UP2),
    "U-Net: four pools": (_POOL,) * 4 + (_UP2,) * 4,
    "four strided 3 × 3": (_STRIDED,) * 4 + (_BACK,) * 4,
}
LARGEST = 64


class Way(NamedTuple):
    """Sizes before the first layer and after each, and what each layer going down never reads."""

    sizes: list[int]
    unread: list[int]

    @property
    def waist(self) -> int:
        """The smallest size: where the way down ends."""
        return self.sizes[len(self.sizes) // 2]


def follow(chain: str, size: int, output_padding: int) -> Way:
    """Return the sizes of an input of ``size`` pixels along a chain; 0 where nothing is left.

    The layers going up take ``output_padding`` where they can (a 2 x 2 of stride 2 has no place for it to decide).
    """
    sizes, unread = [size], []
    for layer in CHAINS[chain]:
        before = sizes[-1]
        if before == 0:
            sizes.append(0)
            unread.append(0)
            continue
        options = ((layer.kernel,) * 2, (layer.stride,) * 2, (layer.padding,) * 2)
        if layer.up:
            extra = output_padding if layer is _BACK else 0
            after, _ = conv_transpose_output_size((before, before), *options, (extra, extra), (1, 1))
            unread.append(0)
        elif before + 2 * layer.padding < layer.kernel:
            after = 0
            unread.append(before)
        else:
            after, _ = conv_output_size((before, before), *options, (1, 1))
            unread.append(before + 2 * layer.padding - layer.kernel - (after - 1) * layer.stride)
        sizes.append(after)
    return Way(sizes, unread)


def alike(chain: str, size: int) -> list[int]:
    """Return the inputs, up to LARGEST + 16 pixels, that reach the waist with as many pixels as ``size`` does."""
    waist = follow(chain, size, 0).waist
    return [n for n in range(1, LARGEST + 17) if follow(chain, n, 0).waist == waist]


def draw_sizes(chain: str = "3 × 3, stride 2, and back", size: int = 3, output_padding: int = 0) -> Drawing:
    """Draw the sizes along a chain of layers, and which other inputs are the same at its waist; no widgets.

    Parameters
    ----------
    chain : str
        One of ``CHAINS``: layers down, and as many up again.
    size : int
        Rows of the input.
    output_padding : int
        0 or 1, of every transposed 3 x 3 convolution.
    """
    way, same = follow(chain, size, output_padding), alike(chain, size)
    layers = CHAINS[chain]
    down = len(layers) // 2
    back = way.sizes[-1]
    canvas = Canvas(760, 424, f"Sizes along: {chain}")
    _draw_chain(canvas, way, layers)
    _draw_fan(canvas, chain, size, way, same)
    legend(
        canvas, 4, 418, [("active", "input"), ("window", "the same at the waist"), ("output", "waist"), ("good", "comes back")],
    )  # fmt: skip
    total = 2**down
    names = f"{same[0]} to {same[-1]}" if len(same) > 2 else " and ".join(map(str, same))
    if way.waist == 0:
        twin = (
            f"An input of {size} rows is used up on the way down: no window fits any more. It needs at least {total}."
        )
    else:
        together = (
            f"{names} all reach"
            if len(same) > 2
            else f"{names} both reach"
            if len(same) == 2
            else f"only {names} reaches"
        )
        end = f"it is {size} again" if back == size else f"it becomes {back}, not {size}"
        twin = (
            f"{size} rows become {way.waist} at the waist: {together} it with {way.waist}, so nobody can tell there which it "
            f"was. On the way up {end}."
        )
        if len(same) == 1:
            twin = f"{size} rows become {way.waist} at the waist, and no other size does. On the way up {end}."
    first = layers[0]
    sums = f"⌊({size} + 2·{first.padding} − {first.kernel}) / {first.stride}⌋ + 1 = {way.sizes[1]}"
    last = layers[-1]
    extra = output_padding if last is _BACK else 0
    before = way.sizes[-2]
    up = (
        f"({before} − 1)·{last.stride} − 2·{last.padding} + {last.kernel} + {extra} = {back}"
        if before
        else "nothing left"
    )
    call = (
        f"F.conv_transpose2d(x, weight, stride=2, padding=1, output_padding={output_padding})"
        if last is _BACK
        else "F.conv_transpose2d(x, weight, stride=2)"
    )
    return Drawing(
        canvas.svg(twin),
        twin,
        (
            f"first layer: ⌊(n + 2p − k) / s⌋ + 1 = {sums}",
            f"last layer: (n − 1)s − 2p + k + output_padding = {up}",
            f"{down} × half: {total} rows and their multiples lose nothing"
            if first is _POOL
            else f"strides multiply: {total}",
        ),
        call,
        call,
    )


def _draw_chain(canvas: Canvas, way: Way, layers: tuple[Layer, ...]) -> None:
    """Draw a bar for each tensor, as tall as it has rows, and what each layer leaves unread as a hatched piece of it."""
    pitch = 752 / len(way.sizes)
    top, tall = 40.0, 120.0
    unit = tall / max(way.sizes)
    canvas.text(4, 18, "rows after each layer", anchor="start", bold=True)
    middle = len(layers) // 2
    for place, size in enumerate(way.sizes):
        x = 4 + place * pitch
        wide = min(30.0, pitch * 0.44)
        role = "active" if place == 0 else "output" if place == middle else "plain"
        if place == len(layers):
            role = "good" if size == way.sizes[0] else "window"
        height = max(size * unit, 2.0)
        canvas.rect(x, top + tall - height, wide, height, role, radius=2)
        lost = way.unread[place] if place < len(layers) else 0
        if lost and size:
            canvas.rect(x, top + tall - lost * unit, wide, lost * unit, "zero", radius=0)
            canvas.text(x + wide + 5, top + tall - 2, f"−{lost}", anchor="start", bold=True)
        canvas.text(x + wide / 2, top + tall + 21, size if size else "none", bold=True)
        if place < len(layers):
            small = len(layers) > 4
            words = ("↑" if layers[place].up else "↓") if small else layers[place].name
            canvas.text(x + wide + (pitch - wide) / 2, top + 10, words, faint=not small)
    note = "hatched: rows that the next layer never reads" if any(way.unread) else "every row is read by the next layer"
    canvas.text(4, top + tall + 48, note, anchor="start", faint=True)


def _draw_fan(canvas: Canvas, chain: str, size: int, way: Way, same: list[int]) -> None:
    """Draw the inputs around this one, and to which size at the waist each goes."""
    canvas.text(4, 246, "which inputs are the same at the waist?", anchor="start", bold=True)
    first = max(1, min(size - 6, same[0] - 1 if len(same) < 12 else size - 6))
    shown = list(range(first, first + 14))
    results = [follow(chain, n, 0).waist for n in shown]
    x = {n: 76 + 51.0 * place for place, n in enumerate(shown)}
    ends = {w: sum(x[n] for n, r in zip(shown, results, strict=True) if r == w) / results.count(w) for w in results}
    for n, w in zip(shown, results, strict=True):
        here = w == way.waist
        canvas.line(
            x[n], 290, ends[w], 348, color="vermilion" if here else "", width=3 if here else 1.2, faint=not here
        )
    canvas.text(4, 280, "input", anchor="start")
    canvas.text(4, 372, "waist", anchor="start")
    for n, w in zip(shown, results, strict=True):
        role = "active" if n == size else "window" if w == way.waist else "plain"
        canvas.rect(x[n] - 20, 260, 40, 30, role)
        canvas.text(x[n], 281, n, bold=n == size, on="#E69F00" if n == size else "")
    for w, place in ends.items():
        canvas.rect(place - 20, 350, 40, 30, "output" if w == way.waist else "plain")
        canvas.text(place, 371, w or "none", bold=w == way.waist, on="#D55E00" if w == way.waist else "")


def sizes(**state: Any) -> Explorer:
    """Explore sizes along a chain; ``sizes(chain="U-Net: four pools", size=50)`` begins there."""
    from .explorer import Explorer

    def most(state: State) -> int:
        return 1 if CHAINS[state["chain"]][-1] is _BACK else 0

    controls: dict[str, Control] = {
        "chain": Choice(tuple(CHAINS), "3 × 3, stride 2, and back", "chain"),
        "size": Slider(range(1, LARGEST + 1), 3, "input rows", play=True),
        "output_padding": Slider((0, 1), 0, "output_padding", limit=most),
    }
    return Explorer(
        "Sizes along a chain of layers.",
        controls,
        draw_sizes,
        Discovery(
            question="Two rows come out of a 3 × 3 layer with stride 2: how many went in?",
            path=(("chain", "3 × 3, stride 2, and back"), ("size", 4), ("output_padding", 1)),
            fact="3 and 4 rows both become 2: from 2 the way back leads to 3, and only output_padding=1 makes it 4.",
        ),
        presets={
            "slide: 4 × 4 to 2 × 2": {"size": 4},
            "slide: 2 × 2 to 4 × 4": {"size": 4, "output_padding": 1},
            "hourglass, 10 rows": {"chain": "hourglass: two pools", "size": 10},
            "U-Net, 50 rows": {"chain": "U-Net: four pools", "size": 50},
            "U-Net, 48 rows": {"chain": "U-Net: four pools", "size": 48},
            "nothing left": {"chain": "U-Net: four pools", "size": 9},
        },
        name="sizes",
        page={"size": (*range(1, 33), 48, 50, 64)},
        state=state,
    )
