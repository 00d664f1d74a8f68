# %% [markdown] slideshow={"slide_type": "slide"}
# # 02 · Convolution from NumPy up
#
# **Eighteen numbers that find every edge in a picture, and how a network is made of nothing else.**
#
# 90 minutes. You need lessons 00 and 01: arrays of shape (C, H, W), maps, Dice. No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 7, build 30, explorer 15, exercises 22, what goes wrong 3, exit ticket 5.
#
# *The one idea:* a convolution is a sum of products, repeated at every place with the same weights. All else (channels,
# padding, stride, 1x1) says *which* products are added. Draw the window with your hands on the projection.
#
# *What students get wrong:* they think there is one kernel for each input channel and nothing is added over channels;
# and those who come from signal processing flip the kernel. Both are named in the exercise.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-green-channel")

# %%
question("recall-lazy-program")

# %% [markdown]
# ## What you will be able to do
#
# - **Compute** one output value of a convolution by hand, and **write** the whole operation in loops and in NumPy.
# - **Say** how many weights a layer from C to O channels has, and what is added over what.
# - **Derive** the output's size from kernel, padding and stride.
# - **Put** a function of your own into a trained network, and see it work there.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Left: tissue. Right: bright where the picture *changes*, black where it is even: the rims of the nuclei stand out. The
# right picture was made by one short rule, with **eighteen numbers** in it, applied to every pixel alike.
# **Which rule?** At the end of this lesson you will have written it, and a network will have run on it.

# %%
import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, metrics, models, nn

images, nuclei = data.synthetic_tissue(1, size=(192, 192), seed=1)
image, truth = images[0], nuclei[0] > 0
grey = image.mean(axis=2) / 255  # (H, W), 0 black to 1 white: the mean of red, green and blue


def changes(picture):
    """Return how much a picture (H, W) changes at each pixel, from 0 to 1. The rule is opened below."""
    to_the_right = np.array([[[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]]) / 8.0
    downward = to_the_right.swapaxes(2, 3)
    across = F.conv2d(picture[None, None], to_the_right).numpy()[0, 0]
    down = F.conv2d(picture[None, None], downward).numpy()[0, 0]
    strength = np.hypot(across, down)
    return strength / strength.max()


figures.gallery([image, changes(grey)], ["tissue", "where it changes"], width=9)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# The rule looks at a *window* of 3 rows and 3 columns, multiplies each of its nine numbers with one of nine **weights**
# (together they are called the **kernel**), adds the products up, and writes the sum down. Then it moves by one pixel.

# %%
question("places-of-a-window")

# %%
question("strongest-answer")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# *Ask* after the first: and on 1 row of 5 pixels, how many places has a window of 5? (One. So it is N - K + 1, not N - K.)
#
# *The second* needs no arithmetic: the kernel subtracts left from right, so it answers where dark meets bright.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: one window
#
# A small picture, dark on the left and bright on the right, and a kernel that takes the left column away from the right
# one:

# %%
picture = np.array(
    [
        [0, 0, 0, 5, 5, 5],
        [0, 0, 0, 5, 5, 5],
        [0, 0, 0, 5, 5, 5],
        [0, 0, 0, 5, 5, 5],
    ]
)
kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])

window = picture[0:3, 1:4]  # rows 0 to 2, columns 1 to 3
print(window * kernel)
print("sum of the nine products:", (window * kernel).sum())

# %% [markdown]
# That is one output value: it belongs to row 0, column 1. Two loops move the window over all its places:


# %%
def correlate(picture, kernel):
    """Slide a kernel (KH, KW) over a picture (H, W): at each place, the sum of the products."""
    kh, kw = kernel.shape
    rows, columns = picture.shape[0] - kh + 1, picture.shape[1] - kw + 1
    output = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            output[i, j] = (picture[i : i + kh, j : j + kw] * kernel).sum()
    return output


print(correlate(picture, kernel))

# %% [markdown]
# Two columns of 20 where dark meets bright, 0 where nothing changes. The *same* nine weights at every place: wherever the
# edge is, it is found, and nothing has to be learned twice. Four rows became two, six columns four: a window of 3 has
# only 2 places on 4 pixels.
#
# And the picture of the question? This kernel and the same one turned on its side, on the grey tissue, joined by
# Pythagoras. Eighteen numbers:

# %%
across = correlate(grey, kernel / 8)
down = correlate(grey, kernel.T / 8)
by_hand = np.hypot(across, down)
print("the same as in the question:", np.allclose(by_hand / by_hand.max(), changes(grey)))
figures.gallery(
    [figures.signed(across), figures.signed(down), by_hand / by_hand.max()],
    ["across", "down", "both"],
    ["orange: brighter to the right", "orange: brighter below", "strength"],
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Is that a convolution?
#
# In a textbook on signals the kernel is *rotated by 180 degrees* first; what you have just written is called
# cross-correlation there. Deep learning never rotates and still says **convolution**. It does not matter for a network: its
# weights are learned, so it would simply learn them rotated. It matters when you compare numbers. Ours (and PyTorch's)
# does not rotate:

# %%
rotated = kernel[::-1, ::-1]
print("one row as it is:", correlate(picture, kernel)[0], " rotated:", correlate(picture, rotated)[0])

# %% [markdown] slideshow={"slide_type": "slide"}
# ### All windows at once
#
# Loops in Python are slow, and NumPy has a trick: `sliding_window_view` shows the same memory as an array of *all*
# windows, without copying a number.

# %%
from numpy.lib.stride_tricks import sliding_window_view

windows = sliding_window_view(picture, (3, 3))  # (rows, columns, 3, 3)
print(
    "picture",
    picture.shape,
    "-> windows",
    windows.shape,
    "which shares the memory:",
    np.shares_memory(windows, picture),
)
print((windows * kernel).sum(axis=(2, 3)))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Many channels in, many out
#
# A tissue picture has three channels, and inside a network an image has 8, 64 or 512. Then **a kernel is as deep as the
# image**: one weight for each channel and place of the window. All its products are added into *one* number, over rows,
# columns **and channels**. So one kernel makes one output channel, whatever comes in. For more output channels there
# are more kernels.
#
# The shapes, with N images at once, C channels in, O out:
#
# | array | shape |
# |---|---|
# | input | (N, C, H, W) |
# | weight | (O, C, KH, KW) |
# | output | (N, O, H - KH + 1, W - KW + 1) |
#
# Most layers add one more number to each output channel, the same at every place: its **bias**. It is learned as well.

# %%
question("weights-of-a-layer")


# %%
def conv2d_by_windows(input, weight):
    """Convolve images (N, C, H, W) with O kernels (O, C, KH, KW)."""
    windows = sliding_window_view(input, weight.shape[2:], axis=(2, 3))  # (N, C, OH, OW, KH, KW)
    return np.einsum("nchwyx,ocyx->nohw", windows, weight)  # add over c, y and x


x = image.transpose(2, 0, 1)[None] / 255.0  # (1, 3, 192, 192)
weight = np.zeros((2, 3, 3, 3))
weight[0] = kernel / 24  # the edges of red, green and blue, added up
weight[1, 0], weight[1, 2] = kernel / 8, -kernel / 8  # the edges of red minus those of blue
output = conv2d_by_windows(x, weight)
print("input", x.shape, "* weight", weight.shape, "->", output.shape)
assert np.allclose(output[0, 0], across)  # what we had: the mean of three edge maps is the edge map of the mean

# %% [markdown]
# `einsum` reads like the definition: the letters that are missing on the right (c, y, x) are added over. If you prefer a
# matrix product, lay each window out as a column: **im2col**. It is what most libraries did for years, since nothing is
# as tuned as a matrix product.

# %%
columns = sliding_window_view(x, (3, 3), axis=(2, 3))  # (1, 3, 190, 190, 3, 3)
columns = columns.transpose(0, 1, 4, 5, 2, 3).reshape(27, 190 * 190)  # each window a column of 27 numbers: a copy
as_matrix = weight.reshape(2, 27) @ columns  # (2, 27) @ (27, 36100)
assert np.allclose(as_matrix.reshape(output.shape), output)
print(f"the picture has {x.size:,} numbers, its columns {columns.size:,}: {columns.size / x.size:.1f} times as many")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### A window of one pixel
#
# A **1x1 convolution** sounds like nothing. It is a small matrix applied to the channels of every pixel: it *mixes
# channels* and does not look around. The grey picture is one: a third of red, of green, of blue.

# %%
third = np.full((1, 3, 1, 1), 1 / 3)
assert np.allclose(conv2d_by_windows(x, third)[0, 0], grey)
print("weights:", third.size, " output:", conv2d_by_windows(x, third).shape, " it is the grey picture")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Padding and stride
#
# Each layer with 3x3 kernels takes one pixel off every side. Often we want to keep the size: put a ring of zeros around
# the image first. That is **padding**. And to make the output smaller on purpose, move the window by more than one pixel at
# a time: the **stride**.
#
# Both change one thing only: how many places the window has. Along each axis
#
# $$ \text{output} = \left\lfloor \frac{N + 2P - K}{S} \right\rfloor + 1 $$
#
# The window's first place counts (the + 1). Then it moves by S as often as it fits into what is left, and what is left
# over at the end (the floor) is never looked at.


# %%
def conv2d_in_full(input, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Convolve with zeros around and steps between: what a layer of a network does."""
    (top, left), (down, right) = padding, stride
    around = np.pad(input, ((0, 0), (0, 0), (top, top), (left, left)))
    windows = sliding_window_view(around, weight.shape[2:], axis=(2, 3))[:, :, ::down, ::right]
    output = np.einsum("nchwyx,ocyx->nohw", windows, weight, optimize=True)
    return output if bias is None else output + bias[:, None, None]


print(" N  P  K  S   formula  counted")
for n, p, k, s in [(4, 1, 3, 1), (4, 1, 3, 2), (5, 0, 3, 2), (6, 0, 3, 2), (7, 3, 7, 2), (192, 1, 3, 1)]:
    counted = conv2d_in_full(np.zeros((1, 1, n, n)), np.zeros((1, 1, k, k)), None, (s, s), (p, p)).shape[2]
    print(f"{n:3d} {p:2d} {k:2d} {s:2d} {(n + 2 * p - k) // s + 1:9d} {counted:8d}")

# %% [markdown]
# The first two rows are the lecture's: a 4x4 input under a 3x3 kernel with padding 1 gives 4x4 at stride 1 and 2x2 at stride
# 2. Rows three and four: 5 and 6 pixels *both* give 2. The last column of the six was never looked at, and nobody
# can tell from the output which of the two it was. Remember that: on the way up, in lesson 08, it will need an answer.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: padding and stride</b></summary>
#
# *Ask:* which padding keeps the size for K = 3, 5, 7 at stride 1? (1, 2, 3: half the kernel.) For K = 4? (None: 3 rows
# are missing, and 3 is odd.)
#
# *A picture to draw:* people at a fence of N posts, holding a rope of length K. How many places are there to stand?
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# Everything of this page under your fingers. **Why is the output smaller than the input, and how much padding keeps the
# size?** Move *output pixel*, then *product*, and say the sum before the picture does. The lecture's two examples are the
# first two buttons. *Change the numbers* lets you type a kernel of your own. (The
# *d* in its size formula is 1 all through this lesson: with d = 1 it is the formula above. Lesson 06 changes it.)

# %%
explorers.convolution()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. Let the class dictate the nine products of the first output pixel, then press Play on *output pixel*.
#
# *Ask:* which kernel copies the image? (One 1 in the middle.) Which moves it one pixel to the left? (One 1 to the right of
# the middle.) Which blurs it? Let somebody type them.
#
# Choose *three channels* and ask how many products one output value has now (27), and how many output maps there are (one).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `F.conv2d` takes the same arguments, and `nn.Conv2d` is the layer that owns the weights:

# %%
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 3, 11, 12))
weight, bias = rng.standard_normal((5, 3, 3, 3)), rng.standard_normal(5)
ours = conv2d_in_full(x, weight, bias, stride=(2, 1), padding=(1, 0))
library = F.conv2d(x, weight, bias, stride=(2, 1), padding=(1, 0)).numpy()
assert ours.shape == library.shape
assert np.allclose(ours, library)

layer = nn.Conv2d(3, 64, 3, padding=1)
print(
    "the same:", ours.shape, "  a layer from 3 to 64 channels:", layer.weight.shape, "and a bias of", layer.bias.shape
)

# %% [markdown]
# Now the test that counts. The network that found nuclei in lesson 00 is made of convolutions. Take its own away and put
# *ours* in their place, the few lines of `conv2d_in_full` above:

# %%
model = models.load_pretrained("nuclei").to("cpu")  # our function computes with NumPy
by_library = model.predict(image)[1] > 0.5
calls = []


def conv2d_and_count(input, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Do the same, and remember the shapes."""
    calls.append((input.shape, weight.shape))
    return conv2d_in_full(input, weight, bias, stride, padding)


with ms.use_kernels(conv2d=conv2d_and_count):
    by_ours = model.predict(image)[1] > 0.5

print("our function was called", len(calls), "times; the first and the last time with")
print(*calls[0], "and", *calls[-1])
print("pixels on which the two masks agree: more than 99.9%:", bool((by_ours == by_library).mean() > 0.999))
print(f"Dice of the mask made by our convolution: {metrics.dice(by_ours, truth):.2f}")
figures.show(image, truth, by_ours, ["background", "nucleus"])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First, the rule for sizes. Then the operation itself: `check` puts a right answer into a network and says what happens.
# (It also speaks of gradients and a *tape*: that is lesson 03.)

# %%
exercise("output-size")


# %%
def output_size(n, kernel, padding, stride):
    """Return how many places a window of ``kernel`` pixels has on ``n`` pixels with ``padding`` zeros on each side."""
    # your code here


check(output_size)

# %%
# hint()
# solution()

# %%
exercise("conv2d")


# %%
def conv2d(input, weight, stride):
    """Convolve images (N, C, H, W) with kernels (O, C, KH, KW), moving by ``stride`` = (rows, columns)."""
    # your code here


check(conv2d)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `output-size` takes five minutes, `conv2d` fifteen. Who is done early: write it with two loops over the *kernel* instead of
# over the places (nine shifted pictures, added). It is the form in which lesson 06 and lesson 15 meet it again.
#
# The interesting wrong answer to `conv2d` returns one map for each input channel: ask what a *filter for red nuclei* would
# have to do with the other two colours.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Whole numbers again.** A kernel has negative weights. A picture from a file is `uint8`, which has none:

# %%
row = np.array([10, 20, 200], dtype=np.uint8)
print("differences in uint8:", row[:-1] - row[1:], "  in float:", row[:-1].astype(float) - row[1:])

# %% [markdown]
# **Zeros are not nothing.** Padding puts *black* around the picture. On bright tissue that is the strongest edge of all:

# %%
padded = conv2d_in_full(grey[None, None], kernel[None, None] / 8, padding=(1, 1))[0, 0]
inside, rim = np.abs(padded[:, 1:-1]).mean(), np.abs(padded[:, [0, -1]]).mean()
print(f"mean answer inside the picture {inside:.2f}, on its left and right rim {rim:.2f}")
figures.gallery([figures.signed(padded, reach=0.5)], ["edges, with zeros around: the rim lights up"], width=5)

# %% [markdown]
# **An even kernel has no middle.** With K = 4 no padding keeps the size: one ring of zeros makes 5 of 6, two make 7. Networks
# take odd kernels for that reason.

# %%
print("6 pixels, kernel 4: padding 1 gives", (6 + 2 - 4) // 1 + 1, "and padding 2 gives", (6 + 4 - 4) // 1 + 1)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. A convolution adds the products of a window with a kernel, over rows, columns and channels, and does so at every place
#    with the same weights.
# 2. One kernel of shape (C, KH, KW) makes one output map; O of them are a layer with O · C · KH · KW weights and O biases.
# 3. The output has floor((N + 2P - K) / S) + 1 places along an axis: padding adds places, a stride leaves some out.

# %% [markdown]
# ## Exit ticket

# %%
question("size-after-two-layers")

# %%
question("what-is-added")

# %%
question("one-by-one")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - V. Dumoulin, F. Visin: *A guide to convolution arithmetic for deep learning*, arXiv 1603.07285 (2016), chapters 1 and 2:
#   the size formula case by case, with pictures.
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: *Gradient-based learning applied to document recognition*, Proceedings of the
#   IEEE 86 (1998), section II.A: why shared weights.
# - M. Lin, Q. Chen, S. Yan: *Network in network*, ICLR 2014, section 3: the 1x1 convolution.
# - K. Chellapilla, S. Puri, P. Simard: *High performance convolutional neural networks for document processing*, 2006:
#   im2col ("unrolling").

# %% [markdown]
# ## Further: how many products?
#
# Every output value takes C · KH · KW products. For one layer of the network above, on a picture of 192 x 192 pixels:

# %%
first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
o, c, kh, kw = first.weight.shape
print(f"first layer: {o} x {c} x {kh} x {kw} weights, {192 * 192 * o * c * kh * kw:,} products for one picture")

# %% [markdown]
# Almost eight million for the cheapest layer of a small network. How a program does billions of them in a second is lesson
# 15; how to need fewer of them is lesson 13.
