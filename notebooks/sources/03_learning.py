# %% [markdown] slideshow={"slide_type": "slide"}
# # 03 · Learning: gradients by hand
#
# **Where the numbers in a network come from: sixty lines that can find out, for every weight, which way is downhill.**
#
# 90 minutes. You need lessons 01 and 02: maps, Dice, convolution. No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 8, build 32, explorer 12, exercises 22, what goes wrong 4, exit ticket 4.
#
# *The one idea:* a gradient is a bill that goes back along the way the value came. Where two ways join, the bills add up.
# All else (ReLU, convolution, softmax) is a rule for one station of that way.
#
# *What students get wrong:* they assign gradients where they must add up (`=` for `+=`), in the tape, in the convolution, and
# between two steps of the training. It is the same mistake three times, and all three are met below.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-dice-of-a-map")

# %%
question("recall-kernel-places")

# %% [markdown]
# ## What you will be able to do
#
# - **Compute** a gradient by hand, along every way a value takes, and **check** it by nudging.
# - **Write** a tape: forward it records, backward it hands gradients back and adds them up.
# - **Derive** both gradients of a convolution, and **say** why each is a convolution again.
# - **Train** a small network, and **tell** learning from memorizing by images that it has not seen.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# In the middle, the network of lesson 00 finds nuclei. On the right, the *same network with the same numbers*, only that the
# numbers of each layer have been shuffled. All that it knows was in their order. Nobody typed them in.
# **So who found out what each of them must be?**

# %%
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, metrics, models, nn, optim, training

images, nuclei = data.synthetic_tissue(12, size=(64, 64), seed=5)
knows = models.load_pretrained("nuclei")
before = knows.predict(images[3])[1]

rng = np.random.default_rng(0)
for parameter in knows.parameters():
    shuffled = rng.permutation(parameter.detach().numpy().ravel())
    parameter.data = ms.tensor(shuffled.reshape(parameter.shape))
print(f"{sum(parameter.data.size for parameter in knows.parameters()):,} numbers, shuffled layer by layer")
figures.gallery(
    [images[3], before, knows.predict(images[3])[1]],
    ["tissue", "nucleus?", "the same numbers, shuffled"],
    width=9,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# A **loss** is one number that says how wrong a network is. Learning means: make it smaller. For one weight that is easy to
# do by hand. Find out how fast the loss grows when the weight grows, its **slope**, and go the other way.

# %%
question("one-step-downhill")

# %%
question("used-twice")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# *Ask* after the first: and if the rate were 0.5? (w becomes -1, it gives -3, the loss is 64. The explorer shows it.)
#
# *The second* is the lesson's misconception in one line. Draw x as a dot with three arrows to y, and walk each of them back.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: by nudging
#
# The honest way to a slope needs no mathematics. Change the weight a little, up and down, and look what the loss does:


# %%
def nudge(function, array, step=1e-5):
    """Return how fast ``function(array)``, one number, grows with each element: (there - back) / (2 * step)."""
    slopes = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        there, back = array.copy(), array.copy()
        there[place] += step
        back[place] -= step
        slopes[place] = (function(there) - function(back)) / (2 * step)
    return slopes


w = np.array([2.0])
print("slope of (3w - 5)^2 at w = 2:", nudge(lambda w: (3 * w[0] - 5) ** 2, w).round(6))
print("slope of x * x + x at x = 3: ", nudge(lambda x: x[0] * x[0] + x[0], np.array([3.0])).round(6))

# %% [markdown]
# All slopes together, one for each weight, are the **gradient**. Nudging finds it for anything that can be computed, and we
# shall keep it as the judge. But it takes two runs of the network *for each weight*. The network above has nearly
# half a million. We want all slopes at the price of about one run.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The tape
#
# The trick: while the network computes, write down which value came from which, and for each operation how a gradient goes
# back through it. Then start at the loss, whose slope with respect to itself is 1, and walk the tape **backward**.


# %%
class Value:
    """An array that knows from which values it came (parents), and how a gradient goes back to them (back)."""

    def __init__(self, data, parents=(), back=None):
        self.data, self.parents, self.back = np.asarray(data, dtype=float), parents, back
        self.grad = np.zeros(self.data.shape)

    def backward(self):
        """Hand the gradient of this value, one number, back to everything that it came from."""
        order = []

        def visit(value):  # parents first, each value once
            if not any(value is known for known in order):
                for parent in value.parents:
                    visit(parent)
                order.append(value)

        visit(self)
        self.grad = np.ones(self.data.shape)
        for value in reversed(order):
            if value.back is not None:
                for parent, grad in zip(value.parents, value.back(value.grad), strict=True):
                    parent.grad = parent.grad + grad  # it ADDS UP


def add(a, b):
    """Add: a nudge of either comes through as it is."""
    return Value(a.data + b.data, (a, b), lambda grad: (grad, grad))


def multiply(a, b):
    """Multiply: a nudge of ``a`` comes through ``b`` times as large."""
    return Value(a.data * b.data, (a, b), lambda grad: (grad * b.data, grad * a.data))


x = Value(3.0)
y = add(multiply(x, x), x)
y.backward()
print("x * x + x at 3 is", y.data, "and its slope", x.grad)

# %% [markdown]
# Seven, as nudging said. Read the tape from right to left:
#
# ```
# forward        x = 3  ──3──►  multiply  ──9──►  add  ──12──►  y
#                x = 3  ──3──►  multiply
#                x = 3  ──3──────────────────►   add
#
# backward       x      ◄──3──  multiply  ◄──1──  add  ◄──1───  y
#                x      ◄──3──  multiply
#                x      ◄──1──────────────────   add
#                -----------
#                3 + 3 + 1 = 7
# ```
#
# The line in capitals is the whole secret. `x` was used three times, so three gradients come back to it, 3 and 3 from the
# product and 1 from the sum. Write `=` there instead, and the last to arrive wipes out the others:


# %%
def assigning(value):
    """Walk back like ``backward``, but assign where it must add up."""
    for parent, grad in zip(value.parents, value.back(value.grad), strict=True):
        parent.grad = grad
        if parent.back is not None:
            assigning(parent)


x = Value(3.0)
y = add(multiply(x, x), x)
y.grad = np.ones(())
assigning(y)
print("with = in place of +, the slope of x * x + x at 3 would be", x.grad)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### ReLU: a gate
#
# Two convolutions in a row are only another convolution. Between them stands something that bends: the **ReLU** keeps what is
# above 0 and turns the rest into 0. Its gradient is a gate: open where the value came through, shut where it did not.


# %%
def relu(x):
    """Keep what is above 0; gradients pass where it was."""
    return Value(np.maximum(x.data, 0), (x,), lambda grad: (grad * (x.data > 0),))


x = Value([-2.0, -0.5, 0.5, 3.0])
kept = relu(x)
total = Value(kept.data.sum(), (kept,), lambda grad: (grad * np.ones(4),))
total.backward()
print("in", x.data, " out", kept.data, " gradient", x.grad)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The gradient of a convolution is a convolution
#
# In lesson 02 output (i, j) was the sum of `weight[y, x] * input[i + y, j + x]`. Say each output value has sent back its
# gradient `g[i, j]`. Two questions, then:
#
# **What is the gradient of `weight[y, x]`?** It was used once for every place (i, j), and met `input[i + y, j + x]` there.
# All uses add up: the sum of `g[i, j] * input[i + y, j + x]`. Read that again. It is the very same sum, with `g` as the
# kernel: **slide g over the input**.
#
# **What is the gradient of `input[r, s]`?** It was read by the outputs (r - y, s - x), through `weight[y, x]`. All add up: the
# sum of `weight[y, x] * g[r - y, s - x]`. The kernel runs *against* g: **slide the rotated kernel over g**, with zeros
# around it, since pixels at the rim were read by fewer windows. The rotation that we left out in lesson 02 is here.
#
# On a line, with three pixels and two weights, both can be read off (*y* is the output, *g* its gradient):
#
# ```
# forward              y0 = w0·x0 + w1·x1          y1 = w0·x1 + w1·x2
#
# gradient of w        w0: g0·x0 + g1·x1           w1: g0·x1 + g1·x2          (g0, g1) slides over x0 x1 x2
#
# gradient of x        x0: g0·w0     x1: g0·w1 + g1·w0     x2: g1·w1          (w1, w0) slides over 0 g0 g1 0
# ```
#
# In the code below images and channels trade places once: for the gradient of a weight all *images* are added up, for that
# of a pixel all *output channels*, and `correlate` adds over its axis 1, so what is to be added up is put there.


# %%
def correlate(input, weight):
    """Convolve (N, C, H, W) with (O, C, KH, KW), as in lesson 02."""
    windows = sliding_window_view(input, weight.shape[2:], axis=(2, 3))
    return np.einsum("nchwyx,ocyx->nohw", windows, weight, optimize=True)


def conv2d(x, w):
    """Convolve, and know the way back."""

    def back(grad):  # (N, O, OH, OW)
        swap = (1, 0, 2, 3)
        grad_w = correlate(x.data.transpose(swap), grad.transpose(swap)).transpose(swap)  # add over the images
        (top, left) = (w.data.shape[2] - 1, w.data.shape[3] - 1)
        around = np.pad(grad, ((0, 0), (0, 0), (top, top), (left, left)))
        grad_x = correlate(around, w.data[:, :, ::-1, ::-1].transpose(swap))  # add over the output channels
        return grad_x, grad_w

    return Value(correlate(x.data, w.data), (x, w), back)


def weighted_sum(x, weights):
    """Return one number in which every element counts differently: a loss to try gradients on."""
    return Value((x.data * weights).sum(), (x,), lambda grad: (grad * weights,))


pixels, weight = rng.standard_normal((2, 3, 6, 7)), rng.standard_normal((4, 3, 3, 2))
counts = rng.standard_normal((2, 4, 4, 6))
x, w = Value(pixels), Value(weight)
weighted_sum(conv2d(x, w), counts).backward()
by_nudging_w = nudge(lambda weight: (correlate(pixels, weight) * counts).sum(), weight)
by_nudging_x = nudge(lambda pixels: (correlate(pixels, weight) * counts).sum(), pixels)
print("gradient of the weights:", w.grad.shape, " as nudging says:", np.allclose(w.grad, by_nudging_w))
print("gradient of the input:  ", x.grad.shape, " as nudging says:", np.allclose(x.grad, by_nudging_x))

# %% [markdown]
# 72 weights and 252 pixels took nudging 648 convolutions; the tape took three. To *see* a gradient go back, take the edge
# kernel, ask for one output value only, and look which pixels it hangs on:

# %%
edges = np.array([[[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]]])
x = Value(np.zeros((1, 1, 9, 9)))
one, two = np.zeros((1, 1, 7, 7)), np.zeros((1, 1, 7, 7))
one[0, 0, 3, 3] = 1
two[0, 0, 3, 2:5:2] = 1
pictures = []
for asked in (one, two):
    x.grad = np.zeros(x.data.shape)
    weighted_sum(conv2d(x, Value(edges)), asked).backward()
    pictures.append(x.grad[0, 0])
print(pictures[1][3:6].astype(int))
figures.gallery(
    [figures.signed(pictures[0], 2), figures.signed(pictures[1], 2)],
    ["gradient of one value", "of two neighbours: added"],
    ["the kernel, where the window was", "in the middle +1 and -1 meet: 0"],
    width=8,
)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the gradient of a convolution</b></summary>
#
# *Ask before the pictures:* an output value sends back 1. Which pixels get something, and what? (Its nine, each the weight
# that read it.) And if two windows share pixels? (Both parts, added.)
#
# *What students get wrong:* they see the kernel stamped as it is and ask where the rotation went. Stamping (each output hands
# back) is not rotated; collecting (each pixel asks who read me) is. Same numbers, two points of view. Lesson 08 lives on it.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Softmax and cross-entropy: a loss for maps
#
# For every pixel a network gives a *score* for each class. **Softmax** turns scores into probabilities: raise e to each, divide by
# their sum. **Cross-entropy** is minus the logarithm of the probability that the *right* class was given, averaged over all pixels.

# %%
question("loss-of-a-guess")


# %%
def cross_entropy(scores, labels):
    """Return the mean of -log(p of the right class); scores (N, K, H, W), labels (N, H, W)."""
    shifted = scores.data - scores.data.max(axis=1, keepdims=True)  # the largest is 0: e to it cannot overflow
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))  # the logarithm of the softmax
    right = labels[:, None] == np.arange(shifted.shape[1])[:, None, None]  # (N, K, H, W): True for the right class
    return Value(-log_p[right].mean(), (scores,), lambda grad: (grad * (np.exp(log_p) - right) / labels.size,))


labels = np.array([[[0, 1], [1, 1]]])
tried = rng.standard_normal((1, 2, 2, 2))
scores = Value(tried)
cross_entropy(scores, labels).backward()
print("as nudging says:", np.allclose(scores.grad, nudge(lambda t: cross_entropy(Value(t), labels).data, tried)))
print(f"a network that knows nothing: {cross_entropy(Value(np.zeros((1, 2, 2, 2))), labels).data:.2f}")

# %% [markdown]
# Its gradient is the simplest sentence in all of deep learning: **what was said minus what is right**, for each pixel and class.
# The loss of a pixel is log(sum of e^score) - (score of the right class). Raise one score a little: the first part grows by
# e^score / sum, which is its softmax *p*, and the second takes 1 off if that class is the right one. So the gradient is
# *p - 1* for the right class and *p* for each other. (And a mean over all pixels divides it by their number.) Sure and right:
# nearly 0, nothing to learn. Sure and wrong: nearly -1 for the right class, nearly 1 for the wrong one.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A network, and a loop
#
# Now everything is there. A network of two layers: 3x3 from the three colours to eight maps, ReLU, then 1x1 to a score for
# background and one for nucleus. 242 numbers. The weights begin at random, so that no two maps learn the same, and small (the
# more products are added up, the smaller), so that the scores are neither huge nor all 0.


# %%
def add_bias(x, b):
    """Add one number to each channel; it was used at every pixel, so all gradients add up."""
    return Value(x.data + b.data[:, None, None], (x, b), lambda grad: (grad, grad.sum(axis=(0, 2, 3))))


def new_weights(seed):
    """Return the network's four arrays of numbers, random where they must differ."""
    draw = np.random.default_rng(seed)
    first, second = draw.standard_normal((8, 3, 3, 3)) * (2 / 27) ** 0.5, draw.standard_normal((2, 8, 1, 1)) * 0.5
    return [Value(first), Value(np.zeros(8)), Value(second), Value(np.zeros(2))]


def network(pixels, weights):
    """Return scores (N, 2, H - 2, W - 2) for pixels (N, 3, H, W)."""
    hidden = relu(add_bias(conv2d(Value(pixels), weights[0]), weights[1]))
    return add_bias(conv2d(hidden, weights[2]), weights[3])


weights = new_weights(1)
print("numbers to be learned:", sum(w.data.size for w in weights))

# %% [markdown]
# Twelve pictures. The network learns from eight of them, **training**. The other four it never learns from: they are there to
# ask whether it has learned something that holds elsewhere, **validation**.

# %%
pixels = images.transpose(0, 3, 1, 2) / 255.0 - 0.5  # (12, 3, 64, 64), around 0
labels = (nuclei > 0)[:, 1:-1, 1:-1].astype(int)  # the 3x3 layer leaves 62 x 62
train, validation = slice(0, 8), slice(8, 12)


def dice_on(weights, part):
    """Return the Dice of the network's masks."""
    return metrics.dice(network(pixels[part], weights).data.argmax(axis=1) == 1, labels[part] == 1)


def learn(weights, steps, rate, zero=True):
    """Go downhill: set the gradients back, forward, backward, one step."""
    history = {"loss": [], "val_step": [], "val_score": []}
    for step in range(steps):
        if zero:
            for w in weights:
                w.grad = np.zeros(w.data.shape)
        loss = cross_entropy(network(pixels[train], weights), labels[train])
        loss.backward()
        for w in weights:
            w.data = w.data - rate * w.grad
        history["loss"].append(float(loss.data))
        if step % 10 == 9:
            history["val_step"].append(step + 1)
            history["val_score"].append(dice_on(weights, validation))
    return history


def mask(number):
    """Return what the network calls nucleus on one picture, 0 or 1."""
    return network(pixels[number : number + 1], weights).data.argmax(axis=1)[0].astype(float)


shown = [mask(9)]
history = learn(weights, 10, rate=0.5)
shown.append(mask(9))
more = learn(weights, 50, rate=0.5)
shown.append(mask(9))
print("loss less than half of what it was:", more["loss"][-1] < history["loss"][0] / 2)
print("Dice on the four pictures it has not seen above 0.8:", bool(dice_on(weights, validation) > 0.8))

# %% [markdown]
# `forward, backward, step`: that loop trains every network in this course. Its curves (the digits may differ a little from
# machine to machine), and one unseen picture on the way:

# %% tags=["nbval-ignore-output"]
loss, score = history["loss"] + more["loss"], history["val_score"] + more["val_score"]
figures.curves({"loss": loss, "val_step": range(10, 61, 10), "val_score": score}, score="Dice", width=9)

# %%
figures.gallery([images[9], *shown], ["not seen", "0 steps", "10 steps", "60 steps"])

# %% [markdown]
# Before the first step it speaks at random (here it happens to take what is bright for nucleus). After ten it has become the
# lazy program of lesson 01: *everything is background* is the cheapest thing to learn, since most pixels are. Only then does
# it learn what a nucleus looks like.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# One kernel, nine weights, and a loss that can be watched. The learned kernel begins at zero and shall do what the
# target does. Press Play on *step*. Then the explorer's question: **the larger the learning rate, the faster it learns: up
# to where?** Set *step* to 5, and raise the rate notch by notch.

# %%
explorers.descent(rate=0.2, step=1)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. At step 0, ask which of the nine weights will move furthest in the first step, and which way (the
# gradient says so: away from it). Then one step.
#
# *Too large a rate:* ask for the sign of the upper right weight's error from step to step at rate 1: it alternates. At 1.2 each
# swing is larger than the one before. "It goes too far" is better than "it diverges".
#
# *For who asks why 1 works and 1.2 does not:* the limit is 2 divided by the loss's steepest curvature, here 1.03.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `ms.Tensor` is our `Value`, with PyTorch's names. The same network, the same weights, the same pictures: the same loss,
# and the same gradients.

# %%
ours = new_weights(1)
loss = cross_entropy(network(pixels[train], ours), labels[train])
loss.backward()

theirs = [ms.tensor(w.data, requires_grad=True) for w in ours]
hidden = F.relu(F.conv2d(ms.tensor(pixels[train]), theirs[0], theirs[1]))
library_loss = F.cross_entropy(F.conv2d(hidden, theirs[2], theirs[3]), labels[train])
library_loss.backward()

assert np.allclose(float(library_loss), loss.data)
for mine, tensor in zip(ours, theirs, strict=True):
    assert np.allclose(mine.grad, tensor.grad.numpy())
print("the same loss and the same four gradients:", [w.shape for w in theirs])

# %% [markdown]
# And the loop. An **optimizer** takes the step (`SGD` is ours; `Adam`, which most people use, gives each weight a rate of its
# own), `training.fit` is the loop with a seat belt: it keeps the curves, can be stopped, and says where a number ceases to be
# finite. An **epoch** is one pass over all training pictures; here they are one batch, so an epoch is one step. These are the
# lines that lesson 14 trains a real network with:

# %%
ms.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
single = pixels.astype(np.float32)
optimizer = optim.Adam(model.parameters(), lr=0.02)
learned_from, held_out = ([(single[part], labels[part])] for part in (train, validation))
run = training.fit(
    model,
    learned_from,
    held_out,
    loss=F.cross_entropy,
    optimizer=optimizer,
    epochs=60,
    metric=metrics.MeanDice(),
    progress=False,
)
print("steps:", len(run.loss), " validation Dice above 0.75:", bool(run.val_score[-1] > 0.75))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the loss. Then the way back through a convolution, now with a stride: `check` puts a right answer into a network.

# %%
exercise("cross-entropy-grad")


# %%
def cross_entropy_grad(scores, labels):
    """Return the gradient of the mean cross-entropy with respect to ``scores`` (N, K), for ``labels`` (N,)."""
    # your code here


check(cross_entropy_grad)

# %%
# hint()
# solution()

# %%
exercise("conv2d-grad-input")


# %%
def conv2d_grad_input(grad_output, weight, input_size, stride):
    """Hand ``grad_output`` (N, O, OH, OW) back to the input (N, C, H, W); (H, W) is ``input_size``."""
    # your code here


check(conv2d_grad_input)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `cross-entropy-grad` takes seven minutes, `conv2d-grad-input` fifteen. Who is done early: write the second as a convolution (zeros
# between the values of `grad_output` for the stride, then the rotated kernel), and compare.
#
# The wrong answer to wait for is `=` for `+=` in the second. Ask how often the pixel in the middle was read.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Gradients that are not set back.** They add up, also from one step to the next, unless they are set to zero before. (In
# PyTorch: `optimizer.zero_grad()`.) Left out, each step takes all earlier ones again, and shoots past the goal and back. (A
# memory that *fades* is useful, and called momentum. One that never fades is not.)


# %%
def climbs(weights, zero):
    """Return in how many of 60 steps the loss went up instead of down."""
    return int((np.diff(learn(weights, 60, rate=0.5, zero=zero)["loss"]) > 0).sum())


print("steps that went up, gradients set back: fewer than 5:", climbs(new_weights(1), zero=True) < 5)
print("steps that went up, never set back:    more than 10:", climbs(new_weights(1), zero=False) > 10)

# %% [markdown]
# **A learning rate that is too large.** The explorer's fact, in a network: the loss jumps to and fro,
# most of the time far above log 2 = 0.69, which is what a network gets that knows nothing.

# %%
wild = learn(new_weights(1), 40, rate=100.0)
print("rate 100: worse than knowing nothing in at least one of the last ten steps:", max(wild["loss"][-10:]) > 0.7)

# %% [markdown]
# **Memorizing.** Here a wider network gets *noise* as pictures and *coin tosses* as labels. There is nothing to learn. It
# learns it all the same, by heart, and on new noise it is worth a coin. Whoever looks at the training pictures only will
# never know. This is called **overfitting**, and validation exists because of it:

# %%
draw = np.random.default_rng(4)
noise, tosses = draw.standard_normal((2, 1, 3, 14, 14)), draw.integers(0, 2, (2, 1, 10, 10))
by_heart = [
    draw.standard_normal((64, 3, 5, 5)) * 0.16,
    np.zeros(64),
    draw.standard_normal((2, 64, 1, 1)) * 0.17,
    np.zeros(2),
]
by_heart = [Value(w) for w in by_heart]
for _ in range(200):
    for w in by_heart:
        w.grad = np.zeros(w.data.shape)
    cross_entropy(network(noise[0], by_heart), tosses[0]).backward()
    for w in by_heart:
        w.data = w.data - 0.2 * w.grad
known, new = ((network(n, by_heart).data.argmax(axis=1) == t).mean() for n, t in zip(noise, tosses, strict=True))
print("right on the pixels it was trained on, more than 95%:", bool(known > 0.95))
print("right on new ones, less than 65%:", bool(new < 0.65))

# %% [markdown]
# And now the picture of the beginning can be answered. *Who found out what each number must be?* The slope of one loss, handed
# back through every layer, a few dozen times. Here is your own network, 242 numbers, and the same 242 shuffled:

# %%
order = np.random.default_rng(5)
shuffled = [Value(order.permutation(w.data.ravel()).reshape(w.data.shape)) for w in weights]
other = network(pixels[9:10], shuffled).data.argmax(axis=1)[0]
figures.gallery(
    [images[9][1:-1, 1:-1], mask(9), other.astype(float)],
    ["not seen in training", "learned by your tape", "the same numbers, shuffled"],
    width=9,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. A gradient says for each weight how fast the loss grows with it; learning is a small step the other way, again and again.
# 2. The tape walks back from the loss, each operation hands its gradient on, and where ways join gradients add up.
# 3. The gradient of a convolution is a convolution; that of softmax cross-entropy is what was said minus what is right.

# %% [markdown]
# ## Exit ticket

# %%
question("size-of-the-other-kernel")

# %%
question("what-the-score-gets")

# %%
question("two-curves")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - D. E. Rumelhart, G. E. Hinton, R. J. Williams: *Learning representations by back-propagating errors*, Nature 323, 533 (1986),
#   equations 4 to 7: the way back, in one page.
# - A. G. Baydin, B. A. Pearlmutter, A. A. Radul, J. M. Siskind: *Automatic differentiation in machine learning: a survey*, JMLR 18
#   (2018), section 3.2: the tape ("reverse mode"), and why it costs about as much as the forward run.
# - Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: *Gradient-based learning applied to document recognition*, Proceedings of the
#   IEEE 86 (1998), section II: shared weights, whose gradients add up.
# - C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals: *Understanding deep learning requires rethinking generalization*, ICLR
#   2017, section 2: networks that learn random labels by heart.

# %% [markdown]
# ## Further: a direction is enough
#
# A network with half a million weights cannot be nudged weight by weight. It need not be: nudge *all* at once in one random
# direction, and compare with the gradient's part in that direction. That is what `check` did with your function. The nudge must be
# small: a pixel that crosses the corner of its ReLU on the way spoils it.

# %%
direction = [order.standard_normal(w.data.shape) for w in ours]
slope = sum((w.grad * d).sum() for w, d in zip(ours, direction, strict=True))
there, behind = (
    cross_entropy(
        network(pixels[train], [Value(w.data + s * d) for w, d in zip(ours, direction, strict=True)]), labels[train]
    ).data
    for s in (1e-7, -1e-7)
)
print("by the tape and by nudging, the same to four digits:", np.isclose(slope, (there - behind) / 2e-7, rtol=1e-4))
