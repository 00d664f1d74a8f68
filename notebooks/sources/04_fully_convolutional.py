# %% [markdown] slideshow={"slide_type": "slide"}
# # 04 · From sliding window to fully convolutional
#
# **Thousands of little pictures, one answer each; then the same answers from one pass, to the last digit.**
#
# 90 minutes. You need lessons 02 and 03: convolution, its output's size, and how a network learns. No network connection, no
# GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 10, build 30, explorer 12, exercises 20, what goes wrong 5, exit ticket 5.
#
# *The one idea:* neighbouring patches share nearly all of their products, and a convolution never does a product twice.
#
# *What students get wrong:* "it is faster because of the GPU". Have them count products; no clock is needed.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-window-of-five")

# %%
question("recall-held-out")

# %% [markdown]
# ## What you will be able to do
#
# - **Label** a picture with a classifier that knows patches only.
# - **Count** how many products sliding repeats, and **explain** why one pass is faster on any machine.
# - **Turn** a linear layer into a convolution, and **show** that the scores stay equal; **say** when they do not.
# - **Calculate** what a network at full resolution costs in memory and products.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# The lecture's scene: a rose in a glass, a die, a teddy bear. The white frame is a **patch** of 29 by 29 pixels. A network
# that *classifies* gets the patch and answers with one class: that of the pixel in the middle. Extract a patch, run it
# through a network, label the centre pixel, **repeat for every pixel**: the oldest way to a map, and it works.
# **But what does it cost, and who pays for it?**

# %%
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, models, nn, optim

P = 29  # pixels on a side of a patch
table = data.scene(96)
image = table.image.transpose(2, 0, 1) / 255 - 0.5  # (3, 96, 96)
row, column = 42, 12  # the upper left pixel of one patch
framed = table.image.copy()
framed[[row, row + P - 1], column : column + P] = 255
framed[row : row + P, [column, column + P - 1]] = 255
patch = table.image[row : row + P, column : column + P]
print("its middle pixel is:", table.classes[table.labels[row + P // 2, column + P // 2]])
figures.gallery([framed, patch, table.colored()], ["a patch", "what the network sees", "what we want"])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# The picture has 96 by 96 pixels, and a patch must lie inside it.

# %%
question("patches-of-a-picture")

# %%
question("why-faster")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# *Ask* after the first: so how many pixels get no label? (14 on each side. Padding the *picture* once gives them one; what
# goes wrong with padding inside of the network comes later.)
#
# *The second* stays open until products have been counted. Let both camps give their reason.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: a classifier of patches
#
# Two convolutions with stride 2, then two **linear layers**: matrices that mix everything they get. `Flatten` lays the
# **feature** (that is what the convolutions have made of the patch) out as one long row before them. The sizes are those of
# lesson 02:

# %%
ms.manual_seed(0)
classifier = nn.Sequential(
    nn.Conv2d(3, 8, 5, stride=2),  # (3, 29, 29) -> (8, 13, 13)
    nn.ReLU(),
    nn.Conv2d(8, 16, 5, stride=2),  # -> (16, 5, 5)
    nn.ReLU(),
    nn.Flatten(),  # -> 400 numbers
    nn.Linear(400, 32),
    nn.ReLU(),
    nn.Linear(32, 5),  # -> a score for each of five classes
)

# %% [markdown]
# Suppose somebody has labelled 1,000 pixels of this one picture, and the network is to label the others. (So it will know
# *this* picture and no other. That is enough to look at the sliding.) The loop is that of lesson 03:

# %%
middle = table.labels[14:-14, 14:-14]  # the pixels that are the middle of a patch
draw = np.random.default_rng(0)
given = draw.permutation(np.argwhere(middle != 255))[:1000]  # (row, column) of each labelled pixel's patch
patches = np.stack([image[:, r : r + P, c : c + P] for r, c in given]).astype(np.float32)
answers = middle[given[:, 0], given[:, 1]]

optimizer = optim.Adam(classifier.parameters(), lr=0.004)
losses = []
for _ in range(120):
    some = draw.integers(0, len(given), 48)
    loss = F.cross_entropy(classifier(ms.tensor(patches[some])), answers[some])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss))
print("patches", patches.shape, "  the loss fell below half:", np.mean(losses[-10:]) < np.mean(losses[:5]) / 2)

for parameter in classifier.parameters():  # from here on in float64: what differs is then not rounding
    parameter.data = parameter.data.astype(np.float64)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Slide it
#
# Here are its layers in plain NumPy, so that nothing is hidden: the convolution of lesson 02, and a matrix product.

# %%
w1, b1, w2, b2, w3, b3, w4, b4 = (p.detach().numpy() for p in classifier.parameters())


def conv2d(x, weight, bias, stride=1):
    """Convolve one image (C, H, W) with kernels (O, C, KH, KW)."""
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4))) + bias[:, None, None]


def relu(x):
    """Keep what is positive."""
    return np.maximum(x, 0)


def features(x):
    """Return what the two convolutions make of an image, (16, H', W')."""
    return relu(conv2d(relu(conv2d(x, w1, b1, 2)), w2, b2, 2))


def classify(patch):
    """Return five scores for the middle pixel of a patch (3, 29, 29)."""
    return w4 @ relu(w3 @ features(patch).reshape(-1) + b3) + b4


slid = np.zeros((5, 17, 17))
for i in range(17):
    for j in range(17):  # at every fourth pixel only: we are not that patient
        slid[:, i, j] = classify(image[:, 4 * i : 4 * i + P, 4 * j : 4 * j + P])
print("patches classified:", 17 * 17, "of", 68 * 68)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Count
#
# Now colour each pixel of the picture by the number of patches that it lies in:

# %%
often = np.zeros((96, 96), dtype=int)
for i in range(68):
    for j in range(68):
        often[i : i + P, j : j + P] += 1
print("in the corner", often[0, 0], "  at the middle of an edge", often[0, 48], "  in the middle", often[48, 48])
figures.gallery([table.image, figures.heat(often)], ["the picture", "patches that read a pixel: 1 to 841"], width=9)

# %% [markdown]
# Bright means: read 841 times. Each time it is multiplied with the *same* weights of the first layer, for these are the
# same at every place. A patch one pixel to the right shares 28 of 29 columns, and two patches that lie two pixels apart
# (the stride) share most of their first layer's *results*. We compute them, throw them away, and compute them again.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Do not cut
#
# So leave the picture whole. The convolutions do not mind: they are windows that slide already. Only the linear layer
# insists on 400 numbers. But look at what it does: it multiplies a feature of (16, 5, 5) with 400 weights and adds up,
# 32 times. **That is one place of a 5x5 convolution** with 16 channels in and 32 out. Its weight, in another shape:

# %%
as_kernel = w3.reshape(32, 16, 5, 5)
feature = features(image[:, :P, :P])
matrix, window = w3 @ feature.reshape(-1), conv2d(feature, as_kernel, np.zeros(32))
print("the feature", feature.shape, " by the matrix", matrix.shape, " by the window", window.shape)
assert np.allclose(matrix, window[:, 0, 0])

# %% [markdown]
# The second linear layer gets 32 channels at one place: it is a 1x1 convolution. No layer is left that knows a size. Such a
# network is called **fully convolutional**, and it takes the whole picture:


# %%
def whole(x):
    """Return scores for an image of any size from 29 pixels on, at every fourth place."""
    hidden = relu(conv2d(features(x), as_kernel, b3))
    return conv2d(hidden, w4[:, :, None, None], b4)


once = whole(image)
print("one pass:", once.shape, " patch by patch:", slid.shape)
print("equal to ten digits:", np.allclose(once, slid, atol=1e-10))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The bill of both
#
# No clock, no GPU: products only. A layer does as many as it has output places times weights.


# %%
def products(size):
    """Return the products of one pass over size by size pixels, layer by layer."""
    first = (size - 5) // 2 + 1
    second = (first - 5) // 2 + 1
    last = second - 4
    return first**2 * w1.size, second**2 * w2.size, last**2 * w3.size, last**2 * w4.size


one, all_at_once = products(P), products(96)
print("products          conv      conv   linear  linear        sum")
for name, bill in (("one patch", one), ("289 patches", [289 * n for n in one]), ("one pass", all_at_once)):
    print(f"{name:12s}", " ".join(f"{n:10,}" for n in bill), f"{sum(bill):12,}")
print(f"{289 * sum(one) / sum(all_at_once):.1f} times fewer, and the same scores")

# %% [markdown]
# The last two columns are equal: the linear layers shared nothing before and share nothing now. The saving is in the
# convolutions, 23 times at the first. It is a saving of *work*, on every machine; a GPU makes both ways faster.
#
# When Long, Shelhamer and Darrell did this in 2015, AlexNet (a classifier of 2012) took 22 ms for a grid of 10 x 10 outputs,
# and 1.2 ms for *one* patch of it: a hundred patches, 120 ms.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the bill</b></summary>
#
# *Ask:* where do the 23 times come from? (289 patches of 13 x 13 places against one plane of 46 x 46: 48,841 to 2,116.)
#
# *Ask:* would patches side by side, without overlap, still save anything? (Almost nothing: nothing is shared. Try it in the
# explorer.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A label for every pixel: shift and stitch
#
# One thing is still missing: 17 by 17 scores for 68 by 68 pixels.
# "Smaller output due to pooling", the lecture's slide says (pooling is lesson 05); here the two strides do it, 2 · 2 = 4. To
# see the pixels in between, **shift** the picture: without its first row, all windows begin one row lower. Four shifts down
# times four across are sixteen passes; **stitch** their outputs together:

# %%
stitched = np.zeros((5, 68, 68))
for a in range(4):
    for b in range(4):
        stitched[:, a::4, b::4] = whole(image[:, a:, b:])
labelled = stitched.argmax(axis=0)

rest = middle != 255
rest[given[:, 0], given[:, 1]] = False  # not those that it was shown
print("right on the pixels that nobody labelled, more than 60%:", bool((labelled == middle)[rest].mean() > 0.6))
figures.gallery(
    [
        table.image[14:-14, 14:-14],
        table.colored()[14:-14, 14:-14],
        table.colors[slid.argmax(axis=0)],
        table.colors[labelled],
    ],
    ["the picture", "its map", "289 patches", "shift and stitch"],
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# Watch the window collect its products, then choose another stride, and *windows hardly overlap*. **One pass shares the work of
# all windows: does it give the same scores, also with padding?** Say what you expect before you switch padding on.

# %%
explorers.sliding_window()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Play *windows* slowly at first. *Ask:* which pixels are read once only? (The corners.) At which stride does one pass save
# least? Then padding: every score differs, since a patch ends in zeros where the picture goes on.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `models.slide` is the patient one, `to_fully_convolutional` reshapes the weights, `shift_and_stitch` does the sixteen passes:

# %%
network = models.to_fully_convolutional(classifier, patch_size=P)
patient = models.slide(classifier, image, stride=4, patch_size=P).numpy()
with ms.no_grad():
    at_once = network(image[None]).numpy()[0]
assert np.allclose(patient, slid, atol=1e-10)
assert np.allclose(at_once, slid, atol=1e-10)
assert np.allclose(models.shift_and_stitch(network, image).numpy(), stitched, atol=1e-10)
print("stride", network.stride, " equal to every patch:", network.exact)

# %% [markdown]
# And there is a third way to a score for every pixel, in one go: remove the strides, and let the later windows read every
# second, then every fourth number. How such a window works is lesson 06; that it gives the same you can see now:

# %%
every_pixel = models.dilate_instead_of_stride(network)  # lesson 06
with ms.no_grad():
    third_way = every_pixel(image[None]).numpy()[0]
print("three ways, one result:", np.allclose(third_way, stitched, atol=1e-10), third_way.shape)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A network at full resolution, and its bill
#
# Then why not forget patches, and design a network as a bunch of convolutions that **keep the size**: 3x3, stride 1,
# padding 1, scores for all pixels at once? That is the lecture's next slide. Eight layers of 64 channels, on a picture of
# 512 by 512:


# %%
def bill(strides, size=512, channels=64):
    """Return products and bytes of a chain of 3x3 layers, and how many pixels one output sees along an axis."""
    products, numbers, before, step, sees = 0, 0, 3, 1, 1
    for stride in strides:
        size //= stride
        products += size**2 * channels * before * 9
        numbers += size**2 * channels
        sees += 2 * step  # a window of 3 reaches one more on each side, in steps of all strides before
        before, step = channels, step * stride
    return products, 4 * numbers, sees


full = bill([1, 1, 1, 1, 1, 1, 1, 1])
down = bill([2, 1, 2, 1, 2, 1, 2, 1])
for name, (count, memory, sees) in (("full resolution", full), ("going down", down)):
    print(f"{name:16s} {count / 1e9:5.1f} billion products {memory / 2**20:6.1f} MiB, sees {sees:3d} x {sees} pixels")

chain = nn.Sequential(*(nn.Conv2d(3 if n == 0 else 64, 64, 3, padding=1, bias=False) for n in range(8)))
summary = chain.summary((3, 512, 512))
assert (summary.multiply_accumulates, summary.activation_bytes) == full[:2]

# %% [markdown]
# 68 billion products and half a gigabyte for *one* picture (training keeps every layer's output for the way back, lesson 03),
# and after all that an output sees 17 by 17 pixels: a bear's ear. A window grows by two pixels a layer. To see 404, as the
# network of lesson 09 does, takes 202 layers.
#
# With a stride of 2 at every second layer the same weights cost a fraction **and see more**: each step is twice as long
# as the one before. That is why everybody goes down. What is lost on the way, and how one comes up again, is the rest of
# this course.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# The step that made the network fully convolutional, and the one that put its outputs together.

# %%
exercise("linear-as-conv")


# %%
def linear_as_conv(weight, channels, rows, columns):
    """Return a linear layer's weight (O, channels * rows * columns) as a convolution's."""
    # your code here


check(linear_as_conv)

# %%
# hint()
# solution()

# %%
exercise("stitch")


# %%
def stitch(parts):
    """Interlace the outputs (S, S, K, H, W) of S * S shifted images into one (K, S * H, S * W)."""
    # your code here


check(stitch)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `linear-as-conv` is one line, and the discussion is which: who writes channels last gets the right shape and wrong scores.
# `stitch` takes ten minutes; who is done early writes it without loops (one transpose, one reshape).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Padding breaks the equality.** A patch alone ends in zeros, in the picture it goes on. Two layers with padding, patches
# of 28, and weights drawn at random:

# %%
ms.manual_seed(1)
padded = nn.Sequential(
    nn.Conv2d(3, 8, 5, stride=2, padding=2),
    nn.ReLU(),
    nn.Conv2d(8, 16, 5, stride=2, padding=2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(16 * 7 * 7, 5),
)
single = image.astype(np.float32)
by_patch = models.slide(padded, single, stride=4, patch_size=28).numpy()
with ms.no_grad():
    by_pass = models.to_fully_convolutional(padded, patch_size=28)(single[None]).numpy()[0]
print("places:", by_patch[0].size, " equal at:", int(np.isclose(by_patch, by_pass, atol=1e-4).all(axis=0).sum()))

# %% [markdown]
# Neither is wrong; they are two functions. A network that was *trained* on patches with padding sees something new
# when it gets a picture: train it on pictures, then.
#
# **It knows the one picture.** Our classifier never saw another scene. On one with the same things at other places:

# %%
other = data.scene(96, seed=5)
found = whole(other.image.transpose(2, 0, 1) / 255 - 0.5).argmax(axis=0)
wanted = other.labels[14:-14, 14:-14][::4, ::4]
right_here, right_there = (labelled == middle)[rest].mean(), (found == wanted)[wanted != 255].mean()
print("more than 10 points worse on another scene:", bool(right_there < right_here - 0.1))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. A classifier slid over a picture labels every pixel, and computes nearly everything again and again.
# 2. A linear layer is a convolution as large as its feature, so one pass over the picture gives all patches' scores,
#    the same numbers with a fraction of the products, as long as nothing pads.
# 3. Keeping full resolution costs memory and products and sees little: that is why networks go down, and must come up again.

# %% [markdown]
# ## Exit ticket

# %%
question("patches-of-a-pixel")

# %%
question("linear-becomes")

# %%
question("when-not-equal")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - D. Ciresan, A. Giusti, L. Gambardella, J. Schmidhuber: *Deep neural networks segment neuronal membranes in electron
#   microscopy images*, NIPS 2012, section 2: patch by patch, and it won.
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, sections 3.1
#   (linear layers as convolutions, the times above) and 3.2 (shift-and-stitch).
# - P. Sermanet and others: *OverFeat*, ICLR 2014, section 3.5: the same idea for finding objects.

# %% [markdown]
# ## Further: which of the three ways is cheapest?
#
# Sixteen passes share nothing with each other. Without strides (the third way) each layer runs once, over all places:

# %%
without_strides = 92**2 * w1.size + 84**2 * w2.size + 68**2 * (w3.size + w4.size)
for name, count in (
    ("4,624 patches", 4624 * sum(one)),
    ("shift and stitch, at most", 16 * sum(all_at_once)),
    ("without strides", without_strides),
):
    print(f"{name:26s} {count / 1e6:6.1f} million products")

# %% [markdown]
# The linear layers are most of what is left: they are needed at every pixel, and there is nothing to share.
