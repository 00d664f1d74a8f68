"""The roofline: operations and bytes by loops over outputs, bounds by arithmetic of its own, the tables' machine."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("ipywidgets")
from minisegnet import explorers
from minisegnet.explorers.roofline import BANDWIDTH, KINDS, PEAK, draw_roofline, said, work

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "cpu_2026-11-23.json"


def by_loops(kind, kernel, channels, size):
    """Count two operations a product, one a comparison, of one output number after another; and the arrays' bytes."""
    taps = 1 if kind == "1 × 1" else kernel * kernel
    reads = {"ReLU": 0, "depthwise": taps}.get(kind, taps * channels)
    operations = sum(2 * reads if reads else 1 for _ in range(channels * size * size))
    weights = {"ReLU": 0, "depthwise": channels * taps}.get(kind, channels * channels * taps)
    return operations, 4 * (channels * size * size + weights + channels * size * size)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("numbers", [(3, 4, 8), (7, 2, 8), (5, 16, 16)])
def test_operations_and_bytes_are_those_of_loops(kind, numbers):
    made = work(kind, *numbers)
    assert (made.operations, made.bytes) == by_loops(kind, *numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_products_and_weights_are_those_of_the_layers(kind):
    from minisegnet import nn

    layers = {
        "convolution": nn.Conv2d(8, 8, 3, padding=1, bias=False),
        "1 × 1": nn.Conv2d(8, 8, 1, bias=False),
        "depthwise": nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
    }
    if kind in layers:
        summary = nn.Sequential(layers[kind]).summary((8, 16, 16))
        made = work(kind, 3, 8, 16)
        assert made.operations == 2 * summary.multiply_accumulates
        assert made.bytes == 4 * (2 * 8 * 16 * 16 + summary.parameters)


def test_the_machine_is_the_one_of_the_tables():
    text = RESULTS.with_suffix(".md").read_text(encoding="utf-8")
    measured = re.findall(r"measured peak: (\d+) GFLOP/s, (\d+) GB/s", text)[0]
    for shown, found in zip((PEAK, BANDWIDTH), measured, strict=True):  # a day's runs measure it again and again
        assert abs(shown / int(found) - 1) < 0.06
    assert json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]


def test_a_bound_is_said_for_each_of_the_four():
    for state in ({}, {"peak": 67000}, {"channels": 1}, {"peak": 20, "bandwidth": 3350}, {"kernel": 7}):
        drawing = draw_roofline(**state)
        flat, slope = drawing.twin.split("Memory bounds")
        for kind in KINDS:
            made = work(kind, state.get("kernel", 3), state.get("channels", 64), 64)
            peak, bandwidth = state.get("peak", PEAK), state.get("bandwidth", BANDWIDTH)
            operations, moved = by_loops(kind, state.get("kernel", 3), state.get("channels", 64), 64)
            times = operations / (peak * 1e9), moved / (bandwidth * 1e9)  # to multiply, and to move
            assert made.name in (flat if times[0] >= times[1] else slope), (kind, state)
            speed = operations / max(times) / 1e9
            assert f"({said(made.intensity)} operations a byte, {said(speed)} GFLOP/s)" in drawing.twin


def test_winograd_helps_where_arithmetic_bounds_and_only_there():
    def speed(**state):
        return float(
            re.findall(r"3 × 3 convolution \([^,]+, ([\d.,]+) GFLOP", draw_roofline(**state).twin)[0].replace(",", "")
        )

    assert speed(winograd=True) / speed() == 4
    slow = {"peak": 6100, "channels": 2}
    assert speed(**slow, winograd=True) == speed(**slow)
    between = {"peak": 400, "channels": 4}
    assert 1 < speed(**between, winograd=True) / speed(**between) < 4
    assert draw_roofline(kernel=5, winograd=True) == draw_roofline(kernel=5)
    assert 'algorithm="winograd"' in draw_roofline(winograd=True).code
    assert "winograd" not in draw_roofline(winograd=True).torch


def test_the_discovery_only_what_arithmetic_bounds_becomes_ten_times_faster():
    explorer = explorers.roofline()
    before, after = explorer.twin, explorer.discover()
    gains = {}
    for kind in KINDS:
        operations, moved = by_loops(kind, 3, 64, 64)
        slow, fast = (max(operations / (peak * 1e9), moved / 58e9) for peak in (205, 2050))
        gains[kind] = slow / fast
    assert gains["convolution"] == pytest.approx(10)
    assert f"{gains['1 × 1']:.1f}" == "4.5"
    assert gains["depthwise"] == gains["ReLU"] == 1
    for number in ("205", "2,050", "921", "4.5 times"):
        assert number in explorer.discovery.fact
    assert "1 × 1 convolution (15.9 operations a byte, 205 GFLOP/s)" in before
    assert "1 × 1 convolution (15.9 operations a byte, 921 GFLOP/s)" in after
    depthwise = "depthwise 3 × 3 (2.25 operations a byte, 130 GFLOP/s)"
    assert depthwise in before
    assert depthwise in after


def test_points_stand_under_the_roof_and_over_their_intensity():
    picture = draw_roofline(operation="ReLU").picture
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="12" fill="var', picture)
    across = sorted(float(x) for x, _ in dots if float(x) < 480)
    assert across[0] == pytest.approx(64 + 404 / 18, abs=0.1)  # one eighth: an octave from the left end
    assert len(across) == 4
    for channels in (1, 512):
        for peak in (20, 67000):
            said_speeds = re.findall(r"([\d.,]+) GFLOP/s\)", draw_roofline(channels=channels, peak=peak).twin)
            assert all(float(speed.replace(",", "")) <= peak for speed in said_speeds)
