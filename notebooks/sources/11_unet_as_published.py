# %% [markdown] slideshow={"slide_type": "slide"}
# # 11 · U-Net as published
#
# **572 pixels go in, 388 come out. And yet it labels slides of 100,000 pixels.**
#
# 90 minutes. You need lessons 02 (the output's size), 05 (pooling), 08 (transposed convolution) and 10 (from hourglass to U).
# No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 8, build 30 (sizes 12, tiles 8, weights 5, bending 5), explorer 12, library 3,
# exercises 20, what goes wrong 4, exit ticket 5.
#
# *The one idea:* a U-Net computes on a grid. Which sizes fit, where tiles may be cut and what a shift changes all follow from
# four halvings.
#
# *What students get wrong:* that any size works as it is, because there is no dense layer; and that the skip is *resized* to
# what comes up. Also that each block takes four pixels off the *picture*: on level 3 they are 32.
#
# *To bring:* figure 1 of the paper, large, with the sizes covered by slips of paper.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-block-without-padding")

# %%
question("recall-down-and-up-again")

# %% [markdown]
# ## What you will be able to do
#
# - **Derive** every size in the figure of the U-Net paper, and **decide** which other sizes work.
# - **Explain** why a skip is cropped and not resized, and **calculate** by how much.
# - **Predict** a picture of any size, in tiles without seams, and **prove** that there are none.
# - **Compute** the weight of a pixel between two cells, and **bend** a picture together with its map.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# *"It does not have any dense layer so it can work for image of any size"*, says the lecture. Here is a trained U-Net
# that finds nuclei, and a piece of drawn tissue, 150 x 330 pixels.

# %%
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, models

pictures, numbered = data.synthetic_tissue(1, size=(150, 330), seed=3)
tissue, cells = pictures[0], numbered[0]  # (150, 330, 3), and 0 or the number of a nucleus for each pixel
picture = tissue.transpose(2, 0, 1) / np.float32(255)  # (3, 150, 330)
finder = models.load_pretrained("nuclei")


def probability(x):
    """Return the trained net's probability of a nucleus, (1, H, W), for each pixel of a picture (3, H, W)."""
    with ms.no_grad():
        return F.softmax(finder(ms.tensor(np.ascontiguousarray(x)[None])), dim=1).numpy()[0, 1:]


try:
    probability(picture)
except ValueError as error:
    print(str(error).split(". ")[0])

# %% [markdown]
# So much for any size. Somebody helps himself: he cuts the picture into tiles of 48 pixels, which the net does take, mirrors
# what is missing at the right and at the bottom, and puts the maps together.

# %%
filled = np.pad(picture, ((0, 0), (0, 42), (0, 6)), mode="reflect")  # 192 x 336, that is 4 x 7 tiles of 48
rows = [
    np.concatenate([probability(filled[:, y : y + 48, x : x + 48])[0] for x in range(0, 336, 48)], axis=1)
    for y in range(0, 192, 48)
]
in_tiles = np.concatenate(rows)[:150, :330] > 0.5
at_once = probability(np.pad(picture, ((0, 0), (0, 10), (0, 6)), mode="reflect"))[0, :150, :330] > 0.5
ruled = tissue.copy()
ruled[48::48], ruled[:, 48::48] = 60, 60  # where it was cut
figures.gallery(
    [figures.overlay_image(ruled, in_tiles, scale=2), figures.error_image(tissue, at_once * 1, in_tiles * 1, scale=2)],
    ["found in tiles, cut at the lines", "compared with the same net on the whole"],
    columns=1,
    width=9,
)

# %%
columns = np.arange(330)
near_cut = np.minimum(columns % 48, 47 - columns % 48) < 8
share = [(in_tiles != at_once)[:, where].mean() for where in (near_cut, ~near_cut)]
print("the same net, in tiles and at once, disagrees:", bool((in_tiles != at_once).any()))
print("more often near a vertical cut than elsewhere:", bool(share[0] > share[1]))

# %% [markdown]
# Yellow the tiles missed, orange they added: nuclei end at straight lines that are not in the tissue. **Which sizes does a
# U-Net take, and how does one label a picture of any size as if it had never been cut?** The paper of 2015 answers both. Its
# figure is full of numbers, and we derive them all.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# The net as published has no padding at all.

# %%
question("published-takes-512")

# %%
question("row-of-the-skip")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Let them calculate the first on paper: 512, 508, 254, 250, 125, and there they stop by themselves.
#
# In the second many answer 176, and see at once that they meant both sides. Who answers "none, it is resized" has named the
# misconception of the day; let it stand until the bear appears.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: 572 to 388
#
# *"An encoder, just a stack of convolutional and max pooling layers. A decoder, symmetric upsampling"*, says the slide. As
# numbers: each 3x3 without padding takes 2 off the length of a side, each pooling halves, each transposed convolution of 2 x 2
# doubles. The skip, what was kept on the way down, is cut to the size of what comes up. Four levels, and the waist:


# %%
def down_and_up(size, depth=4):
    """Print the sizes of a U-Net without padding on one side, and return the last one."""
    kept = []
    for level in range(depth):
        print(f"down  level {level}: {size} {size - 2} {size - 4}")
        kept.append(size - 4)
        size = (size - 4) // 2
    print(f"waist level {depth}: {size} {size - 2} {size - 4}")
    size -= 4
    for level in reversed(range(depth)):
        skip, size = kept.pop(), 2 * size
        print(f"up    level {level}: {size} {size - 2} {size - 4}   skip {skip}, cut {(skip - size) // 2} on each side")
        size -= 4
    return size


print("output:", down_and_up(572))

# %% [markdown]
# Each of these is in the lower left corner of a box in the paper's figure 1 (*Explore*, below, draws it), *"example for 32x32
# pixels in the lowest resolution"*. The numbers above the boxes are channels: 64 on level 0, twice as many on each level down.
# With both the bill is a matter of adding up, 9 weights for each pair of channels in a 3x3, 4 in a 2x2, and a bias for each
# channel that comes out.


# %%
def published():
    """Return (kernel, channels in, channels out, places along a side) of each convolution of figure 1."""
    layers, before = [], 1
    for level, size in enumerate((572, 284, 140, 68, 32)):
        width = 64 * 2**level
        layers += [(3, before, width, size - 2), (3, width, width, size - 4)]
        before = width
    for level, size in ((3, 56), (2, 104), (1, 200), (0, 392)):
        width = 64 * 2**level
        layers.append((2, 2 * width, width, size // 2))  # each cell below stamps 2 x 2
        layers += [(3, 2 * width, width, size - 2), (3, width, width, size - 4)]  # the stack: 2 * width
    return [*layers, (1, 64, 2, 388)]


layers = published()
print("convolutions:", len(layers))
print(f"parameters: {sum(k * k * c * o + o for k, c, o, _ in layers):,}")
print(f"products:   {sum(k * k * c * o * n * n for k, c, o, n in layers):,}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Which sizes work?
#
# `//` could hide something: 121 // 2 is 60, and one row is lost without a word. The paper asks that every pooling meet
# an *even* side. We ask each size:


# %%
def output(size, depth=4):
    """Return the output's side, or None where a pooling would lose a row or nothing is left."""
    for _ in range(depth):
        size -= 4
        if size < 2 or size % 2:
            return None
        size //= 2
    for _ in range(depth):
        size = 2 * (size - 4)
    return size - 4 if size > 4 else None


working = [size for size in range(1, 700) if output(size)]
print(working[:5], "...", [size for size in working if 500 < size < 600])
print("steps:", set(np.diff(working).tolist()), "  lost:", {size - output(size) for size in working})
print("512:", output(512), "  570:", output(570), "  572:", output(572))

# %% [markdown]
# One size in sixteen works, from 188 on, and each loses 184. Why these numbers? Call the waist's side b and walk up the left
# arm: each level doubles what lies below it and adds 4, so the input is 16 b + 4 · (1 + 2 + 4 + 8) = 16 b + 60. Up the right
# arm, doubling and taking 4 off, 16 (b - 4) - 60. The difference is 184, **whatever the size**: 92 pixels at each end. For b =
# 32, 572 and 388.
#
# A block on level 0 takes four pixels off the picture, a block at the waist takes four of *its* cells, and these are 64
# pixels. The slide's *"image of any size"* is right about the weights: nothing in the net knows a size. Its *poolings* ask for
# even ones.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Cropping is not resizing
#
# On level 0 what comes up has 392 rows, the skip 568. They could be made alike in two ways: cut the skip, or shrink it. So ask
# where in the picture a row lies. Row 0 after a 3x3 lies where row 1 lay before it, and row 0 after a pooling half way between
# rows 0 and 1.

# %%
first, step = 0.0, 1.0  # where row 0 lies in the picture, and how far it is to the next row
for _ in range(4):
    first += 2 * step  # two 3x3, one row each
    first, step = first + step / 2, 2 * step  # a pooling: half way between two rows
first += 2 * step  # the waist
for level in (3, 2, 1, 0):
    step /= 2
    first -= step / 2  # two rows out of one
    if level:
        first += 2 * step
print("what comes up on level 0: row 0 lies at", first, " and the skip's row 0 lies at", 2.0)

# %% [markdown]
# 90 - 2 = 88: cut 88 rows, and from then on row stands by row, since both go in steps of one pixel. And if it is shrunk?

# %%
coming = np.arange(392)
cut = 2 + 88 + coming
shrunk = 2 + (coming + 0.5) * 568 / 392 - 0.5  # as in lesson 07
for name, lies in [("cut", cut), ("shrunk", shrunk)]:
    print(f"{name:7s} the skip is off by", *(f"{(lies - (90 + coming))[row]:6.1f}" for row in (0, 98, 196, 294, 391)))

# %% [markdown]
# Now see it. The lecture's table at 572 pixels; what comes up is coarse, so we pool it by 8, repeat, and lay the skip on it.

# %%
table = data.scene(572, seed=0).image / 255
skip = table[2:570, 2:570]
up = table[90:482, 90:482].reshape(49, 8, 49, 8, 3).mean(axis=(1, 3)).repeat(8, axis=0).repeat(8, axis=1)
cropped = skip[88:480, 88:480]
near = np.rint((coming + 0.5) * 568 / 392 - 0.5).astype(int)
resized = skip[near[:, None], near]
framed = table.copy()
framed[np.r_[88:92, 480:484], 88:484] = framed[88:484, np.r_[88:92, 480:484]] = (0.84, 0.37, 0)
figures.gallery(
    [framed[::2, ::2], up[::2, ::2], (0.5 * (up + cropped))[::2, ::2], (0.5 * (up + resized))[::2, ::2]],
    ["572, and what comes up", "it comes up coarse", "skip cut", "skip resized"],
    width=12,
)

# %%
print(f"difference, skip cut:     {np.abs(up - cropped).mean():.2f}")
print(f"difference, skip resized: {np.abs(up - resized).mean():.2f}")

# %% [markdown]
# Cut, the fine edges lie on the coarse things they belong to. Resized, the table is there twice, and the net would be told
# of the edges of *other* places. The price of cutting: the outermost pixels never get a label. That is next.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: crop and resize</b></summary>
#
# *Ask:* at which row is the resized skip right? (In the middle only: there the error goes through zero.)
#
# *Further question:* many programs on the web do resize a skip, by a row or two, after a picture of odd size. What does that
# cost? (A shift of up to half a pixel at the ends, growing from nothing in the middle; the net gets used to it. It is 176
# rows here.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The whole net, in NumPy
#
# Short enough to stand here. Random weights will do: seams are a matter of the grid, not of what was learned.


# %%
def conv(x, weight):
    """Convolve (C, H, W) with (O, C, K, K); no padding."""
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))
    return np.einsum("chwyx,ocyx->ohw", windows, weight, optimize=True)


def block(x, pair):
    """Twice: a 3x3 convolution without padding, ReLU."""
    for weight in pair:
        x = np.maximum(conv(x, weight), 0)
    return x


def u_net(x, weights):
    """Return the scores (K, H - 184, W - 184) of a picture (C, H, W)."""
    kept = []
    for pair in weights["down"]:
        x = block(x, pair)
        kept.append(x)
        c, h, w = x.shape
        x = x.reshape(c, h // 2, 2, w // 2, 2).max(axis=(2, 4))
    x = block(x, weights["waist"])
    for kernel, pair in weights["up"]:
        stamps = np.einsum("chw,coyx->ohywx", x, kernel, optimize=True)
        x = stamps.reshape(len(stamps), 2 * x.shape[1], 2 * x.shape[2])
        skip = kept.pop()
        top, left = (skip.shape[1] - x.shape[1]) // 2, (skip.shape[2] - x.shape[2]) // 2
        x = block(np.concatenate([skip[:, top : top + x.shape[1], left : left + x.shape[2]], x]), pair)
    return conv(x, weights["head"])


# %% [markdown]
# The weights are a new net's of the library, as published, but with 2 channels on level 0 instead of 64 (its biases are 0 at
# first, so we leave them out). We put it on a strip of tissue 972 = 16 · 57 + 60 pixels wide and 188 high.

# %%
ms.manual_seed(0)
model = models.UNet(1, 2, base_channels=2, padding="valid", norm=None)
state = {key: np.asarray(value).astype(float) for key, value in model.state_dict().items()}


def two(name):
    """Return the weights of a block's two convolutions."""
    return [state[f"{name}.0.weight"], state[f"{name}.2.weight"]]


weights = {
    "down": [two(f"encoder.{i}") for i in range(4)],
    "waist": two("bottleneck"),
    "up": [(state[f"upsample.{i}.weight"], two(f"decoder.{i}")) for i in range(4)],
    "head": state["head.weight"],
}
strip = data.synthetic_tissue(1, size=(188, 972), seed=5)[0][0].mean(axis=2)[None] / 255 - 0.5  # (1, 188, 972)
whole = u_net(strip, weights)
print(strip.shape, "->", whole.shape)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Overlap-tile
#
# 184 pixels are lost, and a slide of 100,000 pixels does not fit into memory. The paper's figure 2 answers both. **Mirror** the
# picture at its border by 92 pixels, and **cut it into windows that overlap**, so that their *outputs* lie side by side. Our
# picture with windows of 236 that give 52:

# %%
around = np.pad(tissue, ((92, 92), (92, 92), (0, 0)), mode="reflect")


def frame(shown, top, left, side, color):
    """Draw the frame of a square, three pixels wide."""
    inside = shown[top + 3 : top + side - 3, left + 3 : left + side - 3].copy()
    shown[top : top + side, left : left + side] = color
    shown[top + 3 : top + side - 3, left + 3 : left + side - 3] = inside


pale = 110 + around // 2
pale[92:-92, 92:-92] = tissue
for left, color in ((0, (0, 114, 178)), (52, (213, 94, 0))):
    frame(pale, 0, left, 236, color)  # what goes in
    frame(pale, 92, 92 + left, 52, color)  # what is labelled
figures.gallery([pale], ["mirrored (pale), two windows of 236, and the 52 that each labels"], width=8)

# %% [markdown]
# Each pixel that is labelled has seen all it needs. Is the result then the same as if the whole had gone through at once?

# %%
question("where-the-next-tile-starts")

# %%
for start in (1, 4, 8, 16, 380, 384, 388):
    piece = u_net(strip[:, :, start : start + 572], weights)
    apart = np.abs(piece - whole[:, :, start : start + 388]).max() / whole.std()
    print(
        f"window from {start:3d}: {start % 16:2d} beyond the grid, scores off by up to {apart:.2f} standard deviations"
    )

# %% [markdown]
# A window that begins at a multiple of 16 gives *exactly* what the whole gives. Any other does not, **not even 388**, the
# paper's own tile: 388 = 24 · 16 + 4. There the four poolings cut the picture into other 2 x 2 windows than before, and keep
# other maxima. (The paper calls its strategy seamless. What it means is that nothing is missing at a seam, and this is true.)
# The cure costs four pixels: let outputs of 388 step by 384. (And the 52 of our picture: by 48.)

# %%
ours = np.concatenate([u_net(strip[:, :, s : s + 572], weights)[:, :, :384] for s in (0, 384)], axis=2)
print("two windows of 572, 384 apart, equal the whole:", np.allclose(ours, whole[:, :, :768], atol=1e-9))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### And with padding
#
# Today most U-Nets pad each 3x3 with zeros. Then crops are 0 and what goes in comes out, *if* the side is a multiple of 16:
# fill up by mirroring, predict, cut off. But the zeros are seen: a pixel of our trained net sees up to 107 pixels far. So in
# tiles the **margin** must be made by hand: give each tile more than is kept of it.

# %%
strip_of_tissue = data.synthetic_tissue(1, size=(96, 384), seed=11)[0][0].transpose(2, 0, 1) / np.float32(255)
one_pass = probability(strip_of_tissue)
for margin in (0, 16, 48, 112):
    left = probability(strip_of_tissue[:, :, : 192 + margin])[:, :, :192]
    right = probability(strip_of_tissue[:, :, 192 - margin :])[:, :, margin:]
    apart = np.abs(np.concatenate([left, right], axis=2) - one_pass).max()
    print(f"margin {margin:3d}: largest difference of a probability {apart:.3f}")

# %% [markdown]
# Two rules, then, for tiles without seams. **The margin** is at least as wide as an output pixel sees (92 to 107 pixels here,
# by where in the grid it lies, so 112 in steps of 16); a net without padding brings it along: it puts out no pixel that has
# not seen all. **The grid**: windows begin at multiples of 16. Now look at both.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# First the sizes. Then choose *shift*: the picture moves by 1 to 16 pixels. **After which shift does the prediction merely
# shift along?** Say it before you drag. Then *seam*: widen the margin until no pixel differs.

# %%
explorers.tiling()

# %% [markdown]
# And with padding, which sizes come back from four poolings? Two pictures of different size become one at the waist.

# %%
explorers.sizes(chain="U-Net: four pools", size=50)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorers</b></summary>
#
# In *sizes* press "570 does not work" and ask at which pooling it stops (at the second: 570, 566, 283, 279). In *shift*, 8 is
# nearly right: three of four poolings meet the same windows. In *seam* the difference is gone before 107: a tile that
# begins on the grid needs 94 (the pixel that sees 107 far is the fourteenth of its tile), and what lies at the end of the
# receptive field hardly counts (lesson 05).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A weight for the gap
#
# Back to the paper. Its cells touch, and between two of them there is often a single row of background. So few pixels count
# for little, and a net that paints them over has made one cell of two. So each pixel x gets a weight in cross-entropy:
#
# $$ w(x) = w_c(x) + w_0 \cdot \exp\left(-\frac{(d_1(x) + d_2(x))^2}{2 \sigma^2}\right) $$
#
# with $d_1$ and $d_2$ the distances to the nearest and to the *second nearest* cell, $w_0 = 10$, $\sigma = 5$ pixels; $w_c$
# balances the classes. Written down as it stands:

# %%
part = (slice(40, 136), slice(180, 324))
seen, labels = tissue[part], cells[part]
places = np.argwhere(np.ones(labels.shape, bool)).reshape(*labels.shape, 2)  # (row, column) of each pixel


def distance(number):
    """Return how far each pixel is from one cell."""
    inside = np.argwhere(labels == number)
    squares = [((places - pixel) ** 2).sum(axis=2) for pixel in inside]
    return np.sqrt(np.min(squares, axis=0))


every = np.sort([distance(number) for number in np.unique(labels[labels > 0])], axis=0)
d1, d2 = every[:2]
gap = 10 * np.exp(-((d1 + d2) ** 2) / (2 * 5**2))
figures.gallery(
    [figures.overlay_image(seen, labels, scale=3), figures.heat(np.where(labels > 0, 0, gap))],
    ["each cell has a number", "the weight of the gaps"],
    width=9,
)

# %%
for near, far in ((1, 1), (2, 3), (5, 5), (1, 15)):
    print(f"{near:2d} from one cell, {far:2d} from another: {10 * np.exp(-((near + far) ** 2) / 50):4.1f}")

# %% [markdown]
# The colour is bright where *two* cells are near, dark beside a cell that stands alone: it is the sum that counts. And it
# needs cells with numbers; a map of classes, as in lesson 01, does not say where one ends and the next begins. How much does
# it change? Let a net give the right class 0.9 everywhere, and be undecided, 0.5, in narrow gaps, those with a sum of at most
# 6.

# %%
narrow = (labels == 0) & (d1 + d2 <= 6)
loss = -np.log(np.where(narrow, 0.5, 0.9))
sizes = np.bincount((labels > 0).ravel())
balance = (labels.size / (2 * sizes))[(labels > 0) * 1]  # w_c: both classes count the same
for name, w in [("plain", np.ones(labels.shape)), ("with weights for gaps", balance + gap)]:
    of_weight, of_loss = (100 * (shares * narrow).sum() / shares.sum() for shares in (w, w * loss))
    print(f"{name:22s} the gaps are {of_weight:2.0f}% of the weight, {of_loss:2.0f}% of the loss")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the weight of the gap</b></summary>
#
# *Ask:* what is the weight *inside* a cell? (There d1 is 0, so the term is not zero near a neighbour: the formula does not say
# "background only". The picture above leaves the cells out.)
#
# *What students get wrong:* they take d1 twice, to the nearest cell. Then every cell gets a bright rim, neighbour or not.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Thirty pictures: bend them
#
# The paper learned one of its tasks from 30 pictures. Tissue is soft, and a bent piece of it is a piece that might have been.
# So the paper makes new pictures by **elastic deformation**: nine arrows on a coarse 3 x 3 grid, each drawn at random
# (Gaussian, 10 pixels), and in between a smooth curve through them, so that each pixel has its own arrow. (*Bicubic*: like
# the bilinear of lesson 07, with four neighbours instead of two along each axis, so that there is no kink.)


# %%
def between(n, points=3):
    """Return (n, points): how much each point of a coarse row counts at each of n pixels."""
    place = np.linspace(0, points - 1, n)
    shares = np.zeros((n, points))
    for k in range(-1, points + 1):  # one point more on each side, a copy of the last
        d = np.abs(place - k)  # the bump is 1 at its own point and 0 at all others
        bump = np.where(d < 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))
        shares[:, min(max(k, 0), points - 1)] += bump
    return shares


rng = np.random.default_rng(4)
arrows = rng.normal(0, 10, (2, 3, 3))  # how far up or down, and how far left or right
height, width = labels.shape
dy, dx = between(height) @ arrows @ between(width).T
corners = dy[[0, -1]][:, [0, -1]], arrows[0][[0, -1]][:, [0, -1]]
print("at the corners the arrows themselves come out:", np.allclose(*corners))

# %% [markdown]
# Then each pixel fetches its colour from where its arrow points, and the map fetches its number **from the same place**. We
# fetch from the nearest pixel, and mirror at the border. Thin lines show what happens to a straight grid.


# %%
def fetch(values, y, x):
    """Return what lies at the rows y and columns x, both (H, W); mirrored beyond the border."""
    (h, w), rows, columns = values.shape[:2], np.abs(np.rint(y).astype(int)), np.abs(np.rint(x).astype(int))
    return values[np.minimum(rows, 2 * h - 2 - rows), np.minimum(columns, 2 * w - 2 - columns)]


y, x = np.mgrid[:height, :width]
lined = seen.copy()
lined[::16], lined[:, ::16] = 60, 60
bent, bent_labels = fetch(lined, y + dy, x + dx), fetch(labels, y + dy, x + dx)
figures.gallery(
    [figures.overlay_image(lined, labels, scale=3), figures.overlay_image(bent, bent_labels, scale=3)],
    ["a picture and its map", "bent, both alike"],
    width=9,
)

# %% [markdown]
# Why not blend the map as well? Half way between cell 3 and cell 8 lies cell 5.5, and there is none.

# %%
blended = 0.5 * (labels[:, 1:] + labels[:, :-1])
print("numbers in the map:", len(np.unique(labels)), "  bent, no other:", bool(np.isin(bent_labels, labels).all()))
print("blended with its neighbour: numbers that no cell has:", int((~np.isin(blended, labels)).sum()) > 0)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# The published net is two words, `padding="valid"` and `norm=None`. The net says which sizes it takes, and `predict` fills,
# tiles and cuts, and keeps the margin and the grid.

# %%
from minisegnet.data.augmentation import between as through_the_points
from minisegnet.nn import init

with init.no_draws():  # 31 million numbers that we only want to count
    paper = models.UNet(1, 2, padding="valid", norm=None)
assert sum(p.numel() for p in paper.parameters()) == 31030658
assert all(paper.output_size(n) == output(n) for n in range(1, 700))
print("sizes near 512:", paper.valid_sizes(512))
with ms.no_grad():
    by_the_library = model(ms.tensor(strip[None, :, :, :572].astype(np.float32))).numpy()[0]
assert np.allclose(by_the_library, whole[:, :, :388], atol=1e-4)
assert np.allclose(data.border_weights(labels), balance + gap, atol=2e-3)
assert np.allclose(through_the_points(arrows, (height, width)), (dy, dx))
found = finder.predict(tissue, tile=64)[1:]  # 150 x 330, in tiles
print("predict, in tiles:", found.shape, "  as at once:", np.mean((found[0] > 0.5) == at_once) > 0.999)

# %% [markdown]
# `data.elastic(picture, map, rng=rng)` bends both. What else is in the paper: He initialization, one picture a step with a
# momentum of 0.99 in place of large batches, dropout at the end of the way down. It won two challenges of tracking cells by a
# wide margin: IoU 0.92 on glioblastoma cells (the next had 0.83) and 0.78 on HeLa cells (the next 0.46), from 35 and 20
# labelled pictures.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the sizes turned round: how large must the window be? Then the tiles, and `check` lets your function cut tissue for the
# trained net, and looks for seams.

# %%
exercise("window-for-a-map")


# %%
def window_for(wanted, depth):
    """Return the smallest side that works without padding and whose output has at least ``wanted`` pixels."""
    # your code here


check(window_for)

# %%
# hint()
# solution()

# %%
exercise("overlap-tile")


# %%
def tiled(net, image, tile, margin):
    """Return net's answer (K, H, W) for an image (C, H, W), tile by tile, each with a margin around it."""
    # your code here


check(tiled)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `window-for-a-map` takes seven minutes: a search by `output` is as right as the formula. `overlap-tile` takes thirteen. The
# frequent mistake is to mirror each *tile* at its own border: it looks careful, and makes every seam a small lie.
# Who is done early: let images come whose sides are no multiples of the tile.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **The picture is resized to a size that the net takes.** Then a nucleus is not as large, nor as round, as those that it
# learned from.

# %%
truth = cells > 0


def dice_of(mask):
    """Return the Dice of a mask with the nuclei of the tissue."""
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def resize(x, height, width):
    """Resize (C, H, W) to the nearest pixels."""
    rows, columns = (np.arange(n) * m // n for n, m in ((height, x.shape[1]), (width, x.shape[2])))
    return x[:, rows[:, None], columns]


squeezed = resize(probability(resize(picture, 128, 128)), 150, 330)[0] > 0.5
figures.gallery(
    [figures.overlay_image(tissue, at_once), figures.overlay_image(tissue, squeezed)],
    ["filled up to 160 x 336, cut back", "resized to 128 x 128 and back"],
    width=10,
)

# %%
print("Dice, filled up: over 0.85:", bool(dice_of(at_once) > 0.85))
print("Dice, resized: lower by more than 0.1:", bool(dice_of(squeezed) < dice_of(at_once) - 0.1))

# %% [markdown]
# **The target is not cut.** Without padding the scores are smaller than the map; cut it by 92 on each side, not to its upper
# left corner.

# %%
scores = ms.tensor(by_the_library[None])
target = np.zeros((1, 188, 572), int)
try:
    F.cross_entropy(scores, target)
except ValueError as error:
    print(error)
print(round(float(F.cross_entropy(scores, target[:, 92:-92, 92:-92])), 2), "is the loss against the target's middle")

# %% [markdown]
# **Tiles of 388, 388 apart.** Every pixel has its margin, and still the maps do not quite fit, as you saw. Nobody notices,
# until two people tile one slide from different corners and count different cells.
#
# **Something looks at everything.** A layer that averages the whole picture, or batch norm left in training mode, makes each
# tile see itself only. Then no margin is wide enough.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The question's answer

# %%
seamless = finder.predict(tissue, tile=48)[1] > 0.5
reference = finder.predict(tissue, tile=None)[1] > 0.5
print(
    "tiles of 48 with their margin, pixels unlike the whole: less than 1 in 1000:",
    bool((seamless != reference).mean() < 1e-3),
)
figures.gallery(
    [
        figures.error_image(tissue, reference * 1, in_tiles * 1, scale=2),
        figures.error_image(tissue, reference * 1, seamless * 1, scale=2),
    ],
    ["tiles of 48, bare", "tiles of 48, each with a margin of 112"],
    columns=1,
    width=9,
)

# %% [markdown]
# The same net, the same tiles, 150 x 330 pixels. Filled up by mirroring, cut on the grid, each tile with all that it sees: as
# if it had never been cut.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. Four halvings make a grid of 16: without padding a side must be 16 b + 60 and loses 184, with padding it must be a
#    multiple of 16.
# 2. A skip is cut, never resized: cutting keeps every row where it lies in the picture.
# 3. Tiles have no seams if each brings a margin as wide as a pixel sees and begins on the grid.

# %% [markdown]
# ## Exit ticket

# %%
question("output-of-two-levels")

# %%
question("weight-between-two-cells")

# %%
question("any-size")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - O. Ronneberger, P. Fischer, T. Brox: *U-Net: convolutional networks for biomedical image segmentation*, MICCAI 2015, arXiv
#   1505.04597. Figure 1 and section 2: sizes and crops; figure 2: overlap-tile; section 3, equation 2: the weights; section
#   3.1: elastic deformation; section 4: results.
# - R. Keys: *Cubic convolution interpolation for digital image processing*, IEEE Transactions on Acoustics, Speech, and Signal
#   Processing 29 (1981), section III: the curve through the arrows.
#
# ## Further
#
# - *Elastic deformation before:* P. Simard, D. Steinkraus, J. Platt, *Best practices for convolutional neural networks
#   applied to visual document analysis*, ICDAR 2003, section 2.
# - *In three dimensions:* Ö. Çiçek and others, *3D U-Net: learning dense volumetric segmentation from sparse annotation*, arXiv
#   1606.06650 (2016), section 2.
# - *A U-Net that sets itself up:* F. Isensee and others, *nnU-Net: a self-configuring method for deep learning-based
#   biomedical image segmentation*, Nature Methods 18 (2021): patch sizes, padding and tiling as rules.
