"""The tables of ``cpu.py``: beside the results, in README.md and in docs/performance.md. Losses stand there like wins."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from engines import ALGORITHMS, NETWORK, ORDINARY
from judge import MET, Entry, best, lines, mean, ours, ratio, reached, roofs, share
from rows_network import GROW_INFER, GROW_TRAIN, INFER, TRAIN

from minisegnet import storage

BEGIN, END = "<!-- speed -->\n", "<!-- /speed -->"
CLOSE = 0.01  # how far the mean Dice of the two engines may lie apart


def number(value: float, form: str = ".2f", unit: str = "") -> str:
    """Return a number as text, a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:{form}}{unit}"


def milliseconds(seconds: float) -> str:
    """Return a time with three digits that mean something."""
    return number(1e3 * seconds, ".0f" if seconds >= 0.1 else ".1f" if seconds >= 0.01 else ".3g")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown; the first two columns are words."""
    lines_of = ["| " + " | ".join(cells) + " |" for cells in [head, *rows]]
    return "\n".join([lines_of[0], "|---|---|" + "---:|" * (len(head) - 2), *lines_of[1:]])


def best_way(entry: Entry, engine: str) -> str:
    """Return the name of an engine's fastest way."""
    ways = entry["seconds"].get(engine, {})
    return min(ways, key=lambda way: min(ways[way]), default="")


def line(entry: Entry) -> str:
    """Return one line for the terminal."""
    failed = "; ".join(f"{engine} failed: {reason}" for engine, reason in entry["failed"].items())
    text = f"{entry['group']}: {entry['name']}: {milliseconds(ours(entry))} ms"
    if entry["group"] == "machine":
        rate = (entry["flops"] or entry["moved"]) / ours(entry) / 1e9
        return f"{text}, {rate:.0f} {'GFLOP/s' if entry['flops'] else 'GB/s'} {failed}"
    text += (
        f", PyTorch {milliseconds(best(entry, 'torch'))} ms ({best_way(entry, 'torch')}), ratio {number(ratio(entry))}"
    )
    if NETWORK in entry["seconds"].get("minisegnet", {}) and entry["counts"] == ORDINARY:
        text += f" (from channels-last arrays {number(best(entry, 'torch') / best(entry, 'minisegnet', NETWORK))})"
    if "onnxruntime" in entry["seconds"]:
        text += f", ONNX Runtime {milliseconds(best(entry, 'onnxruntime'))} ms"
    return f"{text}, {'/'.join(entry['chosen'])} {failed}".rstrip(", ")


def network_table(results: dict[str, Any]) -> str:
    """Return training steps and inference of whole U-Nets."""
    peak, rows = roofs(results)[0], []
    for entry in results["rows"].values():
        if entry["group"] in (TRAIN, INFER):
            rate = entry["flops"] / ours(entry)
            there = entry["threads"] == 0
            rows.append([entry["group"], entry["name"], milliseconds(ours(entry)), milliseconds(best(entry, "torch")),
                         number(ratio(entry)), number(ratio(entry, "onnxruntime")), number(rate / 1e9, ".0f"),
                         number(100 * rate / peak, ".0f", "%") if there else "", verdict(entry)])  # fmt: skip
    head = ["work", "case", "ms", "PyTorch, ms", "ratio", "beside ONNX Runtime", "GFLOP/s", "of the peak", "met"]
    return table(head, rows)


def verdict(entry: Entry) -> str:
    """Return what a row meets of what is asked of it."""
    if entry["judged"] in ("", "mean"):
        return ""
    return "failed" if entry["failed"].keys() & {"minisegnet", "torch"} else MET[reached(entry)]


def convolution_table(results: dict[str, Any]) -> str:
    """Return all convolutions, with the time of each algorithm beside that of the one which "auto" chose."""
    peak, rows = roofs(results)[0], []
    for entry in results["rows"].values():
        if entry["counts"] != ORDINARY:
            continue
        times = []
        for name in ALGORITHMS:
            seconds = best(entry, "minisegnet", name)
            if not math.isnan(seconds):
                mark = "**" if name in entry["chosen"] else ""
                times.append(f"{mark}{name} {milliseconds(seconds)}{mark}")
        rate, other = entry["flops"] / ours(entry), best(entry, "torch")
        rows.append([entry["group"], entry["name"], milliseconds(ours(entry)), milliseconds(other), number(ratio(entry)),
                     number(other / best(entry, "minisegnet", NETWORK)), number(ratio(entry, "onnxruntime")),
                     number(rate / 1e9, ".0f"), number(100 * rate / peak, ".0f", "%"),
                     ", ".join(times) or ", ".join(entry["chosen"]), verdict(entry)])  # fmt: skip
    head = ["work", "case", "ms", "PyTorch, ms", "ratio", "ratio in a network", "beside ONNX Runtime", "GFLOP/s",
            "of the peak", "each algorithm, ms", "met"]  # fmt: skip
    return table(head, rows)


def memory_bound_table(results: dict[str, Any]) -> str:
    """Return the rows that memory bounds."""
    rows = []
    for entry in results["rows"].values():
        if entry["judged"] == "bandwidth":
            other = best(entry, "torch")
            rows.append([entry["group"], entry["name"], milliseconds(ours(entry)), milliseconds(other),
                         number(ratio(entry)), number(other / best(entry, "minisegnet", ORDINARY)),
                         number(entry["moved"] / ours(entry) / 1e9, ".0f"), number(100 * share(entry), ".0f", "%"),
                         verdict(entry)])  # fmt: skip
    head = ["work", "size", "ms", "PyTorch, ms", "ratio", "from ordinary arrays", "GB/s", "of the triad", "met"]
    return table(head, rows)


def growth_table(results: dict[str, Any]) -> str:
    """Return milliseconds a megapixel, from small images to large ones."""
    rows = []
    for entry in results["rows"].values():
        if entry["group"] in (GROW_TRAIN, GROW_INFER):
            mega = entry["pixels"] / 1e6
            rows.append([entry["group"].split(", ")[1], entry["name"], milliseconds(ours(entry) / mega),
                         milliseconds(best(entry, "torch") / mega), number(ratio(entry))])  # fmt: skip
    return table(["work", "case", "ms a megapixel", "PyTorch", "ratio"], rows)


def lightest(entry: dict[str, Any], engine: str) -> dict[str, float]:
    """Return the measurement of an engine's layout with the smaller peak."""
    none = {"peak": math.nan, "imported": math.nan}
    return min(entry.get(engine, {}).values(), key=lambda one: one["peak"], default=none)


def peak_ratios(entry: dict[str, Any]) -> tuple[float, float]:
    """Return PyTorch's peak / ours: of the whole process, and above the level after the imports."""
    mine, other = lightest(entry, "minisegnet"), lightest(entry, "torch")
    return other["peak"] / mine["peak"], (other["peak"] - other["imported"]) / (mine["peak"] - mine["imported"])


def memory_line(entry: dict[str, Any]) -> str:
    """Return one line for the terminal."""
    both = [
        f"{engine} {number(lightest(entry, engine)['peak'] / 2**20, '.0f')} MiB" for engine in ("minisegnet", "torch")
    ]
    return ", ".join(both) + f" {entry.get('failed', '')}"


def memory_table(results: dict[str, Any]) -> str:
    """Return the peaks of a training step, and what of them is above the level after the imports."""
    rows = []
    for name, entry in results["memory"].items():
        mine, other = lightest(entry, "minisegnet"), lightest(entry, "torch")
        above = [one["peak"] - one["imported"] for one in (mine, other)]
        cells = [number(v / 2**20, ",.0f") for v in (mine["peak"], other["peak"], *above)]
        met = "yes" if min(peak_ratios(entry)) >= 1 else "no"
        rows.append(["training step", name, *cells, met])
    head = ["work", "case", "peak, MiB", "PyTorch", "above imports, MiB", "PyTorch", "at most PyTorch's"]
    return table(head, rows)


def recipe_table(results: dict[str, Any]) -> str:
    """Return the whole nuclei recipe: seconds and Dice."""
    rows = []
    for name, both in results["recipe"].items():
        done = {e: [f for f in folds if "failed" not in f] for e, folds in both.items()}
        common = {f["fold"] for f in done["torch"]} & {f["fold"] for f in done["minisegnet"]}
        if not common:
            continue
        took, dice = (
            {e: [f[what] for f in folds if f["fold"] in common] for e, folds in done.items()}
            for what in ("seconds", "dice")
        )
        total = {e: sum(seconds) for e, seconds in took.items()}
        score = {e: sum(scores) / len(scores) for e, scores in dice.items()}
        speed, apart = total["torch"] / total["minisegnet"], abs(score["torch"] - score["minisegnet"])
        met = MET[(speed >= 1.3) + (speed >= 2.0)] if apart <= CLOSE else "no: Dice"
        rows.append([name, str(len(common)), *(number(total[e], ".0f") for e in ("minisegnet", "torch")),
                     number(speed), *(f"{score[e]:.4f}" for e in ("minisegnet", "torch")), met])  # fmt: skip
    return table(["recipe", "folds", "s", "PyTorch, s", "ratio", "mean Dice", "PyTorch's", "met"], rows)


def summary_table(results: dict[str, Any]) -> str:
    """Return a line for each kind of work."""
    rows = []
    for one in lines(results):
        low, high = min(one.ratios), max(one.ratios)
        span = number(low) if len(one.ratios) == 1 else f"{number(low)} to {number(high)}"
        least, aim = (f"{wanted:g}" for wanted in one.asked)
        if one.entries[0]["judged"] == "bandwidth":
            least, aim = f"{least} or 80%", f"{aim} or 90%"
            span += f" ({100 * min(share(e) for e in one.entries):.0f}%)"
        rows.append(
            [
                one.title,
                f"{len(one.ratios)}",
                span,
                number(one.mean),
                number(one.network),
                least,
                aim,
                MET[one.reached],
            ]
        )
    peaks = [both for both in map(peak_ratios, results["memory"].values()) if not math.isnan(both[0])]
    if peaks:
        every = [value for both in peaks for value in both]
        span = f"{number(min(every))} to {number(max(every))}"
        met = "at least" if min(every) >= 1 else "no"
        rows.append(["memory of a training step", f"{len(peaks)}", span, number(mean(every)), "–", "1", "–", met])
    head = ["work", "cases", "PyTorch's time / ours", "mean", "mean in a network", "at least", "aim", "met"]
    return table(head, rows)


def head(results: dict[str, Any]) -> str:
    """Return when, where and how this was measured."""
    peak, memory = roofs(results)
    made, versions = results["machine"], results["versions"]
    against = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = (
        f"Measured on {results['date']}: {made['processor']} ({made['architecture']}), {results['threads']} threads, "
    )
    text += f"{results['clock']}, best of {results['rounds']} rounds in turn; {against}. "
    text += f"The machine's measured peak: {number(peak / 1e9, '.0f')} GFLOP/s, {number(memory / 1e9, '.0f')} GB/s. "
    return text + "Ratio: PyTorch's better layout / ours, above 1 ours is faster."


def failures(results: dict[str, Any]) -> list[str]:
    """Return everything that failed, and why."""
    made = [f"{key}: {engine}: {why}" for key, e in results["rows"].items() for engine, why in e["failed"].items()]
    made += [f"memory, {key}: {engine}: {why}" for key, e in results["memory"].items()
             for engine, why in e.get("failed", {}).items()]  # fmt: skip
    return made + [f"recipe, {key}, {engine}: {fold['failed']}" for key, both in results["recipe"].items()
                   for engine, folds in both.items() for fold in folds if "failed" in fold]  # fmt: skip


def write_page(results: dict[str, Any], file: Path, root: Path | None) -> str:
    """Write the tables beside the results; with ``root`` the pictures and pages too. Returns the summary."""
    import cpu_picture

    short = summary_table(results)
    parts = {
        "Whole networks": network_table(results),
        "Convolution": convolution_table(results),
        "What memory bounds": memory_bound_table(results),
        "Memory of a training step": memory_table(results),
        "Growth with the pixels": growth_table(results),
        "The nuclei recipe": recipe_table(results),
    }
    full = "\n\n".join(f"### {title}\n\n{text}" for title, text in parts.items() if text.count("\n") > 1)
    failed = "".join(f"- failed: {one}\n" for one in failures(results))
    said = f"{head(results)}\n\n{short}\n\n{full}\n\n{failed}"
    with storage.atomic_write(file.with_suffix(".md"), "w") as handle:
        handle.write(f"# Beside PyTorch on a CPU, {results['date']}\n\n`python benchmarks/cpu.py`. {said}")
    pictures = root / "docs" / "pictures" if root else file.parent
    written = cpu_picture.write(results, pictures, "" if root else f"{file.stem}_")
    if root and written:
        link = f"benchmarks/results/{file.with_suffix('.md').name}"
        pictured = "![PyTorch's time / ours, a bar for each kind of work]({}pictures/speed.png)\n\n"
        roofed = "![Effective GFLOP/s against arithmetic intensity, ours and PyTorch's, under the machine's roofs]"
        roofed += "(pictures/roofline.png)\n\n"
        recipe = f"\n\n{parts['The nuclei recipe']}" if results["recipe"] else ""
        put(
            root / "README.md",
            f"{pictured.format('docs/')}{head(results)} [All rows]({link}).\n\n{short}\n\n{parts['Whole networks']}{recipe}\n",
        )
        put(root / "docs" / "performance.md", f"{pictured.format('')}{roofed}{said}")
    return short


def put(page: Path, text: str) -> None:
    """Replace what a page says between its marks; a page without marks stays as it is."""
    content = page.read_text(encoding="utf-8") if page.exists() else ""
    if BEGIN not in content or END not in content:
        print(f"{page} has no {BEGIN.strip()} and {END}: left as it is")
        return
    before, rest = content.split(BEGIN, 1)
    with storage.atomic_write(page, "w") as handle:
        handle.write(before + BEGIN + text.rstrip() + "\n" + END + rest.split(END, 1)[1])
