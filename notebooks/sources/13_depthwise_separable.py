# %% [markdown] slideshow={"slide_type": "slide"}
# # 13 · Depthwise separable convolution, MobileNet, RTSeg
#
# **Eight products of nine can be saved, nearly. What does the clock say?**
#
# 90 minutes. You need lessons 02 (convolution), 05 (strides, batch norm), 09 (skips that are added) and 10 (U-Net). No
# network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 6, question and prediction 8, build 30, explorer 10, library 12, exercises 16, what goes wrong 4, exit
# ticket 4.
#
# *The one idea:* a convolution does two jobs at once, it *filters* in the plane and it *mixes* channels. Do one after
# the other, and most of the products are gone.
#
# *If time runs short,* skip: *Thinner, or smaller*, the printed table of RTSeg (keep the sentence on two operations for each
# product), *The clock is read once* and *Further*. Run the three trainings before the class: they take the longest.
# `separable-products` can be done at home.
#
# *What students get wrong:* that the saving is free (it is not the same function any more, and a trained net does not
# survive it), and that nine times fewer products are nine times faster. Both are shown, the second with a clock.
#
# The lecture's outline announces *Depthwise Separable Convolutions* and *MobileNet*, and there is no slide of either.
# Its first reference, RTSeg, is where they enter segmentation. This lesson is those missing slides.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-weights-after-a-skip")

# %%
question("recall-seven-rows")

# %% [markdown]
# ## What you will be able to do
#
# - **Write** a convolution as filtering, then mixing, and **say** which kernels it can no longer have.
# - **Calculate** what a layer and what all of MobileNet costs, to the last product, and **find** two misprints in its
#   paper.
# - **Predict** where the saving is large and where it is small.
# - **Measure** how much faster fewer products are, and **explain** it by counting what is moved.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Lesson 00's network finds nuclei. Here is what nobody asked then: the bill. The summary of a model lists the products
# of each layer (a *product* is one multiplication with the addition that goes with it).

# %%
import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, metrics, models, nn, optim

pictures, cells = data.synthetic_tissue(1, size=(128, 128), seed=3)
picture, truth = pictures[0], cells[0] > 0
knows = models.load_pretrained("nuclei")

bill = {"3x3 convolutions": 0, "all other layers": 0}
layers = dict(knows.named_modules())
for row in knows.summary((3, 128, 128)).rows:
    three = isinstance(layers.get(row.name), nn.Conv2d) and layers[row.name].kernel_size == (3, 3)
    bill["3x3 convolutions" if three else "all other layers"] += row.multiply_accumulates
for name, products in bill.items():
    share = products / sum(bill.values())
    print(f"{name:18s} {products:11,d} products {share:6.1%} {'#' * round(50 * share)}")
figures.gallery([picture, knows.predict(picture)[1]], ["128 x 128 pixels", "191,496,192 products later"], width=8)

# %% [markdown]
# A camera sends 30 pictures a second, 360 x 640 pixels each: this small net would then have 80 thousand million
# products to do, *every second*. In a car, or in a phone, it will not. The lecture's first reference asks just that
# (*RTSeg: Real-time Semantic Segmentation*), and the lecture's outline names two answers, *Depthwise Separable
# Convolutions* and *MobileNet*, without a slide on either. **Nearly everything is spent on 3x3 convolutions. Can the
# same work be had for less?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict

# %%
question("products-in-two-steps")

# %%
question("as-many-times-faster")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Take a vote on the second before anybody commits, and write the numbers of votes on the board. They stay there until
# the clock has spoken. Nearly everybody votes for "about eight times"; that is what papers of 2017 suggest.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: two jobs
#
# What does one output value of a convolution do? It looks at a 3x3 neighbourhood, *in every channel*, and adds up over
# places and channels. In the formula of lesson 02 that is one line, and the two jobs are two pairs of letters: `yx`
# **filters** in the plane, `c` and `o` **mix** channels.


# %%
def standard(input, weight):
    """Convolve (N, C, H, W) with (O, C, KH, KW): filter and mix at once."""
    windows = sliding_window_view(input, weight.shape[2:], axis=(2, 3))  # (N, C, OH, OW, KH, KW)
    return np.einsum("nchwyx,ocyx->nohw", windows, weight, optimize=True)


def depthwise(input, kernels):
    """Filter each channel of (N, C, H, W) by its own kernel of (C, KH, KW)."""
    windows = sliding_window_view(input, kernels.shape[1:], axis=(2, 3))
    return np.einsum("nchwyx,cyx->nchw", windows, kernels)


def pointwise(input, mix):
    """Mix the channels of (N, C, H, W) by (O, C): a 1x1 convolution."""
    return np.einsum("nchw,oc->nohw", input, mix)


# %% [markdown]
# In `depthwise` the `o` is gone and `c` stands on the right as well, so nothing is added up over channels. In
# `pointwise` the `yx` are gone, so no pixel meets its neighbour. One after the other they are a **depthwise separable
# convolution**. Red, green and blue, each by its own kernel; then two mixtures of the three:

# %%
kernels = np.array(
    [
        [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],  # red: darker above than below?
        [[0, 1, 0], [1, -4, 1], [0, 1, 0]],  # green: different from its neighbours?
        [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],  # blue: darker left than right?
    ]
)
mix = np.array([[1.0, 0, 1], [0.5, -1, -0.5]])
piece = picture[:64, :64]
colors = piece.transpose(2, 0, 1)[None] / 255  # (1, 3, 64, 64)
filtered = depthwise(colors, kernels)
mixed = pointwise(filtered, mix)
print(colors.shape, "-> filtered", filtered.shape, "-> mixed", mixed.shape)
figures.gallery(
    [piece, *(figures.signed(values, reach=1) for values in (*filtered[0], *mixed[0]))],
    ["tissue", "red, filtered", "green, filtered", "blue, filtered", "mix: red + blue", "mix of all three"],
    columns=6,
    width=13,
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### What is given up
#
# The two steps together are still a convolution. Its weight for output o and channel c is the kernel of c times one
# number:


# %%
whole = mix[:, :, None, None] * kernels[None]  # (O, C, 1, 1) times (1, C, KH, KW)
print("the same as one standard convolution:", np.allclose(standard(colors, whole), mixed), " weights", whole.shape)
print("numbers to choose: standard", whole.size, "  separable", kernels.size + mix.size)

# %% [markdown]
# So it can do *less* than a standard convolution: all outputs see channel c through **one and the same kernel**, some
# strongly, some weakly, some with the sign turned. Do trained networks need more than that? Look into ours. Above, the
# eight kernels by which a layer's eight outputs read channel 0; below, the best that one shared kernel, times a number
# for each, can do for them (the first term of the singular value decomposition):


# %%
def one_kernel_a_channel(weight):
    """Return the nearest weight (O, C, KH, KW) in which all outputs read a channel by the same kernel."""
    nearest = np.empty_like(weight)
    for c in range(weight.shape[1]):
        table = weight[:, c].reshape(len(weight), -1)  # a row of nine for each output
        left, sizes, right = np.linalg.svd(table, full_matrices=False)
        nearest[:, c] = (left[:, :1] * sizes[0] * right[:1]).reshape(weight[:, c].shape)
    return nearest


weight = layers["encoder.0.3"].weight.detach().numpy()
shared = one_kernel_a_channel(weight)
figures.gallery(
    [figures.signed(k, reach=0.4) for k in (*weight[:, 0], *shared[:, 0])],
    [f"output {o}" for o in range(8)] + ["shared"] * 8,
    columns=8,
    width=11,
)

# %% [markdown]
# They are quite different, and below is hardly a likeness. Still, one might be tempted: a trained net is there, let us
# make it eight times cheaper by taking the nearest separable weights in every layer.

# %%
cheap = models.load_pretrained("nuclei")
for parameter in cheap.parameters():
    if parameter.ndim == 4 and parameter.shape[2:] == (3, 3) and parameter.shape[1] > 3:
        parameter.data = ms.tensor(one_kernel_a_channel(parameter.detach().numpy()))
before, after = knows.predict(picture)[1], cheap.predict(picture)[1]
print("Dice before > 0.85:", metrics.dice(before > 0.5, truth) > 0.85)
print("Dice after  < 0.30:", metrics.dice(after > 0.5, truth) < 0.30)
figures.gallery([picture, before, after], ["tissue", "trained", "made separable afterwards"], width=9)

# %% [markdown]
# Blind. So the saving is no trick of computation that leaves the answer as it is, such as lesson 04's. It is **another,
# smaller family of functions**. A net has to be built of it from the beginning, and trained.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: what is given up</b></summary>
#
# *Ask:* 54 numbers against 33, why not eight times fewer? (Two outputs only. Count again with 64.)
#
# *Ask:* how could one get more freedom back? (Several kernels for each channel, a "channel multiplier". Or depth: the
# next layer filters mixtures. MobileNets also put batch norm and ReLU *between* the two halves, so that they no longer
# melt into one weight.)
#
# *Going deeper:* the table of a channel has rank 1 after the surgery. With all nine singular values it would be exact,
# and cost nine kernels for each channel: nothing saved.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The bill, in general
#
# Kernels of K x K, C channels in, O out, maps of F x F pixels (the paper writes $D_K$, $M$, $N$, $D_F$). A standard
# convolution takes $K^2 \cdot C \cdot O \cdot F^2$ products; filtering takes $K^2 \cdot C \cdot F^2$, mixing $C \cdot O
# \cdot F^2$. Their quotient:
#
# $$ \frac{K^2 \, C \, F^2 + C \, O \, F^2}{K^2 \, C \, O \, F^2} = \frac{1}{O} + \frac{1}{K^2} $$
#
# Channels in and the size of the map cancel. What remains depends on the kernel and on the channels that come *out*:

# %%
print("channels out      3x3     5x5     7x7   times fewer products")
for outputs in (2, 8, 64, 256, 1024):
    print(f"{outputs:12d}" + "".join(f"{1 / (1 / outputs + 1 / k**2):8.2f}" for k in (3, 5, 7)))

# %% [markdown]
# With 3x3 kernels between 7.89 and 8.92 times in MobileNet's layers, from 64 to 1024 channels: *"8 to 9 times"*, the
# paper says, and never nine. With two channels out it is hardly worth while.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### MobileNet
#
# Here is a whole net made of it (Howard and others, 2017), for 1000 classes of ImageNet. First a standard 3x3 layer
# with stride 2, then thirteen times depthwise 3x3, batch norm, ReLU, 1x1, batch norm, ReLU; a mean over the last 7 x 7
# map; a linear layer. All that we need for the bill are thirteen pairs, *channels out* and *stride*:

# %%
BODY = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]

question("share-of-depthwise")


# %%
def count(body=BODY, width=1.0, side=224, classes=1000):
    """Return the products and the weights of MobileNet, kind by kind."""
    channels, size = round(32 * width), -(-side // 2)  # -(-a // b) rounds up
    products = {"1x1": 0, "depthwise 3x3": 0, "first 3x3": 9 * 3 * channels * size**2, "linear": 0}
    weights = {"1x1": 0, "depthwise 3x3": 0, "first 3x3": 9 * 3 * channels, "linear": 0}
    for outputs, stride in body:
        outputs, size = round(outputs * width), -(-size // stride)
        products["depthwise 3x3"] += 9 * channels * size**2
        weights["depthwise 3x3"] += 9 * channels
        products["1x1"] += channels * outputs * size**2
        weights["1x1"] += channels * outputs
        channels = outputs
    products["linear"] = weights["linear"] = channels * classes
    return products, weights


products, weights = count()
total = sum(products.values())
print("products:", f"{total:,}", "  weights:", f"{sum(weights.values()):,}")
printed = {"1x1": 94.86, "depthwise 3x3": 3.06, "first 3x3": 1.19, "linear": 0.18}  # table 2 of the paper, per cent
print("                  products  counted  printed")
for kind, number in products.items():
    print(f"{kind:14s} {number:11,d} {100 * number / total:7.2f}% {printed[kind]:7.2f}%")
print(f"{'sum':14s} {total:11,d} {100.0:7.2f}% {sum(printed.values()):7.2f}%")

# %% [markdown]
# **568,740,352**: the paper's "569 million". The 3x3 kernels, all the *looking*, are 3% of it; 95% are 1x1
# convolutions, which are plain products of matrices. And look at the last column. It does not add up to 100, and one of
# its numbers is not ours: for the first layer the paper prints 1.19%, and it must be **1.91%**. Two digits changed
# places. You found a misprint by adding up.
#
# There is another. Table 1 of the paper lists a stride for each layer, and for the *last* depthwise layer it prints 2.
# Let us take it at its word:

# %%
misprinted = [*BODY[:-1], (1024, 2)]
size = 7
print("rows of the last map: 7 with stride 1,", (size + 2 * 1 - 3) // 2 + 1, "with stride 2")
print(f"products with stride 2: {sum(count(misprinted)[0].values()):,}, which is not 569 million")

# %% [markdown]
# The row below it says that 7 x 7 goes in. By your second recall, stride 2 would leave 4 x 4, and the products would be
# 534 million. So the stride is **1**. Whoever copies tables should count.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Thinner, or smaller
#
# Two knobs come with it. The **width multiplier** thins all layers: with half the channels in *and* half out the 1x1
# layers cost a quarter. The **resolution multiplier** is a big word for a smaller picture. What it costs we count; what
# it does to the answer (percentage of ImageNet's pictures named correctly) we quote from the paper's tables 6 and 7:

# %%
print("width  side     products      paper    weights    paper   correct (paper)")
for width, side, millions, params, top in [
    (1.0, 224, 569, 4.2, 70.6),
    (0.75, 224, 325, 2.6, 68.4),
    (0.5, 224, 149, 1.3, 63.7),
    (0.25, 224, 41, 0.5, 50.6),
    (1.0, 192, 418, 4.2, 69.1),
    (1.0, 160, 290, 4.2, 67.2),
    (1.0, 128, 186, 4.2, 64.4),
]:
    products, weights = (sum(part.values()) for part in count(width=width, side=side))
    print(f"{width:5} {side:5d} {products:12,d} {millions:6d} M {weights:10,d} {params:6} M {top:10}%")

# %% [markdown]
# Every row agrees (290.7 million is printed as 290). With the two numbers of each batch norm and the biases of the
# linear layer the first net has 4,231,976 parameters. Half of the width costs a quarter of the products, and seven
# points of accuracy.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the table</b></summary>
#
# *Ask:* which knob leaves the number of weights as it is? (The resolution: kernels do not know how large the map is.)
#
# *Ask:* half the side, what does it do? (A quarter of the products. From 224 to 112 by the formula; the paper stops at
# 128.)
#
# *Ask:* what does the same net cost with standard 3x3 layers? (4,866 million by the paper's table 4, for 71.7% instead
# of 70.6%. The explorer's view *MobileNet* draws that square.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### And the clock?
#
# Now the second prediction. Four layers that occur in nets, each once standard, once in two steps, by the library, on
# this computer. We take turns, and keep the best of several runs, because a computer always has something else to do as
# well:


# %%
def best_times(functions, turns=15):
    """Return the shortest time of each function, in seconds; they take turns."""
    times = []
    for _ in range(turns + 1):
        for f in functions:
            start = time.perf_counter()
            f()
            times.append(time.perf_counter() - start)
    return np.array(times).reshape(-1, len(functions))[1:].min(axis=0)  # the first turn warms up


rng = np.random.default_rng(0)


def in_one_and_in_two(channels, size):
    """Return the times of a standard 3x3 layer and of a separable one, as many channels out as in."""
    x = ms.tensor(rng.standard_normal((1, channels, size, size)).astype(np.float32))
    full = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    halves = nn.DepthwiseSeparableConv2d(channels, channels, 3, padding=1, bias=False)
    with ms.no_grad():
        return best_times([lambda: full(x), lambda: halves(x)])


measured = [
    (channels, size, 1 / (1 / channels + 1 / 9), *in_one_and_in_two(channels, size))
    for channels, size in [(16, 112), (64, 56), (128, 56), (512, 14)]
]
faster = [slow / fast for *_, slow, fast in measured]
print("every one takes more than 5 times fewer products:", all(layer[2] > 5 for layer in measured))
print("the typical one (the median) is more than 5 times faster:", np.median(faster) > 5)

# %% tags=["nbval-ignore-output"]
for channels, size, fewer, slow, fast in measured:
    print(f"{channels} channels, {size} x {size}: {1000 * slow:.2f} ms in one, {1000 * fast:.2f} ms in two steps")
    print(f"    fewer products {fewer:5.2f} times {'#' * round(5 * fewer)}")
    print(f"    faster         {slow / fast:5.2f} times {'#' * round(5 * slow / fast)}")

# %% [markdown]
# Typically between one and four times, not eight. Where did the rest go? Count something else: **numbers moved**. A
# layer must fetch its maps from memory and put its results back, whatever it computes with them. If everything is moved
# just once:


# %%
def moved(channels, size):
    """Return how many numbers a standard 3x3 layer moves, and the two steps: maps in, weights, maps out."""
    maps = channels * size**2
    standard_layer = maps + 9 * channels**2 + maps
    depthwise_half, pointwise_half = maps + 9 * channels + maps, maps + channels**2 + maps
    return standard_layer, depthwise_half, pointwise_half


print("                 numbers moved            products for each number moved")
print("channels  map    standard  in two steps   standard  depthwise  1x1")
for channels, size, *_ in measured:
    whole, first, second = moved(channels, size)
    per_pixel = channels * size**2
    ratios = (9 * channels * per_pixel / whole, 9 * per_pixel / first, channels * per_pixel / second)
    print(
        f"{channels:8d}  {size:3d}^2 {whole:9,d} {first + second:12,d} {ratios[0]:11.1f} {ratios[1]:9.1f} {ratios[2]:7.1f}"
    )

# %% [markdown]
# In the first three layers the two steps move *more* than the one: there is a further map between them, written and
# read again. And a depthwise layer has four and a half products to do for each number that it moves, where the standard
# one has hundreds. A processor multiplies dozens of numbers in the time that it takes to fetch one from memory. So it
# waits. Only where channels are many and maps small, as in the last row, the weights are what is moved, and there are
# fewer of them.
#
# **Fewer products are less work. They are less time only if products were what you were waiting for.** (How to find out
# what a program waits for is lesson 15.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# Products as area: the square is a standard layer, the strip and the slab are its two halves. Set 128 channels in and
# out and a map of 56. **Eight to nine times fewer products: is it as many times faster?** Look at the bars of the
# *bytes* before you answer. Then try *few channels out*, and last *slide: MobileNet*: the whole net, layer by layer.
# Pull *width α* to 0.5 there, but say first what becomes of the bars.

# %%
explorers.depthwise()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. Play on *out O*: the strip gets thinner and thinner, the slab stays, a ninth of the square. That is
# the formula without letters. Then turn *kernel k* to 7: the slab is a forty-ninth now. *Ask:* so is a large kernel
# dear? (See *Further*.)
#
# Then 2 channels out: where is the saving?
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# The argument is called `groups`: channels are dealt into that many groups, and each group is convolved by itself. One
# group is a standard convolution, as many groups as channels is a depthwise one. Its weight keeps four axes, (C, 1, KH,
# KW).

# %%
input = rng.standard_normal((2, 3, 9, 10))
ours = depthwise(input, kernels)
library = F.conv2d(input, kernels[:, None].astype(float), groups=3).numpy()
assert ours.shape == library.shape
assert np.allclose(ours, library)

layer = nn.DepthwiseSeparableConv2d(64, 64, 3, padding=1, bias=False)
print("depthwise", layer.depthwise.weight.shape, " pointwise", layer.pointwise.weight.shape)
summary = models.MobileNet().summary((3, 224, 224))
assert summary.multiply_accumulates == sum(count()[0].values()) == 568_740_352
print(f"MobileNet: {summary.multiply_accumulates:,} products, {summary.parameters:,} parameters")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### RTSeg: encoders times decoders
#
# The lecture's reference (Siam and others, 2018) takes four encoders, from VGG16 to MobileNet and ShuffleNet, and puts
# three decoders on each: *SkipNet*, which adds scores as FCN-8s does; *U-Net*; and *dilation*. Which pair is fast
# enough for a car, and still good enough? They print GFLOPs.

# %%
question("flops-or-products")

# %%
paper = {"mobilenet skipnet": "   6.2 G     61.5%", "shufflenet skipnet": "   2.0 G     58.3%"}
print("360 x 640, 20 classes        products   two for each    paper   mean IoU")
for encoder in ("mobilenet", "shufflenet"):
    for decoder in ("skipnet", "unet", "dilation"):
        name, net = f"{encoder} {decoder}", models.RTSeg(3, 20, encoder, decoder)
        products = net.summary((3, 360, 640)).multiply_accumulates
        print(f"{name:20s} {products:16,d} {2 * products / 1e9:12.2f} G {paper.get(name, '')}".rstrip())
products = models.SegNet(3, 20).summary((3, 360, 640)).multiply_accumulates
print(f"{'SegNet':20s} {products:16,d} {2 * products / 1e9:12.2f} G  286.03 G    56.1%")

# %% [markdown]
# SkipNet on MobileNet takes a 47th of SegNet's operations, SkipNet on ShuffleNet a 137th (the paper's abstract says
# 143), and both score *higher*. Two things to know before you quote it. Its GFLOPs count two for each product. And its
# "U-Net" is not what lesson 10 built: the skips are **added**. You see it in the channels that the second stage reads:

# %%
second_stage = models.RTSeg(3, 20, "mobilenet", "unet").decoder.stages[1][0]
print("channels in:", second_stage.in_channels, "(512 from below + 512 from the skip, concatenated, would be 1024)")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### A MobileNet-U-Net against the plain one
#
# At last the question. Three nets, each three times down and up, for the same nuclei: a plain U-Net with 8 channels at
# the top; a U-Net whose way down is a thin MobileNet and whose way up is separable too; and, for fairness, a plain
# U-Net with *half the channels*, the simplest way to save. First the size and the speed on the picture of 128 x 128:

# %%
makers = {
    "plain U-Net": lambda: models.UNet(3, 2, 8, depth=3),
    "MobileNet-U-Net": lambda: models.MobileNetUNet(3, 2, width=0.25, depth=3),
    "plain, half as wide": lambda: models.UNet(3, 2, 4, depth=3),
}
summaries = {name: make().summary((3, 128, 128)) for name, make in makers.items()}
print("                     parameters     products   numbers in all maps")
for name, s in summaries.items():
    print(f"{name:20s} {s.parameters:10,d} {s.multiply_accumulates:12,d} {s.activation_bytes // 4:12,d}")
fewer = summaries["plain U-Net"].multiply_accumulates / summaries["MobileNet-U-Net"].multiply_accumulates
print(f"MobileNet-U-Net: {fewer:.2f} times fewer products than the plain one")

# %%
nets = []
for make in makers.values():
    ms.manual_seed(0)
    nets.append(make().eval())
x = ms.tensor(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)
with ms.no_grad():
    seconds = best_times([lambda net=net: net(x) for net in nets])
print("six times faster:", seconds[0] / seconds[1] > 6, "  three times faster:", seconds[0] / seconds[1] > 3)

# %% [markdown]
# Six times fewer products, nearly seven times fewer parameters, and one and a half times as many numbers in its maps: you know
# by now what the clock will say. And the maps that they make? All three learn from the same 36 drawings of tissue, with
# the same steps, and are judged on 12 others (and drawn for the picture of the question, which is none of them). The
# learning rate falls to nothing towards the end, so that the last steps settle.

# %%
images, nuclei = data.synthetic_tissue(48, size=(64, 64), seed=13)
labels = (nuclei > 0).astype(int)


def to_pixels(images):
    """Return pictures (N, H, W, 3) as (N, 3, H, W), around 0."""
    return 4 * (images.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32)


pixels = to_pixels(images)


def train(make, steps=50, rate=0.01):
    """Return a net trained on the first 36 pictures."""
    ms.manual_seed(0)
    net, draw = make(), np.random.default_rng(0)
    optimizer = optim.Adam(net.parameters(), lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        some = draw.integers(0, 36, 4)
        loss = F.cross_entropy(net(ms.tensor(pixels[some])), labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


maps, scores = {}, {}
for name, make in makers.items():
    net = train(make)
    with ms.no_grad():
        scores[name] = metrics.dice(net(ms.tensor(pixels[36:])).numpy().argmax(axis=1) == 1, labels[36:] == 1)
        maps[name] = net(ms.tensor(to_pixels(pictures))).numpy().argmax(axis=1)[0] * 1.0
    print(f"{name:20s} Dice on new pictures > 0.6:", scores[name] > 0.6)

# %% tags=["nbval-ignore-output"]
print("                      products   time, 128 x 128   Dice")
for (name, s), t in zip(summaries.items(), seconds):
    print(f"{name:20s} {s.multiply_accumulates / 1e6:7.1f} M {1000 * t:13.1f} ms {scores[name]:10.3f}")
figures.gallery(
    [picture, *maps.values(), truth * 1.0], ["the picture", *maps, "drawn by the program"], columns=5, width=14
)

# %% [markdown]
# The answer to the question, in full: yes, the same work can be had for less. The net of separable layers needs a sixth
# of the products and a seventh of the weights, and finds the nuclei, after these few steps, a little less well. In a
# phone, where weights must be downloaded and each product drains the battery, that counts. But on a computer like this
# one it takes about as long as the net that it should replace; and at this size the *plain* net with half the channels
# is nearly as cheap, faster, and no worse. The split into filter and mix pays where channels are many: MobileNet has
# 512 and more of them, this net 8 to 64.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the comparison</b></summary>
#
# *Be honest:* one seed, 50 steps, drawn tissue. With three seeds we saw Dice 0.83 to 0.85 for the plain net, 0.75 to
# 0.78 for the MobileNet-U-Net, 0.82 to 0.84 for the thin one. More steps gain the second a few hundredths.
#
# *Ask:* why compare with a thinner plain net? (Whoever claims that an idea saves products must beat the simplest way of
# saving them. Papers often leave that row out.)
#
# *Ask:* where would the verdict turn? (Try base 64 and width 2: layers with hundreds of channels. It takes minutes; see
# the table of layers above, last row.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the depthwise half: `check` puts a right answer into a small net of separable layers. Then the bill of a layer.

# %%
exercise("depthwise-conv")


# %%
def depthwise_conv2d(input, weight, stride):
    """Return (N, C, OH, OW): channel c of (N, C, H, W) under kernel c of (C, 1, KH, KW)."""
    # your code here


check(depthwise_conv2d)

# %%
# hint()
# solution()

# %%
exercise("separable-products")


# %%
def separable_products(kernel, inputs, outputs, size, stride):
    """Return the products of a separable layer, both halves together."""
    # your code here


check(separable_products)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `depthwise-conv` takes eight minutes (the stride is the only thing that is not above); `separable-products` as many.
# Who is done early: add up the thirteen layers of `BODY` with their own function, and get 551,878,656. What is missing
# to 568,740,352? (The first layer and the linear one.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **`groups` is forgotten.** Everything runs, the shapes fit, the net even learns. Only it is not a MobileNet:

# %%
for groups in (1, 64):
    print(f"groups={groups:2d}: {nn.Conv2d(64, 64, 3, groups=groups).weight.numel():6,d} weights")

# %% [markdown]
# **Channels cannot be dealt out.** A depthwise layer cannot change the number of channels at will, and says so.
# Changing it is the 1x1 layer's business:

# %%
try:
    nn.Conv2d(48, 64, 3, groups=48)
except ValueError as error:
    print(error)

# %% [markdown]
# **The first layer is made separable, too.** Then three kernels, one for each colour, are all that ever looks at the
# picture's own pixels. MobileNet keeps a standard first layer with 32 x 3 kernels, for 1.91% of the products.
#
# **Two papers count differently.** 6.2 GFLOPs and 569 million products cannot be compared before you have halved the
# first, and asked both for the size of the picture. Here it is a factor of 4.6 in pixels alone:

# %%
print(f"360 x 640 / 224 x 224 = {360 * 640 / 224**2:.1f}")

# %% [markdown]
# **The clock is read once.** The first run of anything loads, allocates, perhaps compiles; the second meets another
# program's update. Repeat, take turns, keep the best, and measure on the machine that will do the work.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. A depthwise separable convolution filters each channel by one kernel of its own, then mixes channels by a 1x1 layer.
# 2. It takes 1/O + 1/K² of the products, and it is a smaller family of functions: it must be trained, a trained net
#    cannot be turned into it.
# 3. Nine times fewer products are not nine times faster, because maps must be moved all the same: count both, then
#    measure.

# %% [markdown]
# ## Exit ticket

# %%
question("products-of-five-by-five")

# %%
question("what-depthwise-cannot")

# %%
question("why-not-six-times")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - A. Howard and others: *MobileNets*, arXiv 1704.04861 (2017), section 3.1 with equations 2 to 5 (the cost), section
#   3.2 with tables 1 and 2 (the body; both misprints), sections 3.3 and 3.4 (the two multipliers), tables 6 and 7.
# - M. Siam and others: *RTSeg: Real-time semantic segmentation comparative study*, ICIP 2018, arXiv 1803.02758, section
#   2.1 and figure 2 (decoders). The lecture's first reference.
# - F. Chollet: *Xception*, arXiv 1610.02357 (2017), section 1: from many towers to one kernel for each channel.
# - X. Zhang, X. Zhou, M. Lin, J. Sun: *ShuffleNet*, arXiv 1707.01083 (2017), section 3: what to do when the 1x1 layers
#   are the dear part.

# %% [markdown]
# ## Further: large kernels are cheap now
#
# A 7x7 kernel costs 5.4 times as much as a 3x3 one, in a standard convolution. In a separable one only the small half
# grows:

# %%
channels = 256
print("kernel  standard  separable   relative to 3x3")
for k in (3, 5, 7, 11):
    full, halves = k * k * channels, k * k + channels  # for each channel and pixel
    print(f"{k:4d}x{k:<2d} {full:8,d} {halves:10,d} {full / (9 * channels):10.2f} {halves / (9 + channels):8.2f}")

# %% [markdown]
# That is why nets of the 2020s look through 7x7 and larger windows again (Z. Liu and others, *A ConvNet for the 2020s*,
# 2022), and all of them depthwise. MobileNet's second version (M. Sandler and others, 2018) widens before it filters
# and narrows after it; you have it as `models.MobileNetV2`.
