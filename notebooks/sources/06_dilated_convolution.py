# %% [markdown] slideshow={"slide_type": "slide"}
# # 06 · Dilated convolution
#
# **A kernel, pulled apart: how a pixel sees far without anything becoming smaller.**
#
# 90 minutes. You need lessons 02 (convolution, padding), 03 (a training loop) and 05 (pooling, receptive field). No network
# connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 7, build 27, explorer 13, exercises 25, what goes wrong 5, exit ticket 5.
#
# *The one idea:* a layer may choose *how far away* its nine pixels are. Everything else follows from putting such layers
# above each other (far, but beware of holes) or beside each other (several distances at once).
#
# *What students get wrong:* that the kernel becomes larger, so that there is more to learn; and that the output becomes
# smaller, as with a stride. Both are measured below, and the exercise names both.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-padding-that-keeps")

# %%
question("recall-field-of-three")

# %% [markdown]
# ## What you will be able to do
#
# - **Compute** a dilated convolution by hand, its span, its output's size, and the padding that keeps the size.
# - **Say** what the rate changes, and what it leaves as it is: weights, products, resolution.
# - **Find** the pixels that a stack of rates never sees, and **choose** rates without such holes.
# - **Explain** why several rates are used side by side, and what happens to them near the border.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# In these pictures (drawn, as a microscope might show them) only the *rims* of the cells are stained. We want the cells,
# filled. Look at the two crosses: both stand on the same grey noise, and within four pixels of either there is nothing
# else. Yet one is inside a cell and one is not.

# %%
import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, metrics, models, nn, optim, shapes
from minisegnet.nn.receptive_field import receptive_field


def draw_cells(n, seed, size=48):
    """Draw n pictures (N, 1, H, W) of cells with stained rims, and their maps (N, H, W): 1 is cell."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    pictures = rng.normal(0.25, 0.06, (n, 1, size, size)).astype(np.float32)
    maps = np.zeros((n, size, size), int)
    for k in range(n):
        for y, x in [(12, 12), (12, 36), (36, 12), (36, 36)]:
            if rng.random() < 0.7:  # in three places of ten there is none
                distance = np.hypot(rows - y - rng.integers(-2, 3), columns - x - rng.integers(-2, 3))
                radius = rng.uniform(6, 10)
                pictures[k, 0][np.abs(distance - radius) < 1] += 0.5
                maps[k][distance < radius + 1] = 1
    return pictures, maps


pictures, maps = draw_cells(64, seed=1)
new_pictures, new_maps = draw_cells(16, seed=2)


def with_crosses(picture, places):
    """Return the picture in colour, with a cross in orange on each place."""
    shown = np.repeat(picture.clip(0, 1)[..., None], 3, axis=2)
    for y, x in places:
        shown[y - 1 : y + 2, x] = shown[y, x - 1 : x + 2] = (0.9, 0.6, 0.0)
    return shown


crosses = [(11, 14), (12, 36)]
figures.gallery([with_crosses(new_pictures[1, 0], crosses), new_maps[1] * 1.0], ["rims", "the cells, filled"], width=8)

# %% [markdown]
# A net of four 3x3 layers decides each pixel by the 9 x 9 pixels around it. For the middle of a large cell that is too
# little, and no training will help. Pooling would widen the view, but it makes the map coarse: that is what lesson 05
# paid. **How can every pixel see three times as far, on a map as fine as the picture? And what does it cost?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# The lecture says: *"Atrous (or dilated) convolutions are regular convolutions with a factor that allows us to expand the
# filter's field of view. When the dilation rate is equal to 1, it behaves like a standard convolution. But, if we set the
# dilation factor to 2, it has the effect of enlarging the convolution kernel."* It draws a 3x3 kernel at rates 1, 2 and 3.

# %%
question("span-at-rate-three")

# %%
question("weights-at-rate-three")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Put three coins on the table for the first. Most wrong answers are 9 (a gap after the last coin).
#
# The second is where "enlarging the kernel" misleads: ask who said 49. Keep the number on the board until the table below.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: taps apart
#
# On a line first. The numbers 0 to 11 are the picture, so that what is read is also *where* it was read. A kernel of three
# weights reads three pixels: its **taps**. The **dilation rate** is the distance from tap to tap.

# %%
line = np.arange(12)
for rate in (1, 2, 3):
    span = (3 - 1) * rate + 1
    print(f"rate {rate}: first place reads {line[0:span:rate]}, the next {line[1 : 1 + span : rate]}, span {span}")

# %% [markdown]
# `start:stop:rate` is the whole trick. The window still moves by *one* pixel: from the first place to the next each tap
# moves one to the right. (A stride would have moved the window.) From first to last tap there are K - 1 steps of r:
#
# $$ K_\text{eff} = (K - 1)\, r + 1 $$
#
# In the plane the same in both directions. Written as an ordinary kernel, it is the old one with zeros between its weights:


# %%
def with_gaps(kernel, rate):
    """Return the kernel with zeros between its weights, so that they stand ``rate`` apart."""
    span = (len(kernel) - 1) * rate + 1
    gaps = np.zeros((span, span), kernel.dtype)
    gaps[::rate, ::rate] = kernel
    return gaps


kernel = np.arange(1, 10).reshape(3, 3)
print("rate 2:", *with_gaps(kernel, 2), sep="\n")
print("rate 3:", *with_gaps(kernel, 3), sep="\n")

# %% [markdown] slideshow={"slide_type": "subslide"}
# These are the lecture's drawings. But nobody multiplies with those zeros. Loop over the **weights** instead: each meets one
# shifted picture.


# %%
def dilate(picture, kernel, rate):
    """Convolve a picture (H, W) with a kernel whose taps lie ``rate`` apart."""
    rows, columns = (n - (k - 1) * rate for n, k in zip(picture.shape, kernel.shape, strict=True))
    output = np.zeros((rows, columns))
    for y in range(kernel.shape[0]):
        for x in range(kernel.shape[1]):
            top, left = y * rate, x * rate
            output += kernel[y, x] * picture[top : top + rows, left : left + columns]
    return output


grey = data.synthetic_tissue(1, size=(96, 96), seed=1)[0][0].mean(axis=2) / 255
print("rate  span  weights  products a pixel  output")
for rate in (1, 2, 3):
    gaps = with_gaps(kernel, rate)
    assert np.allclose(dilate(grey, kernel, rate), dilate(grey, gaps, 1))
    print(f"{rate:4d} {len(gaps):5d} {kernel.size:8d} {kernel.size:17d}  {dilate(grey, kernel, rate).shape}")

# %% [markdown]
# The span is 3, 5, 7, and the assertion says that a kernel full of zeros gives the same. **Nine weights and nine
# products, whatever the rate.** "Enlarging the kernel" is true of its span and of nothing else.
#
# The output loses (K - 1) r rows, for lack of places, not of resolution. A padding of r on each side brings a 3x3 kernel's
# output back to the full size. Here is one edge kernel on tissue, at three rates:

# %%
edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
answers = [dilate(np.pad(grey, rate, mode="edge"), edge, rate) for rate in (1, 2, 4)]
print("sizes:", *[a.shape for a in answers], " of the picture:", grey.shape)
figures.gallery([grey, *map(figures.signed, answers)], ["tissue", "rate 1", "rate 2", "rate 4"], width=12)

# %% [markdown]
# Three pictures of full size. Rate 1 asks: *is it brighter one pixel to the right than one to the left?* Rate 4 asks it of
# pixels four away, so it answers to larger things, with thicker lines. No pixel of the map went missing.
#
# With pooling the picture would be 48 x 48 now, or 24 x 24. Dilation lets a layer that was meant for the small picture
# run on the large one. To the letter: leave out every second pixel and convolve, or convolve at rate 2 and leave out every
# second *answer*. It is the same.

# %%
small_first = dilate(grey[::2, ::2], edge, 1)
answers_thinned = dilate(grey, edge, 2)[::2, ::2]
print("the same:", np.allclose(small_first, answers_thinned), small_first.shape)
print("but the dilated one has", dilate(grey, edge, 2).size // small_first.size, "times as many answers to give")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: what the last cell says</b></summary>
#
# It is how dilation came into segmentation: take a trained classifier, leave out its last two poolings, give the layers
# behind them rates 2 and 4. The weights fit as they are, and the map is four times finer. Lesson 04's shift-and-stitch is
# the same in slow motion. *Ask:* who pays? (Sixteen times as many products in those layers.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Stacked: how far?
#
# A 3x3 layer of rate r adds r pixels on each side to the receptive field. So if the rates double from layer to layer, the
# field doubles too, while the number of weights grows by the same nine each time:

# %%
print("layers  rates 1, 1, 1, ...  rates 1, 2, 4, ...")
for layers in range(1, 7):
    alike, doubling = [1] * layers, [2**i for i in range(layers)]
    print(f"{layers:6d} {1 + 2 * sum(alike):19d} {1 + 2 * sum(doubling):19d}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Stacked: what is left out?
#
# *How far* is half of it. Does the output pixel see everything in between?

# %%
question("blinking-pixel")

# %% [markdown]
# Count the *paths*. Set all weights to 1: then what arrives from a pixel is the number of ways up to the output. On a line that is
# a convolution of kernels with gaps, one after the other:


# %%
def paths(rates):
    """Return how many paths lead from each pixel of a line to the output pixel, from the first seen to the last."""
    ways = np.ones(1, int)
    for rate in rates:
        taps = np.zeros(2 * rate + 1, int)
        taps[::rate] = 1
        ways = np.convolve(ways, taps)
    return ways


for rates in [(1, 1, 1), (2, 2, 2), (1, 2, 4), (1, 2, 5), (2, 4, 8)]:
    ways = paths(rates)
    print(f"{rates}: sees {(ways > 0).sum():2d} of {len(ways):2d}   {' '.join(map(str, ways))}")

# %% [markdown]
# At rates 2, 2, 2 there are zeros between: of 13 pixels 7 are seen, in the plane 49 of 169. A nucleus one pixel wide can
# stand beside the output pixel and leave no trace in it. This is **gridding**. Rates 2, 4, 8 reach further and are no
# better: 15 of 29. All their steps are even. But 1, 2, 4 sees all of its 15, and 1, 2, 5 all of its 17.

# %%
planes = [np.outer(paths(rates), paths(rates)) for rates in [(1, 1, 1), (2, 2, 2), (1, 2, 5)]]
figures.gallery(
    [figures.heat(np.pad(plane > 0, (17 - len(plane)) // 2), low=0, high=1) for plane in planes],
    ["rates 1, 1, 1", "rates 2, 2, 2", "rates 1, 2, 5"],
    ["7 x 7 pixels, all", "13 x 13, holes", "17 x 17, all"],
    width=10,
)

# %% [markdown]
# The rule of thumb that avoids it: **begin with rate 1, and let no step be larger than what the layers below see without a
# gap.** One layer of rate 1 sees 3 pixels whole, so the next may step by up to 3; with 1, 2 it is 7, so 5 is safe (and so
# would be 7: nothing overlaps, nothing is missing). Rates that all share a factor are never safe.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Side by side: several distances at once
#
# A pixel of a nucleus may need to look 3 pixels away, one of a gland 30. Instead of choosing, let several layers of different
# rates read the *same* input and add up what they find. DeepLab calls that **ASPP**, *atrous spatial pyramid pooling*, with
# rates 6, 12, 18 and 24 (*à trous* is French for "with holes").

# %%
side_by_side = np.zeros((49, 49))
for number, rate in enumerate((6, 12, 18, 24), start=1):
    size = 2 * rate + 1
    side_by_side[24 - rate : 25 + rate, 24 - rate : 25 + rate][::rate, ::rate] = number
print("pixels seen of 49 x 49:", int((side_by_side > 0).sum()), " weights:", 4 * 9)
figures.gallery([figures.heat(side_by_side, low=0, high=4)], ["four rates around one pixel"], width=5)

# %% [markdown]
# Thirty-three pixels out of 2,401: on a *picture* that would be absurd. It stands on top of a deep net, where each value
# already speaks for a neighbourhood. That is the order to keep: look closely first, at wide intervals later.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: stacks and pyramids</b></summary>
#
# *Ask:* 36 weights, 33 pixels: why? (The middle pixel is read by all four.)
#
# *Ask:* can 2, 2, 2 with one more layer be saved? (Yes: any layer of rate 1, before or after, lets odd distances in: 15 of 15.)
#
# *What students get wrong:* they add spans (3 + 5 + 9). Draw the ways from the output down, as the explorer does.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# The lecture's three rates are the first buttons; the numbers are paths. Then set three layers, each at rate 2: **One bright
# pixel slides along a row: with which rates does the output pixel lose sight of it?** Say before you move it.

# %%
explorers.dilation()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*, choose *2, 2, 2: a grid of holes*, then Play on *bright pixel*: the class says "now" when it vanishes.
# Do the same at 1, 2, 5. Then exchange the rates (5, 2, 1): are there holes? (No. The same pixels, the same paths: a sum of
# steps does not depend on their order. What changes is which features are computed on the way.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# The rate is the argument `dilation`, of the function and of the layer:

# %%
library = F.conv2d(grey[None, None], edge[None, None], padding=4, dilation=4).numpy()[0, 0]
ours = dilate(np.pad(grey, 4), edge, 4)
assert library.shape == ours.shape == grey.shape
assert np.allclose(library, ours)

for rate in (1, 2, 3):
    layer = nn.Conv2d(8, 8, 3, padding=rate, dilation=rate)
    print(f"rate {rate}: {layer.weight.numel()} weights, (1, 8, 48, 48) ->", layer(ms.zeros((1, 8, 48, 48))).shape)
for rates in [(2, 2, 2), (1, 2, 5)]:
    seen = shapes.gridding(3, rates)
    print(rates, "sees", seen.reached, "of", seen.span)
    assert seen.reached == (paths(rates) > 0).sum()

# %% [markdown]
# Now the question. Two nets, alike in layers, weights, first values, pictures and steps. In one the rates are 1, 1, 1, 1,
# in the other 1, 2, 4, 8.


# %%
def make_net(rates, channels=8):
    """Return 3x3 layers of these rates, ReLU between, and a 1x1 layer that gives two scores."""
    layers, before = [], 1
    for rate in rates:
        layers += [nn.Conv2d(before, channels, 3, padding=rate, dilation=rate), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Conv2d(before, 2, 1))


def train(rates, steps=240):
    """Return a net trained on the drawn cells, and its map of the new pictures."""
    ms.manual_seed(0)
    net = make_net(rates)
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        batch = rng.integers(0, len(pictures), 8)
        loss = F.cross_entropy(net(ms.tensor(pictures[batch])), maps[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with ms.no_grad():
        return net, net(ms.tensor(new_pictures)).numpy().argmax(axis=1)


near, near_maps = train((1, 1, 1, 1))
far, far_maps = train((1, 2, 4, 8))
for name, net in [("near", near), ("far", far)]:
    weights = sum(p.numel() for p in net.parameters())
    print(f"{name}: {weights:,} weights, receptive field", receptive_field(net, 1, 48).size)

# %%
near_dice, far_dice = (metrics.dice(found == 1, new_maps == 1) for found in (near_maps, far_maps))
print("on new pictures, near: Dice < 0.91:", bool(near_dice < 0.91), "  far: Dice > 0.94:", bool(far_dice > 0.94))
print("far is better by more than 0.06:", bool(far_dice - near_dice > 0.06))

# %% tags=["nbval-ignore-output"]
print(f"Dice near {near_dice:.3f}, far {far_dice:.3f}")
figures.gallery(
    [new_pictures[1, 0].clip(0, 1), *(m[1] * 1.0 for m in (near_maps, far_maps, new_maps))],
    ["rims", "rates 1, 1, 1, 1", "rates 1, 2, 4, 8", "the cells"],
    width=12,
)

# %% [markdown]
# The answer to the question: *not one weight more, no pixel less*, and the cells are filled. The near net finds rims, and
# guesses in the middle of what is larger than its window. It has been trained just as long. It cannot see.
#
# The published form of this idea is the **context module** (Yu and Koltun, 2016): seven layers with the rates 1, 1, 2, 4, 8,
# 16, 1 and a 1x1 layer, put on top of the scores of a finished net, here for 21 classes. (Seven kernels of 9 and one of 1 are 64
# weights for each pair of classes.) It begins as a layer that changes nothing, and learns from there:

# %%
context = models.ContextModule(21)
fields = [1 + 2 * sum((1, 1, 2, 4, 8, 16, 1)[: n + 1]) for n in range(7)]
weights = sum(p.numel() for p in context.parameters() if p.ndim == 4)
print("receptive field layer by layer:", *fields, fields[-1])
print(f"weights: 64 · 21 · 21 = {64 * 21 * 21:,}; counted: {weights:,}")
scores = np.random.default_rng(0).uniform(0, 1, (1, 21, 40, 40)).astype(np.float32)
print(
    "at first it passes scores on as they are:",
    np.allclose(context(ms.tensor(scores)).detach().numpy(), scores, atol=1e-4),
)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the two nets</b></summary>
#
# *Ask before running:* which pixels will the near net get wrong? (The middle of large cells, more than 4 pixels from the rim;
# some of the background close to rims, which looks the same from both sides.)
#
# *Ask:* are rates 8, 4, 2, 1 as good? The field is the same. Let somebody try: it takes seconds.
#
# *Be honest:* another seed gives other digits. Of five that we tried, the near nets came out between 0.70 and 0.80, the far
# ones between 0.88 and 0.98.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the operation, with channels and a rate for each direction: `check` puts a right answer into a network and says what
# happens there. Then a judge for stacks of rates.

# %%
exercise("dilated-conv")


# %%
def dilated_conv2d(input, weight, dilation):
    """Convolve images (N, C, H, W) with kernels (O, C, KH, KW), taps ``dilation`` = (rows, columns) apart."""
    # your code here


check(dilated_conv2d)

# %%
# hint()
# solution()

# %%
exercise("dilation-holes")


# %%
def holes(kernel, rates):
    """Return how many pixels between the first and the last that it sees one output pixel leaves out, on a line."""
    # your code here


check(holes)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `dilated-conv` takes fifteen minutes: it is `dilate` with channels (one `einsum` in place of a product). `dilation-holes` takes
# ten. Who is done early: with three layers of 3 and no holes, which rates see furthest? (1, 3, 9: 27 of 27, each pixel by
# exactly one path. Why not more? Three layers of three taps make 27 paths.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **The padding stays at 1.** Somebody adds `dilation=4` to a layer that had `padding=1`, and the map shrinks by six rows and
# columns. When it is compared with the labels, the program stops, at best:

# %%
forgotten = nn.Conv2d(1, 1, 3, padding=1, dilation=4)
print((1, 1, 48, 48), "->", forgotten(ms.zeros((1, 1, 48, 48))).shape)

# %% [markdown]
# **The rate is larger than the map.** Deep in a net a map may have 33 x 33 values. A tap 24 away then mostly falls into the
# padding: the 3x3 kernel becomes a 1x1 kernel that is slow. Count for how many output pixels all nine taps, or only the
# middle one, meet the map:

# %%
inside = np.ones((33, 33))
print("rate  all nine  only the middle")
for rate in (6, 12, 18, 24, 33):
    met = dilate(np.pad(inside, rate), np.ones((3, 3)), rate)
    print(f"{rate:4d} {100 * (met == 9).mean():8.1f}% {100 * (met == 1).mean():15.1f}%")

# %% [markdown]
# From rate 17 on no pixel at all has all of its taps. DeepLab's third version therefore added the mean of the whole map as a
# further branch, and a 1x1 layer.
#
# **It is not free.** No weight is added, but nothing becomes smaller either. A layer from 512 to 512 channels, for a picture
# of 512 x 512 pixels, once where poolings have brought it down 32 times and once where it was kept at 8:

# %%
print("map    values in memory          products")
for factor in (32, 8):
    side = 512 // factor
    print(f"1/{factor:<2d} {512 * side * side:18,d} {512 * 512 * 9 * side * side:17,d}")

# %% [markdown]
# Sixteen times the memory and sixteen times the products, for a map four times as fine in each direction.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. The dilation rate is the distance between taps: K of them span (K - 1) r + 1 pixels, with the same weights, the same
#    number of products and the same resolution.
# 2. Stacked, each layer adds (K - 1) r to the receptive field; rates that share a factor leave holes, 1, 2, 5 do not.
# 3. Side by side, several rates see several distances at once; a rate as large as the map sees only its own middle.

# %% [markdown]
# ## Exit ticket

# %%
question("field-of-a-stack")

# %%
question("what-dilation-keeps")

# %%
question("rates-to-choose")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - F. Yu, V. Koltun: *Multi-scale context aggregation by dilated convolutions*, ICLR 2016, section 2 (the operation), section 3 and
#   table 1 (the context module).
# - L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. Yuille: *DeepLab*, arXiv 1606.00915 (2016), sections 3.1 and 3.2: atrous
#   convolution, ASPP.
# - L.-C. Chen, G. Papandreou, F. Schroff, H. Adam: *Rethinking atrous convolution*, arXiv 1706.05587 (2017), section 3.3: rates as
#   large as the map.
# - P. Wang and others: *Understanding convolution for semantic segmentation*, arXiv 1702.08502 (2017), section 3.2: gridding, and
#   rates that avoid it.

# %% [markdown]
# ## Further: why the holes are a grid
#
# At rate 2 a pixel in an even column reads even columns only. So the picture falls apart into four pictures, one for each
# pair of (even or odd row, even or odd column), which never exchange anything, however many such layers follow. A layer of
# rate 2 *is* an ordinary convolution on each of the four:

# %%
whole = dilate(grey, edge, 2)
apart = np.empty_like(whole)
for row in (0, 1):
    for column in (0, 1):
        apart[row::2, column::2] = dilate(grey[row::2, column::2], edge, 1)
print("four small pictures, each by itself, put together again: the same:", np.allclose(whole, apart))

# %% [markdown]
# That is also how some libraries compute it: no kernel with gaps, only a picture dealt out and gathered again. And it says at once
# what a cure is: any layer of rate 1, in which the four speak to each other.
