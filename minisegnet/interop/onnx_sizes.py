"""What a network computes with sizes, found by running it at several: each number becomes a formula over sizes in the graph.

A run's operations know numbers, not where these came from: a crop says "rows 3 to 20". The same network is therefore run, by
shapes alone, on images of several sizes. A number that is the same in all runs is a constant; one that moves must be equal,
in all runs, to a size of a tensor before it, to a multiple of one, or to half a sum or difference of two (a crop from the
middle). What fits none of these is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Tensor
from ..nn import Module
from ..nn.trace import calls

Vector = tuple[int, ...]  # one number a run
# Sizes around which a model's own is tried: small ones, at which every halving rounds, and powers of two plus one, at which
# every halving is odd, so that all crops of a network are seen.
USUAL = (1, 2, 3, 5, 33, 47, 65, 100)
BATCHES = (2, 1, 3, 1, 2, 1, 1, 2)
UNEVEN = ("Index", "PadAxis")  # operations that a model may leave out where they would change nothing


class Value(NamedTuple):
    """The tensor of this number in a run; 0 is the image."""

    number: int


class Constant(NamedTuple):
    """A tensor or array that no operation made: a weight, or a number given in the code."""

    tensor: Any


@dataclass
class Operation:
    """One operation of a run: which, on what, with what, making which values."""

    name: str
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    outputs: tuple[int, ...]


@dataclass
class Run:
    """The operations of a network on one image, the shape of each value, and the values that it returned."""

    operations: list[Operation]
    shapes: list[tuple[int, ...]]
    outputs: tuple[int, ...]
    dtype: np.dtype


@dataclass
class Graph:
    """The fullest run, and what the other runs have in the place of each of its operations (None: left out) and values."""

    run: Run
    others: list[list[Operation | None]]  # one list an operation, over all runs
    shapes: list[list[tuple[int, ...]]]  # one list a value, over all runs


class Formula(NamedTuple):
    """(factor * first + sign * second + add) // divisor, of two sizes given as (value, axis); without sizes a constant."""

    first: tuple[int, int] | None
    factor: int = 1
    second: tuple[int, int] | None = None
    sign: int = 1
    add: int = 0
    divisor: int = 1

    @property
    def constant(self) -> int | None:
        """Return the number that it is at every size, or None."""
        return self.add if self.first is None else None


def record(model: Module, shape: tuple[int, ...], seed: int = 0) -> Run:
    """Return what the model does with a batch (N, C, H, W), computing nothing."""
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    noise = np.random.default_rng(seed).standard_normal(shape)
    image = Tensor(
        noise.astype(dtype), requires_grad=True
    )  # other numbers each time: what was read off them is noticed
    found, output = calls(model, image)
    numbers, shapes = {id(image): 0, id(image.data): 0}, [image.shape]

    def seen(value: Any) -> Any:
        if id(value) in numbers:
            return Value(numbers[id(value)])
        if isinstance(value, Tensor):
            same_memory = numbers.get(id(value.data))  # such as detach() leaves
            return Constant(value) if same_memory is None else Value(same_memory)
        return Constant(value) if isinstance(value, np.ndarray) else value

    operations = []
    for call in found:
        inputs = tuple(seen(x) for x in call.inputs)
        for tensor in call.outputs:
            numbers[id(tensor)] = numbers[id(tensor.data)] = len(shapes)
            shapes.append(tensor.shape)
        outputs = tuple(numbers[id(t)] for t in call.outputs)
        operations.append(Operation(call.function.__name__, inputs, call.options, outputs))
    ends = output if isinstance(output, tuple | list) else (output,)
    for end in ends:
        if not isinstance(end, Tensor) or not isinstance(seen(end), Value):
            raise TypeError(
                f"export_onnx: the model returns a {type(end).__name__} that was not computed by operations of "
                "minisegnet.functional from its input; argmax and comparisons are not exported, apply them to the scores"
            )
    return Run(operations, shapes, tuple(seen(end).number for end in ends), np.dtype(dtype))


def probes(model: Module, shape: tuple[int, int, int], works: Callable[[int], Any]) -> list[Run]:
    """Return runs at several sizes and batches, the wanted size first.

    Raises
    ------
    ValueError
        If the model does not take the wanted size (its own message), or no others.
    """
    channels, height, width = shape
    runs = [record(model, (1, *shape))]
    limit = 2 * max(height, width) + 130
    possible = [n for n in range(1, limit) if works(n)]
    near = [next((n for n in possible if n >= wanted), 0) for wanted in (*USUAL, height, width)]
    near += [*possible[:3], next((n for n in possible if n > max(height, width)), 0)]
    sizes = sorted({n for n in near if n})
    found = set()
    pairs = [(h, sizes[(i + 1) % len(sizes)]) for i, h in enumerate(sizes)] + [(height, width)]
    for i, (h, w) in enumerate(pairs):
        try:
            runs.append(record(model, (BATCHES[i % len(BATCHES)], channels, h, w), seed=i + 1))
        except ValueError:  # a size that the model refuses is no size to export for
            continue
        found.add((h, w))
    if len({h for h, _ in found}) < 3 or len({w for _, w in found}) < 3:
        taken = ", ".join(f"{h}x{w}" for h, w in sorted(found | {(height, width)}))
        raise ValueError(
            f"export_onnx: dynamic_size=True needs a model that takes images of several sizes; {type(model).__name__} took "
            f"only {taken}. Export it for one size: dynamic_size=False"
        )
    return runs


def fixed(model: Module, shape: tuple[int, int, int]) -> list[Run]:
    """Return runs at one size and several batches."""
    return [record(model, (n, *shape), seed=n) for n in (1, 2, 3)]


def align(runs: Sequence[Run]) -> Graph:
    """Return the fullest of the runs with the others laid beside it.

    Raises
    ------
    ValueError
        If they differ in more than crops and paddings that some sizes do not need.
    """
    fullest = max(runs, key=lambda run: len(run.operations))
    beside = [_beside(fullest, run) for run in runs]
    others = [[operations[i] for operations, _ in beside] for i in range(len(fullest.operations))]
    shapes = [
        [run.shapes[same[v]] for run, (_, same) in zip(runs, beside, strict=True)] for v in range(len(fullest.shapes))
    ]
    return Graph(fullest, others, shapes)


def _beside(full: Run, run: Run) -> tuple[list[Operation | None], dict[int, int]]:
    """Return the run's operation in the place of each of the full run's, and which of its values is which."""
    same: dict[int, int] = {0: 0}
    found: list[Operation | None] = []
    place = 0
    for operation in full.operations:
        theirs = run.operations[place] if place < len(run.operations) else None
        if theirs is not None and _alike(operation, theirs, same):
            same.update(zip(operation.outputs, theirs.outputs, strict=True))
            found.append(theirs)
            place += 1
        elif operation.name in UNEVEN:
            same[operation.outputs[0]] = same[operation.inputs[0].number]
            found.append(None)
        else:
            got = "nothing" if theirs is None else theirs.name
            raise ValueError(
                f"export_onnx: the model does other things at other sizes: {operation.name} with an image of "
                f"{full.shapes[0][2:]}, in its place {got} with {run.shapes[0][2:]}. Export it for one size: dynamic_size=False"
            )
    if place != len(run.operations) or [same[v] for v in full.outputs] != list(run.outputs):
        raise ValueError(
            f"export_onnx: the model does other things with an image of {run.shapes[0][2:]} than with "
            f"{full.shapes[0][2:]}. Export it for one size: dynamic_size=False"
        )
    return found, same


def _alike(mine: Operation, theirs: Operation, same: dict[int, int]) -> bool:
    if mine.name != theirs.name or len(mine.inputs) != len(theirs.inputs):
        return False
    for a, b in zip(mine.inputs, theirs.inputs, strict=True):
        if isinstance(a, Value) != isinstance(b, Value) or (isinstance(a, Value) and same[a.number] != b.number):
            return False
    return True


@dataclass
class Formulas:
    """Finds formulas; ``known`` holds the sizes that there are so far, each by its numbers over the runs, the oldest first."""

    graph: Graph
    known: dict[Vector, tuple[int, int]] = field(default_factory=dict)

    def learn(self, value: int) -> None:
        """Let the sizes of a value be used from here on."""
        shapes = self.graph.shapes[value]
        for axis in range(len(shapes[0])):
            self.known.setdefault(tuple(shape[axis] for shape in shapes), (value, axis))

    def find(self, numbers: Sequence[int | None]) -> Formula | None:
        """Return what gives these numbers, one a run (None: any will do); None if nothing does."""
        present = [i for i, n in enumerate(numbers) if n is not None]
        wanted = np.array([numbers[i] for i in present], dtype=np.int64)
        if not wanted.size or (wanted == wanted[0]).all():
            return Formula(None, add=int(wanted[0]) if wanted.size else 0)
        sizes = [(place, np.array(vector)[present]) for vector, place in self.known.items()]
        return next(self._fitting(wanted, [(p, s) for p, s in sizes if (s != s[0]).any()]), None)

    @staticmethod
    def _fitting(wanted: np.ndarray, sizes: list[tuple[tuple[int, int], np.ndarray]]) -> Iterator[Formula]:
        """Yield formulas that fit, the simplest first."""
        for place, size in sizes:
            if (size == wanted).all():
                yield Formula(place)
        for place, size in sizes:
            other = int(np.argmax(size != size[0]))
            factor, rest = divmod(int(wanted[other] - wanted[0]), int(size[other] - size[0]))
            add = int(wanted[0] - factor * size[0])
            if not rest and factor > 0 and (factor * size + add == wanted).all():
                yield Formula(place, factor, add=add)
        for place, size in sizes:
            for divisor in (2, 4, 8, 16, 32):
                least = int((wanted * divisor - size).max())  # what must be added at least, and at most
                if least <= int((wanted * divisor + divisor - 1 - size).min()) and (size + least >= 0).all():
                    yield Formula(place, add=least, divisor=divisor)
        for place, size in sizes:
            for second, less in sizes:
                for sign in (-1, 1):
                    if ((size + sign * less) // 2 == wanted).all() and (size + sign * less >= 0).all():
                        yield Formula(place, second=second, sign=sign, divisor=2)
