"""Lesson 01: measures of a map, pixels that nobody labelled left out."""

from ..checking import Exercise, Misconception


def accuracy_of_labelled(prediction, target, ignore_index):
    """Return the share of right pixels among those that have a label, for two maps (H, W)."""
    known = target != ignore_index  # (H, W) bool: the pixels that somebody labelled
    return (prediction[known] == target[known]).mean()


def _maps(rng):
    # 255 as in the lecture, 0 as in data sets whose "void" comes first: there a prediction can hold it as well.
    cases = []
    for size, ignored in (((4, 6), 255), ((7, 5), 0), ((1, 8), 255), ((9, 9), 0)):
        target, prediction = rng.integers(0, 4, size), rng.integers(0, 4, size)
        copied = rng.random(size) < 0.5
        prediction[copied] = target[copied]
        target[rng.random(size) < 0.3] = ignored
        target[0, :2], prediction[0, :2] = (1, ignored), (1, 3)
        prediction[0, 2], target[0, 2] = 0, 2
        cases.append((prediction, target, ignored))
    return cases


ACCURACY = Exercise(
    name="accuracy-of-labelled",
    title="pixel accuracy that leaves out what nobody labelled",
    task="""`prediction` and `target` are maps (H, W) of whole numbers. Where `target` holds `ignore_index`, nobody knows what
is right: these pixels do not count, neither for nor against. Return the share of right pixels among the others.
(In some data sets `ignore_index` is 255, in some 0.)""",
    solve=accuracy_of_labelled,
    cases=_maps,
    hints=(
        "A share is a count divided by a count. Which pixels may be in the first count, and which in the second?",
        "`known = target != ignore_index` is a map of bools. `target[known]` is the list of the labels that count.",
        "`(prediction[known] == target[known])` is a list of bools, and the mean of bools is the share of the true ones.",
    ),
    misconceptions=(
        Misconception(
            "unlabelled pixels count like all others",
            lambda prediction, target, ignore_index: (prediction == target).mean(),
            "You compare all pixels, also those that nobody labelled. Take out the pixels whose target is `ignore_index`, "
            "in both maps, before you compare.",
        ),
        Misconception(
            "divided by all pixels",
            lambda prediction, target, ignore_index: (
                ((prediction == target) & (target != ignore_index)).sum() / target.size
            ),
            "You count the right ones among the labelled pixels, but divide by *all* pixels: then even a perfect map stays "
            "below 1. Divide by how many are labelled.",
        ),
        Misconception(
            "unlabelled pixels count as right",
            lambda prediction, target, ignore_index: ((prediction == target) | (target == ignore_index)).mean(),
            "You count unlabelled pixels as right ones. That is a present: they count neither for nor against.",
        ),
        Misconception(
            "the prediction decides what counts",
            lambda prediction, target, ignore_index: (
                (prediction == target)[prediction != ignore_index].sum() / (prediction != ignore_index).sum()
            ),
            "You leave out pixels where the *prediction* is `ignore_index`. Which pixels count is for the people to say who "
            "drew the target; otherwise a program could leave out what it finds hard.",
        ),
        Misconception(
            "a count",
            lambda prediction, target, ignore_index: ((prediction == target) & (target != ignore_index)).sum(),
            "That is how *many* are right. Divide by how many are labelled.",
        ),
    ),
    praise="Right pixels over labelled pixels: what nobody knows counts neither for nor against.",
)


def iou_of_class(prediction, target, label):
    """Return intersection over union of one class in two maps (H, W)."""
    found, true = prediction == label, target == label
    return (found & true).sum() / (found | true).sum()


def _classes(rng):
    cases = []
    for size, label in (((4, 6), 1), ((7, 5), 2), ((1, 9), 0), ((12, 12), 3)):
        target, prediction = rng.integers(0, 4, size), rng.integers(0, 4, size)
        copied = rng.random(size) < 0.4
        prediction[copied] = target[copied]
        # One hit, two missed and one false alarm at least, so that no two measures agree.
        target[0, :4] = label, label, label, (label + 1) % 4
        prediction[0, :4] = label, (label + 1) % 4, (label + 2) % 4, label
        cases.append((prediction, target, label))
    return cases


IOU = Exercise(
    name="iou-of-class",
    title="intersection over union of one class",
    task="""Two maps (H, W) and one class, `label`. Return its IoU: how many pixels have the label in *both* maps, divided by how
many have it in *at least one*. (At least one has.)""",
    solve=iou_of_class,
    cases=_classes,
    hints=(
        "Make two sets of pixels first: where the prediction says `label`, and where the target does.",
        "`&` is true where both are, `|` where at least one is. `.sum()` counts the true ones.",
        "`found, true = prediction == label, target == label`, then `(found & true).sum() / (found | true).sum()`.",
    ),
    misconceptions=(
        Misconception(
            "the overlap counted twice below",
            lambda prediction, target, label: (
                ((prediction == label) & (target == label)).sum()
                / ((prediction == label).sum() + (target == label).sum())
            ),
            "Below the line you add the two sizes, so that the overlap is in it *twice*: a perfect map would get 0.5. "
            "The union counts each pixel once, with `|`.",
        ),
        Misconception(
            "that is Dice",
            lambda prediction, target, label: (
                2
                * ((prediction == label) & (target == label)).sum()
                / ((prediction == label).sum() + (target == label).sum())
            ),
            "That is Dice: twice the overlap over the sum of the sizes. IoU divides the overlap by the union.",
        ),
        Misconception(
            "pixel accuracy of one class",
            lambda prediction, target, label: ((prediction == label) == (target == label)).mean(),
            'You count all pixels on which the two agree, also the many where *both* say "not this class". That is pixel '
            "accuracy, and the reason why a lazy program scores well.",
        ),
        Misconception(
            "false alarms go free",
            lambda prediction, target, label: (
                ((prediction == label) & (target == label)).sum() / (target == label).sum()
            ),
            "You divide by the size of the target's class: false alarms cost nothing, and a map that says `label` "
            "everywhere would get 1. Divide by the union.",
        ),
        Misconception(
            "what is missed goes free",
            lambda prediction, target, label: (
                ((prediction == label) & (target == label)).sum() / (prediction == label).sum()
            ),
            "You divide by the size of what was found: what is missed costs nothing, and a single right pixel would get 1. "
            "Divide by the union.",
        ),
        Misconception(
            "the label is not looked at",
            lambda prediction, target, label: (prediction == target).mean(),
            "Your answer does not depend on `label`: it is the pixel accuracy of the whole map. Begin with "
            "`prediction == label` and `target == label`.",
        ),
    ),
    praise="Both over at least one: a measure that the background cannot flatter.",
)

EXERCISES = (ACCURACY, IOU)
