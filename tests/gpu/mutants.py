"""Plants mistakes in a CUDA source, all at once: a number in the compiled library says which of them is alive."""

import ctypes
import re
from typing import NamedTuple

from gpu import cupy_stand_in, emulator

# Names that a tired author mistakes for each other.
MIXED_UP = [
    ("out_height", "out_width"),
    ("kernel_height", "kernel_width"),
    ("height", "width"),
    ("stride_h", "stride_w"),
    ("padding_h", "padding_w"),
    ("dilation_h", "dilation_w"),
    ("channels", "outputs"),
    ("group_channels", "group_outputs"),
    ("top", "bottom"),
    ("left", "right"),
    ("first_row", "first_column"),
    ("stop_row", "stop_column"),
    ("classes", "pixels"),
    ("channels", "area"),
]
DECLARED = '\nextern "C" __attribute__((visibility("default"))) int mutant;\nint mutant = 0;\n'


class Mutant(NamedTuple):
    """One planted mistake: its number, the line of the source it is in, and what it does."""

    number: int
    line: int
    what: str


def plant(source):
    """Return the source with all mistakes in it, each asleep, and what they are."""
    mutants = []

    def add(position, text, what):
        mutants.append(Mutant(len(mutants) + 1, text.count("\n", 0, position) + 1, what))
        return len(mutants)

    text = _names(source, add)
    text = _loops(text, add)
    text = _conditions(text, add)
    text = re.sub(
        r"__syncthreads\(\);",
        lambda m: f"if (mutant != {add(m.start(), m.string, 'no barrier')}) __syncthreads();",
        text,
    )
    text = re.sub(
        r"copy_async_wait<\d>\(\);",
        lambda m: f"if (mutant != {add(m.start(), m.string, 'no wait')}) {m[0]}",
        text,
    )
    first, rest = text.split("typedef", 1)
    return first + DECLARED.replace("\n", " ").strip() + " typedef" + rest, mutants


def survivors(change, mistakes, noticed, monkeypatch):
    """Return the mistakes that ``noticed()`` says nothing about, each awake in turn; ``change`` puts them into a source.

    ``noticed`` runs the kernels of one source and returns what is wrong, or None.
    """
    monkeypatch.setattr(cupy_stand_in, "CHANGED", change)
    made, load = [], emulator.Module.__init__

    def remember(self, *given):
        load(self, *given)
        made.append(self)

    monkeypatch.setattr(emulator.Module, "__init__", remember)
    alive = []
    with cupy_stand_in.installed():
        assert noticed() is None  # all mistakes asleep
        (module,) = made
        awake = ctypes.c_int.in_dll(module._library, "mutant")
        for mistake in mistakes:
            awake.value = mistake.number
            if noticed() is None:
                alive.append(mistake)
    return alive


def _bodies(text):
    """Yield (start, stop) of the functions' bodies."""
    for match in re.finditer(r"^(?:extern|__device__)[^{]*\{", text, re.MULTILINE):
        yield match.end(), text.index("\n}\n", match.end())


def _names(text, add):
    """Mix up two names, at one place."""
    for start, stop in reversed(list(_bodies(text))):
        head = text[text.rindex("__global__", 0, start) if "__global__" in text[:start] else 0 : start]
        body, known = text[start:stop], set(re.findall(r"\w+", head + text[start:stop]))
        other = {a: b for pair in MIXED_UP if known >= set(pair) for a, b in (pair, pair[::-1])}

        def swap(match, other=other, start=start, body=body):
            name = match[0]
            before, after = body[: match.start()], body[match.end() :]
            declared = re.match(r"\s*=[^=]", after) or re.search(r"(int|T|double|\*) $", before)
            if name not in other or declared or _declared_later(other[name], body, match.start()):
                return name
            number = add(start + match.start(), text, f"{other[name]} for {name}")
            return f"(mutant == {number} ? {other[name]} : {name})"

        text = text[:start] + re.sub(r"(?<![\w/.])[a-z_]+\b(?![^\n]*//#)", swap, _without_notes(body)) + text[stop:]
    return text


def _without_notes(body):
    return re.sub(r"//[^\n]*", "", body)


def _declared_later(name, body, position):
    found = re.search(rf"\b(?:int|T|double|long long) (?:\w+ = [^;]*, )?{name} =|, {name} =", body)
    return found is not None and found.start() >= body.rfind(";", 0, position)


def _loops(text, add):
    """Let a loop run once too often."""
    return re.sub(
        r"(for \([^;]*; )(\S+) < ([^;]+)(; )",
        lambda m: (
            f"{m[1]}(mutant == {add(m.start(), m.string, f'{m[2]} <= its end')} ? {m[2]} <= {m[3]} : {m[2]} < {m[3]}){m[4]}"
        ),
        text,
    )


def _conditions(text, add):
    """Leave a check out: what follows `if` never happens."""
    done, rest = "", text
    while (found := rest.find("if (")) >= 0:
        depth, stop = 1, found + 4
        while depth:
            depth += {"(": 1, ")": -1}.get(rest[stop], 0)
            stop += 1
        number = add(len(done) + found, done + rest, "no check")
        done += f"{rest[:found]}if (mutant != {number} && ({rest[found + 4 : stop - 1]}))"
        rest = rest[stop:]
    return done + rest
