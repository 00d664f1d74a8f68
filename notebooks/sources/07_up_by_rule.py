# %% [markdown] slideshow={"slide_type": "slide"}
# # 07 · Up by rule: interpolation and max-unpooling
#
# **From 64 numbers back to 4,096 pixels: repeat, blend, or remember where each one came from.**
#
# 90 minutes. You need lessons 02 (convolution), 03 (gradients) and 05 (pooling). No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 7, build 24, explorers 13, networks 10, exercises 20, what goes wrong 3, exit
# ticket 5.
#
# *The one idea:* pooling loses two things, the smaller values and the *place* of the largest. Interpolation brings back neither,
# unpooling brings back the place, and nothing brings back the values.
#
# *What students get wrong:* that unpooling restores the picture (it restores a quarter of it, the rest is 0); that the numbers
# put back must be the pooled ones (they are whatever the network made of them); and that "bilinear" means the same in every
# program.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-after-three-pools")

# %%
question("recall-closed-gate")

# %% [markdown]
# ## What you will be able to do
#
# - **Compute** nearest-neighbour and bilinear interpolation by hand, and **say** where a pixel's value sits.
# - **Follow** a maximum through its switch, down and up again, and **tell** what is restored and what is not.
# - **Choose** a way up for a network by what its task needs, and **explain** your choice.
# - **Count** the weights of DeconvNet, and **name** the layers in which nearly all of them sit.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Thin bright fibres, and round cells that are just as bright (drawn, as a fluorescence microscope might show them). We want
# the fibres, which are hardly two pixels wide. Three poolings make 8 x 8 numbers of the 64 x 64 pixels, and a network can think
# about them cheaply. Then it must come up again. Here are three ways to do that:

# %%
import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, metrics, models, nn, optim


def draw_fibres(n, seed, size=64):
    """Draw n pictures (N, 1, H, W) of fibres and cells, and maps (N, H, W): 1 is fibre."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    pictures = rng.normal(0.1, 0.1, (n, 1, size, size)).astype(np.float32)
    maps = np.zeros((n, size, size), int)
    for k in range(n):
        for _ in range(4):  # a fibre: all that is close to a line
            angle, y, x = rng.uniform(0, np.pi), *rng.uniform(12, 52, 2)
            on = np.abs((columns - x) * np.sin(angle) - (rows - y) * np.cos(angle)) < 0.8
            pictures[k, 0][on], maps[k][on] = rng.uniform(0.7, 0.9), 1
        for _ in range(3):  # a cell, which may lie upon a fibre
            y, x = rng.uniform(8, 56, 2)
            on = np.hypot(rows - y, columns - x) < rng.uniform(3, 6)
            pictures[k, 0][on], maps[k][on] = 0.8, 0
    return pictures, maps


pictures, maps = draw_fibres(24, seed=1)
new_pictures, new_maps = draw_fibres(8, seed=2)
first = new_pictures[:1]
maxima, places = F.max_pool2d(first, 8, return_indices=True)  # three poolings by 2 give the same 8 x 8 numbers
ways_up = {
    "64 x 64": first,
    "8 x 8": maxima.numpy(),
    "A": F.interpolate(maxima, scale_factor=8, mode="nearest").numpy(),
    "B": F.interpolate(maxima, scale_factor=8, mode="bilinear").numpy(),
    "C": F.max_unpool2d(maxima, places, 8).numpy(),
}
figures.gallery([p[0, 0].clip(0, 1) for p in ways_up.values()], list(ways_up), columns=5, width=12)

# %% [markdown]
# A looks like the picture through frosted glass, B like a fog. And C seems broken: black, with 64 dots. Yet two famous
# networks of 2015 go up by C, one of them the lecture's. **Which way would you take to find the fibres, and what does C know that A
# and B do not?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict

# %%
question("stretched-row")

# %%
question("where-it-goes-back")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# For the first, draw two wide pixels on the board and four narrow ones above them, edges on edges, each with a dot in its
# middle. Most will have said 13.3 or 15; let both sides argue before the dots are drawn.
#
# For the second, ask who took a 1 of the input because it is a 1. *Ask:* would anything change if the network had made 100 of
# it? (No: the switch knows the place, not the value.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: repeat
#
# The simplest rule: each new pixel takes the value of the old pixel that it lies in. **Nearest-neighbour.** NumPy calls it
# `repeat`:

# %%
row = np.array([10.0, 20.0])
print(row.repeat(2))

square = np.array([[1.0, 2.0], [3.0, 4.0]])
print(square.repeat(2, axis=0).repeat(2, axis=1))

# %% [markdown]
# Nothing is computed, so no value appears that was not there before. Keep that: it will matter.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Blend
#
# Or draw straight lines between the values. But *where* on the row is a value? A pixel is a little square, and its value
# sits in the **middle**. When a row is stretched, its edges stay on its edges. Then the middles of the old and the new pixels are
# not in the same places:

# %%
old = (np.arange(2) + 0.5) / 2  # the row goes from 0 to 1
new = (np.arange(4) + 0.5) / 4
print("old middles:", old, "  new middles:", new)

# %% [markdown]
# The second new middle, 0.375, is a quarter of the way from 0.25 to 0.75. The first, 0.125, lies before all old middles: there
# is nothing to draw a line to, so the value stays. `np.interp` does both:


# %%
def stretch(row, m):
    """Return a row of m pixels: straight lines between the middles of the old pixels, constant beyond the last."""
    n = len(row)
    return np.interp((np.arange(m) + 0.5) / m, (np.arange(n) + 0.5) / n, row)


print("doubled:", stretch(row, 4))
strips = [np.tile(values, (4, 1)) / 25 for values in (row.repeat(24), stretch(row, 4).repeat(12), stretch(row, 48))]
figures.gallery(strips, ["two pixels", "blended to four", "blended to forty-eight"], columns=1, width=7)

# %% [markdown]
# 10, **12.5**, 17.5, 20: three quarters of the near neighbour and one quarter of the far one. The weights do not depend on the
# values, so the rule is a fixed *mean of neighbours*, and each row of weights adds up to 1. (You will write them down in the
# first exercise.)
#
# In the plane: first stretch along one axis, then along the other. Two times linear is **bilinear**.


# %%
def bilinear(picture, size):
    """Return a picture (H, W) as (OH, OW): its columns stretched, and then its rows."""
    high = np.stack([stretch(column, size[0]) for column in picture.T], axis=1)  # (OH, W)
    return np.stack([stretch(line, size[1]) for line in high])  # (OH, OW)


print(bilinear(square, (4, 4)))
print("rows first gives the same:", np.allclose(bilinear(square.T, (4, 4)).T, bilinear(square, (4, 4))))

# %% [markdown]
# Each pixel inside is mixed from four, with weights 9/16, 3/16, 3/16 and 1/16. On a photo, reduced to a sixth and
# brought up again:

# %%
photo = data.scene(192).image / 255  # (192, 192, 3)
little = photo.reshape(32, 6, 32, 6, 3).mean(axis=(1, 3))  # each 6 x 6 becomes its mean
blocks = little.repeat(6, axis=0).repeat(6, axis=1)
soft = np.stack([bilinear(little[..., c], (192, 192)) for c in range(3)], axis=2)
figures.gallery([photo, little, blocks, soft], ["the photo", "32 x 32", "nearest", "bilinear"], width=13)

# %%
for name, up in [("nearest", blocks), ("bilinear", soft)]:
    off = 255 * np.abs(up - photo)
    print(
        f"{name:8s}  mean error {off.mean():4.1f} of 255, in one pixel of a hundred more than {np.quantile(off, 0.99):.0f}"
    )

# %% [markdown]
# Blocks or blur. Bilinear pleases the eye, and yet in the mean both err alike. The worst pixels, wrong by a quarter of the
# range, lie along the edges of things, and neither rule can spare them. **A mean says how bright a block was, and not which of
# its pixels were.** No rule that looks only at the small picture can know.

# %% [markdown]
# Before you go on: blending makes numbers that were not there. What does it make of class numbers?

# %%
question("between-rose-and-die")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Remember
#
# Then take more along than the small picture. The lecture's page is called *In-network upsampling: max unpooling*, and begins on
# the way down, with *"Remember which element was max!"*:

# %%
picture = np.array([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])
maxima, switches = np.zeros((2, 2), int), np.zeros((2, 2), int)
for i in range(2):
    for j in range(2):
        window = picture[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        y, x = divmod(int(window.argmax()), 2)  # where in the window
        row_at, column_at = 2 * i + y, 2 * j + x  # where in the picture
        maxima[i, j], switches[i, j] = window.max(), row_at * 4 + column_at
        print(f"window {window.ravel()}: {window.max()} in row {row_at}, column {column_at}: place {switches[i, j]}")

# %% [markdown]
# A place is written as one number, `row * width + column`, as if the rows lay one behind the other. Those numbers are the
# **switches**. They wait at the side while the maxima, 5 6 / 7 8, go on into *"... rest of the network"*. What comes back from
# there has the same size, and in the lecture it is 1 2 / 3 4. **Max-unpooling** puts each number where its maximum was, and
# zeros everywhere else:


# %%
def unpool(values, switches, size):
    """Put values (OH, OW) at their switches in a picture of zeros of ``size`` (H, W)."""
    flat = np.zeros(size[0] * size[1], values.dtype)
    flat[switches] = values
    return flat.reshape(size)


from_the_network = np.array([[1, 2], [3, 4]])
print(unpool(from_the_network, switches, (4, 4)))

# %% [markdown]
# The lecture's output, number by number. The 1 went to the place of the 5, though its value has nothing to do with 5.

# %% [markdown] slideshow={"slide_type": "subslide"}
# And what has been *restored*? Leave the network out, and put the maxima themselves back:

# %%
question("how-many-restored")

# %%
back = unpool(maxima, switches, (4, 4))
print(back)
print("as before:", int((back == picture).sum()), "of", picture.size)

# %% [markdown]
# Four of sixteen. The name promises more than it keeps, and so does the lecture's line *"Max-unpooling: preserves spatial
# information"*. It preserves **where**, one place in each window. The other three values are gone; the zeros in their
# places are not memories. On tissue (brighter means more stain):

# %%
tissue = data.synthetic_tissue(1, size=(96, 96), seed=3)[0][0].mean(axis=2) / 255
stain = (1 - tissue)[None, None]  # (1, 1, 96, 96)
shown, captions = [stain[0, 0]], ["96 x 96"]
for k in (2, 4, 8):
    top, where = F.max_pool2d(stain, k, return_indices=True)
    shown.append(F.max_unpool2d(top, where, k).numpy()[0, 0])
    captions.append(f"restored: {(shown[-1] == stain[0, 0]).mean():.1%}")
figures.gallery(shown, ["stain", "pooled by 2, and back", "by 4", "by 8"], captions, width=13)

# %% [markdown]
# One pixel in K · K is exact and stands where it belongs. Everything else is 0. A network that ended here would be useless;
# so what follows an unpooling is always a **convolution**, which spreads the dots to their neighbours. How, it learns.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### You have met it before
#
# On the way back through a max-pooling, which pixels get a gradient? Only the maximum had any influence: move one of the others a
# little, and nothing happens. As with the ReLU of today's recall, the gradient returns through the gate that was open:

# %%
read = ms.tensor(picture[None, None].astype(float), requires_grad=True)
F.max_pool2d(read, 2).backward(from_the_network[None, None].astype(float))
print(read.grad.numpy()[0, 0].astype(int))

# %% [markdown]
# The lecture's output once more. **Max-unpooling is the backward pass of max-pooling, used as a layer of its own.** (Where
# windows overlap, the gradient adds up, and unpooling writes the value once. That is the only difference.) Lesson 08
# plays the same trick with the convolution.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: switches</b></summary>
#
# *Ask:* how many bits does a switch need? (One of four places: two bits. Come back to that at SegNet.)
#
# *Ask:* pool, unpool, pool again: what comes out? (The same maxima, if none is below 0. With a negative maximum the zeros of its
# window win: a nice trap for those who are fast.)
#
# *Ask:* can two different pictures have the same maxima and the same switches? (Of course. The twelve others are free, as long as
# they are smaller.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# The lecture's numbers are the first state. Follow each window with *step*. Then choose *the maxima themselves*: **put the pooled
# numbers back with their own switches: how many of the 16 numbers are restored?** You know it for these numbers. Type others into
# the table: can you find 16 of which *all* come back?

# %%
explorers.pooling()

# %% [markdown]
# And all rules beside each other, on a photo, on a map of classes, and on stars. **Which rule is by far the worst on
# the photo, and the only one without any error on the stars?** (The fifth column belongs to lesson 08.)

# %%
explorers.upsampling()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorers</b></summary>
#
# Press *projector*. *All come back:* one number above zero in each window and zeros around it, which is exactly what stars are.
# So the second explorer's answer can be foreseen.
#
# *Windows overlap:* two windows share a maximum. *Ask* what happens to the two numbers that return to the same place (the last
# one stays).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `F.interpolate` for the first two, `return_indices=True` and `F.max_unpool2d` for the third, all with PyTorch's names:

# %%
rng = np.random.default_rng(0)
small = rng.standard_normal((2, 3, 5, 7))
library = F.interpolate(small, size=(12, 14), mode="bilinear").numpy()
ours = np.array([[bilinear(plane, (12, 14)) for plane in image] for image in small])
assert np.allclose(library, ours)
assert np.array_equal(F.interpolate(small, scale_factor=2).numpy(), small.repeat(2, axis=2).repeat(2, axis=3))

large = rng.standard_normal((2, 3, 8, 6))
top, where = F.max_pool2d(large, 2, return_indices=True)
up = F.max_unpool2d(top, where, 2).numpy()
for n in range(2):
    for c in range(3):
        assert np.array_equal(up[n, c], unpool(top.numpy()[n, c], where.numpy()[n, c], (8, 6)))
print("nearest, bilinear, max-unpooling: all the same.  switches:", where.shape, "one set for each plane")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## In a network: encoder and decoder
#
# Now the question can be answered. A network in two halves: an **encoder** that goes down, three times a convolution and a
# pooling, and a **decoder** that goes up, three times a way up and a convolution. All maps have 8 channels, so at the bottom
# there are 8 · 8 · 8 = 512 numbers for 4,096 pixels. What happens in the line `grow` is the only difference between three
# networks. With switches, this is **SegNet** (2015), made small.


# %%
def block(c_in, c_out):
    """Return a 3x3 convolution, batch norm and ReLU."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU())


class DownAndUp(nn.Module):
    """Three times down by max-pooling and three times up, by one of three rules."""

    def __init__(self, rule):
        super().__init__()
        self.rule, self.pool = rule, nn.MaxPool2d(2, return_indices=True)
        self.encoder = nn.ModuleList([block(1, 8), block(8, 8), block(8, 8)])
        self.decoder = nn.ModuleList([block(8, 8), block(8, 8), block(8, 8)])
        self.scores = nn.Conv2d(8, 2, 1)

    def grow(self, x, places):
        """Double the size."""
        if self.rule == "unpooling":
            return F.max_unpool2d(x, places, 2)
        return F.interpolate(x, scale_factor=2, mode=self.rule)

    def forward(self, x):
        """Return two scores a pixel, (N, 2, H, W)."""
        remembered = []
        for down in self.encoder:
            x, places = self.pool(down(x))
            remembered.append(places)
        for up, places in zip(self.decoder, reversed(remembered), strict=True):
            x = up(self.grow(x, places))
        return self.scores(x)


def train(rule, steps=300):
    """Train a network of one rule, and return it with its map of the pictures that it has not seen."""
    ms.manual_seed(0)
    rng = np.random.default_rng(0)
    model = DownAndUp(rule)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        chosen = rng.integers(0, len(pictures), 4)
        optimizer.zero_grad()
        F.cross_entropy(model(pictures[chosen]), maps[chosen]).backward()
        optimizer.step()
    model.eval()
    with ms.no_grad():
        return model, model(new_pictures).numpy().argmax(axis=1)


trained = {rule: train(rule) for rule in ("nearest", "bilinear", "unpooling")}
weights = {rule: sum(p.numel() for p in model.parameters()) for rule, (model, _) in trained.items()}
print("weights of each:", weights)

# %% [markdown]
# The same number of weights, the same pictures in the same order, as many steps. Which one finds the fibres?

# %%
dice = {rule: metrics.dice(found == 1, new_maps == 1) for rule, (_, found) in trained.items()}
print("by nearest-neighbour: Dice < 0.70:", dice["nearest"] < 0.70)
print("by bilinear:          Dice < 0.70:", dice["bilinear"] < 0.70)
print("by unpooling:         Dice > 0.80:", dice["unpooling"] > 0.80)

# %% tags=["nbval-ignore-output"]
named = [("the picture", first[0, 0].clip(0, 1)), ("wanted", new_maps[0] * 1.0)]
named += [(f"{rule}: Dice {dice[rule]:.2f}", found[0] * 1.0) for rule, (_, found) in trained.items()]
figures.gallery([p for _, p in named], [n for n, _ in named], columns=5, width=13)

# %% [markdown]
# Look at the third network from inside, at its last step up: what arrives, what the unpooling makes of it, and what the
# convolution makes of that.

# %%
model, _ = trained["unpooling"]
with ms.no_grad():
    x, remembered = first, []
    for down in model.encoder:
        x, places = model.pool(down(x))
        remembered.append(places)
    for up, places in zip(model.decoder, reversed(remembered), strict=True):
        arrives, dots = x, model.grow(x, places)
        x = up(dots)
channel = int(dots.numpy()[0].sum(axis=(1, 2)).argmax())  # the strongest of eight
print("not zero after the unpooling: at most a quarter:", bool((dots.numpy() != 0).mean() <= 0.25))
stages = [values.numpy()[0, channel] for values in (arrives, dots)] + [x.numpy()[0].max(axis=0)]
figures.gallery(
    [figures.heat(stage, low=0) for stage in stages],
    ["what arrives", "unpooled", "after the convolution"],
    ["32 x 32", "64 x 64, one pixel in four", "64 x 64, the largest of 8 channels"],
    width=11,
)

# %% [markdown]
# There is the answer. The bottom knows *that* a fibre runs through a square of 8 x 8 pixels, and roughly how. Two of the networks
# have to guess the pixels. The third is told: on a bright fibre the maximum stands on the fibre, so the switches draw it, and
# a convolution closes the gaps. **C looked broken because it keeps only places. Places were what was missing.**
#
# Do not take from this that unpooling wins always. Give these networks twice the channels and one pooling less, and the channels
# can carry places too: most of the distance is gone. And for nuclei, ten pixels wide, all three ways end about equal. It is thin
# and small things that need their places.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What the switches cost
#
# After the first pooling of SegNet, for a picture of 224 x 224:

# %%
floats, windows = 64 * 224 * 224, 64 * 112 * 112  # 64 channels
features, bits = floats * 4 / 1e6, windows * 2 / 8 / 1e6
print(f"the features before the pooling: {features:5.2f} MB   2 bits for each window: {bits:5.2f} MB")
print(f"{features / bits:.0f} times less.  (The library keeps {where.numpy().dtype}: simple, and not small.)")

# %% [markdown]
# Two bits say which of four. Handing a decoder all that the encoder saw at that size would take 64 times as much. That was
# SegNet's argument, on the graphics cards of 2015; what the larger amount buys is the subject of lesson 10.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the three networks</b></summary>
#
# *Before the verdict* let the class bet.
#
# We tried seeds 0, 1, 2: unpooling 0.91 to 0.94, nearest 0.52 to 0.58, bilinear 0.47 to 0.51; after half the steps unpooling
# was there already, and bilinear had hardly begun. With two poolings, 16 channels below and 400 steps: 0.87 to 0.89, 0.85 to
# 0.86, 0.81 to 0.83. On `data.synthetic_tissue` with three poolings all three ended between 0.67 and 0.83, overlapping.
#
# *Ask:* the switches come from the picture itself. Could the decoder cheat and copy? (In part it does: that is the point.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The lecture's network: DeconvNet
#
# The lecture names it twice: Noh and others, *Learning deconvolution network for semantic segmentation*, and below it the line
# *"6 days of training on Titan X..."*. It goes down like a classifier, five poolings, **and then on to a single pixel**, and the
# same way up. (`fc6` and `fc7` are the classifier's names: *fully connected* layers, numbers 6 and 7. Such a linear layer is a
# convolution as large as its map, lesson 04.)


# %%
def deconvnet(widths=(64, 128, 256, 512, 512), convs=(2, 2, 3, 3, 3), waist=4096, classes=21, size=224):
    """Return DeconvNet's layers with weights: (name, channels in, channels out, kernel, size of the output)."""
    layers, c = [], 3
    for width, count in zip(widths, convs, strict=True):
        layers += [("down", c if i == 0 else width, width, 3, size) for i in range(count)]
        c, size = width, size // 2  # a pooling
    layers += [("fc6", c, waist, size, 1), ("fc7", waist, waist, 1, 1), ("fc6-deconv", waist, c, size, size)]
    for level in reversed(range(len(widths))):
        size *= 2  # an unpooling
        for i in range(convs[level]):
            last = i == convs[level] - 1
            layers.append(("up", widths[level], widths[max(level - 1, 0)] if last else widths[level], 3, size))
    return [*layers, ("scores", widths[0], classes, 1, size)]


def number_of_weights(layer):
    """Return kernel times kernel weights for each pair of channels, and a bias for each output channel."""
    _, c_in, c_out, kernel, _ = layer
    return c_in * c_out * kernel * kernel + c_out


layers = deconvnet()
total = sum(map(number_of_weights, layers))
print("sizes:", " ".join(str(size) for i, (*_, size) in enumerate(layers) if i == 0 or size != layers[i - 1][4]))
print(f"{total:,} weights in {len(layers)} layers")
small_one = models.DeconvNet(3, 2, widths=(4, 8), convs=(1, 2), fc_channels=16, fc_kernel=4, norm=None)
assert sum(p.numel() for p in small_one.parameters()) == sum(
    map(number_of_weights, deconvnet((4, 8), (1, 2), 16, 2, 16))
)

# %% [markdown]
# 252 million, as the paper says. (The assertion compares our table with the library's network, made small.) The sizes, drawn
# with the poolings and unpoolings between them:

# %%
drawn = models.DeconvNet(3, 21, widths=(4,) * 5, convs=(1,) * 5, fc_channels=8)
figures.network(drawn, (3, 224, 224), title="DeconvNet's sizes (with few channels)")

# %% [markdown]
# The waist is **1 x 1**: 4,096 numbers that belong to no place at all. *What* is in the picture they can say. *Where*, the
# switches have to know, and the layers that go down to one pixel and up from it. So where are the 252 million?

# %%
for name in ("down", "fc6", "fc7", "fc6-deconv", "up", "scores"):
    part = sum(number_of_weights(layer) for layer in layers if layer[0] == name) / total
    print(f"{name:11s} {part:6.1%}  {'#' * round(60 * part)}")
waist = [number_of_weights(layer) / total for layer in layers if layer[0].startswith("fc")]
print(f"the two 7x7 layers: {waist[0] + waist[2]:.1%}   with fc7 between them: {sum(waist):.1%}")

# %% [markdown]
# Two layers hold 82% of all weights, the three around the waist 88%. Each of the two has 4,096 kernels of 7 x 7 on 512
# channels, to go from 7 x 7 places to none, and from none to 7 x 7. **SegNet** leaves those three out. The switches stay, and
# it takes pictures of other sizes than 224:

# %%
with nn.init.no_draws():  # we only count: no random start
    segnet = models.SegNet(3, 11)
count = sum(p.numel() for p in segnet.parameters())
print(f"SegNet: {count:,} weights, {total / count:.1f} times fewer")


# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Six days
#
# Is that much? Its authors' files say 20,000 steps and then 40,000, each with 64 pictures. A step goes forward and back, and
# back takes twice as many products (lesson 03: one gradient for the input, one for the weights).


# %%
def number_of_products(layer):
    """Return its products for one picture: all its weights, without biases, at each place where it stands."""
    name, c_in, c_out, kernel, size = layer
    stands = 1 if name == "fc6-deconv" else size  # that one stands on a single pixel and writes 7 x 7
    return c_in * c_out * kernel * kernel * stands * stands


products = sum(map(number_of_products, layers))
shown_to_it = (20_000 + 40_000) * 64
seconds_in_six_days = 6 * 24 * 60 * 60
a_second = shown_to_it / seconds_in_six_days
print(f"{products / 1e9:.1f} billion products for one picture, {shown_to_it / 1e6:.2f} million pictures")
print(f"{a_second:.1f} pictures, {3 * products * a_second / 1e12:.2f} trillion products in each second")

# %% [markdown]
# Seven pictures a second, for six days. That card could do about three trillion products a second at best, so a quarter of it
# was in use, which is not bad at all. And where is the *work*? Not where the weights are:

# %%
at_the_waist = sum(number_of_products(layer) for layer in layers if layer[0].startswith("fc"))
print(f"the three waist layers: {sum(waist):.0%} of the weights, {at_the_waist / products:.1%} of the products")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the weights of linear interpolation: `check` puts them into a network that goes up by `F.interpolate`. Then unpooling, for
# images with channels, also where windows overlap.

# %%
exercise("linear-weights")


# %%
def linear_weights(n, m):
    """Return the weights (m, n) with which each of ``m`` new pixels of a row is mixed from the ``n`` old ones."""
    # your code here


check(linear_weights)

# %%
# hint()
# solution()

# %%
exercise("max-unpool")


# %%
def max_unpool2d(values, indices, size):
    """Put ``values`` (N, C, OH, OW) at their ``indices`` (row * W + column) in planes of zeros of ``size`` (H, W)."""
    # your code here


check(max_unpool2d)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `linear-weights` takes ten minutes. Who noticed that the rule is the same for all values may call `stretch` for each unit row;
# that passes, and deserves a word before the class.
#
# `max-unpool` takes eight. The commonest first error is one set of switches for all channels; the check names it.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Blending a map of classes.** Class numbers are names, and a mean of names is nonsense: you were asked for one, here are all.

# %%
scene = data.scene(96)
labels = scene.labels[12:60, 8:56]  # the bear
labels = np.where(labels == 255, 0, labels)
by_repeating = labels.repeat(3, axis=0).repeat(3, axis=1)
by_blending = np.rint(bilinear(labels.astype(float), (144, 144))).astype(int)
for name, found in [("in the map", labels), ("repeated", by_repeating), ("blended", by_blending)]:
    print(f"{name:10s}", [scene.classes[k] for k in np.unique(found)])
legend = np.array(scene.colors, np.uint8)
figures.gallery([legend[by_repeating], legend[by_blending]], ["repeated", "blended"], width=8)

# %% [markdown]
# A bear (4) on background (0) gets a rim of die (3), glass (2) and rose (1), which are nowhere in this part of the picture.
# **Maps go up by nearest-neighbour; scores and probabilities may be blended**, and the class is chosen afterwards.
#
# **Two programs, two bilinears.** Some put the middles of the outermost pixels on each other instead of the edges
# (`align_corners=True`). The results have the same size and are not the same:

# %%
for align in (False, True):
    out = F.interpolate(
        np.array([[[10.0, 20.0]]]).reshape(1, 1, 1, 2), size=(1, 4), mode="bilinear", align_corners=align
    )
    print(f"align_corners={align!s:5}:", out.numpy().ravel().round(2))

# %% [markdown]
# A network trained with one and run with the other sees everything shifted by up to half a pixel of the small picture: at a
# factor of 32 that is 16 pixels.
#
# **A row too few.** 5 x 5 pooled by 2 gives 2 x 2, as 4 x 4 does. Unpooling cannot know which it was. Tell it:

# %%
five = rng.standard_normal((1, 1, 5, 5))
top, where = F.max_pool2d(five, 2, return_indices=True)
print("with output_size:", F.max_unpool2d(top, where, 2, output_size=(5, 5)).shape)
places_in_four = F.max_pool2d(five[:, :, :4, :4].copy(), 2, return_indices=True)[1]
print("the same places, written for 5 columns and for 4:", where.numpy().ravel(), places_in_four.numpy().ravel())

# %% [markdown]
# A place is counted in rows of a certain width. Read with another width, every value lands elsewhere, mostly without an
# error. (For the same reason switches do not carry over between programs that count them differently: PyTorch and we count in
# each plane, ONNX over the whole tensor, images and channels included.)
#
# **Ties.** After a ReLU many windows hold nothing but zeros. Which is the maximum? By agreement the first; so in empty areas the
# switches all point to the upper left, and mean nothing.

# %%
_, where = F.max_pool2d(np.zeros((1, 1, 4, 4)), 2, return_indices=True)
print(where.numpy()[0, 0])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. Nearest-neighbour repeats values, bilinear blends the nearest ones, by where their middles lie; neither knows where in its
#    window something was.
# 2. Max-unpooling puts each value where its maximum stood, and zeros elsewhere: places are restored, values are not.
# 3. A decoder by switches draws thin things well and cheaply; DeconvNet spends 88% of its weights on a waist of 1 x 1 that
#    SegNet does without.

# %% [markdown]
# ## Exit ticket

# %%
question("stretch-three")

# %%
question("read-a-switch")

# %%
question("what-switches-bring")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - H. Noh, S. Hong, B. Han: *Learning deconvolution network for semantic segmentation*, ICCV 2015, section 3.2 (unpooling, and the
#   layers behind it), and the details of the implementation, among the experiments (six days).
# - V. Badrinarayanan, A. Kendall, R. Cipolla: *SegNet: a deep convolutional encoder-decoder architecture for image segmentation*,
#   PAMI 2017, section 3 (switches, and their two bits).
# - M. Zeiler, R. Fergus: *Visualizing and understanding convolutional networks*, ECCV 2014, section 2.1: where switches come
#   from, to look into a network.
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, section 3.3:
#   interpolation as a layer.
#
# ## Further
#
# - *Bicubic* interpolation takes sixteen neighbours and may overshoot: R. Keys, *Cubic convolution interpolation for digital image
#   processing*, IEEE Transactions on Acoustics, Speech, and Signal Processing 29 (1981).
# - *Making smaller* has a trap of its own: bilinear looks at the nearest two pixels and skips all others. Blur first, or take
#   means, as we did with the photo.
# - "Deconvolution" in the lecture's paper means transposed convolution, lesson 08. At stride 1 it is a convolution with
#   the kernel turned by 180 degrees.
