# %% [markdown] slideshow={"slide_type": "slide"}
# # 01 · A label for every pixel
#
# **Two maps, both right on 96% of the pixels. One of them has not found the die at all.**
#
# 90 minutes. You need lesson 00: arrays of shape (H, W, C), masks, error maps. No network connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 10, build 27, explorer 15, exercises 20, what goes wrong 5, exit ticket 5.
#
# *The one idea:* a map is an array of class numbers, and a measure is a decision about which errors matter. Keep the two
# maps of the question on the projection as long as you can.
#
# *What students get wrong:* that 96% right means 96% good; and that unlabelled pixels are one more class, or background.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on lesson 00. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-shape-of-probabilities")

# %%
question("recall-error-colors")

# %% [markdown]
# ## What you will be able to do
#
# - **Read** a segmentation map, its legend and its overlay, and **make** each from an array of class numbers.
# - **Tell** what a map of classes does not say: which pixels belong to *the same thing*.
# - **Compute** pixel accuracy, IoU and Dice by hand, with unlabelled pixels left out.
# - **Choose** the measure that sees the errors you care about.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# On the left a table: a rose in a glass, a die, a teddy bear, and a beach ball that nobody asked for. In the middle and on
# the right, two maps of it by two programs. Each was compared with the map that people drew, pixel by pixel, and **each is
# right on 96% of the pixels.** So they are equally good?

# %%
import numpy as np

from minisegnet import data, explorers, figures, metrics, models

scene = data.scene(192)
image, target = scene.image, scene.labels

drawn = np.where(target == 255, 0, target)  # a program has to say something everywhere, also where people did not
no_die = np.where(drawn == 3, 0, drawn)  # class 3, the die, called background
moved = np.roll(drawn, 2, axis=1)  # everything found, two pixels too far right

figures.gallery(
    [image, figures.overlay_image(image, no_die), figures.overlay_image(image, moved)],
    ["the table", "program A", "program B"],
    ["192 x 192 pixels", "96% of the pixels right", "96% of the pixels right"],
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict

# %%
question("accuracy-without-the-die")

# %%
question("same-accuracy")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# *Ask* before anybody commits: which of the two programs would you give to a robot that has to pick up the die?
#
# Then: and to a scissors robot that cuts the bear out? There the two pixels matter. The measure depends on the use.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: the map
#
# **Semantic segmentation** puts a label on each pixel of an image. The labels are small whole numbers, and a list says what
# they mean. Here is the whole answer for a piece of the picture, where the die ends and the glass begins, every fourth pixel:

# %%
print(dict(enumerate(scene.classes)))
print("image", image.shape, image.dtype, "  map", target.shape, target.dtype)
print(target[150:182:4, 96:160:4])

# %% [markdown]
# A picture of numbers, of the same height and width as the image, without colours. And a number that the list does not
# know: **255, unlabelled**. The people who drew this map were not asked for beach balls, and on the rim of a thing a pixel is
# partly this and partly that: nobody knows its label, so nobody wrote one. How many pixels has each?

# %%
for label, name in [*enumerate(scene.classes), (255, "unlabelled")]:
    share = (target == label).mean()
    print(f"{label:3d}  {name:10s} {share:5.1%}  {'#' * round(60 * share)}")

# %% [markdown]
# Very unequal: more than half is background, and the die, which one would hardly overlook, is a twenty-seventh of the
# picture. Keep that in mind.
#
# To *see* a map, give each number a colour. A **legend** is a table of colours, and NumPy looks all pixels up at once: the
# array of labels is the index.

# %%
legend = np.full((256, 3), 255, dtype=np.uint8)  # 256 rows of red, green, blue; white where nothing else is said
legend[:5] = scene.colors
colored = legend[target]  # (H, W) numbers look up (256, 3): (H, W, 3)
print("map", target.shape, "-> colours", colored.shape)

# %% [markdown]
# And to see map *and* image, mix the two: a little of one, the rest of the other. That is an **overlay**. Background and
# unlabelled pixels stay as they are:

# %%
alpha = 0.5
thing = (target > 0) & (target < 255)
mixed = image.copy()
mixed[thing] = (1 - alpha) * image[thing] + alpha * colored[thing]
figures.gallery([image, colored, mixed], ["input image", "segmentation map", "segmentation overlay"])

# %% [markdown]
# These are the three pictures of the lecture. Colours alone are a poor legend (one man in twelve sees some of them alike),
# so `figures.show` writes the names onto the map as well. Its colours are others, and unlabelled is grey: the legend changed,
# the map did not.

# %%
figures.show(image, target, classes=scene.classes)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Classes, not things
#
# All bears are number 4. If two of them sat side by side, touching, the map would show *one* region: **semantic**
# segmentation does not tell one thing from the next. That is no shortcoming, but you have to know it when you count. Our
# tissue from lesson 00, where the program that drew it knows each nucleus:

# %%
tissue, nuclei = data.synthetic_tissue(1, size=(192, 192), seed=3)
pieces = metrics.connected_components(nuclei[0] > 0)
print("nuclei drawn:", len(np.unique(nuclei[0])) - 1, "  connected pieces of their map:", pieces.max())
figures.gallery(
    [tissue[0], (nuclei[0] > 0) * 1.0, figures.overlay_image(tissue[0], nuclei[0])],
    ["tissue", "classes: nucleus or not", "instances: one number each"],
)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: classes and things</b></summary>
#
# *Ask:* somebody counts nuclei by counting connected pieces. Is the count too high or too low? (Too low: touching ones are
# one piece. Then ask when it would be too high: a nucleus broken in two by a bad mask.)
#
# How to get instances from a semantic map comes in lesson 14.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The first measure: pixel accuracy
#
# Which share of the pixels is right? Pixels that nobody labelled cannot be right or wrong, so they are taken out first. In
# PyTorch and here the number that marks them is called **`ignore_index`**.

# %%
known = target != 255
for name, map_ in [("A, no die", no_die), ("B, moved", moved), ("lazy: all background", np.zeros_like(target))]:
    print(f"{name:22s} pixel accuracy {(map_[known] == target[known]).mean():.2f}")

# %% [markdown]
# There they are, the 96% of the question, and a *lazy program* that has looked at nothing: it says "background" everywhere
# and is right on 59%. **Pixel accuracy measures the background most, because most pixels are background.** Where the thing
# that you look for is rare, a lazy program is nearly perfect. Take the die alone, die or not die:

# %%
nothing = np.zeros_like(target, dtype=bool)
die = target == 3
print(f"'there is no die': right on {(nothing[known] == die[known]).mean():.1%} of the pixels")

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The second and third: IoU and Dice
#
# What went wrong? For one class a pixel can be four things, and the largest group is the dull one:
#
# | | target: die | target: something else |
# |---|---|---|
# | **map: die** | found (TP) | false alarm (FP) |
# | **map: something else** | missed (FN) | *rightly left alone*: nearly everything |
#
# (TP, FP and FN are the usual short names: true positive, false positive, false negative.) So leave the last one out. Two
# measures do. **IoU**, *intersection over union*: the pixels in both sets, divided by the pixels in at least one. **Dice**:
# twice the pixels in both, divided by the two sizes, added.
#
# $$ \text{IoU} = \frac{\text{found}}{\text{found} + \text{false alarms} + \text{missed}} \qquad
# \text{Dice} = \frac{2 \cdot \text{found}}{2 \cdot \text{found} + \text{false alarms} + \text{missed}} $$
#
# Both are 1 for a perfect map and 0 without overlap. On numbers that one can count, a die of 3 x 3 pixels, found one column
# too far right:

# %%
true = np.zeros((5, 6), dtype=int)
true[1:4, 1:4] = 1
guess = np.roll(true, 1, axis=1)
print(true + 2 * guess, " 1 missed, 2 false alarm, 3 found")
both, either = ((true & guess) == 1).sum(), ((true | guess) == 1).sum()
sizes = true.sum() + guess.sum()
print(f"IoU {both} / {either} = {both / either:.2f}   Dice {2 * both} / {sizes} = {2 * both / sizes:.2f}")
print(f"pixel accuracy {(true == guess).sum()} / {true.size} = {(true == guess).mean():.2f}")

# %%
question("half-a-die")

# %% [markdown]
# Now the two programs, class by class, and the mean over the classes, in which the die counts as much as the background:


# %%
def iou_by_hand(map_, label):
    """Return intersection over union of one class, over the labelled pixels."""
    found, there = map_[known] == label, target[known] == label
    return (found & there).sum() / (found | there).sum()


print(" " * 10, *(f"{name:>10s}" for name in scene.classes), f"{'mean':>8s}")
for name, map_ in [("A, no die", no_die), ("B, moved", moved), ("lazy", np.zeros_like(target))]:
    scores = [iou_by_hand(map_, label) for label in range(5)]
    print(f"{name:10s}", *(f"{score:10.2f}" for score in scores), f"{np.mean(scores):8.2f}")

# %% [markdown]
# Here is the die that A has not found: a zero that no number of background pixels can cover up. The mean IoU puts B before A
# by 0.09, and the lazy program falls from 0.59 to 0.12. *Where* the errors are is what an error map shows: in A all of them
# in one place, in B a thin rim around everything.

# %%
figures.gallery(
    [np.where((map_ != target) & known, 0.0, 1.0) for map_ in (no_die, moved)],
    ["errors of A, black", "errors of B, black"],
    ["pixel accuracy 0.96, mean IoU 0.79", "pixel accuracy 0.96, mean IoU 0.88"],
    width=9,
)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: IoU and Dice</b></summary>
#
# *Draw* two overlapping circles; let the class say which area stands above and which below the line, for both measures.
#
# *Ask:* can IoU be larger than Dice? (No: Dice = 2 IoU / (1 + IoU). Equal at 0 and 1 only.) Can one map be better by IoU and
# worse by Dice, on one image and one class? (No, for the same reason.)
#
# B's rose and glass score 0.8 only: thin things are mostly rim, and two pixels cost them most.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# The network of lesson 00 gives a probability for each pixel; a threshold makes the map. **At which threshold does Dice
# peak, and what happens to the errors on either side?** Show the *errors*, then move the threshold; *opacity* lays the map
# thinner or thicker over the tissue.

# %%
explorers.overlay(threshold=0.5)

# %% [markdown]
# And what would *pixel accuracy* have said? The same network on tissue where nuclei are rare, from a sensible
# threshold to one that finds nothing:

# %%
tissue, nuclei = data.synthetic_tissue(1, size=(192, 192), seed=4)
truth = nuclei[0] > 0
probability = models.load_pretrained("nuclei").predict(tissue[0])[1]
print(f"nuclei cover {truth.mean():.0%} of the picture")
for threshold in (0.5, 1.0):
    mask = probability > threshold
    print(f"threshold {threshold}: pixel accuracy {(mask == truth).mean():.2f}, Dice {metrics.dice(mask, truth):.2f}")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. Let the class call out "more" or "less" until Dice peaks. *Ask:* somebody needs every nucleus found,
# false alarms or not; where do they put the threshold? (Low.) And does Dice know of their wish? (No.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `metrics` has the three measures. For many classes it counts first, once: a **confusion matrix** has a row for each class
# of the target and a column for each class of the map, and every measure is read off it.

# %%
counts = metrics.ConfusionMatrix(5, ignore_index=255).update(no_die, target)
by_hand = np.zeros((5, 5), dtype=int)
np.add.at(by_hand, (target[known], no_die[known]), 1)  # at (row, column) of each pixel: one more

assert np.array_equal(counts.matrix, by_hand)
assert np.allclose(counts.iou(), [iou_by_hand(no_die, label) for label in range(5)])
assert np.isclose(metrics.pixel_accuracy(no_die, target, ignore_index=255), (no_die[known] == target[known]).mean())
assert np.isclose(metrics.dice(true, guess), 12 / 18)

print(" " * 21, "map:", *(f"{name:>10s}" for name in scene.classes))
for name, row in zip(scene.classes, counts.matrix):
    print(f"target: {name:>18s}", *(f"{n:10d}" for n in row))

# %% [markdown]
# Read a row: where did the pixels of this class go? The die's all went to background. Read a column: where do the pixels
# that the map calls so come from? What is right stands on the diagonal.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the measure with unlabelled pixels, then the one that sees the die.

# %%
exercise("accuracy-of-labelled")


# %%
def accuracy_of_labelled(prediction, target, ignore_index):
    """Return the share of right pixels among those that have a label, for two maps (H, W)."""
    # your code here


check(accuracy_of_labelled)

# %%
# hint()
# solution()

# %%
exercise("iou-of-class")


# %%
def iou_of_class(prediction, target, label):
    """Return intersection over union of one class in two maps (H, W)."""
    # your code here


check(iou_of_class)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# Ten minutes each. Who is done early: how low can the mean IoU be while pixel accuracy stays above 0.90? (Without die and
# rose: accuracy 0.91, mean IoU 0.57. The large classes pay for the small ones.)
#
# The interesting wrong answer leaves out the pixels where the *prediction* says 255: ask who decides what is on the exam.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **A map is not a picture.** Make an image half as large, and four pixels become their mean. Do that to a map, and halfway
# between background (0) and teddy bear (4) lies ... glass (2). Class numbers are *names*: there is nothing between them.

# %%
halved = (drawn[::2, ::2] + drawn[1::2, ::2] + drawn[::2, 1::2] + drawn[1::2, 1::2]) / 4
halved = np.rint(halved).astype(int)
picked = drawn[::2, ::2]  # every second pixel, as it is: no new numbers
for name, map_ in [("mean of four", halved), ("every second", picked)]:
    print(f"{name}: {(map_ == 2).sum()} pixels of glass, {(map_ == 1).sum()} of rose")
figures.gallery(
    [legend[halved], legend[picked]],
    ["mean of four", "every second pixel"],
    ["rims that are no bear and no die: glass, rose", "classes that were there"],
    width=9,
)

# %% [markdown]
# For the same reason a map is never saved as JPEG: it makes up numbers. PNG keeps them.
#
# **255 forgotten.** No program ever says 255. Whoever forgets to take it out counts every unlabelled pixel as an error, and
# nothing warns them:

# %%
perfect = drawn
print(f"a perfect map, 255 left out: {metrics.pixel_accuracy(perfect, target, ignore_index=255):.2f}")
print(f"a perfect map, 255 forgotten: {metrics.pixel_accuracy(perfect, target):.2f}")

# %% [markdown]
# **A class that is not there.** Another picture has no die, and the map does not claim one. What is the IoU of nothing
# with nothing? 0 / 0, and every library has its own rule; ours can be told which. Always ask what a mean was taken over
# (lesson 12 shows how much hangs on it).

# %%
claimed, there = np.zeros((2, 4, 4), dtype=bool)  # no die in the map, none in the picture
print("rule 1:", metrics.iou(claimed, there, empty=1), "  rule 0:", metrics.iou(claimed, there, empty=0), end="")
print("   left out of the mean:", metrics.iou(claimed, there, empty="nan"))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. A map is an array of class numbers, as high and wide as the image; it names classes and does not tell one thing from
#    the next.
# 2. Pixels that nobody labelled (`ignore_index`, often 255) count neither for nor against.
# 3. Pixel accuracy measures mostly the background; IoU and Dice leave out what was rightly left alone, and so they see the
#    die.

# %% [markdown]
# So: are the two maps of the question equally good? Looked at with a measure that sees the die:

# %%
figures.gallery(
    [image, figures.overlay_image(image, no_die), figures.overlay_image(image, moved)],
    ["the table", "program A", "program B"],
    ["192 x 192 pixels"] + [f"IoU of the die: {iou_by_hand(map_, 3):.2f}" for map_ in (no_die, moved)],
)

# %% [markdown]
# ## Exit ticket

# %%
question("what-255-does")

# %%
question("two-bears")

# %%
question("tumour-share")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, section 5: pixel
#   accuracy, mean accuracy, mean IoU and frequency-weighted IoU, as this field has used them since.
# - M. Everingham et al.: *The PASCAL visual object classes challenge: a retrospective*, IJCV 111 (2015): why the challenge
#   scores segmentation by IoU, with the rims left unlabelled.
# - L. R. Dice: *Measures of the amount of ecologic association between species*, Ecology 26 (1945), 297-302. Where Dice
#   comes from: species that live together.
# - B. Wong: *Points of view: Color blindness*, Nature Methods 8 (2011), 441: the eight colours of our legends.

# %% [markdown]
# ## Further: one measure or two?
#
# Dice and IoU look like two opinions. They are one: from either follows the other, and both put two maps of one class
# in the same order.

# %%
for found, wrong in [(1, 9), (5, 5), (9, 1)]:
    iou, dice = found / (found + wrong), 2 * found / (2 * found + wrong)
    print(f"IoU {iou:.2f}   Dice {dice:.2f}   2 IoU / (1 + IoU) = {2 * iou / (1 + iou):.2f}")

# %% [markdown]
# For *one* class on *one* image. As soon as you take means, over classes or images, the two can disagree: lesson 12.
