# %% [markdown] slideshow={"slide_type": "slide"}
# # 08 · Up by learning: transposed convolution
#
# **Every pixel presses a stamp, stamps overlap, overlaps add up. What is on the stamp, the network learns.**
#
# 90 minutes. You need lessons 02 (convolution), 03 (gradients) and 07 (up by rule). No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 7, build 27, explorer 15, it learns 6, exercises 18, what goes wrong 4, exit
# ticket 5.
#
# *The one idea:* a convolution says who reads whom. Turn the arrows round, and you have a transposed convolution. All
# that confuses people (padding that crops, output_padding, the weight's shape) follows from that one sentence.
#
# *What students get wrong:* they believe that it undoes a convolution, that padding pads, and that output_padding appends
# zeros. All three are computed below, and asked for before.
#
# *If time runs short,* skip: the zeros between (*And as an ordinary convolution*; the explorer shows them), the picture of
# the spectrum, and *Bilinear is not bilinear at the rim*. `size-up` is the formula above as code: five minutes at home.
#
# *To bring:* a rubber stamp, or a potato. Press it twice with an overlap.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-after-unpooling")

# %%
question("recall-two-sizes")

# %% [markdown]
# ## What you will be able to do
#
# - **Compute** a transposed convolution by hand, in one dimension and in two.
# - **Derive** its output's size, and **say** what `padding` and `output_padding` do on the way up.
# - **Show** by four computations that it is a convolution turned round, and **find out** whether it undoes one.
# - **Predict** from kernel and stride whether an output will have a checkerboard, and **name** a cure.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Lesson 07 went up by rules that somebody had fixed. A convolution has weights and learns them. Can the way *up* be learned
# as well? Here is tissue of 48 x 48 pixels, brought to 96 x 96 by one and the same layer with **sixteen weights**: once with
# weights thrown at random, once with weights that it learned in half a second.

# %%
import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, nn, optim

pictures, _ = data.synthetic_tissue(3, size=(96, 96), seed=8)
grey = pictures.mean(axis=3).astype(np.float32)[:, None]  # (3, 1, 96, 96)
grey = (grey - grey.mean()) / grey.std()
small = grey.reshape(3, 1, 48, 2, 48, 2).mean(axis=(3, 5))  # (3, 1, 48, 48): the mean of each 2 x 2


def new_layer(seed):
    """Return a layer from 1 to 1 channel that doubles the size: a 4x4 kernel of random numbers. It is opened below."""
    ms.manual_seed(seed)
    return nn.ConvTranspose2d(1, 1, kernel_size=4, stride=2, padding=1, bias=False)


def learn(layer, steps):
    """Train a layer to turn the first two small pictures into the large ones."""
    optimizer = optim.SGD(layer.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        off = (layer(small[:2]) - ms.tensor(grey[:2]))[:, :, 2:-2, 2:-2]  # the rim has fewer neighbours
        (off * off).mean().backward()
        optimizer.step()
    return layer


def enlarged(layer):
    """Return the third picture, which no training saw, brought up by a layer."""
    with ms.no_grad():
        return layer(small[2:]).numpy()[0, 0]


def visible(values):
    """Return numbers as brightness from 0 to 1, black and white at the same values in all pictures."""
    return np.clip((values + 2.2) / 4, 0, 1)


by_chance, learned = new_layer(0), learn(new_layer(0), 300)
figures.gallery(
    [visible(small[2, 0]), visible(enlarged(by_chance)), visible(enlarged(learned))],
    ["48 x 48", "up, random weights", "up, learned"],
    width=11,
)

# %% [markdown]
# **How can weights make a picture larger, what did this layer learn, and where does the net of little squares in the middle
# come from?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# On the way down a window *reads* nine pixels and writes one. Going up we turn that round: one pixel *writes* nine. Think of a
# stamp, inked as strongly as the pixel is bright.

# %%
question("stamps-of-two")

# %%
question("most-ink")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Let somebody draw the four stamps on the board, in four colours, before the second answer is committed. The drawing stays
# there: it explains the size formula, the crop and the checkerboard.
#
# *Ask:* and stamps of 3 pixels, 3 apart? (No overlap. 4 apart? Gaps: pixels that nobody writes.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: recall the way down
#
# The lecture's first two pictures: a 3x3 convolution with padding 1 on 4 x 4 pixels, at stride 1 and at stride 2.

# %%
picture = np.arange(1.0, 17.0).reshape(4, 4)
kernel = np.arange(1.0, 10.0).reshape(3, 3)
at_stride_1 = F.conv2d(picture[None, None], kernel[None, None], stride=1, padding=1).numpy()[0, 0]
at_stride_2 = F.conv2d(picture[None, None], kernel[None, None], stride=2, padding=1).numpy()[0, 0]
print("stride 1:", at_stride_1.shape, " stride 2:", at_stride_2.shape)
print(at_stride_2)

# %% [markdown]
# At stride 2 the window moves **two pixels in the input for one pixel in the output**. Keep that sentence, and exchange two
# words in it: *the filter moves two pixels in the output for one pixel in the input.* That is what comes now.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### One row, with letters
#
# The input is a, b, the filter x, y, z, the stride 2. Each input value lays down the whole filter, times itself:

# %%
ink = [[] for _ in range(5)]
for i, value in enumerate("ab"):
    for j, weight in enumerate("xyz"):
        ink[2 * i + j].append(value + weight)  # stamp i begins at place 2 i
print([" + ".join(products) for products in ink])

# %% [markdown]
# In the middle two stamps meet, and **where they overlap, they add up**. Nothing else happens in a transposed convolution.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### In the plane
#
# The lecture's example: an input of 2 x 2, a kernel of 3 x 3, stride 2.


# %%
def stamp(x, kernel, stride):
    """Let every pixel of x (H, W) stamp a kernel (KH, KW), stamps ``stride`` apart; overlaps add up."""
    (h, w), (kh, kw) = x.shape, kernel.shape
    output = np.zeros(((h - 1) * stride + kh, (w - 1) * stride + kw))
    for i in range(h):
        for j in range(w):
            output[i * stride : i * stride + kh, j * stride : j * stride + kw] += x[i, j] * kernel
    return output


x = np.array([[1.0, 2.0], [3.0, 4.0]])
print(stamp(x, kernel, 2).astype(int))

# %% [markdown]
# Each pixel alone, and all of them together. At the middle pixel four stamps meet: 1·9 + 2·7 + 3·3 + 4·1 = 36.

# %%
alone = [np.zeros((2, 2)) for _ in range(4)]
for n in range(4):
    alone[n].flat[n] = x.flat[n]
stamps = [stamp(a, kernel, 2) for a in alone]
figures.gallery(
    [figures.heat(s, low=0, high=55, color="blue") for s in [*stamps, sum(stamps)]],
    ["pixel of 1", "of 2", "of 3", "of 4", "the sum"],
    columns=5,
    width=11,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Padding crops
#
# 5 x 5, and yet the lecture's slide says *stride 2, pad 1, output 4 x 4*. Where does the padding go? Think of the way down: there
# a ring of zeros stood *around the picture*. Turn the arrows round, and stamps write *onto that ring*. But the ring is
# no part of the picture, so it is cut off:

# %%
cropped = stamp(x, kernel, 2)[1:-1, 1:-1]
print(cropped.astype(int))

# %% [markdown]
# So padding 1 makes the result *smaller*, 3 x 3. And the slide says 4. Which of them is wrong? Neither. In the second question
# of today's recall, 3 and 4 rows *both* went down to 2. So "the way up from 2" has two answers, and you have to say
# which one you mean. That is `output_padding`.

# %%
question("what-is-appended")

# %%
four = stamp(x, kernel, 2)[1:, 1:]  # crop one at the beginning, and one less at the end
print(four.astype(int))
by_the_library = F.conv_transpose2d(x[None, None], kernel[None, None], stride=2, padding=1, output_padding=1)
assert np.array_equal(by_the_library.numpy()[0, 0], four)

# %% [markdown]
# The slide's 4 x 4 at last: its picture is a layer with `output_padding=1`, which the slide leaves out. The last row is 24,
# 55, 32, 36: products, not zeros. And the size follows by counting. The last stamp begins at (N - 1) S and is K wide, P go
# at both ends, and the output padding stays:
#
# $$ \text{output} = (N - 1)\,S - 2P + K + \text{output\_padding} $$

# %%
print("  N  K  S  P  extra   formula   and down again")
for n, k, s, p, extra in [(2, 3, 2, 0, 0), (2, 3, 2, 1, 0), (2, 3, 2, 1, 1), (48, 4, 2, 1, 0), (16, 64, 32, 0, 0)]:
    up = (n - 1) * s - 2 * p + k + extra
    made = F.conv_transpose2d(np.zeros((1, 1, n, n)), np.zeros((1, 1, k, k)), None, s, p, extra).shape[2]
    assert made == up
    print(f"{n:3d} {k:2d} {s:2d} {p:2d} {extra:4d} {up:10d} {(up + 2 * p - k) // s + 1:12d}")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: padding</b></summary>
#
# *The sentence that helps:* all arguments of a transposed convolution are those **of the convolution that it turns round**.
# Its padding is that one's ring of zeros; its stride is that one's step.
#
# *Ask:* how large may output_padding be at stride 2? (0 or 1: 3 and 4 go to 2, 5 goes to 3.) At stride S? (0 to S - 1.)
#
# The lecture's bullets say "pad 1, output 4 x 4" without it. Do not call it a mistake of the slide: it is a picture of the
# question.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Why "transposed"?
#
# A convolution is linear: every output is a weighted sum of inputs. So it *is* a matrix. Ours, from 4 x 4 to 2 x 2, has 4
# rows and 16 columns. We find a column by asking what becomes of a single bright pixel:

# %%
matrix = np.zeros((4, 16))
for n in range(16):
    one = np.zeros((1, 1, 4, 4))
    one.flat[n] = 1
    matrix[:, n] = F.conv2d(one, kernel[None, None], stride=2, padding=1).numpy().ravel()

print("down:", np.array_equal((matrix @ picture.ravel()).reshape(2, 2), at_stride_2))
print("up:  ", np.array_equal((matrix.T @ x.ravel()).reshape(4, 4), four))
figures.gallery(
    [figures.heat(m, low=0, color="blue") for m in (matrix.repeat(4, axis=0), matrix.T.repeat(4, axis=1))],
    ["a convolution: who reads whom", "its transpose: who writes to whom"],
    ["4 rows, drawn tall; 16 columns", "16 rows; 4 columns, drawn wide"],
    width=8,
)

# %% [markdown]
# The same weights at the same crossings, rows exchanged for columns. You have used this matrix before without a name for it: the
# **gradient** of a convolution (lesson 03) hands each output's gradient back to the pixels that were read. Ask the tape:

# %%
read = ms.tensor(picture[None, None], requires_grad=True)
F.conv2d(read, kernel[None, None], stride=2, padding=1).backward(x[None, None])
print(np.array_equal(read.grad.numpy()[0, 0], four))

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### And as an ordinary convolution
#
# Stand on an output pixel and look *back*: which stamps reach me? With **zeros put between the input pixels**, an ordinary
# window of stride 1 finds them, if the kernel is rotated by 180 degrees. (The stamp's right end lies right; seen from the one
# who receives it, it came from the left.) Between two input pixels we step half a pixel, so to speak: hence *fractionally
# strided*.

# %%
apart = np.zeros((3, 3))
apart[::2, ::2] = x
around = np.pad(apart, 2)  # K - 1 zeros: the first and the last window touch one pixel
print(around.astype(int))
gathered = F.conv2d(around[None, None], kernel[::-1, ::-1][None, None].copy()).numpy()[0, 0]
print("the same as by stamps:", np.array_equal(gathered, stamp(x, kernel, 2)))

# %% [markdown]
# Four views of one operation: stamp (*scatter*), ask who reaches me (*gather*, by zeros between), multiply with the transposed
# *matrix*, take a *gradient*. Stamps are how you think, the matrix is why it is called so, and the gradient is how a library
# computes it: it had the code already.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Does it undo a convolution?
#
# The papers that made it popular call it *deconvolution*, and in signal processing that word means "undo a convolution".

# %%
question("does-it-invert")

# %%
there_and_back = F.conv2d(four[None, None], kernel[None, None], stride=2, padding=1).numpy()[0, 0]
print("went up as", x.astype(int).tolist(), "and came down as", there_and_back.astype(int).tolist())

# %% [markdown]
# It does not: that would be the *inverse* of the matrix, this is the *transpose*. And the other way
# about, first down and then up? From 4 numbers nobody gets the right 16 back.
#
# The operation has five names by now: **transposed** convolution, *up-convolution*, *fractionally strided* convolution, *backward
# strided* convolution, and *deconvolution*, which the lecture marks "(bad)", and you know why.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Many channels
#
# Every input channel has its own stamp for every output channel, and all of them add up. The weight's shape begins with the
# channels that come *in*: (C, O, KH, KW). It is the weight of the convolution that is turned round, which has O channels in and
# C out.


# %%
def stamp_channels(input, weight, stride):
    """Let images (N, C, H, W) stamp kernels (C, O, KH, KW)."""
    outputs = [
        [sum(stamp(image[c], weight[c, o], stride) for c in range(len(image))) for o in range(weight.shape[1])]
        for image in input
    ]
    return np.array(outputs)  # (N, O, OH, OW)


# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# First one row. The lecture's letters are the first button. **A convolution takes 3 pixels to 2, and 4 as well: going up from 2,
# which size comes out?** Choose *which of two sizes?*, then move *output_padding* and watch which ghosts come back to life.

# %%
explorers.transposed_1d()

# %% [markdown]
# Now the plane: *slide: 2 × 2 to 4 × 4*, and Play. Then the same numbers as *gather*, *matrix*, *zero-insertion*, and *there and
# back*.

# %%
explorers.transposed_2d()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorers</b></summary>
#
# Press *projector*. In the first, *letters* on: let the class dictate the five sums, then switch to *matrix* and let them find
# the same sums in its rows.
#
# In the second, ask before each of the four stamps where it will land. Then *who reaches the middle?*: four inputs, each
# with another weight of the kernel.
#
# *A good question at the end:* what does it do with a kernel of 2 x 2 ones at stride 2? (Nearest-neighbour, lesson 07: an
# upsampling by rule is a transposed convolution with fixed weights.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `F.conv_transpose2d` takes the arguments in PyTorch's order; `nn.ConvTranspose2d` is the layer that owns the weights.

# %%
rng = np.random.default_rng(0)
input, weight = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((3, 2, 3, 3))
ours = stamp_channels(input, weight, 2)
library = F.conv_transpose2d(input, weight, stride=2).numpy()
assert ours.shape == library.shape
assert np.allclose(ours, library)

image = rng.standard_normal((2, 2, 9, 11))
left = (F.conv2d(image, weight, stride=2).numpy() * input).sum()
right = (image * library).sum()
assert np.isclose(left, right)
layer = nn.ConvTranspose2d(3, 2, kernel_size=3, stride=2)
print("the same:", ours.shape, "  the layer's weight:", layer.weight.shape)

# %% [markdown]
# The last assertion is worth a second look: ⟨down(image), input⟩ = ⟨image, up(input)⟩, whatever the two are. That is what it
# *means* to be the transpose, and it is how libraries test theirs.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### It learns
#
# Back to the question. The weights of a transposed convolution have gradients like any others. We halve pictures, let a
# layer with a 4x4 kernel bring them back, and take the mean of the squared differences as the loss. Say first what you expect:

# %%
question("what-will-it-learn")

# %%
kernels = [learn(new_layer(0), steps).weight.detach().numpy()[0, 0] for steps in (0, 5, 30, 300)]
bilinear = new_layer(0)
nn.init.bilinear_(bilinear.weight)
kernels.append(bilinear.weight.detach().numpy()[0, 0].copy())  # a copy: it will be trained below
figures.gallery(
    [figures.signed(k, reach=0.7) for k in kernels],
    ["random", "5 steps", "30 steps", "300 steps", "bilinear"],
    columns=5,
    width=11,
)

# %% [markdown]
# Blue is below zero, white is 0, orange above. It became a hill, and it looks like the last one, which nobody trained: the
# kernel of **bilinear interpolation** (lesson 07), whose weights are 1/4, 3/4, 3/4, 1/4 along each axis. So that rule *is* a
# transposed convolution, and a layer with sixteen free weights finds something very much like it.

# %%
print(np.round(kernels[-1], 4))


def error(layer):
    """Return the root of the mean squared difference on the third picture, without its rim."""
    off = (enlarged(layer) - grey[2, 0])[2:-2, 2:-2]
    return float(np.sqrt((off * off).mean()))


repeated = float(np.sqrt(((small[2, 0].repeat(2, 0).repeat(2, 1) - grey[2, 0])[2:-2, 2:-2] ** 2).mean()))
print("random start: within 0.2 of the bilinear weights:", bool(np.abs(kernels[3] - kernels[4]).max() < 0.2))
print("error of random weights more than 5 times that of bilinear:", error(by_chance) > 5 * error(bilinear))
print("learned from random: better than nearest-neighbour:", error(learned) < 0.9 * repeated)

# %% [markdown] slideshow={"slide_type": "slide"}
# Watch it happen: **does the kernel find the bilinear one exactly, if bilinear is what it is asked for?** Play *step*. Then
# choose *the picture itself* as the target.

# %%
explorers.learning_to_upsample()

# %% [markdown]
# And from a *bilinear start*? There is almost nothing left to learn, and that is the reason why the networks of lesson 09 begin
# with it: they are good at enlarging from the first step on, and may become better.

# %%
head_start = learn(bilinear, 30)
few_steps = learn(new_layer(0), 30)
print("after 30 steps the bilinear start is ahead of the random one:", error(head_start) < 0.95 * error(few_steps))
figures.gallery(
    [visible(v) for v in (enlarged(few_steps), enlarged(head_start), grey[2, 0])],
    ["random start, 30 steps", "bilinear start, 30 steps", "the original"],
    width=11,
)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: it learns</b></summary>
#
# *Ask:* why not exactly bilinear? (It minimizes the error on *these* pictures: it gives the nearest pixel a little more, and
# is thus a little sharper.)
#
# *Ask:* in a network nobody gives the large picture as the target. Whence does the layer get its gradient then? (From the
# loss on the map, through all the layers behind it.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the size. Then the operation: `check` puts a right answer into a network that goes down and up again, and counts its
# calls. It is called more often than there are transposed convolutions. Why?

# %%
exercise("size-up")


# %%
def size_up(n, kernel, stride, padding, output_padding):
    """Return how many pixels a transposed convolution makes of ``n`` along one axis."""
    # your code here


check(size_up)

# %%
# hint()
# solution()

# %%
exercise("transposed-conv")


# %%
def transposed_conv2d(input, weight, stride):
    """Stamp the kernels (C, O, KH, KW) with every pixel of (N, C, H, W), ``stride`` = (rows, columns) apart; add up."""
    # your code here


check(transposed_conv2d)

# %% [markdown]
# <details><summary>Once <code>check</code> has counted the calls: why two?</summary>
#
# The network has one transposed convolution, which is the first call. The second comes in the backward pass: to hand the
# gradient of its *ordinary* convolution back to that one's input is the same operation (*Why "transposed"?*, above).
#
# </details>

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `size-up` takes five minutes, `transposed-conv` twelve. The function sits in the seat `conv2d_grad_input`, and is called
# twice: once for the transposed convolution going forward, and once in the backward pass, as the gradient of the *ordinary*
# convolution. Let somebody find that out; it is the lesson in one line.
#
# Who is done early: write it with two loops over the *kernel* instead of over the pixels.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Checkerboards.** Let every pixel and every weight be 1: then the output counts how many stamps reach each pixel.

# %%
for k, s in [(3, 2), (4, 2), (2, 2)]:
    print(f"kernel {k}, stride {s}:", stamp(np.ones((1, 5)), np.ones((1, k)), s)[0].astype(int))
figures.gallery(
    [figures.heat(stamp(np.ones((5, 5)), np.ones((k, k)), 2), low=0, high=4, color="blue") for k in (3, 4, 2)],
    ["kernel 3", "kernel 4", "kernel 2"],
    ["1, 2 or 4 stamps", "4 inside", "1 everywhere"],
    width=9,
)

# %% [markdown]
# With kernel 3 and stride 2 the overlap is *uneven*: even a picture that is the same all over gets a net of squares. **Where the
# stride divides the kernel, the overlap is even.** But that is not the end of it. The middle picture of our question had
# kernel 4 and stride 2, and had squares. Look at which weights reach an output pixel: they are *other* ones for even and for odd
# rows and columns. So there are four kinds of pixels, each with weights of its own, and the weights of each kind should have
# the same sum:


# %%
def sums_by_kind(kernel, stride):
    """Return for each kind of output pixel the sum of the weights that reach it."""
    return np.array([[kernel[i::stride, j::stride].sum() for j in range(stride)] for i in range(stride)])


print("ones, kernel 3:", sums_by_kind(np.ones((3, 3)), 2).astype(int).tolist())
print("ones, kernel 4:", sums_by_kind(np.ones((4, 4)), 2).astype(int).tolist())
print("bilinear:      ", sums_by_kind(kernels[4], 2).tolist())
random, after = sums_by_kind(kernels[0], 2), sums_by_kind(kernels[3], 2)
print(f"random: the sums differ by {np.ptp(random):.1f}   learned: by less than 0.3: {bool(np.ptp(after) < 0.3)}")

# %% [markdown]
# Those are the little squares of the question: sums that differ. One sees them best on a picture that is even, and in its
# *spectrum*: a pattern of two pixels is the highest frequency there is.

# %%
even = np.ones((16, 16))
boards = {
    "kernel 3": stamp(even, np.ones((3, 3)) / 4, 2)[4:28, 4:28],
    "kernel 4, random": stamp(even, kernels[0], 2)[4:28, 4:28],
    "bilinear": stamp(even, kernels[4], 2)[4:28, 4:28],
}
for name, board in boards.items():
    spectrum = np.abs(np.fft.rfft(board, axis=1)).mean(axis=0)
    print(f"{name:15s} strength of the period of 2 pixels: {spectrum[12] / 24:.2f}")
figures.gallery([figures.signed(b - b.mean(), reach=0.7) for b in boards.values()], list(boards), width=9)

# %% [markdown]
# **Kernel 3 with stride 2 prints a checkerboard on an even grey: does a kernel of 4?** And a kernel of 4 with random weights?
# Then look for the cure.

# %%
explorers.checkerboard()

# %% [markdown]
# *Cures:* a kernel that the stride divides (2 with 2, 4 with 2); a bilinear start; or enlarge by rule (lesson 07) and let
# an ordinary convolution follow, which has only one kind of pixel.
#
# **Bilinear is not bilinear at the rim.** Where a neighbour is missing, the stamps do not add up to 1:

# %%
ones = F.conv_transpose2d(np.ones((1, 1, 4, 4)), kernels[4][None, None].astype(float), stride=2, padding=1).numpy()
print("corner", ones[0, 0, 0, 0], "  edge", ones[0, 0, 0, 3], "  inside", ones[0, 0, 3, 3])

# %% [markdown]
# **The weight of the wrong shape.** Going up, it begins with the channels that come in. When C and O are the same, nobody
# notices that they were exchanged, and the numbers are wrong:

# %%
print(
    "down, 3 to 2 channels:", nn.Conv2d(3, 2, 3).weight.shape, " up, 3 to 2:", nn.ConvTranspose2d(3, 2, 3).weight.shape
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. In a transposed convolution every input pixel stamps the kernel, stamps lie a stride apart, and overlaps add up.
# 2. It is a convolution with its arrows turned round, so padding crops, `output_padding` says which of the possible sizes is
#    meant, and nothing is undone.
# 3. Where the stride does not divide the kernel, or the weights of the kinds of pixels have different sums, the output shows a
#    checkerboard.

# %% [markdown]
# ## Exit ticket

# %%
question("size-by-four")

# %%
question("no-checkerboard")

# %%
question("what-transposed-means")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - V. Dumoulin, F. Visin: *A guide to convolution arithmetic for deep learning*, arXiv 1603.07285 (2016), chapter 4: every
#   case as an ordinary convolution with zeros between.
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, section 3.3:
#   upsampling is backwards strided convolution.
# - H. Noh, S. Hong, B. Han: *Learning deconvolution network for semantic segmentation*, ICCV 2015, section 3.2: where the bad
#   name became popular.
# - A. Odena, V. Dumoulin, C. Olah: *Deconvolution and checkerboard artifacts*, Distill (2016): uneven overlap, and resizing
#   before convolving.
#
# ## Further
#
# - *Pixel shuffle:* a convolution at the small size makes S · S times as many channels, which are then laid out as pixels: W. Shi
#   and others, *Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural network*,
#   CVPR 2016, section 3. It is the transposed convolution once more, with its kinds of pixels kept in channels.
# - *A start without squares* for any kernel: A. Aitken and others, *Checkerboard artifact free sub-pixel convolution*, arXiv
#   1707.02937 (2017).
# - The published U-Net of lesson 11 goes up with kernel 2, stride 2: no overlap at all.
