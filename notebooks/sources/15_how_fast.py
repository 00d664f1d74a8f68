# %% [markdown] slideshow={"slide_type": "slide"}
# # 15 · How fast can Python go?
#
# **One layer, six ways, the same numbers. Say first how far the slowest and the fastest lie apart.**
#
# 90 minutes. You need lessons 02 (im2col), 05 (pooling) and 13 (products, and numbers moved). No network
# connection; where there is a GPU, it has a row too.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 6, question and prediction 8, build 34, explorer 10, library and table 10, exercises 16, what goes
# wrong 3, exit ticket 3.
#
# *The one idea:* a program waits for something: for the interpreter, for memory, or for arithmetic. Find out which, and
# remove that. Whatever else you remove changes nothing.
#
# *What students get wrong:* that compiled code is fast by itself (in the wrong order it is ten times slower), and that a
# faster processor helps every layer.
#
# Close other programs before you measure in front of a class, and plug the laptop in.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-columns-of-im2col")

# %%
question("recall-products-for-each-number")

# %% [markdown]
# ## What you will be able to do
#
# - **Write** a convolution as loops, by NumPy and compiled, and **say** what each was waiting for.
# - **Explain** why the order of the same loops changes their time.
# - **Calculate** the least time that a layer takes on a machine, from two numbers of the machine: its roofline.
# - **Compute** four outputs of a 3x3 kernel in Winograd's way.
# - **Read** a table of measured times, also the rows where its authors lose.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Lesson 00's network looks at tissue, 512 x 512 pixels. Deep inside, after two poolings, one of its layers reads 32 maps
# of 128 x 128 and writes 32 new ones. Here are the picture and seven of the 32:

# %%
import dis
import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, models

ms.set_default_device("cpu")  # a GPU, where there is one, has its turn further below
picture = data.synthetic_tissue(1, size=(512, 512), seed=3)[0][0]
knows = models.load_pretrained("nuclei")
block = knows.encoder[2]
with ms.no_grad():
    x = ms.tensor(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    for level in (0, 1):
        x = knows.pool(knows.encoder[level](x))
    for step in list(block)[:3]:
        x = step(x)
maps, weight = x.numpy()[0], block[3].weight.detach().numpy()
new_maps = F.conv2d(maps[None], weight, padding=1).numpy()[0]
PRODUCTS = weight.size * maps[0].size
print(f"maps {maps.shape}, weight {weight.shape}: {PRODUCTS:,} products")
some = [1, 3, 6, 10, 17, 22, 29]
figures.gallery(
    [picture, *(figures.signed(new_maps[o]) for o in some)],
    ["512 x 512 pixels", *(f"new map {o}" for o in some)],
    columns=4,
    width=11,
)

# %% [markdown]
# 151 million products, 288 for each number that comes out. You know since lesson 02 how to write that down in Python: six
# loops, one inside the other. This library does not do it so. Let both begin at the same moment. **When the library has
# painted all 32 maps, how far have the loops come?** The last picture of this lesson shows it.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict

# %%
question("how-much-faster-than-loops")

# %%
question("faster-than-the-peak")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Collect numbers for the first one as powers of ten, on the board. Most say ten or a hundred.
#
# The second is a riddle, and most will not find it; it is answered when you commit, and *made* in the last part of
# "Build it". *Ask meanwhile:* what would you have to believe in order to call it a mistake?
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: loops
#
# A ring of zeros around the maps, as in lesson 02, and then the definition. Lists of numbers instead of arrays, because
# plain Python is faster on lists:

# %%
padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))


def by_loops(padded, weight):
    """Convolve (C, H + 2, W + 2) with (O, C, 3, 3) in plain Python."""
    p, w = padded.tolist(), weight.tolist()
    rows, columns = padded.shape[1] - 2, padded.shape[2] - 2
    output = np.zeros((len(w), rows, columns), np.float32)
    for o in range(len(w)):
        for i in range(rows):
            for j in range(columns):
                total = 0.0
                for c in range(len(p)):
                    for y in range(3):
                        for x in range(3):
                            total += w[o][c][y][x] * p[c][i + y][j + x]
                output[o, i, j] = total
    return output


# %% [markdown]
# We do not have the patience for all of it. Two rows of one map are 256 outputs of 524,288; what they take we multiply by
# 2048. A time is the shortest of a few, since a computer always has something else to do as well:


# %%
def best_time(function, turns=3):
    """Return the shortest time of a function, in seconds."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


two_rows = by_loops(padded[:, :4], weight[:1])
assert np.allclose(two_rows[0], new_maps[0, :2], atol=1e-3)
seconds = {"loops": 2048 * best_time(lambda: by_loops(padded[:, :4], weight[:1]))}
print("the whole layer would take more than ten seconds:", seconds["loops"] > 10)

# %% [markdown]
# What takes so long? Not the multiplying. Look at what Python does for *one* product: `dis` lists the steps of its
# interpreter.


# %%
def one_product(total, w, p, o, c, y, x, i, j):
    """Add one product."""
    return total + w[o][c][y][x] * p[c][i + y][j + x]


steps = [step.opname for step in dis.get_instructions(one_product)]
print("steps of the interpreter, more than a dozen:", len(steps) > 12)
print("of which multiply:", sum(step.argrepr == "*" for step in dis.get_instructions(one_product)))

# %% [markdown]
# Each step asks what it has before it: a list? an int? a float? It finds the function for that, makes a new number, and
# throws an old one away. **The loops wait for the interpreter.**

# %% [markdown] slideshow={"slide_type": "slide"}
# ### NumPy: decide once, for all numbers
#
# So ask once for many numbers. Both ways are lesson 02's: all windows as a view, and `einsum`; or every window written
# down as a column, and one matrix product:


# %%
def by_windows(padded, weight):
    """Convolve by a view of all windows."""
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))  # (C, H, W, 3, 3)
    return np.einsum("chwyx,ocyx->ohw", windows, weight)


def by_im2col(padded, weight):
    """Convolve by one matrix product: windows as columns."""
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
    rows, columns = windows.shape[1:3]
    table = windows.transpose(0, 3, 4, 1, 2).reshape(-1, rows * columns)  # (288, 16384), a copy
    return (weight.reshape(len(weight), -1) @ table).reshape(-1, rows, columns)


for name, way in {"windows": by_windows, "im2col": by_im2col}.items():
    assert np.allclose(way(padded, weight), new_maps, atol=1e-3)
    seconds[name] = best_time(lambda way=way: way(padded, weight), 2 if name == "windows" else 15)
print("windows more than 10 times faster than loops:", seconds["loops"] > 10 * seconds["windows"])
print("im2col more than 5 times faster than windows:", seconds["windows"] > 5 * seconds["im2col"])

# %% [markdown]
# The interpreter is out of it in both: it makes one call. And yet im2col, which *copies* everything nine times, leaves
# windows far behind. They do the same products; now it matters **in which order they meet the memory**.

# %%
question("rows-or-columns")

# %%
table = np.ones((2048, 2048), np.float32)
by_rows = best_time(lambda: [table[i].sum() for i in range(2048)])
by_columns = best_time(lambda: [table[:, i].sum() for i in range(2048)])
print("a step to the next column:", table.strides[1], "bytes; to the next row:", table.strides[0], "bytes")
print("columns take more than twice as long as rows:", by_columns > 2 * by_rows)

along, down = np.zeros((16, 32)), np.zeros((16, 32))
along[0, :16] = 1  # used
down[:, :16], down[:, 0] = -0.3, 1  # fetched, and used
figures.gallery(
    [figures.signed(fetched, reach=1) for fetched in (along, down)],
    ["16 numbers along a row: 1 block", "16 numbers down a column: 16 blocks"],
    ["vermilion: used", "light blue: fetched for nothing"],
    width=10,
)

# %% [markdown]
# Memory hands out blocks, mostly of 64 bytes: sixteen numbers that lie side by side, and small fast stores (*caches*) keep what
# was fetched last. Who goes along a row uses all sixteen. Who goes down a column uses one, and has lost the block when its
# neighbour's turn comes. A matrix product, tuned for decades, cuts its tables into pieces that fit the caches and uses
# each number many times before it is gone. im2col pays nine copies for the right to use it.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: loops and NumPy</b></summary>
#
# *Ask:* both NumPy lines make one call. Why is one of them many times slower than the other? (`einsum` walks over six
# axes number by number; the matrix product goes to a library of hand-tuned loops.)
#
# *Ask:* 2048 rows of 2048 numbers are how many bytes? (16 MB: more than a small cache holds, or the columns would be no
# slower.)
#
# *Students say* "NumPy is fast because it is written in C". `windows` is C as well.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Numba: the loops again, compiled
#
# Numba reads a Python function and compiles it, once, for the types it is called with. Not a line of the loops has to
# change. We write them in two orders: in the first the innermost loop goes *along a row of memory*, in the second the
# loop over columns is the outermost. (Where Numba is missing or switched off, the functions stay plain Python and do
# two rows only.)

# %%
try:
    from numba import config, njit, set_num_threads

    compiles = not config.DISABLE_JIT
    if compiles:
        set_num_threads(1)  # one core for the library as well, so that all ways can be compared
except ImportError:
    compiles = False

    def njit(function):
        """Leave a function as it is."""
        return function


# %%
@njit
def along_memory(padded, weight):
    """Convolve; the innermost loop goes along a row."""
    rows, columns = padded.shape[1] - 2, padded.shape[2] - 2
    output = np.zeros((weight.shape[0], rows, columns), np.float32)
    for o in range(weight.shape[0]):
        for i in range(rows):
            for c in range(weight.shape[1]):
                for y in range(3):
                    for x in range(3):
                        tap = weight[o, c, y, x]
                        for j in range(columns):
                            output[o, i, j] += tap * padded[c, i + y, j + x]
    return output


# %% [markdown]
# The second differs in nothing but the order of its loops:


# %%
@njit
def across_memory(padded, weight):
    """Convolve; the outermost loop goes along a row, the next down a column."""
    rows, columns = padded.shape[1] - 2, padded.shape[2] - 2
    output = np.zeros((weight.shape[0], rows, columns), np.float32)
    for j in range(columns):
        for i in range(rows):
            for o in range(weight.shape[0]):
                total = np.float32(0)
                for c in range(weight.shape[1]):
                    for y in range(3):
                        for x in range(3):
                            total += weight[o, c, y, x] * padded[c, i + y, j + x]
                output[o, i, j] = total
    return output


# %%
piece = (padded, weight) if compiles else (padded[:, :4], weight[:1])
whole = 1 if compiles else 2048
first_call = best_time(lambda: along_memory(*piece), 1)
for name, way in {"Numba": along_memory, "Numba, other order": across_memory}.items():
    result = way(*piece)
    assert np.allclose(result, new_maps[: len(result), : result.shape[1]], atol=1e-3)
    seconds[name] = whole * best_time(lambda way=way: way(*piece), 5)
print("Numba more than 100 times faster than the same loops in Python:", seconds["loops"] > 100 * seconds["Numba"])
print("along memory more than 2 times faster:", seconds["Numba, other order"] > 2 * seconds["Numba"])

# %% [markdown]
# Compiled both, the same products both, and the order alone makes a factor (on our machine more than ten). There is a
# second reason for it beside the blocks of memory. A processor has wide registers: **one** instruction multiplies eight or
# sixteen neighbouring numbers with eight or sixteen others. That is called **SIMD**, *single instruction, multiple data*.
# When the innermost loop does the same to numbers that lie side by side, the compiler sees it and uses such instructions by
# itself. In the other order every product has to wait for the sum before it.
#
# The library's kernels are such functions, nothing else: Python, compiled by Numba. They also keep a block of sums in
# registers while they pass over the channels, and give each core its own rows.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: Numba</b></summary>
#
# *Ask:* why may the compiler not reorder the sum of the second function by itself? (Floating-point addition is not
# associative: (a + b) + c may differ from a + (b + c) in the last digit. Numba does it when told `fastmath=True`.)
#
# *Live:* swap the loops over `c` and `i` in the first function and run again. Then over `x` and `j`. Let the class bet.
#
# *On the NumPy backend* this section runs all the same, as Numba is there; only where it is missing do the verdicts
# read False.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### How fast at most? The roofline
#
# Is it good now, or could it be twice as fast? One needs to know what the machine can do *at most*. Two numbers are enough:
# how many operations a second (a product is two: multiply, add), and how many bytes a second from memory. Ours did, on
# 2026-11-23 and two cores, 205 GFLOP/s (thousand million operations) and 58 GB/s.
#
# A layer needs both at the same time, so it takes the longer of two times. Divide by the bytes and you have the formula
# that is called the **roofline**:
#
# $$ \text{speed} \le \min(\text{peak},\; \frac{\text{operations}}{\text{bytes}} \times \text{bandwidth}) $$

# %%
PEAK, BANDWIDTH = 205, 58
channels, pixels = 32, 128 * 128
layers = {
    "conv 3x3": (9 * channels * channels * pixels, 2 * channels * pixels + 9 * channels**2),
    "conv 1x1": (channels * channels * pixels, 2 * channels * pixels + channels**2),
    "depthwise 3x3": (9 * channels * pixels, 2 * channels * pixels + 9 * channels),
}
print(f"both take equally long at {PEAK / BANDWIDTH:.2f} operations a byte")
print("32 channels, 128 x 128   operations a byte   GFLOP/s at most   waits for")
for name, (products, numbers) in layers.items():
    intensity = 2 * products / (4 * numbers)  # a float32 has four bytes
    roof = min(PEAK, intensity * BANDWIDTH)
    waits = "arithmetic" if roof == PEAK else "memory"
    print(f"{name:24s} {intensity:17.2f} {roof:17.0f}   {waits}")

# %% [markdown]
# There is lesson 13's riddle, solved: a depthwise layer has 2.25 operations for each byte, so 58 GB/s let it reach 130
# GFLOP/s, whatever the processor can do. Our layer has 71 and waits for arithmetic. It cannot be done in less than
# 1.47 milliseconds: 302 million operations at 205 GFLOP/s. **Faster than that only with fewer operations.**

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Fewer products: Winograd
#
# Is that possible, with the same result? Take one row, three taps $g_0, g_1, g_2$ and two neighbouring outputs:
# $y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2$ and $y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2$. Six products.

# %%
question("fewest-products-for-two")

# %% [markdown]
# Shmuel **Winograd**'s four:
#
# $$ m_0 = (d_0 - d_2)\,g_0 \quad m_1 = (d_1 + d_2)\,\tfrac{g_0 + g_1 + g_2}{2} \quad m_2 = (d_2 - d_1)\,\tfrac{g_0 - g_1
# + g_2}{2} \quad m_3 = (d_1 - d_3)\,g_2 $$
#
# and then $y_0 = m_0 + m_1 + m_2$, $\;y_1 = m_1 - m_2 - m_3$. Multiply it out on paper, once in your life. The sums of
# taps are made once for a kernel and serve at every place. Written as matrices, the differences of pixels are `BT`, the
# sums of taps `G`, the way back `AT`:

# %%
BT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
AT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)

row, taps = np.array([3, 1, 4, 1], np.float32), np.array([2, 7, 1], np.float32)
print("by the definition, 6 products:", [float(row[k : k + 3] @ taps) for k in (0, 1)])
print("by Winograd, 4 products:      ", (AT @ ((G @ taps) * (BT @ row))).tolist())

# %% [markdown]
# A picture has rows *and* columns: do it in both directions, one matrix from the left, its transpose from the right. A tile
# of 4 x 4 pixels gives 2 x 2 outputs by 4 x 4 = **16 products instead of 36**. Between sums and differences of pixels and
# those of taps there is one star, `*`, and that is all the multiplying (that a half is a factor, too, does not count: it
# belongs to the kernel). One tile of our layer, channel 1:

# %%
tile, kernel = padded[1, 64:68, 82:86], weight[0, 1]
spread = BT @ tile @ BT.T
spread_taps = G @ kernel @ G.T
between = spread * spread_taps  # the sixteen products
four = AT @ between @ AT.T
by_definition = np.array([[(tile[i : i + 3, j : j + 3] * kernel).sum() for j in (0, 1)] for i in (0, 1)])
print("the same four outputs:", np.allclose(four, by_definition, atol=1e-5))
figures.gallery(
    [figures.signed(values) for values in (tile, spread, spread_taps, between, four)],
    ["4 x 4 pixels", "BT: differences", "3 x 3 taps, by G", "16 products", "AT: 4 outputs"],
    columns=5,
    width=11,
)

# %% [markdown]
# For a whole layer, lay tiles every two pixels, so that they overlap by two. The sum over channels can be taken *before* the
# way back, which is then needed once for each tile and output map:


# %%
def by_winograd(padded, weight):
    """Convolve (C, H + 2, W + 2) with (O, C, 3, 3) by tiles of 4 x 4; H and W even."""
    tiles = sliding_window_view(padded, (4, 4), axis=(1, 2))[:, ::2, ::2]  # (C, H/2, W/2, 4, 4)
    products = np.einsum("cijyx,ocyx->oijyx", BT @ tiles @ BT.T, G @ weight @ G.T)
    four = AT @ products @ AT.T  # (O, H/2, W/2, 2, 2)
    return four.transpose(0, 1, 3, 2, 4).reshape(len(weight), padded.shape[1] - 2, padded.shape[2] - 2)


assert np.allclose(by_winograd(padded, weight), new_maps, atol=1e-3)
tiles = 64 * 64
print(
    f"products: {16 * tiles * 32 * 32:,} instead of {PRODUCTS:,}: {PRODUCTS / (16 * tiles * 32 * 32):.2f} times fewer"
)

# %% [markdown]
# The library takes larger tiles, 6 x 6 pixels for 4 x 4 outputs: 36 products instead of 144, **four times fewer**. That is
# how a layer was measured at "418 GFLOP/s" under a roof of 205. It is counted by the definition, and did a quarter of it.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: Winograd</b></summary>
#
# *Multiply out* y1 on the board; let them do y0.
#
# *Ask:* why not tiles of 20 x 20? (The matrices then hold large numbers and small ones; their sums cancel, and digits are
# lost. And the additions grow: at some size they cost more than the products saved.)
#
# *Ask:* does it help a 1x1 layer? (No: one product for each output and channel, there is nothing to share.)
#
# *Compare:* lesson 13 also saved eight of nine, by giving up functions. Here not one is given up.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# Across, how many operations a layer does for each byte; upwards, how fast it can be. The blue slope is memory, the orange
# flat is arithmetic. **A processor ten times faster, with the memory of the old one: which layers become ten times
# faster?** Say it first. Then pull *peak* from 205 to 2,050. Put it back and press *Winograd*: what happens to the roof over
# the 3x3 layer, and why to no other? Last, *an H100 (data sheet)*.

# %%
explorers.roofline()

# %% [markdown]
# A GPU is a computer with a much higher roof *and* a much steeper slope (from its data sheet: 67,000 GFLOP/s and 3,350
# GB/s), whose roofs meet further to the right, at 20 operations a byte: still more layers wait for memory there.
#
# **How long does our layer take on it, at least?** 302 million operations, and 4.2 MB to read and to write. Work it out
# from the two roofs, in millionths of a second, before you go on. And what else will take as long as that?
#
# One thing about the clock. A call comes back at once: Python only *orders* the work. Who stops the time then has measured
# how long an order takes. So we let the GPU note its own time before and after a hundred calls, and wait until it is
# through. The first calls compile, and do not count.

# %%
from minisegnet.course import last_on_gpu


def time_on_gpu(function, turns=100):
    """Return the time of a call by the GPU's own clock, in seconds, after a warm-up."""
    import cupy

    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    for turn in range(3 + turns):
        if turn == 3:
            start.record()
        function()
    stop.record()
    stop.synchronize()  # wait until it is through
    return cupy.cuda.get_elapsed_time(start, stop) / 1000 / turns


if ms.cuda_is_available():
    there = [ms.tensor(array).to("cuda") for array in (maps[None], weight)]
    with ms.no_grad():
        assert np.allclose(F.conv2d(*there, padding=1).numpy()[0], new_maps, atol=1e-3)
        seconds["library, GPU"] = t = time_on_gpu(lambda: F.conv2d(*there, padding=1))
        on_cpu = best_time(lambda: F.conv2d(maps[None], weight, padding=1), 30)
    print(f"GPU: {1000 * t:.3f} ms, {2 * PRODUCTS / t / 1e9:,.0f} GFLOP/s", end=", ")
    print(f"{on_cpu / t:.1f} times faster than the library on one core")
else:
    print(last_on_gpu())

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. Pull *channels* down: at 2 the 3x3 convolution stands close to the corner, at 1 it slides down the
# slope. *Ask:* so what in a U-Net waits for memory? (Batch norm, ReLU, pooling, Adam's step; hardly its 3x3 layers.)
#
# *Ask:* the lecture's Titan X: where do its roofs meet? (18 operations a byte.)
#
# *The layer on a GPU:* 302 million operations under 67,000 GFLOP/s are 4.5 millionths of a second, 4.2 MB at 3,350 GB/s are
# 1.3. To *start* it from Python takes longer than that. One small layer does not fill a GPU: it needs batches, or the whole
# step recorded once (`training.CapturedStep`).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `algorithm` chooses by name; left out, the library chooses for the shape that it sees. We compare with the same layer
# in double precision:

# %%
exact = F.conv2d(maps[None].astype(float), weight.astype(float), padding=1).numpy()[0]
errors = {}
with ms.no_grad():
    for name in ("direct", "winograd"):
        output = F.conv2d(maps[None], weight, padding=1, algorithm=name).numpy()[0]
        assert np.allclose(output, by_winograd(padded, weight), atol=1e-3)
        errors[name] = np.abs(output - exact).max() / np.abs(exact).max()
        seconds[f"library, {name}"] = best_time(
            lambda name=name: F.conv2d(maps[None], weight, padding=1, algorithm=name), 30
        )
fastest = min(seconds["library, direct"], seconds["library, winograd"])
print("library more than 100 times faster than loops:", seconds["loops"] > 100 * fastest)
print("error of the direct sums < 0.000001 of the largest output:", errors["direct"] < 1e-6)
print("error of Winograd's      < 0.00001:", errors["winograd"] < 1e-5)
print("Winograd's is more than twice the other:", errors["winograd"] > 2 * errors["direct"])

# %% [markdown]
# Its price is a digit, roughly: sums of pixels are taken and taken apart again, and each rounds. No trained net notices.
#
# And now all ways beside each other, on *this* computer and **one core** (only NumPy's matrix product takes all it gets); its
# own roof first, as far as NumPy can find it out. What is stored with this page was measured while our machine had other
# work to do, so it is no record: run the cell.

# %% tags=["nbval-ignore-output"]
square, long = np.ones((1024, 1024), np.float32), np.ones(20_000_000, np.float32)
peak = 2 * 1024**3 / best_time(lambda: square @ square, 10) / 1e9
copy = np.empty_like(long)
bandwidth = 2 * long.nbytes / best_time(lambda: np.copyto(copy, long), 5) / 1e9
print(f"this computer: at least {peak:.0f} GFLOP/s (a matrix product), {bandwidth:.0f} GB/s (a copy)")
print("                          ms   GFLOP/s   times faster than loops")
for name, t in sorted(seconds.items(), key=lambda item: -item[1]):
    digits = 1 if t > 0.001 else 3
    print(f"{name:20s} {1000 * t:9,.{digits}f} {2 * PRODUCTS / t / 1e9:9.2f} {seconds['loops'] / t:10,.0f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Beside PyTorch
#
# PyTorch's CPU kernels are written by experts in C++ and assembly. Where does Python, compiled, stand? The rows below
# were measured on **2026-11-23** (two threads of an AMD EPYC, PyTorch 2.13.0, times on the wall in turns) and stand
# in `benchmarks/results/cpu_2026-11-23.md` with a hundred others. The last column is PyTorch's time over ours: above 1 we
# are faster, below 1 **we lose**.
#
# | work | case | ours, ms | PyTorch, ms | ratio |
# |---|---|---:|---:|---:|
# | U-Net, training step | 8x3x128x128 base 16 | 190 | 357 | 1.88 |
# | U-Net, inference | 8x3x128x128 base 16 | 51.0 | 78.6 | 1.54 |
# | conv 3x3 | 4x64x64x64 to 64, forward | 2.89 | 7.8 | 2.70 |
# | dilated 3x3, rate 2 | 4x64x64x64 to 64, forward | 2.71 | 7.1 | 2.62 |
# | conv 5x5 | 4x32x64x64 to 32, forward | 4.64 | 4.44 | 0.96 |
# | transposed 2x2 stride 2 | 4x64x64x64 to 32, gradient of the input | 1.81 | 1.58 | 0.88 |
# | conv 3x3 stride 2 | 4x128x32x32 to 128, forward | 2.05 | 1.66 | 0.81 |
# | conv 1x1 | 8x16x128x128 to 2, forward | 0.691 | 0.533 | 0.77 |
# | conv 1x1 | 4x64x64x64 to 64, gradient of the weight | 1.23 | 0.901 | 0.74 |
# | Adam step | U-Net base 16 | 1.43 | 1 | 0.70 |
# | depthwise 3x3 stride 2 | 8x64x64x64 to 64, forward + backward | 2.78 | 1.19 | 0.43 |
#
# Read it with the roofline in hand. We win where Winograd applies: 3x3 kernels with stride 1, dilated or not, which is
# nearly all of a U-Net. Where nothing can be saved, in 1x1, 5x5, strided and transposed layers, we are level at best. The last
# row takes more than twice PyTorch's time: a depthwise layer waits for memory, and ours copies every row once before it reads
# it. A table that shows only its first four rows would be true, and would deceive you.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The race
#
# The question of the beginning. All ways start together on the 32 maps, and paint them one after the other, row by row. We
# stop them when the library is done:

# %% tags=["nbval-ignore-output"]
seconds["library"] = fastest
ways = ["loops", "windows", "Numba, other order", "im2col", "Numba", "library"]
finish, race = fastest, []
colors = np.stack([figures.signed(values, reach=np.abs(new_maps).max() / 3) for values in new_maps])
for name in ways:
    done = int(min(1.0, finish / seconds[name]) * new_maps.size)
    print(f"{name:20s} {done:8,d} of {new_maps.size:,} numbers")
    painted = colors.copy()
    painted.reshape(-1, 3)[done:] = 200  # grey: not yet
    wall = painted.reshape(4, 8, 128, 128, 3).transpose(0, 2, 1, 3, 4).reshape(512, 1024, 3)
    race.append(wall[::2, ::2])
figures.gallery(race, ["loops, when the library is done", *ways[1:]], columns=2, width=12)

# %% [markdown]
# Grey is what is not painted yet. The loops are still in the first row of the first map, or hardly beyond it. It is there,
# in the corner; you need a magnifying glass. The very same loops, compiled and along memory, have painted thousands of
# numbers for each one of theirs, and nobody wrote a line of C.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First Winograd's tile, in the plane: `check` counts your products, and puts a right answer into a small net. Then the
# least time of a layer.

# %%
exercise("winograd-tile")


# %%
def winograd_tile(tile, kernel):
    """Return four outputs (2, 2) of a kernel (3, 3) on a tile (4, 4), by 16 products."""
    # your code here


check(winograd_tile)

# %%
# hint()
# solution()

# %%
exercise("least-time")


# %%
def least_time(products, numbers, peak, bandwidth):
    """Return the milliseconds that a layer takes at least, under a peak in GFLOP/s and a bandwidth in GB/s."""
    # your code here


check(least_time)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `winograd-tile` is one line, and ten minutes: which matrix from which side. Who returns the definition gets the right
# numbers and is told that it took 36 products. `least-time` takes five.
#
# Who is done early: at which number of channels does a 3x3 layer cease to wait for memory on this machine? (Between 1 and
# 2: 4.5 C / 2 operations a byte, weights left out, against 3.53.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **The first call is measured.** It compiles. Whoever times it once concludes that Numba is slow:

# %%
print("the first call took more than 10 times as long as the second:", first_call > 10 * seconds["Numba"] / whole)

# %% [markdown]
# **Double precision slips in.** One array of 64-bit numbers, and everything after it is 64-bit: twice the bytes, half the
# numbers in a register. A plain Python number does no harm:

# %%
print("times 0.5:", (maps * 0.5).dtype, "  times np.array([0.5]):", (maps * np.array([0.5])).dtype)

# %% [markdown]
# **One broken pixel.** A NaN ("not a number", what 0 / 0 gives) spoils the nine outputs that see it. By Winograd it goes
# into sums, and spoils its whole tile:

# %%
broken = np.zeros((1, 16, 16, 16), np.float32)
broken[0, 0, 6, 6] = np.nan
ones = np.ones((16, 16, 3, 3), np.float32)
spoiled = {
    name: np.isnan(F.conv2d(broken, ones, padding=1, algorithm=name).numpy()[0, 0]) for name in ("direct", "winograd")
}
for name, where in spoiled.items():
    print(f"{name:9s} {where.sum()} outputs spoiled")
figures.gallery([where * 1.0 for where in spoiled.values()], ["direct: 9", "Winograd: 16"], width=6)

# %% [markdown]
# **Two libraries, twice the threads.** NumPy's matrix product starts a thread for each core, and so does Numba; used at
# once (or in two processes of a data loader) they push each other off the cores. Give each its share by
# `OMP_NUM_THREADS` and `NUMBA_NUM_THREADS`.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. Plain loops wait for the interpreter, which decides anew for every product: compile them, and let the innermost loop go
#    along memory.
# 2. A layer takes the longer of two times, arithmetic and memory; operations for each byte tell you which: the roofline.
# 3. Above the roof of arithmetic one gets only with fewer products, and Winograd gets the same outputs with a quarter of
#    them.

# %% [markdown]
# ## Exit ticket

# %%
question("where-arithmetic-begins")

# %%
question("what-winograd-cannot-help")

# %%
question("why-loops-are-slow")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - S. Williams, A. Waterman, D. Patterson: *Roofline: an insightful visual performance model*, Communications of the ACM
#   52 (2009), section "The Roofline model": the formula and its picture.
# - A. Lavin, S. Gray: *Fast algorithms for convolutional neural networks*, arXiv 1509.09308 (CVPR 2016), section 4.1:
#   F(2x2, 3x3) with the matrices above; section 4.3: F(4x4, 3x3); what is lost in digits is among the experiments.
# - K. Goto, R. van de Geijn: *Anatomy of high-performance matrix multiplication*, ACM Transactions on Mathematical
#   Software 34 (2008): which pieces fit which cache.
# - S. Chetlur and others: *cuDNN: efficient primitives for deep learning*, arXiv 1410.0759 (2014), section "Implementation":
#   im2col on a GPU, without writing the columns down.

# %% [markdown]
# ## Further: where the matrices come from
#
# A row times a kernel is a product of two polynomials: put the numbers in as coefficients. A polynomial of degree n is known
# by its values at n + 1 points, and the value of a product is the product of the values. That is the star: `G` evaluates
# the taps at the points 0, 1, -1 and "infinity" (the leading coefficient; at 1 and -1 halved), one product at each,
# and the other two matrices
# are the way back, transposed. Look at the rows of `G`:

# %%
for point, line in zip(("0", "1", "-1", "infinity"), G.tolist(), strict=True):
    print(f"at {point:9s}{line}")

# %% [markdown]
# Larger tiles need more points: F(4x4, 3x3) adds 2 and -2, whose powers grow, and with them the rounding.
