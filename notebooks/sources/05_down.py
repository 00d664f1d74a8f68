# %% [markdown] slideshow={"slide_type": "slide"}
# # 05 · Down: pooling, strides, receptive field
#
# **Smaller maps see more. But does all that a pixel can see count alike? That can be measured.**
#
# 90 minutes. You need lessons 02 (sizes, strides), 03 (gradients) and 04 (why everybody goes down). No network connection,
# no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 8, build 30 (pooling 12, batch norm 8, receptive field 10), explorers 12,
# exercises 22, what goes wrong 5, exit ticket 5.
#
# *The one idea:* a step of 2 doubles the length of every later step. That is why going down collects evidence from a large
# area, and it is the same arithmetic for pooling and for strides.
#
# *What students get wrong:* "the receptive field is what influences the pixel", as if all of it counted alike. It is what
# *can* influence it. What does is a bell in its middle; they count the ways and see why.
#
# *If time is short:* batch norm is one page and can be read at home. Do not leave out the transplant at the end.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-bill-of-a-stride")

# %%
question("recall-read-by-three")

# %% [markdown]
# ## What you will be able to do
#
# - **Pool** a map by hand, by maximum and by mean, and **say** how large the result is and which rows are never read.
# - **Send** a gradient back through pooling, and **say** which pixel hears of it.
# - **Explain** what batch norm computes in training, and what it computes afterwards.
# - **Calculate** a receptive field, and **say** why most of it hardly counts.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# On the left, tissue. The pixel in the cross is background, and the network of lesson 00 knows it. In the middle, other
# tissue, into which a square of 33 by 33 pixels around that cross was **transplanted**. Its answer there should be easy:
# the pixel is the same, and so are the 1,088 around it.

# %%
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, models, nn, optim
from minisegnet.nn.receptive_field import effective_receptive_field, receptive_field

network = models.load_pretrained("nuclei")
tissue, elsewhere = data.synthetic_tissue(2, size=(256, 256), seed=1)[0]
MIDDLE = 128


def around(side):
    """Return where the square of ``side`` pixels around the cross lies."""
    return slice(MIDDLE - side // 2, MIDDLE + side // 2 + 1)


def transplant(side):
    """Return the other tissue with a square of this one around the cross."""
    mixed = elsewhere.copy()
    mixed[around(side), around(side)] = tissue[around(side), around(side)]
    return mixed


def marked(picture, *sides):
    """Return a picture with the cross, and with a frame around each square."""
    shown = picture.copy()
    for side in sides:
        place = around(side + 2)
        for rows, columns in (
            (place.start, place),
            (place.stop - 1, place),
            (place, place.start),
            (place, place.stop - 1),
        ):
            shown[rows, columns] = 0
    shown[MIDDLE, MIDDLE - 3 : MIDDLE + 4] = shown[MIDDLE - 3 : MIDDLE + 4, MIDDLE] = (255, 220, 0)
    return shown


def nucleus(picture):
    """Return the probability that the network gives to a nucleus at the cross."""
    return network.predict(picture)[1, MIDDLE, MIDDLE]


for name, picture in (("at home", tissue), ("in other tissue", transplant(33))):
    print(f"a nucleus, {name}: {nucleus(picture):.1f}")
figures.gallery(
    [marked(tissue, 33), marked(transplant(33), 33), tissue[around(33), around(33)]],
    ["at home: background", "transplanted: nucleus", "the square, enlarged"],
)

# %% [markdown]
# It changed its mind. So pixels more than 16 away had a say. Lesson 04 announced why: a network that goes down sees far.
# But **which pixels decide about one pixel, and do they all count alike?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# The first is for your feeling; the last picture of this lesson answers it. The second is arithmetic that you can do with a
# pencil now. (*Pooling* 2x2: each window of 2 by 2 becomes one number, the window moves by 2.)

# %%
question("how-large-a-transplant")

# %%
question("field-through-a-pool")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Take a show of hands for the first and write it on the board. It stays open until the end.
#
# The second: let somebody draw it from the top down, one row of cells for each map: 1, then 3, 5, 10, 12. Most wrong
# answers are 11, the windows added up.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: why the output shrinks
#
# *"Smaller output due to pooling"*, says the lecture, and: *"Downsampling: pooling, strided convolution"*. Both are a
# window that moves by more than one pixel. Here are the lecture's sixteen numbers, and a window of 2 by 2 that moves by 2:


# %%
def windows(x, size, stride):
    """Return all windows of a map (H, W): (OH, OW, size, size)."""
    return sliding_window_view(x, (size, size))[::stride, ::stride]


lecture = np.array([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])
print("maximum\n", windows(lecture, 2, 2).max(axis=(2, 3)))
print("mean\n", windows(lecture, 2, 2).mean(axis=(2, 3)))
print("weights 1/4, stride 2\n", np.einsum("ijyx,yx->ij", windows(lecture, 2, 2), np.full((2, 2), 0.25)))

# %% [markdown]
# **Max-pooling** keeps the largest number of each window, **average pooling** their mean. The mean is an old acquaintance:
# a convolution with stride 2 whose weights are all 1/4. A **strided convolution** is the same with weights that are
# learned. The maximum is no convolution at all, whatever the weights: no sum of products can say "the largest".
#
# The size follows the rule of lesson 02, floor((N - K) / S) + 1. With K = S = 2 it halves, and of an odd number of rows the
# last is not read. Unlike a convolution, pooling takes each channel by itself, and has nothing to learn.

# %%
for n in (4, 5, 6, 7):
    print(n, "rows ->", windows(np.zeros((n, n)), 2, 2).shape[0], "   rows never read:", n % 2)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What is kept?
#
# In a network the maps are no pictures. Each says *how strongly is my pattern here?* So here is a map of edges (the answer
# of an edge kernel, then ReLU), going down three times, 96 to 12: by maximum, by mean, and by just leaving out every second
# pixel.

# %%
grey = tissue[:96, :96].mean(axis=2) / 255
edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
edges = np.maximum(np.einsum("ijyx,yx->ij", windows(np.pad(grey, 1, mode="edge"), 3, 1), edge), 0)

ways_down = {
    "maximum": lambda x: windows(x, 2, 2).max(axis=(2, 3)),
    "mean": lambda x: windows(x, 2, 2).mean(axis=(2, 3)),
    "left out": lambda x: x[::2, ::2],
}
last = {}
for name, half in ways_down.items():
    last[name] = half(half(half(edges)))
    print(
        f"{name:9s} {edges.shape} -> {last[name].shape}, of the strongest edge {last[name].max() / edges.max():4.0%} is left"
    )
pictures = [edges, *last.values()]
figures.gallery([figures.heat(p, low=0, high=edges.max()) for p in pictures], ["edges", *last])

# %% [markdown]
# The maximum says *there is an edge somewhere in these 8 by 8 pixels*, as strongly as it was found, and forgets where. The
# mean says *how much edge there is*, and thin edges fade. Leaving out looks at one pixel of 64.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Which pixel hears of it?
#
# Now back, as in lesson 03. The loss wants one pooled number to be larger, and sends that wish down.

# %%
question("who-hears-of-it")


# %%
def max_pool_back(grad_output, x, size, stride):
    """Hand the gradient of max-pooling back to the map: to the largest of each window, the first one on a tie."""
    grad = np.zeros(x.shape)
    for i, j in np.ndindex(grad_output.shape):
        window = x[i * stride : i * stride + size, j * stride : j * stride + size]
        y, column = np.unravel_index(window.argmax(), window.shape)
        grad[i * stride + y, j * stride + column] += grad_output[i, j]  # it ADDS UP
    return grad


wish = np.array([[1, 2], [3, 4]])
print("windows of 2, stride 2\n", max_pool_back(wish, lecture, 2, 2).astype(int))
print("windows of 3, stride 1\n", max_pool_back(wish, lecture, 3, 1).astype(int))

# %% [markdown]
# Only the winner hears of it; the three others could change a little without any effect, so their slope is 0. Where windows
# overlap, one pixel may win several times: the 6 won twice in the upper row, and hears 1 + 2. (Keep the first of the two
# maps in mind: you will meet it again on the lecture's next slides, in lesson 07.) Nudging (lesson 03) agrees:

# %%
for size, stride in ((2, 2), (3, 1)):
    nudged = np.zeros((4, 4))
    for y, x in np.ndindex(4, 4):
        there, back = lecture.astype(float), lecture.astype(float)
        there[y, x] += 1e-5
        back[y, x] -= 1e-5
        change = windows(there, size, stride).max(axis=(2, 3)) - windows(back, size, stride).max(axis=(2, 3))
        nudged[y, x] = (change * wish).sum() / 2e-5
    print(
        "size",
        size,
        "stride",
        stride,
        " as nudging says:",
        np.allclose(nudged, max_pool_back(wish, lecture, size, stride)),
    )

# %% [markdown]
# The three ways down, by whom they let hear. Every output of the edge map (of 24 by 24 of its pixels) sends back 1:

# %%
corner = edges[24:48, 24:48]
by_max = max_pool_back(np.ones((12, 12)), corner, 2, 2)
by_mean = np.full((24, 24), 0.25)
left_out = np.zeros((24, 24))
left_out[::2, ::2] = 1
print("pixels that hear something:", *(int((g > 0).sum()) for g in (by_max, by_mean, left_out)), " of", corner.size)
figures.gallery(
    [figures.heat(corner), *(figures.heat(g, low=0, high=1) for g in (by_max, by_mean, left_out))],
    ["edges", "maximum: the winner", "mean: all a quarter", "left out: always the same"],
)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: gradients of pooling</b></summary>
#
# *Ask:* in the third picture three pixels of four never hear anything, in the first too. What is the difference? (Who wins
# depends on the picture, so over many pictures everybody learns.)
#
# *Ask:* what must be remembered on the way down, so that the gradient finds back? (The place of each winner. Lesson 07 uses
# the same places to go up.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Batch norm, on one page
#
# A network that goes down is deep, and depth has a price. Twelve 3x3 layers with ReLU, new weights, one batch of pictures.
# How large are the numbers after each layer?


# %%
def chain(layers, norm=False, channels=8):
    """Return 3x3 layers with ReLU, each with batch norm if wanted, and two scores at the end."""
    parts, before = [], 3
    for _ in range(layers):
        parts += [nn.Conv2d(before, channels, 3, padding=1)]
        parts += [nn.BatchNorm2d(channels)] if norm else []
        parts += [nn.ReLU()]
        before = channels
    return nn.Sequential(*parts, nn.Conv2d(before, 2, 1))


images, instances = data.synthetic_tissue(8, size=(64, 64), seed=5)
pixels = (images.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32)
labels = (instances > 0).astype(int)


def spread(net):
    """Return the spread of the numbers after each ReLU: the standard deviation of a channel, on average."""
    found, x = [], ms.tensor(pixels)
    with ms.no_grad():
        for layer in net:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(float(x.numpy().std(axis=(0, 2, 3)).mean()))
    return found


ms.manual_seed(0)
plain = spread(chain(12))
ms.manual_seed(0)
normed = spread(chain(12, norm=True))
print("layer               ", *(f"{n:6d}" for n in (1, 2, 4, 8, 12)))
for name, found in (("without batch norm", plain), ("with batch norm", normed)):
    print(f"{name:20s}", *(f"{found[n - 1]:6.3f}" for n in (1, 2, 4, 8, 12)))

# %% [markdown]
# Layer by layer the picture fades, until every pixel looks like every other. What fades forward fades backward as well. The
# cure of Ioffe and Szegedy (2015): after each convolution **shift and scale every channel so that its mean is 0 and its
# variance 1**, over all pixels of all pictures of the batch. Then give the layer back its freedom, one learned scale and
# one learned shift for each channel (the tiny number epsilon is there so that nothing is divided by 0):
#
# $$ \hat x = \frac{x - \text{mean}}{\sqrt{\text{variance} + \epsilon}}, \qquad y = \text{weight} \cdot \hat x + \text{bias} $$


# %%
def batch_norm(x, weight, bias, eps=1e-5):
    """Normalize each channel of (N, C, H, W) over N, H and W; then scale and shift it."""
    mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))  # (C,): one for each channel
    normal = (x - mean[:, None, None]) / np.sqrt(variance + eps)[:, None, None]
    return weight[:, None, None] * normal + bias[:, None, None]


rng = np.random.default_rng(0)
x = rng.normal([[[[5.0]], [[-40.0]]]], [[[[0.1]], [[9.0]]]], (4, 2, 8, 8))  # two channels, each with its own scale
y = batch_norm(x, np.ones(2), np.zeros(2))
for c in range(2):
    print(
        f"channel {c}: mean {x[:, c].mean():6.1f}, spread {x[:, c].std():4.1f} -> {abs(y[:, c].mean()):.1f}, {y[:, c].std():.1f}"
    )

# %% [markdown]
# *In training* mean and variance come from the batch, and the gradient goes through them too. If all pixels of a channel
# grow alike, the mean takes it out again: so the gradients of all its pixels together are 0. (The library's will be,
# below.)
#
# That is training. Afterwards there may be one picture only. What then?

# %%
question("what-sits-beside-it")

# %% [markdown]
# *Afterwards* the answer for one picture must not depend on who sits beside it. So training keeps a running mean of the means
# and of the variances (each step: 0.9 of the old, 0.1 of the new), and a finished network uses these. Then batch norm is one
# multiplication and one addition for each channel. And does it help? The same chain, trained without it and with it:


# %%
def last_losses(norm, steps=30):
    """Return the mean loss of the last five steps of a chain of twelve, and the chain."""
    ms.manual_seed(0)
    net = chain(12, norm)
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(net(ms.tensor(pixels)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return np.mean(losses[-5:]), net


(slow, _), (fast, learned) = last_losses(False), last_losses(True)
print("30 steps, with batch norm the loss is less than half:", bool(fast < slow / 2))

# %% [markdown]
# Same layers, same steps, same rate. (*Why* it helps so much is still argued about; its inventors' own explanation did not
# hold. That the numbers keep their size is what you saw.)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: batch norm</b></summary>
#
# *Ask:* over which axes is the mean? Who says "over the channels" gets a picture in grey; who says "over each picture" has
# invented instance norm. One mean for each *channel*.
#
# *Ask:* a convolution with a bias, then batch norm: what does the bias do? (Nothing, the mean takes it out again. That is
# why such layers are made with `bias=False`.)
#
# *Santurkar and others (2018)* show that the "covariate shift" of the paper's title is not what matters.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### How far does it see?
#
# Begin with one pixel of the picture and walk up, layer by layer. A window of K adds K - 1 places to what is seen. But how
# long is a step from place to place, *in pixels of the picture*? 1 at first. Behind a stride of 2 it is 2, behind two of
# them 4. What one output can see is its **receptive field**:


# %%
def field(layers):
    """Return the width of the receptive field, and the step from output to output, in pixels; layers are (kernel, stride)."""
    size, step = 1, 1
    for kernel, stride in layers:
        size += (kernel - 1) * step
        step *= stride
    return size, step


conv, pool = (3, 1), (2, 2)
stages = [conv, conv, pool] * 4
print("layer     ", *("conv" if layer == conv else "pool" for layer in stages), sep="  ")
print("field     ", *(f"{field(stages[: n + 1])[0]:4d}" for n in range(len(stages))), sep="  ")
print("step      ", *(f"{field(stages[: n + 1])[1]:4d}" for n in range(len(stages))), sep="  ")
print("no pooling", *(f"{field([conv] * (n + 1))[0]:4d}" for n in range(len(stages))), sep="  ")

# %% [markdown]
# With pooling the field doubles from stage to stage, without it grows by 2 a layer. *"Downsampling collects feature
# evidence from a larger area"*: that is the lecture's sentence, in numbers. The best known example, VGG16 as a fully
# convolutional network (lesson 09), with five such stages and a 7x7 layer on top:

# %%
vgg16 = [conv, conv, pool] * 2 + [conv, conv, conv, pool] * 3 + [(7, 1)]
alexnet = [(11, 4), (3, 2), (5, 1), (3, 2), conv, conv, conv, (3, 2), (6, 1)]
print("VGG16: field and step", *field(vgg16), "  AlexNet:", *field(alexnet))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### And does all of it count?

# %%
question("ways-from-the-middle")

# %% [markdown]
# Let all weights be 1, on a line. Then what a pixel contributes to the output is the number of **ways** that lead from it
# up to there. From the outermost pixel there is one: always the outermost tap. From the middle one can go left and right
# again, in any order. A layer adds to each place the ways of its two neighbours:


# %%
def ways(layers):
    """Return how many ways lead from each pixel of the field, first to last, to the output, through layers of three taps."""
    found = np.ones(1)
    for _ in range(layers):
        found = np.convolve(found, np.ones(3))
    return found


for layers in (1, 2, 3, 4):
    print(layers, " ", *ways(layers).astype(int))
ten = ways(10)
print(f"10 layers: the middle {ten.max():,.0f}, the outermost {ten[0]:.0f} of {ten.sum():,.0f} on a line")
plane = np.outer(ten, ten)
fair = np.full((21, 21), 0.5)
figures.gallery(
    [figures.heat(fair, low=0, high=1), figures.heat(plane)],
    ["what one imagines", "ways, ten layers"],
    ["21 x 21, all alike", "21 x 21, a bell"],
    width=8,
)

# %% [markdown]
# Both are 21 by 21. These rows are relatives of Pascal's triangle, and the longer they are, the more they look like a bell.
# How wide is the bell? Take the smallest square in the middle in which nine tenths of all ways begin:


# %%
def holds(values, share=0.9):
    """Return the side of the smallest square around the middle that holds this share of the sum of values (H, W)."""
    middle = values.shape[0] // 2
    for reach in range(middle + 1):
        part = slice(middle - reach, middle + reach + 1)
        if values[part, part].sum() >= share * values.sum():
            return 2 * reach + 1
    return values.shape[0]


print("layers  field  90% in  of its area")
for layers in (5, 10, 20, 40, 80):
    plane = np.outer(ways(layers), ways(layers))
    print(f"{layers:6d} {len(plane):6d} {holds(plane):7d} {holds(plane) ** 2 / plane.size:11.0%}")

# %% [markdown]
# Sixteen times the layers: the field grows about 15 times, from 11 to 161. The bell grows 4 times, from 7 to 29: **the
# field grows with the number of layers, the bell with its square root**, as a random walk does. This is the **effective
# receptive field** (Luo and others, 2016). With 80 layers, 3% of the field hold nine tenths of the ways.
#
# Real weights are not all 1, and ReLUs shut some ways. So measure it: the *gradient* of one output pixel says how much each
# pixel of the picture moves it. Twenty layers with new random weights at full size, beside eight layers of which every
# other has a stride of 2:


# %%
def strided(strides, channels=8):
    """Return 3x3 layers with these strides, ReLU between."""
    parts, before = [], 3
    for stride in strides:
        parts += [nn.Conv2d(before, channels, 3, stride=stride, padding=1), nn.ReLU()]
        before = channels
    return nn.Sequential(*parts)


measured = []
for strides in ([1] * 20, [2, 1] * 4):
    ms.manual_seed(0)
    gradient = effective_receptive_field(strided(strides), (3, 129, 129), samples=8)
    measured.append(gradient)
    sees, inside = field([(3, stride) for stride in strides])[0], holds(gradient)
    print(f"{len(strides):2d} layers: field {sees}, 90% inside {'less' if inside < 31 else 'more'} than 31 pixels")
figures.gallery(
    [figures.heat(np.sqrt(g)[15:114, 15:114]) for g in measured],
    ["20 layers, full size", "8 layers, going down"],
    ["field 41 of 99 pixels", "field 91 of 99 pixels"],
    width=8,
)

# %% [markdown]
# (Drawn is the root of the gradient, so that faint parts show.) On the left the bell is there with real weights too. On the
# right is what going down buys: with fewer than half the layers a pixel sees more, and *effectively* more. Each way is made
# of longer steps, and the few longest decide: a bell needs many steps that are alike.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the bell</b></summary>
#
# *Do it with the class:* a row of students, one pace left, stay, or right, ten times, by the throw of a die. Where do most
# end up? (Within 5 of the start: the spread is the root of 10 · 2/3, about 2.6.)
#
# *Ask:* why is the picture on the right a grid rather than smooth? (A window of 3 that moves by 2 reads some pixels once,
# others twice. Lesson 08 meets the same pattern on the way up.)
#
# *What students get wrong:* they conclude that pixels at the rim *cannot* matter. They can: weights can be learned that let
# them. Training does widen the bell somewhat, as the paper shows.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# The network of lesson 00 on tissue. The heat is the gradient of the marked pixel, the curve says how much of it lies
# inside a square, the dashed line what it would be if all pixels counted alike. Move the pixel about. Then choose
# *occluder*: **can a grey square flip a pixel that it does not touch?**

# %%
explorers.evidence()

# %% [markdown]
# The second one goes down by strides and pools and counts rows (the way up again is lesson 08: look at the first half of
# the chain). **Two rows come out of a 3x3 layer with stride 2: how many went in?**

# %%
explorers.sizes()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorers</b></summary>
#
# *Evidence:* compare a pixel in the middle of a nucleus with one between nuclei. Which needs more of its surroundings? (The
# one between: the inside of a nucleus shows its colour; background must be told from what looks like it.) Then *the square
# on the pixel* and *beside it: it flips*.
#
# *Sizes:* 3 and 4 rows both become 2. So a size alone does not say where it came from; remember this for lesson 08.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# Values, gradient, batch norm and receptive field, each against what we built:

# %%
x = ms.tensor(lecture[None, None].astype(float), requires_grad=True)
for size, stride in ((2, 2), (3, 1)):
    x.grad = None
    pooled = F.max_pool2d(x, size, stride)
    pooled.backward(wish[None, None].astype(float))
    assert np.array_equal(pooled.detach().numpy()[0, 0], windows(lecture, size, stride).max(axis=(2, 3)))
    assert np.array_equal(x.grad.numpy()[0, 0], max_pool_back(wish, lecture, size, stride))

batch, scale, shift = rng.normal(3, 2, (4, 5, 6, 7)), rng.normal(size=5), rng.normal(size=5)
layer = nn.BatchNorm2d(5)
layer.weight.data, layer.bias.data = ms.tensor(scale), ms.tensor(shift)
batch = ms.tensor(batch, requires_grad=True)
normal = layer(batch)
assert np.allclose(normal.detach().numpy(), batch_norm(batch.detach().numpy(), scale, shift))
normal.backward(rng.normal(size=normal.shape))
assert np.allclose(batch.grad.numpy().sum(axis=(0, 2, 3)), 0)  # what all pixels share drops out

four_stages = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) if k == conv else nn.MaxPool2d(2) for k in stages))
seen = receptive_field(four_stages, in_channels=1, size=64)
assert (seen.size, seen.stride) == field(stages)
print(
    "four stages: field",
    seen.size,
    "step",
    seen.stride,
    "  the network of lesson 00: field",
    receptive_field(network, 3, 64).size,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The answer to the question
#
# The network of lesson 00 sees 204 by 204 pixels around each pixel. How much of that has a say? Transplant larger and
# larger squares, until the answer is that of home; and add up the gradient inside of each:

# %%
x = ms.tensor(tissue.transpose(2, 0, 1)[None].astype(np.float32) / 255, requires_grad=True)
scores = network(x)
(scores[0, 1, MIDDLE, MIDDLE] - scores[0, 0, MIDDLE, MIDDLE]).backward()
evidence = np.abs(x.grad.numpy()[0]).sum(axis=0)

print("square  of the field  gradient inside  a nucleus")
for side in (1, 13, 33, 49, 65, 97, 203):
    inside = evidence[around(side), around(side)].sum() / evidence.sum()
    print(f"{side:6d} {side**2 / 204**2:13.1%} {inside:16.0%} {nucleus(transplant(side)):10.1f}")
assert np.array_equal(transplant(203)[around(203), around(203)], tissue[around(203), around(203)])
figures.gallery(
    [marked(tissue, 203, 65), figures.heat(np.sqrt(evidence)), marked(transplant(65), 65)],
    ["what it can see, what it needs", "gradient: what counts", "65 x 65: background again"],
)

# %% [markdown]
# 65 by 65 pixels are a tenth of the field. They bring the answer home; the other nine tenths have hardly a say. **The
# receptive field is what *can* influence a pixel. What *does* is a bell in its middle**, and it differs from pixel to
# pixel: this one stands between nuclei, where the network looks around before it says *background*.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the operation, for batches, channels, and windows that are not square: `check` puts a right answer into a network
# and says what happens there. Then the receptive field again, but asked the other way: not *how wide*, but *from where to
# where*.

# %%
exercise("max-pool")


# %%
def max_pool2d(input, kernel_size, stride):
    """Return the largest number of every window of (N, C, H, W); both sizes are (rows, columns)."""
    # your code here


check(max_pool2d)

# %%
# hint()
# solution()

# %%
exercise("seen-pixels")


# %%
def seen(layers, place):
    """Return the first and the last pixel that output ``place`` can see, as np.array([first, last])."""
    # your code here


check(seen)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `max-pool` takes eight minutes, `seen-pixels` twelve. Who is done early with the first: write it without the loops over
# places, as the maximum of KH · KW shifted maps. Who is done early with the second: for which layers do `first` and `last`
# of output 0 lie as far before pixel 0 as behind it? (Where padding is (K - 1) / 2 in each layer and strides are 1.)
#
# The interesting wrong answer to the second begins with the first layer. It is right for all chains of equal layers, so it
# survives the first tests that students think of.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Evaluation mode is forgotten.** The chain with batch norm from above labels one picture: alone, and beside seven others.
# In training mode these are two answers. One line, `eval()`, makes it one:

# %%
for mode in (True, False):
    learned.train(mode)
    with ms.no_grad():
        alone = learned(ms.tensor(pixels[:1])).numpy()
        in_company = learned(ms.tensor(pixels)).numpy()[:1]
    print(
        "training mode:  " if mode else "evaluation mode:", "equal scores:", np.allclose(alone, in_company, atol=1e-3)
    )

# %% [markdown]
# And with very small batches the batch's own mean is a poor one. In the extreme, two numbers in a channel: whatever they
# were, batch norm makes -1 and 1 of them.

# %%
for pair in ([3.0, 3.5], [-200.0, 70.0]):
    print(pair, "->", *batch_norm(np.reshape(pair, (2, 1, 1, 1)), np.ones(1), np.zeros(1)).ravel().round(1))

# %% [markdown]
# **Rows that nobody reads.** Of 50 rows, four poolings leave 25, 12, 6, 3. Whatever happens in the last two rows, no output
# will ever know:

# %%
sketch = rng.uniform(size=(1, 1, 50, 50))
spoilt = sketch.copy()
spoilt[:, :, 48:] = 9.0
down = [nn.Sequential(*[nn.MaxPool2d(2)] * 4)(ms.tensor(x)).numpy() for x in (sketch, spoilt)]
print(down[0].shape, " rows 48 and 49 spoilt, and nothing changes:", np.array_equal(*down))

# %% [markdown]
# **One pixel to the side.** A network that goes down is often said not to mind where things are. Here are fine stripes, and
# the same stripes one pixel to the side:

# %%
stripes = np.tile([0.0, 1.0], (24, 12))
moved = np.roll(stripes, 1, axis=1)
for name, half in ways_down.items():
    print(f"{name:9s} stripes become {np.unique(half(stripes))}, moved by one pixel {np.unique(half(moved))}")
figures.gallery(
    [stripes, ways_down["left out"](stripes), moved, ways_down["left out"](moved)],
    ["stripes", "every second pixel", "moved by one", "every second pixel"],
)

# %% [markdown]
# A stride that looks at every second pixel sees nothing but black, then nothing but white. Pooling looks at all pixels and
# is less easily fooled, but what is finer than its step is gone as well: *stripes* became grey, or white. How coarse
# answers become fine again is what the lessons from 07 on are about.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. Pooling and strides are windows that move by more than one: of N rows floor((N - K) / S) + 1 are left, max-pooling keeps the
#    largest number, and only that one hears the gradient.
# 2. Batch norm gives each channel mean 0 and variance 1 over the batch, then a learned scale and shift; a finished network uses
#    running means instead, so that no picture depends on its neighbours.
# 3. A layer adds (K - 1) steps to the receptive field, and each stride makes all later steps longer; that is what *can*
#    influence a pixel, what does is a bell in its middle.

# %% [markdown]
# ## Exit ticket

# %%
question("field-with-strides")

# %%
question("what-a-field-says")

# %%
question("alone-in-the-clinic")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - S. Ioffe, C. Szegedy: *Batch normalization*, ICML 2015, section 3, algorithms 1 (training) and 2 (afterwards); S. Santurkar and
#   others: *How does batch normalization help optimization?*, NeurIPS 2018, section 2.
# - W. Luo, Y. Li, R. Urtasun, R. Zemel: *Understanding the effective receptive field in deep convolutional neural networks*, NIPS
#   2016, section 2 (the bell, and the square root) and section 3 (measured, and after training).
# - A. Araujo, W. Norris, J. Sim: *Computing receptive fields of convolutional neural networks*, Distill 2019: all the
#   arithmetic.
# - J. Springenberg and others: *Striving for simplicity: the all convolutional net*, ICLR 2015 workshop,
#   section 2: strides in place of pooling.
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, table 1:
#   fields of 355 and 404 pixels.

# %% [markdown]
# ## Further: blur, then leave out
#
# The stripes have an old name, aliasing, and an old cure: first take out what is too fine for the new grid, by a small
# blur, and only then leave out every second pixel. R. Zhang (*Making convolutional networks shift-invariant again*, ICML
# 2019, section 3) puts it behind max-pooling of stride 1. On the map of edges, how much does the pooled map change if the
# picture moves by one pixel?

# %%
blur = np.outer([1, 2, 1], [1, 2, 1]) / 16


def blurred(x):
    """Take the maximum at every place, blur, then leave out every second pixel."""
    every = windows(x, 2, 1).max(axis=(2, 3))
    return np.einsum("ijyx,yx->ij", windows(every, 3, 2), blur)


before, after = edges[:, :-1], edges[:, 1:]
for name, half in (*ways_down.items(), ("blur", blurred)):
    here, there = half(before[:94, :94]), half(after[:94, :94])
    print(f"{name:9s} change {np.abs(here - there).mean() / here.mean():4.0%} of the mean")

# %% [markdown]
# A little steadier than the maximum alone, at the price of one small convolution that has nothing to learn. The paper
# counts how often a classifier changes its mind when pictures move by a pixel, and finds the same.
