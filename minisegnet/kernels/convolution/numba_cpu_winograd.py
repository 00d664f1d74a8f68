"""3x3 convolution with a quarter of the multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, 2016).

Four neighbouring outputs of a 3-tap filter need 12 products; by way of polynomials evaluated at the points
0, 1, -1, 2, -2 and infinity they need 6, in two dimensions 36 instead of 144. Each 4x4 tile of the output is

    Y = A^T [ (G w G^T) * (B^T d B) ] A          d: the 6x6 inputs it reads, *: element by element, then summed over channels

For all tiles and channels at once, the element-wise products are 36 matrix products (tiles x C) (C x O), which is where the
time goes (``numba_cpu_tile.py``). The gradients come from the same three linear maps: that of the input is the same
convolution with weights turned round and channels exchanged; that of the weight is

    grad_w = G^T [ sum over tiles of (B^T d B) * (A dY A^T) ] G

The price is accuracy: sums of large numbers that cancel. Relative to direct sums the error is about five times as large
(2e-6 of the largest output), far inside what training notices; ``algorithm="direct"`` avoids it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from ...arrays import channels_first
from ...shapes import Size, conv_output_size
from .numba_cpu_tile import COLUMNS, ROWS, multiply_tile

OPTIONS: Any = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
PART = 2**20  # bytes of transformed tiles that a thread works on at a time: they stay in its part of the cache
f32 = np.float32


def conv2d(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the convolution (N, O, OH, OW); kernel 3x3, stride, dilation and groups 1, float32."""
    size = conv_output_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    start = np.zeros(len(weight), f32) if bias is None else bias
    return _convolve(input, np.ascontiguousarray(weight), start, size, padding)


def conv2d_grad_input(
    grad_output: np.ndarray,
    weight: np.ndarray,
    input_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (N, C, H, W) of the input: the convolution with the weights turned round."""
    turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    start = np.zeros(weight.shape[1], f32)
    return _convolve(grad_output, turned, start, (input_size[0], input_size[1]), (2 - padding[0], 2 - padding[1]))


def conv2d_grad_weight(
    grad_output: np.ndarray,
    input: np.ndarray,
    kernel_size: Size,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return the gradient (O, C, 3, 3) of the weight."""
    x, gy = _channels_last(input), _channels_last(grad_output)
    channels, outputs = x.shape[3], gy.shape[3]
    blocks, tiles = -(-outputs // COLUMNS), _tiles(len(x), gy.shape[1:3])
    at_once = max(1, min(tiles, max(2 * ROWS, 8 * PART // (36 * 4 * (channels + blocks * COLUMNS)))))
    sums = np.zeros((36, channels, blocks * COLUMNS), f32)
    v = np.empty((36, at_once, channels), f32)
    u = np.empty((36, blocks, at_once, COLUMNS), f32)
    _sum_tiles(x, gy, padding[0], padding[1], at_once, v, u, sums)
    grad_weight = np.empty((outputs, channels, 3, 3), f32)
    _weight_from_sums(sums, grad_weight)
    return grad_weight


def _convolve(input: np.ndarray, weight: np.ndarray, start: np.ndarray, size: Size, padding: Size) -> np.ndarray:
    """Return (N, O, *size); pixel (y, x) of the output reads the inputs from (y, x) - padding on."""
    x = _channels_last(input)
    outputs, channels = weight.shape[:2]
    blocks = -(-outputs // COLUMNS)
    panels = np.empty((36, blocks, channels, COLUMNS), f32)
    _transform_weight(weight, panels)
    bias = np.zeros(blocks * COLUMNS, f32)
    bias[:outputs] = start
    out = np.empty((len(x), *size, outputs), f32)
    tiles, per_tile = _tiles(len(x), size), 36 * 4 * (channels + blocks * COLUMNS)
    at_once = max(PART // per_tile, 2 * ROWS)
    at_once = max(1, min(at_once, -(-tiles // get_num_threads())))
    at_once = -(-at_once // ROWS) * ROWS
    _convolve_tiles(x, panels, bias, padding[0], padding[1], at_once, out)
    return channels_first(out)


def _channels_last(array: np.ndarray) -> np.ndarray:
    """Return (N, H, W, C) contiguous: a view where the memory is channels-last already."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def _tiles(images: int, size: tuple[int, ...]) -> int:
    return images * -(-size[0] // 4) * -(-size[1] // 4)


@njit(**OPTIONS)
def _transform_weight(weight, panels):
    """G w G^T of (O, C, 3, 3) into (36, O / 16, C, 16)."""
    outputs, channels = weight.shape[0], weight.shape[1]
    quarter, sixth, twelfth, twentyfourth = f32(1 / 4), f32(1 / 6), f32(1 / 12), f32(1 / 24)
    for block in prange(panels.shape[1]):
        half = np.empty((6, 3, 16), np.float32)
        for c in range(channels):
            for j in range(3):
                for lane in range(16):
                    o = min(block * 16 + lane, outputs - 1)
                    w0, w1, w2 = weight[o, c, 0, j], weight[o, c, 1, j], weight[o, c, 2, j]
                    even, odd = -(w0 + w2) * sixth, w1 * sixth
                    half[0, j, lane], half[1, j, lane], half[2, j, lane] = w0 * quarter, even - odd, even + odd
                    even, odd = w0 * twentyfourth + w2 * sixth, w1 * twelfth
                    half[3, j, lane], half[4, j, lane], half[5, j, lane] = even + odd, even - odd, w2
            for i in range(6):
                p0, p1, p2 = panels[6 * i, block, c], panels[6 * i + 1, block, c], panels[6 * i + 2, block, c]
                p3, p4, p5 = panels[6 * i + 3, block, c], panels[6 * i + 4, block, c], panels[6 * i + 5, block, c]
                h0, h1, h2 = half[i, 0], half[i, 1], half[i, 2]
                for lane in range(16):
                    w0, w1, w2 = h0[lane], h1[lane], h2[lane]
                    even, odd = -(w0 + w2) * sixth, w1 * sixth
                    p0[lane], p1[lane], p2[lane] = w0 * quarter, even - odd, even + odd
                    even, odd = w0 * twentyfourth + w2 * sixth, w1 * twelfth
                    p3[lane], p4[lane], p5[lane] = even + odd, even - odd, w2


@njit(**OPTIONS)
def _convolve_tiles(x, panels, bias, top, left, at_once, out):
    """Transform, multiply and transform back, ``at_once`` tiles at a time, each thread its own."""
    images, height, width, channels = x.shape
    out_height, out_width, outputs = out.shape[1], out.shape[2], out.shape[3]
    blocks = panels.shape[1]
    padded = blocks * 16
    tiles_y, tiles_x = (out_height + 3) // 4, (out_width + 3) // 4
    tiles = images * tiles_y * tiles_x
    two, four, five, eight = f32(2), f32(4), f32(5), f32(8)
    flat_panels = panels.reshape(-1)
    nothing = np.zeros(channels, np.float32)
    zeros = np.zeros(16, np.float32)
    no_jump = np.zeros(1, np.int64)
    for part in prange((tiles + at_once - 1) // at_once):
        first = part * at_once
        count = min(at_once, tiles - first)
        v = np.empty((36, at_once, channels), np.float32)
        m = np.empty((36, at_once, padded), np.float32)
        flat_v, flat_m = v.reshape(-1), m.reshape(-1)
        d = np.empty((6, 6, channels), np.float32)
        for t in range(count):  # B^T d B
            image = (first + t) // (tiles_y * tiles_x)
            rest = first + t - image * tiles_y * tiles_x
            ty = rest // tiles_x
            y0, x0 = ty * 4 - top, (rest - ty * tiles_x) * 4 - left
            inside = y0 >= 0 and y0 + 6 <= height
            for j in range(6):
                xx = x0 + j
                whole = inside and 0 <= xx < width
                beside = xx < 0 or xx >= width
                column = 0 if beside else xx
                r0 = x[image, y0, column] if whole or (not beside and 0 <= y0 < height) else nothing
                r1 = x[image, y0 + 1, column] if whole or (not beside and 0 <= y0 + 1 < height) else nothing
                r2 = x[image, y0 + 2, column] if whole or (not beside and 0 <= y0 + 2 < height) else nothing
                r3 = x[image, y0 + 3, column] if whole or (not beside and 0 <= y0 + 3 < height) else nothing
                r4 = x[image, y0 + 4, column] if whole or (not beside and 0 <= y0 + 4 < height) else nothing
                r5 = x[image, y0 + 5, column] if whole or (not beside and 0 <= y0 + 5 < height) else nothing
                d0, d1, d2, d3, d4, d5 = d[0, j], d[1, j], d[2, j], d[3, j], d[4, j], d[5, j]
                for c in range(channels):
                    e0, e1, e2, e3, e4, e5 = r0[c], r1[c], r2[c], r3[c], r4[c], r5[c]
                    s1, q1, s2, q2 = e4 - four * e2, e3 - four * e1, e4 - e2, two * (e3 - e1)
                    d0[c], d1[c], d2[c] = four * e0 - five * e2 + e4, s1 + q1, s1 - q1
                    d3[c], d4[c], d5[c] = s2 + q2, s2 - q2, four * e1 - five * e3 + e5
            for i in range(6):
                d0, d1, d2, d3, d4, d5 = d[i, 0], d[i, 1], d[i, 2], d[i, 3], d[i, 4], d[i, 5]
                v0, v1, v2 = v[i * 6, t], v[i * 6 + 1, t], v[i * 6 + 2, t]
                v3, v4, v5 = v[i * 6 + 3, t], v[i * 6 + 4, t], v[i * 6 + 5, t]
                for c in range(channels):
                    e0, e1, e2, e3, e4, e5 = d0[c], d1[c], d2[c], d3[c], d4[c], d5[c]
                    s1, q1, s2, q2 = e4 - four * e2, e3 - four * e1, e4 - e2, two * (e3 - e1)
                    v0[c], v1[c], v2[c] = four * e0 - five * e2 + e4, s1 + q1, s1 - q1
                    v3[c], v4[c], v5[c] = s2 + q2, s2 - q2, four * e1 - five * e3 + e5
        for place in range(36):  # (tiles x C) (C x O)
            for block in range(blocks):
                panel = (place * blocks + block) * channels * 16
                t = 0
                while t < count:
                    rows = min(6, count - t)
                    if rows == 6 and count - t - 6 in (1, 2):
                        rows = 4  # 4 + 3 or 4 + 4 rather than 6 + 1: a short tile takes almost as long as a full one
                    multiply_tile(
                        rows, flat_v, (place * at_once + t) * channels, channels, 1, no_jump, 1, channels,
                        flat_panels, panel, zeros, 0, 0, flat_m, (place * at_once + t) * padded + block * 16, padded,
                    )  # fmt: skip
                    t += rows
        z = np.empty((4, 6, padded), np.float32)
        for t in range(count):  # A^T m A
            image = (first + t) // (tiles_y * tiles_x)
            rest = first + t - image * tiles_y * tiles_x
            ty = rest // tiles_x
            tx = rest - ty * tiles_x
            for j in range(6):
                m0, m1, m2, m3, m4, m5 = m[j, t], m[6 + j, t], m[12 + j, t], m[18 + j, t], m[24 + j, t], m[30 + j, t]
                z0, z1, z2, z3 = z[0, j], z[1, j], z[2, j], z[3, j]
                for o in range(padded):
                    p, q, r, s = m1[o] + m2[o], m1[o] - m2[o], m3[o] + m4[o], m3[o] - m4[o]
                    z0[o], z1[o], z2[o], z3[o] = m0[o] + p + r, q + two * s, p + four * r, q + eight * s + m5[o]
            for i in range(min(4, out_height - ty * 4)):
                m0, m1, m2, m3, m4, m5 = z[i, 0], z[i, 1], z[i, 2], z[i, 3], z[i, 4], z[i, 5]
                columns = min(4, out_width - tx * 4)
                if columns == 4:
                    y, xx = ty * 4 + i, tx * 4
                    o0, o1, o2, o3 = (
                        out[image, y, xx],
                        out[image, y, xx + 1],
                        out[image, y, xx + 2],
                        out[image, y, xx + 3],
                    )
                    for o in range(outputs):
                        p, q, r, s = m1[o] + m2[o], m1[o] - m2[o], m3[o] + m4[o], m3[o] - m4[o]
                        b = bias[o]
                        o0[o], o1[o] = m0[o] + p + r + b, q + two * s + b
                        o2[o], o3[o] = p + four * r + b, q + eight * s + m5[o] + b
                else:
                    for o in range(outputs):
                        p, q, r, s = m1[o] + m2[o], m1[o] - m2[o], m3[o] + m4[o], m3[o] - m4[o]
                        m0[o], m1[o], m2[o] = m0[o] + p + r, q + two * s, p + four * r
                    for j in range(columns):
                        target, source = out[image, ty * 4 + i, tx * 4 + j], z[i, j]
                        for o in range(outputs):
                            target[o] = source[o] + bias[o]


@njit(**OPTIONS)
def _sum_tiles(x, gy, top, left, at_once, v, u, sums):
    """Add up (B^T d B) * (A dY A^T) over all tiles, as 36 matrix products (C x tiles) (tiles x O)."""
    images, height, width, channels = x.shape
    out_height, out_width, outputs = gy.shape[1], gy.shape[2], gy.shape[3]
    blocks = u.shape[1]
    tiles_y, tiles_x = (out_height + 3) // 4, (out_width + 3) // 4
    tiles = images * tiles_y * tiles_x
    two, four, five, eight = f32(2), f32(4), f32(5), f32(8)
    nothing, blank = np.zeros(channels, np.float32), np.zeros(outputs, np.float32)
    flat_v, flat_u, flat_sums = v.reshape(-1), u.reshape(-1), sums.reshape(-1)
    no_jump = np.zeros(1, np.int64)
    row_tiles = (channels + 5) // 6
    for first in range(0, tiles, at_once):
        count = min(at_once, tiles - first)
        for t in prange(count):
            image = (first + t) // (tiles_y * tiles_x)
            rest = first + t - image * tiles_y * tiles_x
            ty = rest // tiles_x
            tx = rest - ty * tiles_x
            y0, x0 = ty * 4 - top, tx * 4 - left
            d = np.empty((6, 6, channels), np.float32)
            for j in range(6):
                xx = x0 + j
                beside = xx < 0 or xx >= width
                column = 0 if beside else xx
                r0 = x[image, y0, column] if not beside and 0 <= y0 < height else nothing
                r1 = x[image, y0 + 1, column] if not beside and 0 <= y0 + 1 < height else nothing
                r2 = x[image, y0 + 2, column] if not beside and 0 <= y0 + 2 < height else nothing
                r3 = x[image, y0 + 3, column] if not beside and 0 <= y0 + 3 < height else nothing
                r4 = x[image, y0 + 4, column] if not beside and 0 <= y0 + 4 < height else nothing
                r5 = x[image, y0 + 5, column] if not beside and 0 <= y0 + 5 < height else nothing
                d0, d1, d2, d3, d4, d5 = d[0, j], d[1, j], d[2, j], d[3, j], d[4, j], d[5, j]
                for c in range(channels):
                    e0, e1, e2, e3, e4, e5 = r0[c], r1[c], r2[c], r3[c], r4[c], r5[c]
                    s1, q1, s2, q2 = e4 - four * e2, e3 - four * e1, e4 - e2, two * (e3 - e1)
                    d0[c], d1[c], d2[c] = four * e0 - five * e2 + e4, s1 + q1, s1 - q1
                    d3[c], d4[c], d5[c] = s2 + q2, s2 - q2, four * e1 - five * e3 + e5
            for i in range(6):
                d0, d1, d2, d3, d4, d5 = d[i, 0], d[i, 1], d[i, 2], d[i, 3], d[i, 4], d[i, 5]
                v0, v1, v2 = v[i * 6, t], v[i * 6 + 1, t], v[i * 6 + 2, t]
                v3, v4, v5 = v[i * 6 + 3, t], v[i * 6 + 4, t], v[i * 6 + 5, t]
                for c in range(channels):
                    e0, e1, e2, e3, e4, e5 = d0[c], d1[c], d2[c], d3[c], d4[c], d5[c]
                    s1, q1, s2, q2 = e4 - four * e2, e3 - four * e1, e4 - e2, two * (e3 - e1)
                    v0[c], v1[c], v2[c] = four * e0 - five * e2 + e4, s1 + q1, s1 - q1
                    v3[c], v4[c], v5[c] = s2 + q2, s2 - q2, four * e1 - five * e3 + e5
            z = np.empty((6, 4, outputs), np.float32)  # A dY A^T: first down the columns
            w = np.zeros((6, blocks * 16), np.float32)
            y = ty * 4
            for j in range(4):
                xx = tx * 4 + j
                beside = xx >= out_width
                column = 0 if beside else xx
                g0 = gy[image, y, column] if not beside else blank
                g1 = gy[image, y + 1, column] if not beside and y + 1 < out_height else blank
                g2 = gy[image, y + 2, column] if not beside and y + 2 < out_height else blank
                g3 = gy[image, y + 3, column] if not beside and y + 3 < out_height else blank
                z0, z1, z2, z3, z4, z5 = z[0, j], z[1, j], z[2, j], z[3, j], z[4, j], z[5, j]
                for o in range(outputs):
                    e0, e1, e2, e3 = g0[o], g1[o], g2[o], g3[o]
                    p, q, r, s = e0 + e2, e1 + e3, e0 + four * e2, two * e1 + eight * e3
                    z0[o], z1[o], z2[o], z3[o], z4[o], z5[o] = e0, p + q, p - q, r + s, r - s, e3
            for i in range(6):
                g0, g1, g2, g3 = z[i, 0], z[i, 1], z[i, 2], z[i, 3]
                w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
                for o in range(outputs):
                    e0, e1, e2, e3 = g0[o], g1[o], g2[o], g3[o]
                    p, q, r, s = e0 + e2, e1 + e3, e0 + four * e2, two * e1 + eight * e3
                    w0[o], w1[o], w2[o], w3[o], w4[o], w5[o] = e0, p + q, p - q, r + s, r - s, e3
                for j in range(6):
                    source = w[j]
                    for block in range(blocks):
                        target = u[i * 6 + j, block, t]
                        for lane in range(16):
                            target[lane] = source[block * 16 + lane]
        for job in prange(36 * row_tiles):
            place = job // row_tiles
            c = (job - place * row_tiles) * 6
            rows = min(6, channels - c)
            for block in range(blocks):
                here = (place * channels + c) * blocks * 16 + block * 16
                multiply_tile(
                    rows, flat_v, place * at_once * channels + c, 1, channels, no_jump, 1, count,
                    flat_u, (place * blocks + block) * at_once * 16, flat_sums, here, blocks * 16,
                    flat_sums, here, blocks * 16,
                )  # fmt: skip


@njit(**OPTIONS)
def _weight_from_sums(sums, grad_weight):
    """G^T (.) G: (36, C, O) into (O, C, 3, 3)."""
    channels = sums.shape[1]
    quarter, sixth, twelfth, twentyfourth = f32(1 / 4), f32(1 / 6), f32(1 / 12), f32(1 / 24)
    for o in prange(grad_weight.shape[0]):
        half = np.empty((3, 6), np.float32)
        for c in range(channels):
            for j in range(6):
                s0, s1, s2 = sums[j, c, o], sums[6 + j, c, o], sums[12 + j, c, o]
                s3, s4, s5 = sums[18 + j, c, o], sums[24 + j, c, o], sums[30 + j, c, o]
                half[0, j] = s0 * quarter - (s1 + s2) * sixth + (s3 + s4) * twentyfourth
                half[1, j] = (s2 - s1) * sixth + (s3 - s4) * twelfth
                half[2, j] = (s3 + s4 - s1 - s2) * sixth + s5
            for i in range(3):
                s0, s1, s2, s3, s4, s5 = half[i, 0], half[i, 1], half[i, 2], half[i, 3], half[i, 4], half[i, 5]
                grad_weight[o, c, i, 0] = s0 * quarter - (s1 + s2) * sixth + (s3 + s4) * twentyfourth
                grad_weight[o, c, i, 1] = (s2 - s1) * sixth + (s3 - s4) * twelfth
                grad_weight[o, c, i, 2] = (s3 + s4 - s1 - s2) * sixth + s5
