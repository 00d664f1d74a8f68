"""The whole step as a CUDA graph: the same bits as step by step, whatever changes between steps."""

import numpy as np
import pytest
from gpu.graph_cases import (
    CLASSES,
    LOSSES,
    OPTIMIZERS,
    assert_same,
    batches,
    everything,
    fitted,
    made,
    small_net,
    there,
)

import minisegnet as ms
from minisegnet import models, nn
from minisegnet.models.shufflenet import ShuffleUnit


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_captured_training_gives_the_same_bits(launches, optimizer, clip):
    train = batches(6)
    expected, before = fitted(False, train, optimizer, clip=clip)
    assert not launches
    found, history = fitted("auto", train, optimizer, clip=clip)
    assert len(launches) == 10  # of 12 steps, the first two warm up
    assert len(set(map(id, launches))) == 1
    assert_same(found, expected)
    assert (history.loss, history.grad_norm, history.lr) == (before.loss, before.grad_norm, before.lr)
    assert len(set(history.lr)) == 12


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_gives_the_same_bits(launches, loss):
    train = batches(5)
    expected, before = fitted(False, train, loss=LOSSES[loss], epochs=1)
    found, history = fitted(True, train, loss=LOSSES[loss], epochs=1)
    assert len(launches) == 3
    assert_same(found, expected)
    assert history.loss == before.loss


def test_a_weight_for_each_pixel_comes_with_the_batch(launches):
    rng = np.random.default_rng(3)
    train = [(x, y, rng.uniform(0, 2, y.shape)) for x, y in batches(5)]
    expected, before = fitted(False, train, epochs=1)
    found, history = fitted(True, train, epochs=1)
    assert len(launches) == 3
    assert_same(found, expected)
    assert history.loss == before.loss


@pytest.mark.parametrize(
    "net",
    [
        lambda: models.UNet(3, CLASSES, 2, 1, dropout=0.3),
        lambda: models.SegNet(3, CLASSES, (4,), (1,)),
        lambda: models.DeepLab(3, CLASSES, "resnet18", 0.0625, 8, "v3", channels=4),
        lambda: nn.Sequential(nn.Conv2d(3, 8, 1), ShuffleUnit(8, 24, 2, dilation=2), nn.Conv2d(24, CLASSES, 1)),
    ],
)
def test_whole_networks(launches, net):
    def moved():
        ms.manual_seed(0)
        return net().to("cuda")

    train = batches(4, size=16)
    expected, before = fitted(False, train, net=moved, epochs=1)
    found, history = fitted(True, train, net=moved, epochs=1)
    assert len(launches) == 2
    assert_same(found, expected)
    assert history.loss == before.loss


def test_dropout_draws_anew_in_every_step(launches):
    train = batches(1) * 6
    expected, before = fitted(False, train, net=lambda: small_net(0.5), epochs=1)
    state = ms.random.get_state()
    found, history = fitted(True, train, net=lambda: small_net(0.5), epochs=1)
    assert len(launches) == 4
    assert_same(found, expected)
    assert history.loss == before.loss
    assert ms.random.get_state() == state


def test_a_smaller_last_batch_runs_plainly(launches):
    train = [*batches(4), *batches(1, images=1)]
    expected, before = fitted(False, train)
    found, history = fitted(True, train)
    assert len(launches) == 2 + 4
    assert_same(found, expected)
    assert history.loss == before.loss


def test_what_changes_between_steps_is_seen(launches):
    train = [there(b) for b in batches(8)]

    def taken(capture):
        step, seen = made("SGD"), []
        for i, (x, y) in enumerate(train):
            if i == 5:
                step.optimizer.param_groups[0]["lr"] = 0.7
            if i == 6:  # the model's arrays are new ones
                step.model.load_state_dict({k: 0.9 * v for k, v in step.model.state_dict().items()})
            if not capture:
                step.release()
                step._seen = 0
            seen.append(float(step(x, y)))
        return seen, everything(step)

    plain, expected = taken(False)
    assert not launches
    seen, found = taken(True)
    assert len(launches) == 4  # of 2 to 5: then it warms up anew
    assert seen == plain
    assert_same(found, expected)


def test_the_mode_and_what_learns_are_seen(launches):
    step = made()
    x, y = there(batches(1)[0])
    for _ in range(4):
        step(x, y)
    assert len(launches) == 2
    step.model.eval()
    before = everything(step)
    step(x, y)
    assert not step.captured
    np.testing.assert_array_equal(everything(step)["1.running_mean"], before["1.running_mean"])
    for _ in range(3):
        step(x, y)
    assert step.captured
    step.model[0].weight.requires_grad = False
    before = everything(step)
    step(x, y)
    np.testing.assert_array_equal(everything(step)["0.weight"], before["0.weight"])


def test_another_precision_is_seen(launches):
    step = made()
    x, y = there(batches(1)[0])
    try:
        for precision in ("highest", "high"):
            ms.set_float32_matmul_precision(precision)
            step(x, y)
            assert not step.captured
            for _ in range(3):
                step(x, y)
            assert step.captured
    finally:
        ms.set_float32_matmul_precision("highest")


def test_resuming_from_a_checkpoint(launches, tmp_path):
    train = batches(4)
    whole, history = fitted(True, train, net=lambda: small_net(0.3), epochs=3)
    path = tmp_path / "run.safetensors"
    fitted(True, train, net=lambda: small_net(0.3), epochs=3, steps=7, checkpoint=path, checkpoint_seconds=0)
    launches.clear()
    resumed, again = fitted(True, train, net=lambda: small_net(0.3), epochs=3, checkpoint=path, resume=True)
    assert len(launches) == 3
    assert_same(resumed, whole)
    assert again.loss == history.loss


def test_gradients_can_be_looked_at_after_a_captured_step(launches):
    step, sound, train = made(), made(), [there(b) for b in batches(4)]
    for batch in train:
        step(*batch)
        sound.release()
        sound._seen = 0
        sound(*batch)
    for p, q in zip(step.model.parameters(), sound.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad.data.get(), q.grad.data.get())
