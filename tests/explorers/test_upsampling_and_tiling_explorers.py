"""Upsampling compared, FCN skips, U-Net sizes and tiling: what they say agrees with loops and integers of this file."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("ipywidgets")
from minisegnet import data, models
from minisegnet.autograd import no_grad
from minisegnet.explorers import fcn_nets, tiling_runs, upsampling_rules
from minisegnet.explorers.fcn_skips import draw_fcn_skips, fcn_skips
from minisegnet.explorers.tiling import draw_tiling, tiling
from minisegnet.explorers.upsampling import draw_upsampling, upsampling
from minisegnet.nn import init

TEXT = "{http://www.w3.org/2000/svg}text"


def scores_of(model, images):
    """Return a model's scores of one image, (K, H, W)."""
    with no_grad():
        return model(np.ascontiguousarray(images)).numpy()[0]


# Upsampling


def windows(image, factor):
    """Yield (row, column, rows of numbers) of each window, by slicing lists."""
    for i in range(0, len(image), factor):
        for j in range(0, len(image), factor):
            yield i, j, [row[j : j + factor] for row in image[i : i + factor]]


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("picture", ["photo", "stars"])
def test_unpooling_puts_each_maximum_at_its_place_and_nothing_elsewhere(picture, factor):
    image = upsampling_rules.original(picture)[0].tolist()
    result = upsampling_rules.brought_up(picture, factor, "maximum", "bilinear").results[2][0].tolist()
    for i, j, window in windows(image, factor):
        best = max(max(row) for row in window)
        filled = [(y, x) for y in range(factor) for x in range(factor) if result[i + y][j + x]]
        if best:
            assert len(filled) == 1
            y, x = filled[0]
            assert result[i + y][j + x] == window[y][x] == best
        else:
            assert not filled


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_transposed_convolution_is_bilinear_interpolation_away_from_the_border(factor):
    up = upsampling_rules.brought_up("photo", factor, "mean", "bilinear")
    half = factor // 2
    apart = np.abs(up.results[1] - up.results[3])
    assert apart[:, half:-half, half:-half].max() < 1e-6
    assert up.differing == up.ring == 128 * 128 - (128 - factor) ** 2
    n, k = 128 // factor, 2 * factor
    assert (
        f"({n} − 1)·{factor} − 2·{half} + {k} = {(n - 1) * factor - 2 * half + k}"
        in draw_upsampling(factor=factor).formula[2]
    )
    assert f"in {128 * 128 - (128 - factor) ** 2:,} pixels, all at the border." in draw_upsampling(factor=factor).twin


@pytest.mark.parametrize("factor", [2, 4])
def test_nearest_repeats_and_bilinear_weighs_as_loops_do(factor):
    photo = upsampling_rules.original("photo").astype(float)
    small = [
        [photo[1, i : i + factor, j : j + factor].mean() for j in range(0, 128, factor)] for i in range(0, 128, factor)
    ]
    up = upsampling_rules.brought_up("photo", factor, "mean", "bilinear")
    last = 128 // factor - 1
    for y, x in [(0, 0), (5, 9), (64, 31), (100, 126), (127, 127)]:
        assert up.results[0][1, y, x] == pytest.approx(small[y // factor][x // factor], abs=1e-6)
        at = [min(max((place + 0.5) / factor - 0.5, 0), last) for place in (y, x)]
        total = sum(
            small[v][u] * max(0, 1 - abs(at[0] - v)) * max(0, 1 - abs(at[1] - u))
            for v in range(last + 1)
            for u in range(last + 1)
        )
        assert up.results[1][1, y, x] == pytest.approx(total, abs=1e-6)


def test_the_learned_kernel_has_the_least_squared_error():
    truth = upsampling_rules.original("photo").astype(float)
    for factor in (2, 4, 8):
        learned, given = (
            ((upsampling_rules.brought_up("photo", factor, "mean", kernel).results[3] - truth) ** 2).mean()
            for kernel in ("learned", "bilinear")
        )
        assert learned < given
    from minisegnet import functional as F

    small = F.avg_pool2d(truth[None], 2).numpy()[0]
    kernel = upsampling_rules.fitted(small, truth, 2).astype(float)
    best = None
    for change in (0, 0.02, -0.02):  # any other weight is worse
        moved = kernel.copy()
        moved[:, 0, 1, 2] += change
        error = ((F.conv_transpose2d(small[None], moved, stride=2, padding=1, groups=3).numpy()[0] - truth) ** 2).mean()
        assert best is None or error > best
        best = best or error


def test_the_discovery_of_upsampling_unpooling_is_worst_on_the_photo_and_exact_on_stars():
    explorer = upsampling()
    errors = [float(e) for e in re.findall(r"(?:nearest|bilinear|unpooling|transposed) (\d+\.\d)", explorer.twin)]
    assert errors[2] > 5 * max(errors[0], errors[1], errors[3])
    explorer.discover()
    errors = [float(e) for e in re.findall(r"(?:nearest|bilinear|unpooling|transposed) (\d+\.\d)", explorer.twin)]
    assert errors[2] == 0 < min(errors[0], errors[1], errors[3])
    stars = upsampling_rules.original("stars")[0].tolist()
    assert all(sum(v > 0 for row in window for v in row) == 1 for _, _, window in windows(stars, 8))
    assert "93.8%" in explorer.discovery.fact
    assert round(100 * (1 - 1 / 16) + 1e-9, 1) == 93.8


def test_errors_are_means_of_differences_and_shares_of_wrong_pixels():
    scene = data.scene(128)
    up = upsampling_rules.brought_up("class map", 4, "mean", "bilinear")
    found = upsampling_rules.as_classes(up.results[0]).tolist()
    pairs = [(f, t) for fs, ts in zip(found, scene.labels.tolist(), strict=True) for f, t in zip(fs, ts, strict=True)]
    known = [(f, t) for f, t in pairs if t != 255]
    assert up.errors[0] == pytest.approx(100 * sum(f != t for f, t in known) / len(known))
    stars = upsampling_rules.brought_up("stars", 2, "mean", "bilinear")
    truth, result = upsampling_rules.original("stars").astype(float).ravel(), stars.results[2].astype(float).ravel()
    total = sum(abs(a - b) for a, b in zip(truth.tolist(), result.tolist(), strict=True))
    assert stars.errors[2] == pytest.approx(255 * total / 128**2)


# FCN


def near_an_edge(truth, y, x, reach):
    """Say whether another class is at most ``reach`` rows and columns away."""
    rows = truth[max(0, y - reach) : y + reach + 1]
    return any(set(row[max(0, x - reach) : x + reach + 1]) - {255, truth[y][x]} for row in rows)


def test_the_skips_make_fewer_errors_at_edges_and_longer_training_does_not():
    shown = fcn_nets.picture(2)
    truth = shown.labels.tolist()
    known = [(y, x) for y in range(fcn_nets.SIZE) for x in range(fcn_nets.SIZE) if truth[y][x] != 255]
    near = [(y, x) for y, x in known if near_an_edge(truth, y, x, fcn_nets.RIM)]
    share = {}
    for name in fcn_nets.NETS:
        found = fcn_nets.predict(name, 2).labels.tolist()
        share[name] = 100 * sum(found[y][x] != truth[y][x] for y, x in near) / len(near)
        assert fcn_nets.predict(name, 2).near == pytest.approx(share[name])
        assert f"{share[name]:.0f}% of the pixels are wrong" in draw_fcn_skips(variant=name).twin
    assert share["32s"] > share["16s"] > share["8s"]
    explorer = fcn_skips()
    assert "8s" in explorer.discover()
    assert "more than 1.5 times" in explorer.discovery.fact
    for scene in explorer.controls["scene"].values:
        longer, first, fine = (fcn_nets.predict(name, scene) for name in ("32s, longer", "32s", "8s"))
        assert longer.near > 1.5 * fine.near
        assert longer.near > 0.85 * first.near


def test_the_sum_of_scores_is_what_the_net_upsamples():
    prediction = fcn_nets.predict("8s", 0)
    model = fcn_nets.net("8s")
    assert [s.kind for s in prediction.way] == ["scores", "pool", "sum", "pool", "sum"]
    assert [s.stride for s in prediction.way] == [32, 16, 16, 8, 8]
    padded = 192 + 2 * 33 - 2
    assert prediction.way[0].labels.shape == (padded // 32 - 2,) * 2  # five halvings, then fc6 of 3 x 3
    for before, after in ((0, 2), (2, 4)):
        assert prediction.way[after].labels.shape == (2 * len(prediction.way[before].labels) + 2,) * 2
    x = fcn_nets.picture(0).image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    assert (scores_of(model, x).argmax(0) == prediction.labels).all()
    assert not model.__dict__.get("_forward_pre_hooks")
    assert not any(up.__dict__.get("_forward_pre_hooks") for up in model.upsample)


def test_the_published_crops_are_those_of_the_paper():
    assert [fcn_nets.published_crops(stride) for stride in (32, 16, 8)] == [(19,), (5, 27), (5, 9, 31)]
    assert draw_fcn_skips(variant="8s").formula[1].endswith("5, 9, 31")


def test_a_packed_net_is_the_whole_net(tmp_path):
    model = fcn_nets.net("16s")
    assert sum(p.size for p in model.upsample[-1].state_dict().values()) == 5 * 5 * 32 * 32
    weight = model.upsample[-1].weight.detach().numpy()
    f, c = 16, 15.5
    row = [1 - abs(i - c) / f for i in range(32)]
    assert np.allclose(weight[2, 2], np.outer(row, row))
    assert not weight[1, 2].any()
    assert model.about["made_by"] == "scripts/train_fcn_nets.py"
    assert not model.training


# Sizes and tiles


def by_the_paper(size, depth, valid):
    """Return the output size of a U-Net, or None, by the arithmetic of figure 1."""
    lost = 4 if valid else 0
    for _ in range(depth):
        size -= lost
        if size < 2 or size % 2:
            return None
        size //= 2
    size -= lost
    for _ in range(depth):
        size = 2 * size - lost
    return size if size > 0 else None


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_sizes_are_those_of_the_model_and_of_arithmetic(padding, depth):
    with init.no_draws():
        model = models.UNet(1, 2, 1, depth, padding=padding, norm=None)
    for size in range(32, 701):
        found = tiling_runs.sizes(size, depth, padding)
        assert found.output == by_the_paper(size, depth, padding == "valid") == model.output_size(size), size
        assert bool(found.wrong) == (found.output is None)
        if padding == "valid":
            fits = (size + 4) % 2**depth == 0 and size > 12 * 2**depth - 8
            assert found.output == (size - 12 * 2**depth + 8 if fits else None)


def test_every_size_of_the_published_net_is_on_the_picture():
    drawing = draw_tiling()
    said = [t.text for t in ElementTree.fromstring(drawing.picture).iter(TEXT)]
    for row in (
        "572 → 570 → 568", "284 → 282 → 280", "140 → 138 → 136", "68 → 66 → 64", "32 → 30 → 28", "56 → 54 → 52",
        "104 → 102 → 100", "200 → 198 → 196", "392 → 390 → 388", "crop 4", "crop 16", "crop 40", "crop 88",
    ):  # fmt: skip
        assert row in said
    assert "by 31,030,658 parameters and 150.4 billion products" in drawing.twin  # 150,428,424,448
    assert tiling_runs.bill(572, 4, "valid")[:2] == (31_030_658, 150_428_424_448)
    assert "279 is odd" in draw_tiling(size=570).twin
    assert (570 - 4) // 2 - 4 == 279
    assert "Sizes nearby that do: 556, 572, 588." in draw_tiling(size=571).twin


def test_the_radius_follows_from_the_layers():
    down = sum(2 * 2**level for level in range(4))  # two 3 x 3 convolutions a level, one pixel each
    bottom, up = 2 * 16, sum(2 * 2**level for level in range(4))
    assert (
        tiling_runs.radius() == down + bottom + up + 15 == 107
    )  # a block of 16 x 16 comes from one place of the bottom
    assert draw_tiling("seam").formula[1].endswith("in steps of 16: 112")


def test_the_discovery_of_tiling_only_a_shift_of_sixteen_changes_nothing():
    explorer = tiling()
    explorer.discover()
    assert explorer.twin.startswith("Shifted by 16 pixels, no pixel changes its class; a probability changes by 0.00")
    assert "16 = 2⁴" in explorer.discovery.fact
    model, strip = (
        models.load_pretrained("nuclei"),
        tiling_runs.tissue().transpose(2, 0, 1)[None].astype(np.float32) / 255,
    )
    first = tiling_runs.SHIFTS[-1] + 107
    before = scores_of(model, strip[..., :384])
    for shift in range(1, 17):
        after = scores_of(model, strip[..., shift : shift + 384])
        changed = sum(
            (before[1, y, x] > before[0, y, x]) != (after[1, y, x - shift] > after[0, y, x - shift])
            for y in range(96)
            for x in range(first, 384 - 107)
        )
        assert (changed == 0) == (shift == 16)
        assert abs(tiling_runs.moved(shift)[0] - changed) <= 1  # sums of float32
        assert tiling_runs.moved(shift)[1] == 96 * (384 - 107 - first)


def test_the_seam_is_gone_where_arithmetic_promises_it():
    assert tiling_runs.seam(0)[1] > 0.3
    assert tiling_runs.seam(16)[1] > 0.02
    for margin in (112, 128):
        assert tiling_runs.seam(margin) == (0, 0.0)
        assert "no pixel differs from the prediction of the whole" in draw_tiling("seam", margin=margin).twin
    model, strip = (
        models.load_pretrained("nuclei"),
        tiling_runs.tissue().transpose(2, 0, 1)[None].astype(np.float32) / 255,
    )
    left = scores_of(model, strip[..., : 192 + 32])[:, :, :192]
    right = scores_of(model, strip[..., 192 - 32 : 384])[:, :, 32:]
    scores = np.concatenate([left, right], axis=2)
    assert np.allclose(tiling_runs.tiled(32), 1 / (1 + np.exp(scores[0] - scores[1])), atol=1e-4)
