"""Softmax cross-entropy of float32 logits, several pixels at a time: exponential and logarithm as polynomials.

A library's exp serves one number; a polynomial is a handful of multiplications, which the processor does on eight pixels at
once. exp(x) = 2^n exp(r) with n the whole number nearest to x / log 2, so that |r| <= log(2) / 2, where a polynomial of
degree 7 is exact to a rounding; 2^n is n written into the exponent's bits. log(1 + s) takes the exponent's bits off, and
what remains, between sqrt(1/2) and sqrt(2), goes into a polynomial of degree 11. (Muller, Elementary Functions, 3rd ed.,
chapters 3 and 11; the coefficients are those of the Cephes library, Moshier, 1989.)

A task takes some hundred pixels, lays their logits class by class, and goes over the classes in the outer loop, over its
pixels in the inner one. Channels-last logits are turned in squares of eight classes by eight pixels (two classes: a pixel's
pair is one number of 64 bits), those of an ordinary array only copied. Sums over classes are float64. A NaN stays a NaN,
an infinity an infinity.

Errors, with eps = 2^-23, derived from one rounding an operation and held by the tests: exp within eps of itself where the
result is at least 2^-125 (0 below); log(1 + s) within 2 eps of itself; a term exp(z_k - z_max) within (1 + |z_k - z_max| / 2)
eps of itself, as the difference is rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from ..numba_cpu_layout import SIDE, square

LINE: dict[str, Any] = {"cache": True, "nogil": True}
OPTIONS: dict[str, Any] = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract"}}
INLINE: dict[str, Any] = {"forceinline": True, "fastmath": {"contract"}}  # a call in the innermost loop would end it
NUMBERS = 4096  # of one task: 16 KiB of logits, half of the first cache

F = np.float32  # constants of this type: with Python's the loops would compute in float64
ZERO, HALF, ONE, NAN = F(0), F(0.5), F(1), F(np.nan)
LANE, LOW_HALF = np.int64(32), np.int64(0xFFFFFFFF)  # two float32 as one int64
LOWEST = F(-86.5)  # exp of it is just above 2^-125; below, 2^n would leave the exponent's bits
LOG2_E = F(1.4426950408889634)
LOG_2_HIGH, LOG_2_LOW = F(0.693359375), F(-2.12194440e-4)  # their sum is log 2; n times the first is exact
ROUND = F(12582912.0)  # 1.5 * 2^23: a float32 near it has no digits after the point, and n in its last bits
E2, E3, E4 = F(5.0000001201e-1), F(1.6666665459e-1), F(4.1665795894e-2)
E5, E6, E7 = F(8.3334519073e-3), F(1.3981999507e-3), F(1.9875691500e-4)
L3, L4, L5 = F(3.3333331174e-1), F(-2.4999993993e-1), F(2.0000714765e-1)
L6, L7, L8 = F(-1.6668057665e-1), F(1.4249322787e-1), F(-1.2420140846e-1)
L9, L10, L11 = F(1.1676998740e-1), F(-1.1514610310e-1), F(7.0376836292e-2)
BITS_OF_EXPONENT, BIAS = np.int32(23), np.int32(127)
SQRT_HALF_BITS = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
LARGEST = F(np.finfo(F).max)


def _exp_py(x):
    """Return exp(x) for float32 x up to 88; 0 below LOWEST."""
    clipped = LOWEST if x < LOWEST else x
    shifted = clipped * LOG2_E + ROUND
    n = shifted - ROUND
    r = clipped - n * LOG_2_HIGH - n * LOG_2_LOW
    high = (((E7 * r + E6) * r + E5) * r + E4) * r + E3
    y = (high * r + E2) * (r * r) + r + ONE
    power = np.int32((F(shifted).view(np.int32) + BIAS) << BITS_OF_EXPONENT)
    return ZERO if x < LOWEST else y * F(power.view(np.float32))


def _log1p_py(s):
    """Return log(1 + s) for float32 s >= 0, exact also where 1 + s would be 1; NaN of NaN."""
    bits = F(ONE + s).view(np.int32)
    n = np.int32((bits - SQRT_HALF_BITS) >> BITS_OF_EXPONENT)
    mantissa = np.int32(bits - np.int32(n << BITS_OF_EXPONENT)).view(np.float32)
    x = s if n == 0 else mantissa - ONE
    high = ((((L11 * x + L10) * x + L9) * x + L8) * x + L7) * x + L6
    y = x * x * x * (((high * x + L5) * x + L4) * x + L3)
    result = x + (y + F(n) * LOG_2_LOW - HALF * (x * x)) + F(n) * LOG_2_HIGH
    return result if s <= LARGEST else s


_exp = njit(**INLINE)(_exp_py)
_log1p = njit(**INLINE)(_log1p_py)


def pixels_a_task(classes: int) -> int:
    """Return how many pixels a task takes: it depends on the classes alone."""
    return max(min(NUMBERS // max(classes, 1), 1024) // SIDE * SIDE, 64)


def _to_lines_py(numbers, first, count, classes, planes, lines):
    """Lay the logits of some pixels, which begin at ``first``, class by class: lines[k, i] of pixel i."""
    size = lines.shape[1]
    flat, whole, k = lines.reshape(-1), count // SIDE * SIDE, 0
    if planes > 1:  # the classes lie that far apart: an ordinary array
        for k in range(classes):
            here, line = numbers[first + k * planes : first + k * planes + count], lines[k]
            for i in range(count):
                line[i] = here[i]
        return
    if classes == 2:
        pairs, line, other = numbers[first : first + 2 * count].view(np.int64), lines[0], lines[1]
        for i in range(count):
            line[i] = np.int32(pairs[i]).view(F)
            other[i] = np.int32(pairs[i] >> LANE).view(F)
        return
    if classes >= SIDE:
        for block in range(0, classes, SIDE):
            k = min(block, classes - SIDE)  # the last square overlaps the one before
            for i in range(0, whole, SIDE):
                square(numbers, first + i * classes + k, classes, SIDE, flat, k * size + i, size)
    for i in range(whole if classes >= SIDE else 0, count):
        pixel = numbers[first + i * classes : first + (i + 1) * classes]
        for k in range(classes):
            lines[k, i] = pixel[k]


def _from_lines_py(lines, first, count, classes, planes, numbers):
    """The way back."""
    size = lines.shape[1]
    flat, whole, k = lines.reshape(-1), count // SIDE * SIDE, 0
    if planes > 1:
        for k in range(classes):
            there, line = numbers[first + k * planes : first + k * planes + count], lines[k]
            for i in range(count):
                there[i] = line[i]
        return
    if classes == 2:
        pairs, line, other = numbers[first : first + 2 * count].view(np.int64), lines[0], lines[1]
        for i in range(count):
            low, high = np.int64(F(line[i]).view(np.int32)), np.int64(F(other[i]).view(np.int32))
            pairs[i] = (low & LOW_HALF) | (high << LANE)
        return
    if classes >= SIDE:
        for block in range(0, classes, SIDE):
            k = min(block, classes - SIDE)
            for i in range(0, whole, SIDE):
                square(flat, k * size + i, size, SIDE, numbers, first + i * classes + k, classes)
    for i in range(whole if classes >= SIDE else 0, count):
        pixel = numbers[first + i * classes : first + (i + 1) * classes]
        for k in range(classes):
            pixel[k] = lines[k, i]


def _numbers_of_classes_py(target, classes, wanted):
    """Labels as int32, eight of which fit where eight float32 do; -1 for a class that does not exist."""
    for i in range(len(target)):
        inside = (target[i] >= 0) & (target[i] < classes)
        wanted[i] = np.int32(target[i]) if inside else np.int32(-1)


def _softmax_cross_entropy_py(logits, classes, planes, target, pixel_weight, losses, log_sum_exp, size):
    n, pixels = target.shape
    tasks = (pixels + size - 1) // size
    for task in prange(n * tasks):
        image, first = task // tasks, task % tasks * size
        count = min(size, pixels - first)
        lines, wanted = np.zeros((classes, size), F), np.zeros(size, np.int32)
        begin = image * pixels * classes + first * (1 if planes > 1 else classes)
        _to_lines(logits, begin, count, classes, planes, lines)
        _numbers_of_classes(target[image, first : first + count], classes, wanted)
        largest, term, true, total = lines[0].copy(), np.empty(size, F), np.zeros(size, F), np.zeros(size)
        for k in range(1, classes):
            # Into another array: of `x[i] = y if ... else x[i]` LLVM makes a masked store, four times as slow.
            line, before = lines[k], largest
            for i in range(size):
                term[i] = line[i] if line[i] > before[i] else before[i]
            largest, term = term, before
        for i in range(size):
            true[i] = NAN if wanted[i] < 0 else ZERO
        for k in range(classes):
            line, this = lines[k], np.int32(k)
            for i in range(size):
                shifted = line[i] - largest[i]
                true[i] += shifted if wanted[i] == this else ZERO
                term[i] = _exp(shifted)
            for i in range(size):  # apart, because a loop with a float64 in it does four pixels at once, not eight
                total[i] += term[i]
        for i in range(size):
            term[i] = F(total[i] - 1.0)  # the largest logit's own exp is 1, exactly
        for i in range(size):
            term[i] = _log1p(term[i])
        weight, loss = pixel_weight[image, first : first + count], losses[image, first : first + count]
        log_sum = log_sum_exp[image, first : first + count]
        for i in range(count):
            log_sum[i] = np.float64(largest[i]) + np.float64(term[i])
        for i in range(count):
            loss[i] = ZERO if weight[i] == 0 else weight[i] * (term[i] - true[i])


def _softmax_cross_entropy_grad_py(
    logits, classes, planes, grad_losses, target, pixel_weight, log_sum_exp, grad_logits, size
):
    n, pixels = target.shape
    tasks = (pixels + size - 1) // size
    for task in prange(n * tasks):
        image, first = task // tasks, task % tasks * size
        count = min(size, pixels - first)
        lines, wanted = np.zeros((classes, size), F), np.zeros(size, np.int32)
        begin = image * pixels * classes + first * (1 if planes > 1 else classes)
        _to_lines(logits, begin, count, classes, planes, lines)
        _numbers_of_classes(target[image, first : first + count], classes, wanted)
        weight, arrived = pixel_weight[image, first : first + count], grad_losses[image, first : first + count]
        log_sum = log_sum_exp[image, first : first + count]
        counts, outer = np.zeros(size, F), np.zeros(size, F)
        high, low = np.zeros(size, F), np.zeros(size, F)  # the float64 log_sum_exp in two parts
        for i in range(count):
            high[i] = F(log_sum[i])
            low[i] = F(log_sum[i] - np.float64(high[i]))
        for i in range(count):
            counts[i], outer[i] = weight[i], weight[i] * arrived[i]
        for k in range(classes):
            line, this = lines[k], np.int32(k)
            for i in range(size):
                onehot = ONE if wanted[i] == this else ZERO
                grad = (_exp(line[i] - high[i] - low[i]) - onehot) * outer[i]
                line[i] = ZERO if counts[i] == 0 else grad  # whatever the logits are, also NaN
        _from_lines(lines, begin, count, classes, planes, grad_logits)


_to_lines = njit(**LINE)(_to_lines_py)
_from_lines = njit(**LINE)(_from_lines_py)
_numbers_of_classes = njit(**LINE)(_numbers_of_classes_py)
softmax_cross_entropy = njit(**OPTIONS)(_softmax_cross_entropy_py)
softmax_cross_entropy_grad = njit(**OPTIONS)(_softmax_cross_entropy_grad_py)
