"""What the tests of captured steps train: small networks, a few batches, all optimizers and losses."""

import numpy as np

import minisegnet as ms
import minisegnet.functional as F
from minisegnet import losses, nn, optim, training

CLASSES = 4
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.1, weight_decay=1e-3),
    "Nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, 0.02, weight_decay=1e-2),
    "AdamW": lambda p: optim.AdamW(p, 0.02),
}
CHOSEN = np.array([1.0, 2.0, 0.5, 1.5])
LOSSES = {
    "cross entropy": F.cross_entropy,
    "weighted": losses.CrossEntropyLoss(weight=CHOSEN),
    "ignored": losses.CrossEntropyLoss(ignore_index=1),
    "smooth": losses.CrossEntropyLoss(weight=CHOSEN, label_smoothing=0.1),
    "combined": losses.CombinedLoss(),
    "focal": losses.FocalLoss(weight=CHOSEN),
    "nll": lambda x, y: F.nll_loss(F.log_softmax(x, 1), y, weight=CHOSEN),
}


def batches(count, size=6, images=2, seed=0):
    rng = np.random.default_rng(seed)
    shape = images, 3, size, size
    return [
        (rng.standard_normal(shape).astype(np.float32), rng.integers(0, CLASSES, (images, size, size)))
        for _ in range(count)
    ]


def there(batch):
    return tuple(ms.to_device(part, "cuda") for part in batch)


def small_net(dropout=0.0):
    ms.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Conv2d(4, CLASSES, 1)).to("cuda").train()


def made(optimizer="Adam", loss=F.cross_entropy, clip=None, net=small_net):
    model = net()
    return training.CapturedStep(model, loss, OPTIMIZERS[optimizer](model.parameters()), clip)


def everything(step):
    """Return all numbers of a model and its optimizer, on the CPU."""
    memory = step.optimizer.state_dict()["state"]
    kept = {f"{i}.{name}": value for i, of in memory.items() for name, value in of.items()}
    return {name: np.array(ms.to_device(array, "cpu")) for name, array in step.model.state_dict().items()} | kept


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


def fitted(capture, train, optimizer="Adam", net=small_net, scheduler=True, **options):
    model = net()
    opt = OPTIMIZERS[optimizer](model.parameters())
    given = {"loss": F.cross_entropy, "scheduler": optim.StepLR(opt, 1, 0.9) if scheduler else None, "epochs": 2}
    given |= {"device": "cuda", "progress": False, "capture": capture, **options}
    history = training.fit(model, train, optimizer=opt, **given)
    return everything(training.CapturedStep(model, F.cross_entropy, opt)), history
