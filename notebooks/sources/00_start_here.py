# %% [markdown] slideshow={"slide_type": "slide"}
# # 00 · Start here
#
# **A network that finds cell nuclei, and every line of it yours to read.**
#
# 60 minutes. You need Python and a little NumPy (`array.shape`, slicing). No network connection, no GPU, no account.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* ready 5, question and prediction 7, build 15, explorer 10, library 5, exercises 15, exit ticket 3.
#
# Let everybody run the first code cell at once and read its answer aloud ("Ready"). Whoever is not ready sits beside
# somebody who is: nothing here needs a machine of one's own before the exercises.
#
# This is the only lesson without two questions about earlier ones, because there is nothing to recall yet. The words
# convolution, U-Net, Dice and threshold are *used* here and *opened* later; say so, and resist explaining them now.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## What you will be able to do
#
# - **Tell** from an array's shape where height, width and colours are, and **convert** between the two usual orders.
# - **Run** a trained network on an image, and **turn** its probabilities into a mask.
# - **Read** an overlay and an error map: what was found, what was missed, what is a false alarm.
# - **Use** the three tools of this course: questions that lock, explorers, exercises that check themselves.
#
# The other lessons begin with two questions about earlier ones. This is the first, so there is nothing to recall.

# %% [markdown]
# Run a cell with Shift + Enter. First: is this machine ready?

# %%
from contextlib import suppress

import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import course, data, explorers, figures, metrics, models
from minisegnet.course import check, exercise, hint, question, solution

course.ready()

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# Below is a piece of tissue under the microscope, stained so that nuclei look dark blue or purple. A pathologist
# counts them, measures them, looks for odd ones, in hundreds of such fields a day. **Which pixels belong to a nucleus?**
# One answer for every pixel: that is *semantic segmentation*, and it is what this course is about.
#
# (This tissue is drawn by a program that comes with the course, so that everybody sees the same picture and nothing
# has to be downloaded. At the end you point the lesson at real tissue.)

# %%
images, nuclei = data.synthetic_tissue(1, size=(256, 256), seed=1)
image = images[0]
target = (nuclei[0] > 0).astype(int)  # 0 background, 1 nucleus: where the program drew one

figures.gallery([image], ["Which pixels belong to a nucleus?"], width=5)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# Questions in this course want you to commit. Write your answer down or say it aloud to your neighbour, then press
# *Commit*: it locks, and the explanation appears. Being wrong here is how the lesson works, nobody keeps count.

# %%
question("numbers-in-a-picture")

# %%
question("share-of-nuclei", target)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# *Ask:* what would a program score that always says "background"? Leave the answer open: it is the cliff-hanger of
# lesson 01.
#
# *What students get wrong:* they forget the colours (65,536). Their guesses of the share scatter widely: collect a few
# aloud before anybody commits, the scatter is the point.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: a picture is an array
#
# An image from a file is an array of whole numbers from 0 to 255, with three axes: **row, column, colour**, in short
# (H, W, C).

# %%
print("shape:", image.shape, " type:", image.dtype)
print("pixel in row 20, column 100:", image[20, 100], " (red, green, blue)")

# %% [markdown]
# The first index goes *down*, the second to the *right*. That is not the (x, y) of school, and it is the most common
# slip of the whole field. Try it on a small array:

# %%
question("row-and-column")

# %% [markdown]
# One colour alone is a grey picture. The stain swallows green light most, so nuclei are darkest in the *green* channel:

# %%
red, green, blue = image[:, :, 0], image[:, :, 1], image[:, :, 2]
figures.gallery(
    [image, red, green, blue],
    ["image", "red", "green", "blue"],
    ["(256, 256, 3)"] + ["(256, 256)"] * 3,
)

# %%
for name, channel in [("red", red), ("green", green), ("blue", blue)]:
    inside, outside = channel[target == 1].mean(), channel[target == 0].mean()
    print(f"{name:5s} nuclei {inside:3.0f}, elsewhere {outside:3.0f}, difference {outside - inside:3.0f}")

# %% [markdown]
# So why not call every pixel with little green a nucleus? Let us be generous and try all 256 levels *with the answer in
# hand*, and keep the best one. The error map on the right has three colours: blue is **found**, orange and striped a **false
# alarm** (called nucleus, and is none), yellow and dotted is **missed**. Its legend adds the usual short names, TP (true
# positive), FP (false positive) and FN (false negative), which the explorer's formula below uses. **Dice** puts them into
# one number, 1 for a perfect mask:


# %%
def dice(mask, truth):
    """Return 2 · overlap / (size of one + size of the other): 1 is perfect, 0 is no overlap. Lesson 12 is about it."""
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


truth = target == 1
scores = [dice(green < level, truth) for level in range(256)]
level = int(np.argmax(scores))
print("best level:", level)
figures.show(image, target, green < level, ["background", "nucleus"])

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: reading the error map</b></summary>
#
# Read the picture from left to right together: what goes in, what is true, what the rule says, where it is wrong. Blue
# and solid is found, orange and striped a false alarm, yellow and dotted is missed. Ask for one error of each kind
# and for its cause (a pale nucleus; an out-of-focus shadow; two that touch).
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Now a network, in ten lines
#
# The network is a **U-Net** with weights that came with the course. It does not look at one pixel's colour: it looks
# at each pixel's *surroundings*. Its answer is a probability for every class and every pixel, an array of shape
# (classes, H, W).

# %%
model = models.load_pretrained("nuclei")
probabilities = model.predict(image)  # (K, H, W): class 0 background, class 1 nucleus
mask = probabilities[1] > 0.5

print("image", image.shape, "-> probabilities", probabilities.shape, "-> mask", mask.shape, mask.dtype)
figures.show(image, target, mask, ["background", "nucleus"])

# %% [markdown]
# On this image the rule about green is hardly worse: it was *made* for this image, with the answer in hand. Now show the
# rule and the network three pictures that neither has met: two from paler slides, and one where nuclei *glow* on black
# (fluorescence).

# %%
pictures, maps = zip(
    data.synthetic_tissue(1, size=(256, 256), seed=2),
    data.synthetic_tissue(1, size=(256, 256), seed=9),
    data.synthetic_fluorescence(1, size=(256, 256), seed=6),
)
others = [batch[0] for batch in pictures]
truths = [batch[0] > 0 for batch in maps]

found = [model.predict(other)[1] > 0.5 for other in others]
by_color = [dice(other[:, :, 1] < level, t) for other, t in zip(others, truths)]
by_network = [dice(f, t) for f, t in zip(found, truths)]

figures.gallery(
    [figures.overlay_image(other, f) for other, f in zip(others, found)],
    ["a paler slide", "and another", "fluorescence"],
    [f"Dice: colour rule {c:.2f}, network {n:.2f}" for c, n in zip(by_color, by_network)],
)

# %%
print("The network is better by more than 0.1:", all(n > c + 0.1 for c, n in zip(by_color, by_network)))
print("Its mean Dice is above 0.7:", bool(np.mean(by_network) > 0.7))

# %% [markdown]
# That is the destination. Where each piece of the way is opened:
#
# | piece | lesson |
# |---|---|
# | how to measure a map: pixel accuracy, IoU, Dice | 01, 12 |
# | convolution, what a network is made of | 02 |
# | how it learns | 03 |
# | going down: pooling; and dilation | 05, 06 |
# | going up again | 07, 08 |
# | skips, and why it is drawn as a U | 09, 10, 11 |
# | training it yourself, on real tissue | 14 |
# | how to make Python fast | 15 |

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# An explorer is a picture with controls: sliders answer to the mouse and to the arrow keys. Below it stand the
# formula with the numbers of this moment, the line of code, and a sentence that says what the picture says.
#
# **At which threshold does Dice peak?** Set *show* to *errors* and move the threshold from left to right. What
# happens to the false alarms, what to the missed pixels?

# %%
explorers.overlay(image, target, probabilities[1])

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# *Before moving anything, ask:* what will happen to the orange pixels if I raise the threshold? Let them point.
#
# *What to find:* false alarms fall and missed pixels rise, all the way; Dice has its peak where the two are in balance,
# and it is flat around it: a sure network hardly cares about the threshold.
#
# `explorers.overlay()` without arguments opens the explorer alone, for projecting.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `predict` is no magic. Colours first, numbers from 0 to 1, one axis more because networks work on batches (several
# images at once; here it is one), and at the end `softmax`, which turns scores into probabilities. By hand:

# %%
x = image.transpose(2, 0, 1).astype(np.float32) / 255  # (H, W, C) -> (C, H, W), 0..255 -> 0..1
with ms.no_grad():  # we are not learning now
    scores = model(ms.tensor(x[None]))  # (1, C, H, W) -> (1, K, H, W)
by_hand = F.softmax(scores, dim=1).numpy()[0]

assert np.allclose(by_hand, probabilities, atol=1e-3)
assert np.isclose(metrics.dice(mask, truth), dice(mask, truth))
print("By hand and by the library, the same:", by_hand.shape)

# %% [markdown]
# Coming from PyTorch, or going there? Change the import lines and this runs there too: the names are the same.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# Write the function, run the cell, and `check` tells you what it thinks: not only *that* something is wrong but, if it
# can, *which thought* led there. `hint()` helps three times, `solution()` shows ours. An exercise left alone breaks
# nothing: *Run All* goes on. Both lines that you need stand somewhere above: these two exercises are here so that you
# get to know the tool.

# %%
exercise("to-chw")


# %%
def to_chw(image):
    """Turn (H, W, 3), uint8 from 0 to 255, into (3, H, W), float32 from 0 to 1."""
    # your code here


check(to_chw)

# %%
# hint()
# solution()

# %%
exercise("to-mask")


# %%
def to_mask(probabilities, threshold):
    """Turn (K, H, W) into a mask (H, W): where class 1 is more likely than the threshold."""
    # your code here


check(to_mask)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# Fifteen minutes for both. The interesting wrong answer is `reshape(3, H, W)`: right shape, wrong picture. Let somebody
# show it with `figures.gallery([image.reshape(3, 256, 256)])`.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Whole numbers run over.** `uint8` has no 256: the count goes on at 0, without a word.

# %%
print(np.array([200, 250], dtype=np.uint8) + np.array([100, 100], dtype=np.uint8))

# %% [markdown]
# **The scale does not fit.** This network learned on numbers from 0 to 1. Divide by 255 *twice*, once where the file is
# read and once before the network (it happens to everybody), and it still answers. Nothing warns you: compare.

# %%
with ms.no_grad():
    wrong = F.softmax(model(ms.tensor(x[None] / 255)), dim=1).numpy()[0, 1] > 0.5
print(f"scaled as in training: Dice {dice(mask, truth):.2f}")
print("divided by 255 twice: Dice below 0.1:", bool(dice(wrong, truth) < 0.1))

# %% [markdown]
# **The axes are mixed up.** `reshape` where `transpose` was meant gives the right shape and a wrong picture:

# %%
figures.gallery(
    [image.transpose(2, 0, 1), image.reshape(3, 256, 256).astype(np.float32) / 255],
    ["transpose(2, 0, 1)", "reshape(3, 256, 256)"],
    width=8,
)

# %% [markdown]
# **The tissue looks different.** Another stain, another microscope, another magnification: a network knows what it has
# seen. Lesson 14 measures how much that costs, and what helps.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. An image is an array: files keep it as (H, W, C) in 0 to 255, networks read it as (C, H, W) in 0 to 1.
# 2. A network returns a probability for every class and pixel; a threshold turns it into a mask.
# 3. An error map says more than a number: found, false alarm, missed, each with its place.

# %% [markdown]
# ## Exit ticket

# %%
question("shape-of-a-picture")

# %%
question("raising-the-threshold")

# %%
question("right-shape-wrong-picture")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - O. Ronneberger, P. Fischer, T. Brox: *U-Net: Convolutional Networks for Biomedical Image Segmentation*, MICCAI 2015,
#   section 2 and figure 1. The network used above; lesson 11 derives every size in it.
# - J. C. Caicedo et al.: *Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl*, Nature Methods
#   16, 1247 (2019). Where the real images come from.
# - C. R. Harris et al.: *Array programming with NumPy*, Nature 585, 357 (2020), section "NumPy arrays" and figure 1.

# %% [markdown]
# ## Further: real tissue, and your own image
#
# The weights were trained on real microscopy. If you have the real images (`minisegnet data nuclei` fetches them, or
# point the variable `MINISEGNET_DATA` at them), this cell shows one; otherwise it says that they are not here.

# %% tags=["nbval-ignore-output"]
picture = "No real images on this machine yet: `minisegnet data nuclei` in a terminal fetches them."
with suppress(FileNotFoundError):
    real = data.load_nuclei()
    found = model.predict(real.images[0])[1] > 0.5
    picture = figures.show(real.images[0], real.labels[0] > 0, found, ["background", "nucleus"])
picture

# %% [markdown]
# And for a picture of your own, in a terminal: `minisegnet predict my_image.png -o my_folder`.
