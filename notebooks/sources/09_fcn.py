# %% [markdown] slideshow={"slide_type": "slide"}
# # 09 · FCN-32s, 16s, 8s
#
# **Deep layers know what it is. Shallow layers know where it ends. Ask both, and add up what they say.**
#
# 90 minutes. You need lessons 04 (fully convolutional), 05 (pooling), 07 (bilinear) and 08 (transposed convolution). No network
# connection, no GPU.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: before the lesson</b></summary>
#
# *Minutes:* recall 8, question and prediction 7, build 30, explorer 12, library 4, exercises 18, what goes wrong 6, exit
# ticket 5.
#
# *The one idea:* how fine a map can be is decided by how far apart its scores stand, not by how long they were learned. Scores
# that stand closer are there already, further up in the net; to add them costs almost nothing, if one knows where they lie.
#
# *What students get wrong:* "train it longer". Do not contradict: let them fit 180 numbers to the very picture, with the
# answer in hand. And they believe that a crop is a matter of sizes (half of what is too much at each end): it is a matter of
# places.
#
# *To bring:* a photograph under a pane of glass, and 36 coins to lay on it.
#
# </details>

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Recall
#
# Two questions on earlier lessons. Answer from memory, then *Commit*.

# %%
from minisegnet.course import check, exercise, hint, question, solution

question("recall-sixteen-scores")

# %%
question("recall-one-by-one")

# %% [markdown]
# ## What you will be able to do
#
# - **Explain** what limits how fine a map can be, and **show** it by an experiment.
# - **Build** a skip: scores from a shallower layer, brought to their place and added.
# - **Derive** the crop offsets of an FCN, the published 19; 5, 27; 5, 9, 31 among them, from its layers.
# - **Calculate** what a skip costs.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The question
#
# The lecture's table, and a fully convolutional net as Long, Shelhamer and Darrell published it in 2015, only smaller: five
# poolings down, a score for each class at every 32nd pixel, and bilinear interpolation up. It is called **FCN-32s**.

# %%
import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import data, explorers, figures, models, nn, optim
from minisegnet.explorers.fcn_nets import mistakes, net

table = data.scene(192, seed=0)
known = table.labels != data.IGNORE_INDEX


def as_input(scene):
    """Return a scene as a batch of one, (1, 3, H, W)."""
    return np.ascontiguousarray(scene.image.transpose(2, 0, 1)[None], dtype=np.float32) / 255


def colored(labels):
    """Return a map (H, W) in the colours of its classes."""
    return data.Scene(table.image, labels).colored()


def near_edges(labels):
    """Return in words how many of 100 pixels are wrong, of those within 4 pixels of an edge."""
    wrong, all_of_them, _, _ = mistakes(labels, table.labels)
    return f"{100 * wrong // all_of_them} of 100 wrong at edges"


coarse = net("32s")  # trained for 600 steps on 160 other tables
with ms.no_grad():
    found = coarse(as_input(table)).numpy()[0].argmax(axis=0)
figures.gallery(
    [table.image, table.colored(), colored(found)],
    ["the table", "the right map", "FCN-32s"],
    ["192 x 192", "white: unlabelled", near_edges(found)],
    width=11,
)

# %% [markdown]
# It knows what is on the table, and where about. But the bear has lost its ears, the rose its stem, and the die its corners.
# **What would you do to get finer edges?** Most people say: *train it longer.*

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Predict
#
# Very well, let us train it longer.

# %%
question("trained-twice-as-long")

# %%
question("knows-the-answer")

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the predictions</b></summary>
#
# For the second, lay a 6 by 6 grid of coins on a photograph: "You may write on each coin how sure it is of each class.
# Nothing else may be said about the picture." Where is the stem of the glass?
#
# Write the class's numbers on the board; they are taken up in *Who knows the answer*.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Build it: thirty-six scores
#
# First see what the net really says. Down it goes, as in lesson 05: a border of zeros, five stages that each halve the size,
# then what once were VGG's linear layers and became convolutions (lesson 04), then one score a class.

# %%
x = as_input(table)
with ms.no_grad():
    *features, pool5 = coarse.encoder(x)
    scores = coarse.head(coarse.bottleneck(pool5)).numpy()[0]  # (5, 6, 6)
print("image ", x.shape[2:])
for i, f in enumerate([*features, pool5], start=1):
    print(f"pool {i}", f.shape[1:])
print("scores", scores.shape, "=", scores.size, "numbers")

# %%
figures.gallery(
    [table.image, colored(scores.argmax(axis=0)), colored(found)],
    ["192 x 192", "the best class at 6 x 6", "interpolated"],
    width=11,
)

# %% [markdown]
# **180 numbers are all that it knows of this picture.** What follows knows nothing: stamps 64 wide and 32 apart, with bilinear
# weights (lesson 08). Rows and columns can be brought up one after the other, each by a matrix whose columns are the
# stamps.


# %%
def stamps(n, stride, crop, size=192):
    """Return the matrix (size, n) that brings n scores in a row up to pixels; ``crop`` pixels go at the beginning."""
    kernel = 2 * stride
    hill = 1 - np.abs(np.arange(kernel) - (kernel - 1) / 2) / stride  # bilinear: 1/4, 3/4, 3/4, 1/4 for stride 2
    matrix = np.zeros(((n - 1) * stride + kernel, n))
    for i in range(n):
        matrix[i * stride : i * stride + kernel, i] = hill
    return matrix[crop : crop + size]


up32 = stamps(6, stride=32, crop=16)
ours = (up32 @ scores @ up32.T).argmax(axis=0)
print("6 scores in a row become", 5 * 32 + 64, "pixels, cropped to", len(up32))
print("the same map as the net's:", f"{(ours == found).mean():.1%} of the pixels")

# %% [markdown]
# (Why 16 pixels are cropped at the top comes further below. It is the best part.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Who knows the answer
#
# Your first prediction: the same net, trained for 600 steps more. Your second: somebody who needs no net, because the *right
# map* is in front of them. They may set the 180 numbers as they like, and we help by gradient descent (lesson 03). The
# gradient of each pixel's scores is what was said minus what is right, and the matrix brings it down to the 36 places: turned
# round, as always.


# %%
def best_scores(n, stride, crop, steps=200):
    """Fit n x n scores a class to the right map of this one picture; return the map that they make."""
    up = stamps(n, stride, crop)
    right = np.stack([table.labels == k for k in range(5)]).astype(float)
    fitted, speed = np.zeros((5, n, n)), np.zeros((5, n, n))
    for _ in range(steps):
        said = np.exp(up @ fitted @ up.T)
        said /= said.sum(axis=0)
        gradient = up.T @ ((said - right) * known) @ up
        speed = 0.9 * speed - 8 / stride**2 * gradient
        fitted += speed
    return (up @ fitted @ up.T).argmax(axis=0)


with ms.no_grad():
    longer = net("32s, longer")(x).numpy()[0].argmax(axis=0)
cheat = best_scores(6, 32, 16)
maps = {"FCN-32s": found, "trained twice as long": longer, "knows the answer": cheat}
figures.gallery([colored(m) for m in maps.values()], list(maps), [near_edges(m) for m in maps.values()], width=11)

# %% [markdown]
# There it is. Twice the training brought one pixel of a hundred. And **whoever knows the right answer is no better**: they
# too lose the ears, because between two scores there is only a slope. The net has learned about as well as one *can* with 36
# places. It is not the training that is at its end, it is the grid. (The bar on the left of the third map lies on the ball,
# which nobody labelled, so that nothing there is wrong.)
#
# How would closer scores do? Let us cheat again, with twice and with four times as many along each side. (Their crops, 24 and
# 28, wait for the same explanation as the 16.)

# %%
for n, stride, crop in [(14, 16, 24), (30, 8, 28)]:
    wrong, all_of_them, _, _ = mistakes(best_scores(n, stride, crop), table.labels)
    print(f"scores every {stride:2d} pixels, {n} x {n}: {wrong / all_of_them:.0%} wrong at edges, at best")

# %% [markdown]
# (*At best* is nearly true: descent makes the loss small, not the count; with more steps a few pixels change.) Long and
# others did the same with the labels of PASCAL VOC, brought down and up again: a mean IoU of at most 86.1 with scores every
# 32 pixels, 92.8 with 16, 96.4 with 8. So closer scores are worth having. Where do we get them?

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: who knows the answer</b></summary>
#
# This is the misconception of the lesson, and its strongest minute: stop after the three pictures, and ask what a better
# graphics card would change.
#
# *Ask:* does this mean that training does not matter? (No. At every 16th and every 8th pixel nets are far from their best:
# there training still helps. It means that one should know *which* of the two is at its end.)
#
# *A fair objection:* a net could be trained to say sharper things with the same places, larger scores. So could the one who
# knows the answer: they are fitted too.
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Ask pool 4
#
# On its way down the net had 16 x 16 places: pool 4, with 32 channels. They were computed, pooled, and forgotten. Let us ask
# them: a 1x1 convolution gives five scores at each place, **165 numbers** to learn. The deep scores come up by 2, and both
# are added. A connection that passes by the layers in between is called a **skip**.

# %%
finer = models.FCN.from_coarser(coarse).eval()  # the same trained layers, and a skip from pool 4 that begins at 0
raise_2, ask_pool4, raise_16 = finer.upsample[0], finer.skip_heads[0], finer.upsample[1]


def look(pictures):
    """Return the deep scores, brought up by 2, and the channels of pool 4 at the same places."""
    with ms.no_grad():
        _, _, _, pool4, pool5 = finer.encoder(pictures)
        deep = raise_2(finer.head(finer.bottleneck(pool5)))
    return deep, ms.tensor(pool4.numpy()[:, :, 1:15, 1:15].copy())  # 14 of 16: why from 1 on comes below


def to_pixels(scores):
    """Bring scores every 16 pixels up to the image."""
    return raise_16(scores)[:, :, 24 : 24 + 192, 24 : 24 + 192]


deep, pool4 = look(x)
print("deep, up by 2:", deep.shape[1:], "  scores of pool 4:", ask_pool4(pool4).shape[1:])
print("it learns", ask_pool4.weight.numel() + ask_pool4.bias.numel(), "numbers")

# %%
question("zero-at-first")


# %%
def label(deep, pool4):
    """Return the map that the sum of both scores makes."""
    with ms.no_grad():
        return to_pixels(deep + ask_pool4(pool4)).numpy()[0].argmax(axis=0)


before = label(deep, pool4)
print(f"the same as FCN-32s before training: more than 95%: {(before == found).mean() > 0.95}")

# %% [markdown]
# Good: a skip that begins at zero does no harm. Now let those 165 numbers learn from eight other tables, 40 steps. **All the
# rest of the net stays as it is.**

# %%
lessons = list(data.scenes(8, seed=3, size=192))
deep_seen, pool4_seen = look(np.stack([as_input(s)[0] for s in lessons]))
targets = np.stack([s.labels for s in lessons])
optimizer = optim.Adam(ask_pool4.parameters(), lr=0.1)
for _ in range(40):
    optimizer.zero_grad()
    predicted = to_pixels(deep_seen + ask_pool4(pool4_seen))
    F.cross_entropy(predicted, targets, ignore_index=data.IGNORE_INDEX).backward()
    optimizer.step()

after = label(deep, pool4)
wrong = [int((m != table.labels)[known].sum()) for m in (found, longer, after)]
print("165 numbers in two seconds: at least a tenth fewer errors:", wrong[2] < 0.9 * wrong[0])
learned = sum(p.numel() for p in coarse.parameters() if p.requires_grad)
print(f"better than 600 steps more for all {learned:,} numbers of the 32s:", wrong[2] < wrong[1])
figures.gallery(
    [colored(before), colored(after), table.colored()], ["before", "165 numbers later", "the right map"], width=11
)

# %% [markdown]
# The die has its corner back, ears begin to show, and the rose stays in the picture. What pool 4 knew was enough to beat the
# long training, and not one number of the old net was touched. It gets better if the other layers may move as well, in small
# steps. That is how the published nets were made, and ours: the 16s begins where the 32s stands, and the 8s, with one more
# skip from pool 3, where the 16s stands.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### What and where
#
# In the trained FCN-16s, look at both sides before they are added.

# %%
sixteen = net("16s")
with ms.no_grad():
    *features, pool5 = sixteen.encoder(x)
    from_deep = sixteen.upsample[0](sixteen.head(sixteen.bottleneck(pool5)))
    from_pool4 = sixteen.skip_heads[0](features[3])[:, :, 1:15, 1:15]
    sides = {"deep alone": from_deep, "pool 4 alone": from_pool4, "the sum": from_deep + from_pool4}
    sides = {name: to_pixels(s).numpy()[0].argmax(axis=0) for name, s in sides.items()}
figures.gallery([colored(m) for m in sides.values()], list(sides), [near_edges(m) for m in sides.values()], width=11)

# %% [markdown]
# Pool 4 alone is a poor witness: it sees little around itself (lesson 05), and takes the glass for a rose and the bear's arm
# for another. But look at the ears and at the lower corner of the die. The deep scores know better what it is, and have no
# place to say where. The sum is better than either, and even the rose has got some of its stem. **A score is a vote:**
# where one side is sure, the other cannot outvote it; where it wavers, and that is near edges, the other decides.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Where does a pixel lie?
#
# Twice we cut without a reason: `1:15` from pool 4, `24 : 216` at the end. In the published files stand **19** for FCN-32s,
# **5** and **27** for 16s, **5, 9** and **31** for 8s, found by hand. They can be derived, and then you can build nets of
# other sizes.
#
# The thought: each value stands for the *middle* of what it has read. Follow the middles.

# %%
question("middle-of-a-pool")

# %% [markdown]
# A window of K that begins P pixels before the picture has its middle at (K - 1)/2 - P. If the layer's own pixels are a *step*
# of several image pixels apart, that counts in steps. Here are all layers of the published net that move anything (a 3x3
# convolution with padding 1 moves nothing: 1 - 1 = 0). Its first convolution has a padding of 100, so that even small
# pictures leave something for the 7x7 kernel at the end.


# %%
def down(first, step, kernel, stride, padding):
    """Return where pixel 0 lies, and how far apart pixels are, after one more layer."""
    return first + step * ((kernel - 1) / 2 - padding), step * stride


layers = [("conv 1", 3, 1, 100), *((f"pool {i}", 2, 2, 0) for i in range(1, 6)), ("fc6", 7, 1, 0)]
place, places = (0, 1), {}
for name, *numbers in layers:
    place = places[name] = down(*place, *numbers)
    print(f"{name:7s} pixel 0 lies at {place[0]:6.1f} of the image, the next one {place[1]:2d} further")

# %% [markdown]
# So the first score stands at 12.5. Now up by 32: a stamp 64 wide has its middle 31.5 after its beginning. The first stamp's
# middle lies at 12.5, so its first pixel lies at 12.5 - 31.5 = **-19**: nineteen pixels before the image. They are cropped.
#
# In general a transposed convolution is the way down turned round: the step is divided by the stride, and pixel 0 moves *back*.


# %%
def up(first, step, kernel, stride):
    """Return the same after a transposed convolution."""
    step = step / stride
    return first - step * (kernel - 1) / 2, step


print("FCN-32s: up by 32 begins at", up(*places["fc6"], 64, 32)[0])
twice = up(*places["fc6"], 4, 2)
print("FCN-16s: up by 2 begins at", twice[0], " pool 4 at", places["pool 4"][0], " both 16 apart")
print("         so pool 4 is cropped by", (twice[0] - places["pool 4"][0]) / 16)
print("         and up by 16 begins at", up(*twice, 32, 16)[0])

# %% [markdown]
# 19; 5 and 27. The numbers of 8s you will derive yourself, with a function that works for any net. Ours has a padding of 33 and
# an fc6 of 3 x 3; that makes 1 and 24, which we used above.
#
# Such a thing should be *seen* once. Here is a net so small that it fits on the page: 16 pixels, a 3x3 convolution with
# padding 3, two poolings, and up by 4 with a kernel of 8. A mark stands where a pixel has its middle.

# %%
small = {"image": (0, 1), "conv": down(0, 1, 3, 1, 3)}
small["pool 1"] = down(*small["conv"], 2, 2, 0)
small["pool 2"] = down(*small["pool 1"], 2, 2, 0)
small["up by 4"] = up(*small["pool 2"], 8, 4)
for (name, (first, step)), count in zip(small.items(), (16, 20, 10, 5, 24), strict=True):
    line = [" "] * 52
    for i in range(count):
        place = first + i * step
        line[int(2 * (place + 5))] = "o" if 0 <= place <= 15 or name == "image" else "x"
    print(f"{name:8s}", "".join(line).rstrip())
print("pixels before the image, to be cropped:", int(-small["up by 4"][0]))

# %% [markdown]
# Pixels of the finer map stand on pixels of the image again, and four of them too early (`x`): the crop. How many too many
# there are at the *end* is of no interest; they are dropped.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### What if it is one off?
#
# Every crop has the right *size*, so a wrong one runs without a word. We shift the last crop of FCN-16s by a few pixels, and
# then the skip's by a single one, which is 16 pixels of the image.

# %%
with ms.no_grad():
    joined = from_deep + from_pool4
    whole = raise_16(joined).numpy()[0]
    all_of_pool4 = sixteen.skip_heads[0](features[3])
    shifted = to_pixels(from_deep + all_of_pool4[:, :, 2:16, 2:16]).numpy()[0].argmax(axis=0)
wrong_at = {}
for off in range(-6, 7, 2):
    labels = whole[:, 24 + off : 216 + off, 24 + off : 216 + off].argmax(axis=0)
    wrong_at[off] = (labels != table.labels)[known].mean()
    print(f"crop {24 + off}: {wrong_at[off]:4.0%} wrong", chr(9608) * round(200 * wrong_at[off]))
print(f"skip cropped by 2 instead of 1: {(shifted != table.labels)[known].mean():.0%} wrong")
assert min(wrong_at, key=wrong_at.get) == 0
off_by_6 = whole[:, 30:222, 30:222].argmax(axis=0)
figures.gallery(
    [
        figures.error_image(table.image, table.labels, m, ignore_index=data.IGNORE_INDEX)
        for m in (off_by_6, sides["the sum"], shifted)
    ],
    ["last crop 6 off", "as derived", "skip's crop 1 off"],
    width=11,
)

# %% [markdown]
# (Orange: a thing that is not there. Yellow: a thing that was missed. Purple: the wrong thing.) The best crop is the one that
# was derived, and nothing had to be tried out. And nobody would have been told: no error and no warning, only a worse map.

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: where pixels lie</b></summary>
#
# Draw a row of eight pixels on the board, with a tick in the middle of each, and number the *ticks* from 0. Pool twice; where
# are the ticks now? (0.5 and 2.5 and ...; then 1.5 and 5.5.) Half pixels confuse only those who number the gaps.
#
# *Ask:* why is the step multiplied on the way down, but divided *first* on the way up? (Down, a window counts the pixels
# that it reads. Up, a stamp counts those that it writes.)
#
# *Ask:* what does a 2x2 convolution with stride 1 and no padding do to a net? (It moves everything by half a pixel: no whole
# crop can mend it. The library says so.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ### Three outputs, one scene

# %%
outputs = {}
for name in ("32s", "16s", "8s"):
    with ms.no_grad():
        outputs[f"FCN-{name}"] = net(name)(x).numpy()[0].argmax(axis=0)
figures.gallery(
    [table.image, *(colored(m) for m in outputs.values())],
    ["the table", *outputs],
    ["192 x 192", *(near_edges(m) for m in outputs.values())],
    columns=4,
    width=12,
)

# %% [markdown]
# The ears, the corners, and at last the stem in the glass: each skip brings a share of them. And "finer output only needs
# more training" can now be settled by a table. *32s, longer* had just as many steps as *8s*. Forty other tables, two seeds:

# %%
print("                steps   wrong near edges     mean IoU")
for name, steps in [("32s", 600), ("32s, longer", 1200), ("16s", 900), ("8s", 1200)]:
    (seeds,) = net(name).about["scores"].values()
    near, iou = ([seed[key] for seed in seeds] for key in ("wrong_near_edges", "iou"))
    print(f"FCN-{name:12s} {steps:4d}   {near[0]:8.1%} {near[1]:8.1%}   {iou[0]:.3f} {iou[1]:.3f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Explore
#
# **FCN-8s was trained for twice as many steps as 32s: would 32s be as fine after as many?** Choose *32s, longer*, show the
# *errors*, and compare with *8s*; then play through the scenes. Below the maps stands each net's way up: say which crop it
# takes, before you read it.

# %%
explorers.fcn_skips()

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the explorer</b></summary>
#
# Press *projector*. Begin with *coarse scores* and 32s: count the places on the bear. Then 16s and 8s.
#
# *Ask* of the row below: what does pool 3 say *alone*? (Little that is right; many edges.) Why is the sum better than the sum
# before it only near edges?
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The same by the library
#
# `models.FCN` is this net, at any width. `net.crops` are its crops, derived from its layers; `shapes` has our two rules as
# `CoordinateMap`, in exact fractions.

# %%
from minisegnet.explorers.fcn_nets import published_crops
from minisegnet.shapes import CoordinateMap, crop_offset

with ms.no_grad():
    by_the_library = sixteen(x).numpy()
    by_hand = to_pixels(joined).numpy()
assert np.allclose(by_the_library, by_hand, atol=1e-4)

score = CoordinateMap.through_layers([numbers for _, *numbers in layers])
assert (score.offset, score.scale) == places["fc6"]
assert crop_offset(score.after(CoordinateMap.transposed(64, 32)), reference=CoordinateMap()) == 19
for stride in (32, 16, 8):
    print(f"FCN-{stride}s as published: crops", *published_crops(stride))

# %% [markdown] slideshow={"slide_type": "slide"}
# ### As published
#
# A picture of 500 pixels on its way through the published nets. (Their poolings round *up*: 175 rows become 88.)

# %%
size = 500 + 2 * 100 - 2
row = [size]
for _ in range(5):
    size = -(-size // 2)  # rounded up
    row.append(size)
print("conv 1 and five pools:", *row, "  fc6:", size - 6)
at_32 = size - 6
at_16 = 2 * at_32 + 2
at_8 = 2 * at_16 + 2
print("up to pixels: 32s", (at_32 - 1) * 32 + 64, "  16s", (at_16 - 1) * 16 + 32, "  8s", (at_8 - 1) * 8 + 16)

# %% [markdown]
# And what the skips cost: VGG16's thirteen convolutions, two layers of 4,096, and 21 classes.

# %%
pairs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
pairs += [(256, 512), (512, 512), (512, 512), (512, 512), (512, 512), (512, 512)]
trunk = sum(9 * c * o + o for c, o in pairs)
total = trunk + (49 * 512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 21
for name, more, iou in [("32s", 0, 59.4), ("16s", (512 + 1) * 21, 62.4), ("8s", (256 + 1) * 21, 62.7)]:
    total += more
    print(f"FCN-{name:3s} {total:,} parameters, {more:6,} more   mean IoU on VOC 2011: {iou}")

# %% [markdown]
# Three points for 10,773 numbers in 134 million: hardly ever was anything bought so cheaply. The next skip brings 0.3, and
# there the paper stops. (What is still missing is not all a matter of the grid: compare with the 96.4 above.)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Exercises
#
# First the crops: with your function you derive all published ones, also 5, 9 and 31, and `check` lets it crop the trained
# FCN-8s. Then the skip itself, put into the trained net.

# %%
exercise("crop-offset")


# %%
def crop(layers, reference):
    """Return how many pixels go at the top of the map behind ``layers``, so that it begins where that of ``reference`` does."""
    # your code here


check(crop)

# %%
# hint()
# solution()

# %%
exercise("add-skip")


# %%
def add_skip(coarse, up, skip, crop):
    """Bring coarse scores (N, K, H, W) up by 2 with weights (K, K, 4, 4), crop the skip's to their size, and add."""
    # your code here


check(add_skip)

# %% [markdown] slideshow={"slide_type": "notes"}
# <details><summary><b>For the teacher: the exercises</b></summary>
#
# `crop-offset` takes ten minutes, most of them for following two lists instead of one; `add-skip` takes five. Who is done
# early: which paddings between 1 and 100 give FCN-32s a whole crop? (All: the padding moves whole pixels.) And which is the
# least with which the crop is not negative? (81: then it is 0. The library's own check says the same.)
#
# </details>

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What goes wrong in practice
#
# **Cropping in the middle.** "544 are 44 too many, so cut 22 at each end": a tempting thought. But sizes say nothing about
# places. And as poolings round up, what is too much changes from picture to picture:

# %%
middles = []
for n in range(480, 512):
    scores_in_a_row = -(-(n + 198) // 32) - 6
    middles.append(((scores_in_a_row - 1) * 32 + 64 - n) // 2)
print("cropped in the middle, sides 480 to 511:", min(middles), "to", max(middles), "  derived: 19 for all of them")

# %% [markdown]
# **A skip that begins by dice.** A net that already works gets random votes added. We throw the 165 numbers, instead of
# beginning at 0:

# %%
rng = np.random.default_rng(0)
ask_pool4.weight.data = ms.tensor(0.5 * rng.standard_normal(ask_pool4.weight.shape).astype(np.float32))
errors = [(m != table.labels)[known].mean() for m in (found, label(deep, pool4))]
print("more than twice as many errors as without the skip:", errors[1] > 2 * errors[0])

# %% [markdown]
# **A number that hides it.** How much did the skips bring, if you ask for pixel accuracy (lesson 01)?

# %%
for name, m in outputs.items():
    print(f"{name:8s} pixel accuracy {(m == table.labels)[known].mean():.0%}  ", near_edges(m))

# %% [markdown]
# Edges are few pixels, so their share in the whole is small. Whoever compares nets by pixel accuracy will not see what a skip
# is good for; the paper gives three more numbers beside it, and one of them is the mean IoU.

# %% [markdown] slideshow={"slide_type": "slide"}
# ### The question's answer

# %%
shown = {"32s": found, "32s, twice as long": longer, "16s": outputs["FCN-16s"], "8s": outputs["FCN-8s"]}
figures.gallery(
    [figures.error_image(table.image, table.labels, m, ignore_index=data.IGNORE_INDEX) for m in shown.values()],
    [f"FCN-{name}" for name in shown],
    [near_edges(m) for m in shown.values()],
    columns=4,
    width=12,
)

# %% [markdown]
# What would you do to get finer edges? Not train it longer: it had used up its 36 places. Add scores from layers that still
# have more of them, at the place where they belong.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Three sentences to remember
#
# 1. How fine a map can be is limited by how far apart its scores stand; no training puts an edge between two of them.
# 2. A skip is a 1x1 convolution on a shallower layer: its scores are added to those from the deep, which come up by 2, and it
#    begins at zero.
# 3. Where a pixel lies follows from the layers, down (K - 1)/2 - P further in steps, up back again; that, and not the sizes,
#    says where to crop.

# %% [markdown]
# ## Exit ticket

# %%
question("thin-cables")

# %%
question("weights-of-a-skip")

# %%
question("crop-of-a-small-net")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Papers
#
# - J. Long, E. Shelhamer, T. Darrell: *Fully convolutional networks for semantic segmentation*, CVPR 2015, section 4.2: the
#   skips; section 5: the results; in the long form, arXiv 1411.4038, appendix A has the upper bounds by scale.
# - E. Shelhamer, J. Long, T. Darrell: the same title, IEEE Transactions on Pattern Analysis and Machine Intelligence 39 (2017),
#   section 4.3, with all skips trained at once, each scaled by a fixed number instead of in stages.
# - M. Siam and others: *RTSeg: real-time semantic segmentation comparative study*, arXiv 1803.02758 (2018), section 2: the
#   lecture's reference calls this decoder SkipNet; lesson 13 comes back to it.
#
# ## Further
#
# - *Without going down so far:* the dilated convolution of lesson 06 keeps the scores close together instead: L.-C. Chen and
#   others, *DeepLab*, arXiv 1606.00915 (2016), section 3.1.
# - *Features instead of scores:* what if the whole of a shallower layer goes across, and not five votes? That is lesson 10.
# - *Four nets in ten minutes:* `python scripts/train_fcn_nets.py` trains all nets of this lesson again.
