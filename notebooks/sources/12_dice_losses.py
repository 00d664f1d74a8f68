# %% [markdown] slideshow={"slide_type": "slide"}
# # 12 · Dice and its relatives as losses
#
# **Two programs, one set of pictures, three people who compute Dice. One says A is twice as good, one says they are
# equal, one says B is more than twice as good. Nobody has made a mistake.**
#
# 90 minutes. You need lessons 01 (Dice, IoU), 03 (cross-entropy, gradients) and 10 (a U-Net). No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 9, build 30, explorer 12, exercises 20, what goes wrong 6, exit ticket 5.
#
# *The one idea:* Dice is a fraction, and the mask stands in it twice, above and below the line. The lecture's mistake (a
# constant denominator), the quarrel of the three people (whose denominators are added when?), the gradient and the best
# threshold all come from looking at the lower half.
#
# *If time runs short,* skip: programs C and D (*By mean IoU the better program is C*), the relatives (Tversky, focal loss), *Sure
# and wrong*, *Weights* and *Further*. `mean-and-pooled` is Ann's and Cleo's lines as a function: it can be done at home.
#
# *What students get wrong:* that the mean of the pictures' Dice is the Dice of all pixels; and that soft Dice is
# cross-entropy by another name.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-dice-without-alarms")

# %%
question("recall-pull-on-a-score")

# %% [markdown]
# ## What you will be able to do
#
# - **Compute** Dice, IoU and F1 from three counts, and **test** the sentence that Dice's denominator is constant.
# - **Tell** a mean of Dice scores from a pooled one, and **say** what a picture without anything in it counts.
# - **Derive** which way soft Dice pulls each pixel, and **train** a network by it where cross-entropy finds nothing.
# - **Choose** the threshold that Dice asks for.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Bacteria, drawn as a microscope might show them: short bright rods, among haze that is bright as well but large. The first
# picture holds a colony, the second a single bacterium, the third and fourth none. Program A marks only what is very
# bright, program B a little more.

# %%
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, losses, metrics, models, optim
from minisegnet.figures.svg_plot import plot


def draw_bacteria(counts, seed, size=32):
    """Draw a picture (H, W) for each count, with so many bacteria, and its map: 1 is bacterium."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    pictures = rng.normal(0.3, 0.07, (len(counts), size, size))
    maps = np.zeros((len(counts), size, size), int)
    for k, count in enumerate(counts):
        for _ in range(rng.integers(1, 4)):  # haze: large and soft
            y, x = rng.uniform(4, size - 4, 2)
            pictures[k] += 0.3 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / rng.uniform(16, 36))
        for _ in range(count):  # a bacterium: a short rod
            (y, x), angle = rng.uniform(4, size - 4, 2), rng.uniform(0, np.pi)
            along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
            inside = (along / rng.uniform(2.5, 4)) ** 2 + (across / 1.5) ** 2
            pictures[k] += 0.35 * np.exp(-inside)
            maps[k][inside < 1] = 1
    return pictures.clip(0, 1), maps


slides, drawn = draw_bacteria([9, 1, 0, 0], seed=51)
truth = drawn == 1
around = np.pad(slides, ((0, 0), (1, 1), (1, 1)), mode="edge")
smooth = sliding_window_view(around, (3, 3), axis=(1, 2)).mean(axis=(3, 4))  # the mean of 3 x 3 pixels
masks = {"A": smooth > 0.7, "B": smooth > 0.6}


def errors(name):
    """Return the pictures with the program's errors drawn on them."""
    return [figures.error_image(s, t * 1, m * 1, scale=8) for s, t, m in zip(slides, truth, masks[name], strict=True)]


figures.gallery(
    [*slides, *errors("A"), *errors("B")],
    ["a colony", "one bacterium", "none", "none", *["A"] * 4, *["B"] * 4],
    columns=4,
    width=10,
)

# %% [markdown]
# Dots are bacteria that were missed, stripes are false alarms. Three people compute "the Dice" of both:

# %%
people = [
    ("Ann: mean over pictures, empty ones 1", lambda m: metrics.mean_dice(m, truth, empty=1)),
    ("Ben: mean, empty pictures left out", lambda m: metrics.mean_dice(m, truth, empty="nan")),
    ("Cleo: all pixels of all pictures", lambda m: metrics.pooled_dice(m, truth)),
]
for name, score in people:
    print(f"{name:40s} A {score(masks['A']):.2f}   B {score(masks['B']):.2f}")

# %% [markdown]
# **Which program is better, and which of these numbers should a network be trained for?**

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# The lecture defines, with X the predicted set of pixels and Y the ground truth,
#
# $$ \text{Dice} = \frac{2 \cdot |X \cap Y|}{|X| + |Y|} $$
#
# and says: *"A higher dice coefficient is better. A dice coefficient of 1 can be achieved when there is perfect overlap
# between X and Y. Since the denominator is constant, the only way to maximize this metric is to increase overlap between
# X and Y."*

# %%
question("overlap-stays")

# %%
question("pooled-of-two-pictures")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# Read the lecture's sentence aloud and ask who agrees, before the first question. It sounds right: the *truth* is constant.
#
# *Ask:* for which masks is the sentence true? (For masks of equal size: somebody may mark exactly 100 pixels, say.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: the lower half of the fraction
#
# Is the denominator constant? Of its two terms, |Y| is: the truth does not change. |X| is the size of the mask, and the
# mask is what we choose. A target of 4 pixels, and four masks:

# %%
target = np.zeros(16, dtype=bool)
target[:4] = True
tries = {"half of it": 2, "all of it": 4, "four beside": 8, "everything": 16}
for name, size in tries.items():
    mask = np.arange(16) < size
    both, below = (mask & target).sum(), mask.sum() + target.sum()
    print(
        f"{name:12s} overlap {both}   |X| + |Y| = {mask.sum():2d} + {target.sum()} = {below:2d}   Dice {2 * both / below:.3f}"
    )

# %% [markdown]
# From *four beside* to *all of it* the overlap stays 4 and Dice goes from 0.667 to 1. **The denominator is not
# constant.** If it were, *everything* would be a best answer. Dice can even rise while the overlap *falls*. On the
# colony, as the threshold goes up:

# %%
shown = (0.30, 0.40, 0.50, 0.60)
print("threshold  overlap    |X|   Dice")
for threshold in shown:
    mask = smooth[0] > threshold
    print(f"     {threshold:.2f}  {(mask & truth[0]).sum():7d}  {mask.sum():5d}   {metrics.dice(mask, truth[0]):.2f}")
figures.gallery(
    [figures.error_image(slides[0], truth[0] * 1, (smooth[0] > threshold) * 1, scale=8) for threshold in shown],
    [f"threshold {threshold:.2f}" for threshold in shown],
    width=11,
)

# %% [markdown]
# From 0.40 to 0.50 the overlap falls from 142 to 113, and Dice *rises*, because 184 pixels left the mask. So there are two
# ways to a higher Dice, more overlap and fewer false alarms, and a threshold is a deal between them.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Dice, IoU, F1
#
# Count the pixels found (TP), the false alarms (FP) and the missed (FN). Then |X| = TP + FP and |Y| = TP + FN, and the
# fraction is the one of lesson 01. Statisticians came to it on another way. **Precision**: which share of what I marked
# is right? **Recall**: which share of what is there did I mark? Their harmonic mean is called **F1**:

# %%
mask = smooth[0] > 0.6
found, alarms, missed = (mask & truth[0]).sum(), (mask & ~truth[0]).sum(), (~mask & truth[0]).sum()
precision, recall = found / (found + alarms), found / (found + missed)
dice = 2 * found / (2 * found + alarms + missed)
print(f"precision {precision:.3f}, recall {recall:.3f}, F1 {2 / (1 / precision + 1 / recall):.3f}, Dice {dice:.3f}")
print(f"IoU {found / (found + alarms + missed):.3f} = Dice / (2 - Dice) = {dice / (2 - dice):.3f}")

# %% [markdown]
# Dice *is* F1, and IoU follows from it. For one picture they always agree which of two maps is better. As soon as you take a
# *mean*, they need not. Two programs, two pictures:

# %%
for name, scores in {"C": np.array([1.0, 0.0]), "D": np.array([0.47, 0.47])}.items():
    print(
        f"{name}: IoU of two pictures {scores}, mean IoU {scores.mean():.3f}, mean Dice {(2 * scores / (1 + scores)).mean():.3f}"
    )

# %% [markdown]
# By mean IoU the better program is C, by mean Dice it is D: Dice forgives mediocre maps more than IoU does.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Nothing to find, and the three people
#
# Now the quarrel. Picture by picture, with the three numbers that go into the fraction:

# %%
for name, found_by in masks.items():
    for kind, m, t in zip(["colony", "one", "none", "none"], found_by, truth, strict=True):
        said = "0 / 0" if not (m | t).any() else f"{metrics.dice(m, t):.2f}"
        print(f"{name} {kind:7s} overlap {(m & t).sum():3d}   |X| {m.sum():3d}   |Y| {t.sum():3d}   Dice {said}")

# %% [markdown]
# Program A marks nothing where nothing is: 0 / 0. Somebody has to decide what that is. The lecture's link, the rules of
# Kaggle's Carvana contest, say **1**, and take the mean over pictures: that is Ann. (And B? 8 false pixels give 0 there,
# and a single one would have given 0 as well: **where nothing is, Dice is a switch**.) Ben leaves such pictures out, Cleo
# adds up all overlaps and all sizes *before* she divides:

# %%
for name, found_by in masks.items():
    each = np.array([metrics.dice(m, t, empty="nan") for m, t in zip(found_by, truth, strict=True)])
    ann, ben = np.where(np.isnan(each), 1, each).mean(), each[~np.isnan(each)].mean()
    cleo = 2 * (found_by & truth).sum() / (found_by.sum() + truth.sum())
    print(f"{name}: Ann {ann:.2f}, Ben {ben:.2f}, Cleo {cleo:.2f}")

# %% [markdown]
# **The mean of the pictures' Dice is not the Dice of all pixels.** A mean asks: *how well does it do on a picture,
# whichever I take?* A pooled score asks: *how well does it do on a pixel of bacteria, wherever it is?* For a doctor who
# sees one patient at a time the first is right, for somebody who measures the total area of bacteria the second. What is
# wrong is a number without its rule.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: which rule?</b></summary>
#
# *Ask:* a hospital screens 1000 slides, 990 of which are clean. What does a program score by Ann's rule that marks
# nothing at all? (At least 0.99.) And by Cleo's? (0.)
#
# Let two groups defend Ann's and Cleo's number, each with a use for which it is the right one.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### From a measure to a loss: soft Dice
#
# Can one train for it? A mask has no slope: nudge every score a little, and hardly any pixel changes sides. The cure is
# simple. In place of the set X take the *probabilities* p, and in place of counting add up, with t = 1 on the target and
# 0 elsewhere:
#
# $$ D = \frac{2 I}{S}, \qquad I = \sum p\,t, \qquad S = \sum p + \sum t $$
#
# For a mask of zeros and ones it is Dice as before. One minus it is the **soft Dice loss**. Which way does it pull one
# pixel? If p grows a little, I grows by t times that, and S by just that. The rule for fractions says the rest:
#
# $$ \frac{\partial D}{\partial p} = \frac{2t \cdot S - 2I \cdot 1}{S^2} = \frac{2t - D}{S} $$
#
# Remember this line; two more results will come out of it. Is it right? Nudge each pixel, as in lesson 03:

# %%
rng = np.random.default_rng(0)
p, t = rng.uniform(0.05, 0.95, (4, 5)), (rng.random((4, 5)) < 0.2) * 1.0


def soft_dice(p, t):
    """Return 2 I / S."""
    return 2 * (p * t).sum() / (p.sum() + t.sum())


by_formula = (2 * t - soft_dice(p, t)) / (p.sum() + t.sum())
by_nudging = np.zeros_like(p)
for where in np.ndindex(p.shape):
    nudge = np.zeros_like(p)
    nudge[where] = 1e-6
    by_nudging[where] = (soft_dice(p + nudge, t) - soft_dice(p - nudge, t)) / 2e-6
print("formula and nudging agree:", np.allclose(by_formula, by_nudging))
print(np.round(by_formula, 3))

# %% [markdown]
# Two values only. Each pixel of the target is pulled up by (2 − D) / S; **every other pixel is pushed down by D / S**,
# all alike. That push *is* the denominator at work: with a constant one it would be zero, and nothing would keep the net
# from saying yes everywhere.

# %%
question("pull-of-a-missed-pixel")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Two lazy programs
#
# Why should that be better than cross-entropy? Bacteria are rare: here 15 pixels in 1000. Consider a net that has looked
# at nothing and gives the *same* probability q to every pixel. Which q does each loss like best?

# %%
rng = np.random.default_rng(1)
pictures, maps = draw_bacteria(rng.choice([0, 1, 1, 2], 64), seed=1)
new_pictures, new_maps = draw_bacteria(rng.choice([0, 1, 1, 2], 64), seed=2)
share = maps.mean()
print(f"bacteria: {share:.1%} of the pixels; pictures without any: {(maps.sum((1, 2)) == 0).sum()} of {len(maps)}")
print("   q    cross-entropy  soft Dice loss")
for q in (0.001, share, 0.1, 0.5, 0.999):
    cross_entropy = -(share * np.log(q) + (1 - share) * np.log(1 - q))
    print(f"{q:5.3f}  {cross_entropy:12.3f}  {1 - 2 * q * share / (q + share):12.3f}")

# %% [markdown]
# Cross-entropy is content at q = 0.015, the share of bacteria: no threshold of 0.5 will ever find one. It has become *the
# lazy program that says no*, and from there on it learns slowly, because 98 of 100 pixels are right already. Soft Dice
# cannot stay there: for a constant q it wants 1, *the lazy program that says yes*, and on the way it has to find out
# where.
#
# So let us train. A tiny U-Net, twice the same first weights, twice the same pictures in the same order, 120 steps; only the
# loss differs. Its second line is all that is new:


# %%
def soft_dice_loss(scores, target):
    """Return 1 - D for scores (N, 2, H, W) and maps (N, H, W), over all pixels of the batch."""
    p, t = F.softmax(scores, dim=1)[:, 1], target.astype(scores.dtype)
    return 1 - 2 * (p * t).sum() / (p.sum() + t.sum())


def as_input(pictures):
    """Return pictures (N, H, W) as a network takes them: (N, 1, H, W), around 0."""
    return ms.tensor((pictures[:, None] - 0.4).astype(np.float32))


def train(loss, watch, look_at=new_pictures, rate=0.005):
    """Train a tiny U-Net; return its probabilities of bacterium on other pictures after each number of steps in ``watch``."""
    ms.manual_seed(0)
    net = models.UNet(1, 2, base_channels=6, depth=1, norm=None)
    optimizer = optim.Adam(net.parameters(), lr=rate)
    rng = np.random.default_rng(0)
    seen = []
    for step in range(1, max(watch) + 1):
        batch = rng.choice(len(pictures), 8, replace=False)
        optimizer.zero_grad()
        loss(net(as_input(pictures[batch])), maps[batch]).backward()
        optimizer.step()
        if step in watch:
            with ms.no_grad():
                seen.append(F.softmax(net(as_input(look_at)), dim=1).numpy()[:, 1])
    return seen


def dice_at(p, threshold):
    """Return the Dice of all new pictures together."""
    return metrics.pooled_dice(p > threshold, new_maps == 1)


by_entropy, entropy_240 = train(F.cross_entropy, watch=(120, 240))
(by_dice,) = train(soft_dice_loss, watch=(120,))
print("cross-entropy, 120 steps: Dice below 0.1:", dice_at(by_entropy, 0.5) < 0.1)
print("soft Dice,     120 steps: Dice above 0.5:", dice_at(by_dice, 0.5) > 0.5)

# %% [markdown]
# The same net, the same steps: one has found nothing, the other most of the bacteria in pictures that it never saw.

# %%
many = int(new_maps.sum(axis=(1, 2)).argmax())
figures.gallery(
    [new_pictures[many], by_entropy[many], by_dice[many], new_maps[many] * 1.0],
    ["not seen in training", "p by cross-entropy", "p by soft Dice", "bacteria"],
    ["", "120 steps", "120 steps", ""],
    width=11,
)

# %% [markdown]
# Be fair to cross-entropy. It is *late*, not blind: look at its probabilities. Grey is not black: it does suspect something,
# and nothing forces us to cut at 0.5. After 240 steps, cut at 0.35:

# %%
print("cross-entropy, 240 steps, threshold 0.35: Dice above 0.5:", dice_at(entropy_240, 0.35) > 0.5)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the two nets</b></summary>
#
# *Ask before running:* what will the net of cross-entropy say everywhere, roughly? (0.015: the share.)
#
# *Be honest:* a training of so few steps is a gamble. With a millionth of noise on the pictures (sixteen trials) soft Dice
# came out between 0.66 and 0.80. At twice the learning rate cross-entropy reached 0.77 after 300 steps or nothing at all,
# after 600 about 0.75, and soft Dice 0.8; there soft Dice, too, once found nothing. It is quicker, and little better in
# the end.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The threshold that Dice asks for
#
# Why should a pixel be marked only above 0.5? You have a mask, its Dice is D, and wonder about *one more pixel* of
# probability p. It adds 2p above the line, on average, and 1 below. A fraction rises when what is added is worth more
# than it is: 2p / 1 > D. (It is (2t − D) / S again, with p for t.) So mark every pixel with
#
# $$ p > D / 2. $$
#
# **The best threshold for Dice is half of the best Dice**: never above 0.5, and far below where the task is hard. To see
# it, take probabilities that are *honest*: of the pixels with p = 0.3, three in ten are bacteria.

# %%
rng = np.random.default_rng(2)
honest = rng.random(400_000) ** 6  # mostly near 0
real = rng.random(honest.size) < honest
thresholds = np.arange(0.02, 0.99, 0.02)
scores = np.array([metrics.dice(honest > threshold, real) for threshold in thresholds])
best = scores.argmax()
print(f"best Dice {scores[best]:.2f} at threshold {thresholds[best]:.2f}; half of it is {scores[best] / 2:.2f}")
print(f"at threshold 0.50 Dice is {metrics.dice(honest > 0.5, real):.2f}")
canvas = figures.Canvas(520, 250, "Dice at every threshold")
axes = plot(canvas, 60, 34, 400, 150, (0, 1), (0, 1), x="threshold", y="Dice", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
axes.line(thresholds, scores, color="blue")
axes.line((0, 0.5), (0, 1), color="vermilion", style=1, name="threshold = Dice / 2")
axes.mark(thresholds[best], scores[best])
canvas.svg(f"Dice over the threshold: its top, {scores[best]:.2f}, lies on the dashed line threshold = Dice / 2.")

# %% [markdown]
# The curve has its top where it meets the line. And the nets? Both reach a Dice near 0.7. So we cut both at half
# of that, 0.35, and at the usual 0.5:

# %%
late = dice_at(entropy_240, 0.35) - dice_at(entropy_240, 0.5)
print("cross-entropy, 240 steps: threshold 0.35 better than 0.5 by more than 0.02:", late > 0.02)
print("soft Dice: 0.35 and 0.5 differ by less than 0.03:", abs(dice_at(by_dice, 0.35) - dice_at(by_dice, 0.5)) < 0.03)


# %%
def unsure(p):
    """Return which share of the pixels has a probability between 0.1 and 0.9."""
    return np.mean((p > 0.1) & (p < 0.9))


print("soft Dice: unsure about fewer than 2 pixels in 100:", unsure(by_dice) < 0.02)

# %% [markdown]
# A net trained by soft Dice has made its decision: everything below D / 2 was pushed to 0, everything above pulled to 1.
# So the threshold hardly matters, and **its numbers are no longer probabilities.** Cross-entropy's are meant to be, and
# leave the threshold to you.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# A mask that you move, grow and shrink, beside the lines of equal Dice: they are not level, because the denominator is
# not constant. Press *slide: "the denominator is constant"*, then bring *wider* back to 0. And then the question: **the
# mask is one pixel off: does a small object lose as much as a large one?**

# %%
explorers.dice()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. *slide: perfect overlap* first: 1. Then *grow*, step by step, the class watching the dot: the overlap
# stays, Dice falls. Then the other way.
#
# *Ask* at *both empty* what the score should be, then press *four false pixels*.
#
# *One pixel off:* 1 − 1/n for a square of n pixels. So a mean over pictures with small objects is a mean over thin rims.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `losses.dice_loss` is our function with options. Two are worth knowing now: `classes=(1,)` takes the Dice of class 1
# alone, as we did, and `smooth` is added above and below the line (1 by default; why, comes below). Values and gradients
# agree:

# %%
rng = np.random.default_rng(3)
start = rng.standard_normal((8, 2, 32, 32))
ours, library = (ms.tensor(start, requires_grad=True) for _ in range(2))
loss = soft_dice_loss(ours, maps[:8])
loss.backward()
library_loss = losses.dice_loss(library, maps[:8], smooth=0, classes=(1,))
library_loss.backward()

assert np.isclose(float(loss), float(library_loss))
assert np.allclose(ours.grad.numpy(), library.grad.numpy())
hard = np.stack([1 - maps[:8], maps[:8]], axis=1) * 1.0  # probabilities of 0 and 1: a mask
shifted = np.roll(hard, 1, axis=3)
by_loss = 1 - float(losses.dice_loss(shifted, maps[:8], smooth=0, classes=(1,), activation=None))
assert np.isclose(by_loss, metrics.pooled_dice(shifted[:, 1] == 1, maps[:8] == 1))
print(f"the map shifted by one pixel: soft Dice {by_loss:.3f}, the measure says the same")

# %% [markdown]
# The relatives live beside it. `tversky_loss` has a price for false alarms and one for what is missed; `focal_loss` is
# cross-entropy that looks away from pixels that are right already; and `CombinedLoss` adds cross-entropy and soft Dice:

# %%
a, b = ms.tensor(start), maps[:8]
same = {"smooth": 0, "classes": (1,)}
print(
    "Tversky at prices 0.5 and 0.5 is Dice:",
    np.isclose(float(losses.tversky_loss(a, b, 0.5, 0.5, **same)), float(library_loss)),
)
print(
    "focal loss with gamma 0 is cross-entropy:",
    np.isclose(float(losses.focal_loss(a, b, gamma=0)), float(F.cross_entropy(a, b))),
)
both = float(losses.CombinedLoss(**same)(a, b))
print("combined:", np.isclose(both, float(F.cross_entropy(a, b)) + float(library_loss)))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the quarrel of the three people. Then the gradient: `check` lets a right answer train a network.

# %%
exercise("mean-and-pooled")


# %%
def mean_and_pooled(masks, targets):
    """Return two numbers: the mean of the pictures' Dice, and the Dice of all pixels; arrays are (N, H, W), bool."""
    # your code here


check(mean_and_pooled)

# %%
# hint()
# solution()

# %%
exercise("soft-dice-grad")


# %%
def soft_dice_grad(p, t):
    """Return the gradient of the loss 1 - D with respect to ``p`` (N, H, W)."""
    # your code here


check(soft_dice_grad)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# Ten minutes each. The wrong answer to wait for in the second is `-2 * t / S`: the lecture's constant denominator, written as
# code. Ask what such a net would learn (question two of the exit ticket).
#
# Who is done early: the gradient for IoU = I / (S − I). (It is (t S − I) / (S − I)², so that a pixel of the target is
# pulled by 1 / (S − I), every other pushed by I / (S − I)².)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Empty pictures in training.** Let a picture hold no bacterium, and the net claim a few. Without t the overlap is 0, D
# is 0, and by our line the gradient (0 − 0) / S is zero: *false alarms in an empty picture are not corrected.* Two cures:
# a constant above and below the line (`smooth=1`), or one fraction for the whole batch (`per="batch"`, what we did), in
# which another picture holds t.

# %%
none = np.zeros((1, 8, 8), int)
one = none.copy()
one[0, 2:4, 2:5] = 1
claims = np.full((2, 2, 8, 8), [[[0.0]], [[-2.0]]])  # p = 0.12 everywhere, in both pictures
claims[0, 1, 4:6, 4:6] = 1.0  # and 0.73 at four pixels of the first
cures = {
    "each picture, smooth 0": {"per": "sample", "smooth": 0},
    "each picture, smooth 1": {"per": "sample", "smooth": 1},
    "the batch, smooth 0": {"per": "batch", "smooth": 0},
}
for name, options in cures.items():
    scores = ms.tensor(claims, requires_grad=True)
    losses.dice_loss(scores, np.concatenate([none, one]), classes=(1,), **options).backward()
    push = scores.grad.numpy()[0, 1, 4, 4]
    print(f"{name:24s} gradient at a false alarm of the empty picture {abs(push):.4f}")

# %% [markdown]
# **Sure and wrong.** What reaches a *score* goes through the softmax, which multiplies by p (1 − p). Cross-entropy undoes
# that (lesson 03: said minus right). Soft Dice does not: where the net is sure and wrong, it hears next to nothing.

# %%
print("score     p of the class   cross-entropy     soft Dice")
for score in (-2.0, -5.0, -10.0):
    pulls = []
    for loss in (F.cross_entropy, soft_dice_loss):
        scores = ms.tensor(np.array([[[[0.0]], [[score]]]]), requires_grad=True)
        loss(scores, np.ones((1, 1, 1), int)).backward()
        pulls.append(-float(scores.grad.numpy()[0, 1, 0, 0]))
    print(f"{score:5.0f}  {1 / (1 + np.exp(-score)):15.5f}  {pulls[0]:14.5f}  {pulls[1]:12.5f}")

# %% [markdown]
# That is why many train on the *sum* of both (`CombinedLoss`): one that wakes up whoever is sure and wrong, one that does
# not drown in background.
#
# **Weights, with a threshold of 0.5.** The older cure for rare classes is to count each of their pixels w times in
# cross-entropy. The net then learns more easily, but its p is inflated: its odds p / (1 − p) are w times the honest ones.
# With w = 30, a pixel with an honest chance of 1 in 20 is called bacterium:

# %%
w = 30
for chance in (0.02, 0.05, 0.25, 0.35):
    print(f"honest p {chance:.2f} becomes {w * chance / (w * chance + 1 - chance):.2f}")
weighted = losses.CrossEntropyLoss(weight=[1, w])
(by_weight,) = train(weighted, watch=(120,))
marked = (by_weight > 0.5).sum() / new_maps.sum()
print("weighted, 120 steps: Dice above 0.5:", dice_at(by_weight, 0.5) > 0.5)
print("it marks over 5% more pixels than there are bacteria:", bool(marked > 1.05))

# %% [markdown]
# Weighted, it finds them as well, and too many. The threshold near 0.9 that helps is D / 2 = 0.35 once more, in inflated
# numbers: 0.94. **A loss and a threshold are chosen together**, the threshold on validation pictures, never on those that
# you report.

# %% tags=["nbval-ignore-output"]
print("Dice at threshold      0.1   0.35  0.5   0.9")
nets = {
    "cross-entropy, 120": by_entropy,
    "cross-entropy, 240": entropy_240,
    "weighted, 120": by_weight,
    "soft Dice, 120": by_dice,
}
for name, p in nets.items():
    print(f"{name:20s}", *(f"{dice_at(p, threshold):5.2f}" for threshold in (0.1, 0.35, 0.5, 0.9)))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. The mask is in Dice's denominator too: fewer false alarms raise it as well as more overlap.
# 2. A mean of Dice scores is not the pooled Dice, and a picture with nothing in it counts what somebody decided: say which.
# 3. Soft Dice pulls each pixel by (2t − D) / S, so that a rare thing is not drowned, and a mask for Dice is cut at p > D / 2.

# %% [markdown]
# And the question of the beginning: which program is better, A or B? Whoever wants clean slides to be called clean takes
# A, whoever wants bacteria found takes B, and the number must say which was asked. Better than either is a net that was
# trained for what it is asked. The last picture: our four slides, which it has never seen, and a net of 200 steps,
# at twice the learning rate, trained on the sum of cross-entropy and soft Dice.

# %%
(on_slides,) = train(losses.CombinedLoss(classes=(1,), smooth=0), watch=(200,), look_at=slides, rate=0.01)
masks["net"] = on_slides > 0.5
for name, score in people:
    print(f"{name:40s} the net better than A and B:", score(masks["net"]) > max(score(masks["A"]), score(masks["B"])))
figures.gallery(
    [*slides, *errors("B"), *errors("net")],
    ["a colony", "one bacterium", "none", "none", *["B"] * 4, *["the net"] * 4],
    columns=4,
    width=10,
)

# %% [markdown]
# Ann, Ben and Cleo agree, for once. The net has met two bacteria at a time at most, and a colony has nine: it misses
# some, and any of the three numbers alone would hide where.

# %% [markdown]
# ## Exit ticket

# %%
question("threshold-of-half")

# %%
question("without-the-denominator")

# %%
question("which-report")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - F. Milletari, N. Navab, S.-A. Ahmadi: *V-Net: Fully convolutional neural networks for volumetric medical image
#   segmentation*, 3DV 2016, section 3: the Dice loss layer, with squares in the denominator, and its gradient.
# - Z. C. Lipton, C. Elkan, B. Naryanaswamy: *Optimal thresholding of classifiers to maximize F1 measure*, ECML PKDD 2014; the
#   abstract has it in a sentence: for honest probabilities the best threshold is half of the best F1.
# - T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár: *Focal loss for dense object detection*, ICCV 2017, section 3:
#   focal loss.
# - S. S. M. Salehi, D. Erdogmus, A. Gholipour: *Tversky loss function for image segmentation using 3D fully convolutional
#   deep networks*, MLMI 2017, section 2: prices for false alarms and for what is missed.
# - The lecture's link, the rules of the Carvana contest:
#   <https://www.kaggle.com/c/carvana-image-masking-challenge/evaluation> (the mean over pictures; 1 where both are
#   empty).

# %% [markdown]
# ## Further: the price of an error
#
# Where a missed bacterium is worse than a false alarm, let it cost more: `tversky_loss(alpha, beta)` has alpha for false
# alarms, beta for what is missed. Half and half is Dice, one and one is IoU. On a mask that is too small, the loss by
# three price lists:

# %%
small = np.zeros((1, 1, 1, 20))
small[..., :5] = 1  # five of ten pixels found, no false alarm
wanted = (np.arange(20) < 10).astype(float).reshape(1, 1, 1, 20)
for alpha, beta in [(0.5, 0.5), (1, 1), (0.3, 0.7)]:
    loss = losses.tversky_loss(small, wanted, alpha, beta, smooth=0, activation=None)
    print(f"alpha {alpha}, beta {beta}: loss {float(loss):.3f}")
