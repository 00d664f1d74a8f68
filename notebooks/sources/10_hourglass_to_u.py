# %% [markdown] slideshow={"slide_type": "slide"}
# # 10 · From hourglass to U
#
# **Seven drawings lead from a chain to the U-Net. Which of them are a new network, and which only a new drawing?**
#
# 90 minutes. You need lessons 05 (pooling, batch norm), 08 (transposed convolution) and 09 (skips that are added). No network
# connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 7, build 30, explorer 15, library 3, exercises 17, what goes wrong 5, exit
# ticket 5.
#
# *The one idea:* a network is what is called, in which order, on what. Of the lecture's seven pictures three only redraw
# (hourglass, horizontal, U); learned upsampling, more layers and concatenation make another function.
#
# *What students get wrong:* that the U is what makes a U-Net (it is the skips); that concatenating is adding; and that a
# skip whose loss hurts must have been needed.
#
# *If time runs short,* skip: the text drawings (*Drawn five ways*; the explorer's slider shows them), the least-squares example
# under the table of seeds, and *Memory*. `conv-of-two` can be done at home.
#
# *To bring:* a strip of paper with nine boxes on it. Fold it into a U in front of the class.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-scores-meet")

# %%
question("recall-pixels-of-a-cell")

# %% [markdown]
# ## What you will be able to do
#
# - **Tell** steps that change a drawing from steps that change the function, and **prove** it by running both.
# - **Calculate** from how far a cell at the waist collects, and how far it distributes.
# - **Explain** what concatenation does, how it differs from adding, and what it costs in weights.
# - **Distinguish** what a trained net depends on from what a net needs, and **say** which experiment shows which.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# The lecture's table once more, and a trained net that goes down three times and comes up three times. It finds every thing
# on the table. Look where it is wrong.

# %%
from zlib import crc32

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures
from minisegnet.explorers.hourglass_nets import errors, net

table = data.scene(96, seed=0)
image = table.image.transpose(2, 0, 1) / 255  # (3, 96, 96)
hourglass = net("hourglass_deep")
with ms.no_grad():
    first = hourglass(ms.tensor(image[None].astype(np.float32))).numpy()[0].argmax(axis=0)


def colored(labels):
    """Return a map (H, W) in the colours of its classes."""
    return data.Scene(table.image, labels).colored()


def wrong(labels):
    """Return the picture, pale, with the wrong pixels in orange."""
    shown = 0.6 + 0.4 * table.image.mean(axis=2, keepdims=True).repeat(3, axis=2) / 255
    shown[(labels != table.labels) & (table.labels != data.IGNORE_INDEX)] = (0.84, 0.37, 0)
    return shown


def say(labels):
    """Return in words how many pixels are wrong, near the rims of things and elsewhere."""
    found = errors(labels, table.labels)
    return f"wrong: {found.at_rim:,} of {found.rim:,} near rims, {found.inside:,} of {found.rest:,} elsewhere"


print(say(first))
figures.gallery(
    [table.image, colored(first), wrong(first)], ["the table", "what it found", "where it is wrong"], width=11
)

# %% [markdown]
# 147 wrong pixels, and *all* of them lie at most two pixels from the rim of something. Everywhere else it is right. So it
# knows **what** is there, and does not quite know **where it ends**. The lecture goes from here to the U-Net in seven
# pictures: down and up in a chain, the way up learned, an hourglass, the hourglass laid horizontally, more layers, a big U,
# concatenation. **Which of these steps mends the rims?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# Two of those steps, before we compute anything.

# %%
question("bent-into-a-u")

# %%
question("edges-after-pooling")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# The first seems too easy, and yet "the U-shape lets fine detail pass across" is read in many reports. Fold the paper strip:
# does any box notice?
#
# The second is the heart of the matter: draw 16 pixels, and pool them three times on the board.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: a chain
#
# *"To produce a segmentation map downsampling is followed by upsampling"*, says the slide, and the next: *"Upsampling can
# also be learned"*. Four operations are enough, all of them old acquaintances: the convolution of lesson 02, the pooling and
# batch norm of lesson 05, and for the learned way up the stamps of lesson 08 (2 x 2, two apart, so that none overlap).


# %%
def conv(x, weight):
    """Convolve (C, H, W) with (O, C, K, K); padding keeps the size."""
    k = weight.shape[2] // 2
    windows = sliding_window_view(np.pad(x, ((0, 0), (k, k), (k, k))), weight.shape[2:], axis=(1, 2))
    return np.einsum("chwyx,ocyx->ohw", windows, weight, optimize=True)


def block(x, weights, name):
    """Twice: a 3x3 convolution, batch norm, ReLU."""
    for i in (0, 3):
        x = conv(x, weights[f"{name}.{i}.weight"])
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, shift = (weights[f"{name}.{i + 1}.{part}"][:, None, None] for part in parts)
        x = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + shift, 0)
    return x


def pool(x):
    """Keep the largest of each 2 x 2."""
    c, h, w = x.shape
    return x.reshape(c, h // 2, 2, w // 2, 2).max(axis=(2, 4))


def up(x, weights, name):
    """Let each cell stamp 2 x 2 pixels."""
    kernel = weights[f"{name}.weight"]  # (C, O, 2, 2)
    stamps = np.einsum("chw,coyx->ohywx", x, kernel, optimize=True)
    return stamps.reshape(len(stamps), 2 * x.shape[1], 2 * x.shape[2]) + weights[f"{name}.bias"][:, None, None]


# %% [markdown]
# A chain of layers is then a list, and running it is a loop. The weights are those of two trained nets of the library, a short
# one that goes down once and a deep one that goes down three times.


# %%
def chain(depth):
    """Return the steps of a net that goes down and up ``depth`` times, in order."""
    down = [step for i in range(depth) for step in [(block, f"encoder.{i}"), (pool, "")]]
    way_up = [step for i in range(depth) for step in [(up, f"upsample.{i}"), (block, f"decoder.{i}")]]
    return [*down, (block, "bottleneck"), *way_up]


def run(steps, weights, x):
    """Run the steps one after the other, then give one score a class."""
    for step, name in steps:
        x = step(x) if step is pool else step(x, weights, name)
    return conv(x, weights["head.weight"]) + weights["head.bias"][:, None, None]


def weights_of(name):
    """Return the numbers of a trained net by name, in float64."""
    return {key: np.asarray(value).astype(float) for key, value in net(name).state_dict().items()}


def fingerprint(labels):
    """Return four digits that change as soon as one pixel of a map changes."""
    return f"{crc32(labels.astype(np.uint8).tobytes()):08X}"[:4]


short = run(chain(1), weights_of("hourglass_short"), image).argmax(axis=0)
print(" -> ".join(name or "pool" for _, name in chain(1)))
print("map", fingerprint(short), say(short))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Drawn five ways
#
# Now the slides. Each drawing takes the sizes of the sheets and arranges them: all alike (*chain*), as large as they are
# (*"downsampling and upsampling leads to an hour-glass structure"*), turned (*"let us re-arrange the layers horizontally"*), bent
# (*"visually rearrange layers in a big U"*).


# %%
BRICK = chr(9608)


def draw(sides, how):
    """Draw the sheets of a net as text."""
    if how == "chain":
        return "\n".join(BRICK * 24 for _ in sides)
    bars = [(BRICK * (side // 4)).center(24) for side in sides]
    if how == "hourglass":
        return "\n".join(bar.rstrip() for bar in bars)
    if how == "U":  # each level of resolution a little lower
        depth = {96: 0, 48: 5, 24: 10, 12: 13}
        bars = [(" " * depth[side] + BRICK * (side // 8 + 1)).ljust(15) for side in sides]
    else:
        bars = [bar[::2] for bar in bars]
    return "\n".join("".join(3 * cell + " " for cell in cells).rstrip() for cells in zip(*bars, strict=True))


sides = [96, 96, 48, 96, 96]  # the image, down, the waist, up, the scores
for how in ("chain", "hourglass", "horizontal"):
    labels = run(chain(1), weights_of("hourglass_short"), image).argmax(axis=0)
    print(f"{how}: map {fingerprint(labels)}", draw(sides, how), sep="\n")

# %% [markdown]
# Three drawings, one fingerprint. Well, of course: `run` never asked how it was drawn. *"More layers can be added"* is another
# matter, and then *"a big U"*:

# %%
sides = [96, 96, 48, 24, 12, 24, 48, 96, 96]
for how in ("horizontal", "U"):
    labels = run(chain(3), weights_of("hourglass_deep"), image).argmax(axis=0)
    print(f"{how}: map {fingerprint(labels)}", draw(sides, how), sep="\n")
print("the same map:", np.array_equal(labels, first))
print(say(labels))

# %% [markdown]
# More layers: another fingerprint, another function, fewer errors. Bent: **the same, to the last pixel**. So the U is a
# good way to *look* at a net, because sheets of one size come to stand opposite each other. It is not what makes it good.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### It collects, and it distributes
#
# *"Downsampling collects feature evidence from a larger area. Upsampling distributes the information of a segment back to the
# original pixel domain."* How large is the area? Take one cell at the waist of the deep net. A 3x3 layer reaches one pixel
# further on every side, and going from a level to the finer one, each cell becomes 2 x 2. Followed backwards,
# that gives the pixels that the cell has read (there the waist's own two layers count as well); followed forwards, the pixels
# that will hear of it.


# %%
def spread(mask, layers):
    """Let a set of cells grow by what 3x3 layers reach."""
    for _ in range(layers):
        mask = conv(mask[None], np.ones((1, 1, 3, 3)))[0] > 0
    return mask


def reach(mask, layers):
    """Follow cells of the waist, through its own 3x3 ``layers`` and two on each finer level, to full size."""
    mask = spread(mask, layers)
    for _ in range(3):
        mask = spread(mask.repeat(2, axis=0).repeat(2, axis=1), 2)
    return mask


cell = np.zeros((12, 12), bool)
cell[6, 6] = True
collects, distributes = reach(cell, 2), reach(cell, 0)
print("collects from", collects.any(axis=0).sum(), "x", collects.any(axis=1).sum(), "pixels")
print("distributes to", distributes.any(axis=0).sum(), "x", distributes.any(axis=1).sum(), "pixels")

# %% [markdown]
# That is what *can* arrive. What does the trained net make of it? Ask the tape how the cell depends on each pixel; then set
# that cell to zero and look which scores notice.

# %%
x = ms.tensor(image[None].astype(np.float32), requires_grad=True)
features = x
for stage in hourglass.encoder:
    features = hourglass.pool(stage(features))
waist = hourglass.bottleneck(features)
pick = np.zeros(waist.shape, np.float32)
pick[:, :, 6, 6] = 1
(waist * ms.tensor(pick)).sum().backward()
read = np.abs(x.grad.numpy()[0]).sum(axis=0)


def come_up(features):
    """Return the scores that the deep hourglass makes of its waist."""
    with ms.no_grad():
        for way_up, stage in zip(hourglass.upsample, hourglass.decoder, strict=True):
            features = stage(way_up(features))
        return hourglass.head(features).numpy()[0]


whole = waist.detach().numpy()
written = np.abs(come_up(ms.tensor(whole)) - come_up(ms.tensor(whole * (1 - pick)))).max(axis=0)
for name, found, area in [("read", read, collects), ("written", written, distributes)]:
    print(f"{name}: nothing outside the area: {bool(found[~area].max() < 1e-4 * found.max())}")
figures.gallery(
    [table.image, *(figures.heat(np.sqrt(f / f.max())) for f in (read, written))],
    ["the table", "one cell collects", "and distributes"],
    width=11,
)

# %% [markdown]
# It gathers evidence from 68 x 68 pixels, most of the picture, and it speaks to 36 x 36. That is how a net knows that this brown
# belongs to a bear. But what it says goes out in blobs.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### What the way down forgets
#
# Your second prediction, computed:

# %%
edges = np.triu(np.ones((96, 96)))  # row e is dark, and bright from pixel e on
pooled = edges.reshape(96, 12, 8).max(axis=2)
print(len(np.unique(edges, axis=0)), "edges go down,", len(np.unique(pooled, axis=0)), "different rows arrive")

# %% [markdown]
# After pooling, eight neighbouring edges are one and the same. No way up can tell them apart again, learned or not: **what
# was lost cannot be learned back.** A net may write "my edge is at the third pixel" into one of its channels before it pools,
# and the good maps above show that it does so to some extent. But it must learn that, for all kinds of edges.
#
# And yet the edge was *there*, in the fine maps on the left arm of the U. We threw them away.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Keep them: concatenation
#
# *"Concatenate previous feature maps for finer spatial context"*, says the last picture. In the U the sheets of one size
# already stand opposite each other, so we keep each on the way down and hand it across. (Lesson 09 did it with scores; here
# it is all features.)

# %%
question("stack-of-channels")


# %%
def stack(level, skip, x):
    """Lay the channels of the skip before those that come up."""
    return np.concatenate([skip, x])


def add(level, skip, x):
    """Add the skip to what comes up."""
    return skip + x


def u_net(weights, x, join):
    """Go down three times and up again; ``join(level, skip, x)`` says what is done with the skip. 1 is the finest level."""
    kept = []
    for i in range(3):
        x = block(x, weights, f"encoder.{i}")
        kept.append(x)
        x = pool(x)
    x = block(x, weights, "bottleneck")
    for i in range(3):
        x = join(3 - i, kept.pop(), up(x, weights, f"upsample.{i}"))
        x = block(x, weights, f"decoder.{i}")
    return conv(x, weights["head.weight"]) + weights["head.bias"][:, None, None]


added = u_net(weights_of("unet_added"), image, add).argmax(axis=0)
stacked = u_net(weights_of("unet_stacked"), image, stack).argmax(axis=0)
for name, labels in [("hourglass", first), ("added", added), ("stacked", stacked)]:
    count = sum(p.numel() for p in net(f"unet_{name}" if name != "hourglass" else "hourglass_deep").parameters())
    print(
        f"{name:10s} map {fingerprint(labels)}  {count:,} parameters  wrong near rims {errors(labels, table.labels).at_rim}"
    )

# %% [markdown]
# Now the function changed, and the errors near rims fell by half and more. (Each net was trained for the same 400 steps on
# the same pictures.) What was kept last is taken first: `append` and `pop` are the two arms of the U.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Concatenation is not addition
#
# Three facts in a few lines. First: two pairs of maps with the same sum are one thing to who adds, and two things to who stacks.

# %%
rng = np.random.default_rng(0)
a, b = rng.standard_normal((2, 4, 9, 9))
weight = rng.standard_normal((5, 8, 3, 3))
print("added:  ", np.allclose(a + b, b + a), "  stacked:", np.allclose(stack(1, a, b), stack(1, b, a)))

# %% [markdown]
# Second: a layer on a stack *is* a sum, but one where each side has **its own weights**. Third: give both sides the same
# weights, and you have addition. So adding is the special case, with half the weights.

# %%
own, other = weight[:, :4], weight[:, 4:]
on_a_stack = conv(stack(1, a, b), weight)
print("conv of the stack = conv(a) + conv(b):", np.allclose(on_a_stack, conv(a, own) + conv(b, other)))
twice = np.concatenate([own, own], axis=1)
print("same weights twice = conv of a + b:   ", np.allclose(conv(stack(1, a, b), twice), conv(a + b, own)))
print("weights more in our three levels:", sum(9 * c * c for c in (6, 12, 24)), "=", 68375 - 61571)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: adding and stacking</b></summary>
#
# *Ask:* is stacking then always better? (It can do all that adding can. It costs weights and memory. In the table of this net
# added and stacked are about equal: 3.3, 3.0, 3.5 and 3.9, 2.6, 3.1 percent wrong near rims, three seeds.) RTSeg, the
# lecture's own reference, adds (lesson 13).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# All the slides on one slider, with the net's real maps on the sheets. The fingerprint stays on screen. **What makes the hourglass
# a U-Net: that it is bent, or its skips?** Play *stage* and say aloud "the drawing" or "the function" before the label does. Then
# choose *fine skip shifted*: what moves along, the edges or the classes?

# %%
explorers.hourglass()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. Stop at *horizontal* and let the class predict each fingerprint: same or other?
#
# With a skip operated on, let them describe *what* goes wrong, not how much: edges follow the shifted fine skip, while the things
# stay what they are. With another image's skip one sees ghosts of that image's edges. How much each costs differs from seed to
# seed: do not rank the skips.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### What a skip carries: cut it
#
# An experiment on a trained net: let a skip carry zeros, and count.


# %%
def cutting(levels):
    """Return a join that stacks, with zeros for the skips of some levels."""
    return lambda level, skip, x: stack(level, skip * (level not in levels), x)


weights = weights_of("unet_stacked")
maps = {levels: u_net(weights, image, cutting(levels)).argmax(axis=0) for levels in [(), (1,), (2,), (3,), (1, 2, 3)]}
for levels, labels in maps.items():
    print(f"cut {levels!s:10s}", say(labels))
names = ["whole", "skip 1 cut", "skip 2 cut", "skip 3 cut", "all cut"]
figures.gallery([colored(labels) for labels in maps.values()], names, columns=5, width=12)

# %% [markdown]
# This net **depends** on each of its skips. It is tempting to go on: "so skip 2 is the important one, and a U-Net needs it."
# That would be a statement about other nets, and it takes another experiment: train a net that *never had* it.

# %%
question("cut-or-never-had")

# %% [markdown]
# Both experiments take twenty minutes, so the table lies beside the weights (`scripts/train_explorer_nets.py` makes it): three
# seeds, 40 other pictures, percent of wrong pixels near rims.

# %%
scores = net("unet_stacked").about["scores"]


def near_rims(row):
    """Return the errors of the three seeds in percent."""
    return [100 * seed["wrong_near_edges"] for seed in scores[row]]


print(f"{'whole':34s}", *(f"{s:6.1f}" for s in near_rims("unet_stacked")))
for level in (1, 2, 3):
    for row in (f"skip {level} cut out", f"trained without skip {level}"):
        print(f"{row:34s}", *(f"{s:6.1f}" for s in near_rims(row)))
print(f"{'all skips cut out':34s}", *(f"{s:6.1f}" for s in near_rims("all skips cut out")))
print(f"{'trained without any: hourglass':34s}", *(f"{s:6.1f}" for s in near_rims("hourglass_deep")))

# %%
whole = np.median(near_rims("unet_stacked"))
for level in (1, 2, 3):
    cut, never = (np.median(near_rims(row)) for row in (f"skip {level} cut out", f"trained without skip {level}"))
    print(
        f"skip {level}, the middle seed: cut {cut / whole:4.1f} times the errors, never had {never / whole:3.1f} times"
    )
print("never had any:", round(np.median(near_rims("hourglass_deep")) / whole, 1), "times")
worst = [max((1, 2, 3), key=lambda level, s=seed: near_rims(f"skip {level} cut out")[s]) for seed in range(3)]
print("the costliest to cut, seed by seed: skip", *worst)

# %% [markdown]
# Read it slowly. *Cut*, each skip costs two to seven times the errors. *Never had*, no single one costs much: the others carry
# what it would have carried. Without any, it is more than twice the errors. And which cut costs most changes with the seed. (Two
# trainings went badly, 14.2 and 24.9; they are left in, which is why we read the middle seed.)
#
# How can that be? The smallest example: two inputs that say the same, and a third that says something of its own. We learn y =
# first + third by least squares.

# %%
news, own_news = rng.standard_normal((2, 200))
inputs = np.stack([news, news, own_news], axis=1)  # the first two carry the same
y = news + own_news


def learned(columns):
    """Return the weights that fit y best, the smallest of all such."""
    return np.linalg.lstsq(inputs[:, columns], y, rcond=None)[0]


def off(columns, weights):
    """Return the mean squared error, in parts of the mean square of y."""
    return ((inputs[:, columns] @ weights - y) ** 2).mean() / (y**2).mean()


print("weights:", learned([0, 1, 2]).round(2))
for lost in (0, 2):
    left = [column for column in range(3) if column != lost]
    print(
        f"input {lost}  cut: {off(left, learned([0, 1, 2])[left]):.2f}   never had: {abs(off(left, learned(left))):.2f}"
    )

# %% [markdown]
# The net shares its trust between the two that say the same. Cut one, and half the message is missing: it *depends* on it.
# Learn without it, and nothing is missing: it did not *need* it. The third it needs.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: dependence and need</b></summary>
#
# *Ask:* which of the two does a paper show when it "ablates" a part? (Mostly need, if it trains again. Look for the sentence.)
#
# *What students get wrong:* they rank the skips by one net. The last line of the table is there for that.
#
# *Beyond networks:* cut a bridge at noon and the town stops. A town that never had it has built another.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `models.UNet` has all of this as three words: `skips=None` is the hourglass, `"add"` adds, `"concatenate"` stacks.

# %%
batch = ms.tensor(image[None].astype(np.float32))
for name, labels in [("hourglass_deep", first), ("unet_added", added), ("unet_stacked", stacked)]:
    with ms.no_grad():
        by_the_library = net(name)(batch).numpy()[0].argmax(axis=0)
    assert np.array_equal(by_the_library, labels)
    print(f"{name:15s} skips={net(name).skips!s:12s} the same map as ours")
pair = ms.cat([ms.tensor(a[None]), ms.tensor(b[None])], dim=1)
assert np.array_equal(pair.numpy()[0], stack(1, a, b))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First a layer that reads a stack, without a stack. Then the U-Net itself, with skips that you can cut: `check` lets it
# label the lecture's table with trained weights.

# %%
exercise("conv-of-two")


# %%
def conv_of_two(skip, x, weight):
    """Convolve skip and x (N, C, H, W) with a weight (O, 2 C, KH, KW), as if they were stacked."""
    # your code here


check(conv_of_two)

# %%
# hint()
# solution()

# %%
exercise("u-forward")


# %%
def forward(model, x, cut):
    """Return the scores of a U-Net of the library; skips of the levels in ``cut`` (1 is the finest) carry zeros."""
    # your code here


check(forward)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `conv-of-two` takes six minutes, `u-forward` eleven: it is `u_net` with the library's blocks. Who is done early: let a skip carry
# its own mean instead of zeros. Does cutting cost as much? (Zeros are something that the net never saw.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **The other order.** Somebody loads trained weights into a U-Net that stacks what comes up *first*. All the shapes fit.

# %%
swapped = u_net(weights, image, lambda level, skip, x: stack(level, x, skip)).argmax(axis=0)
known = table.labels != data.IGNORE_INDEX
print(f"wrong: {(swapped != table.labels)[known].mean():.0%} of all pixels, and no word of warning")

# %% [markdown]
# **The skip is taken after the pooling.** Then it is half as large as what comes up. This one is at least noticed:

# %%
fine, coarse = ms.zeros((1, 6, 96, 96)), ms.zeros((1, 6, 48, 48))
try:
    ms.cat([coarse, fine], dim=1)
except ValueError as error:
    print(error)

# %% [markdown]
# The same message meets whoever feeds a picture whose side cannot be halved often enough: 100, 50, 25, 12, and up again 24,
# where 25 was kept. What to do about it is in lesson 11.
#
# **Memory.** Skips must be kept until the way up has come to them, in training and in prediction: the finest last, and it
# is the largest. For the published net on 512 x 512 pixels that is

# %%
kept = [64 * 2**level * (512 // 2**level) ** 2 * 4 / 2**20 for level in range(4)]
print("MiB kept for the skips:", *kept, " together", sum(kept))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The question's answer

# %%
figures.gallery(
    [wrong(labels) for labels in (short, first, stacked)],
    ["short hourglass", "deep, in a row or as a U", "with skips"],
    [f"{errors(labels, table.labels).at_rim} wrong near rims" for labels in (short, first, stacked)],
    width=11,
)

# %% [markdown]
# More layers helped, bending did nothing, and the skips brought the rims. That is the U-Net.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. A net is what is called, in which order, on what; a chain, an hourglass and a U of the same layers are one function.
# 2. Concatenation computes nothing: it lets the next layer read both, each side with its own weights; adding is the case
#    where both share them.
# 3. Cutting a skip shows what this net depends on; only training without it shows what a net needs.

# %% [markdown]
# ## Exit ticket

# %%
question("weights-after-a-stack")

# %%
question("what-a-cut-shows")

# %%
question("which-changes-the-function")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - O. Ronneberger, P. Fischer, T. Brox: *U-Net: convolutional networks for biomedical image segmentation*, MICCAI 2015, section
#   2: the contracting and the expansive path, and the concatenation between them.
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, section 4.2: skips
#   that are added.
# - M. Siam and others: *RTSeg: real-time semantic segmentation comparative study*, arXiv 1803.02758 (2018), section 2: a U-Net
#   decoder whose skips are added.
#
# ## Further
#
# - *Many more skips:* Z. Zhou and others, *UNet++: a nested U-Net architecture for medical image segmentation*, arXiv 1807.10165
#   (2018), section "Proposed network architecture".
# - *A skip that is asked first:* O. Oktay and others, *Attention U-Net: learning where to look for the pancreas*, arXiv 1804.03999
#   (2018), "Attention gates for image analysis".
# - *Are skips needed at all?* M. Drozdzal and others, *The importance of skip connections in biomedical image segmentation*,
#   arXiv 1608.04117 (2016), trains with and without the long and the short ones.
