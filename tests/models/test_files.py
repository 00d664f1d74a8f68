"""Networks on disk: what is saved comes back, and a file that lies about itself costs neither memory nor time."""

import json
import os
import random

import numpy as np
import pytest

from minisegnet import __version__, models, nn, storage
from minisegnet.models import laptop


def test_models_on_disk(tmp_path, rng):
    net = models.UNet(3, 2, base_channels=3, depth=2, dropout=0.25)
    net(rng.random((2, 3, 16, 16), dtype=np.float32))
    path = tmp_path / "net.safetensors"
    net.save(path, about={"dice": 0.9})
    again = models.load(path)
    assert not again.training
    assert again.config == net.config
    assert again.about == {"dice": 0.9}
    x = rng.random((1, 3, 16, 16), dtype=np.float32)
    np.testing.assert_array_equal(again(x).data, net.eval()(x).data)
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_files_that_are_not_our_models(tmp_path):
    net = models.UNet(3, 2, base_channels=3, depth=1)
    path = tmp_path / "net.safetensors"

    def write(**changes):
        metadata = {"format": "minisegnet-model-1", "architecture": "UNet", "config": json.dumps(net.config), **changes}
        storage.save_safetensors(path, net.state_dict(), metadata)

    write(format="other")
    with pytest.raises(ValueError, match=r"net.safetensors: not a model written by minisegnet"):
        models.load(path)
    write(architecture="os.system")
    with pytest.raises(ValueError, match=r"unknown architecture 'os.system'"):
        models.load(path)
    for config in (
        "[1",
        "3",
        '{"in_channels": 3}',
        json.dumps({**net.config, "depth": 2}),
        json.dumps({**net.config, "base_channels": 10**9}),
    ):
        write(config=config)
        with pytest.raises(ValueError, match=r"net.safetensors: the model cannot be built"):
            models.load(path)
    write()
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=r"net.safetensors"):
        models.load(path)
    with pytest.raises(FileNotFoundError):
        models.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(TypeError, match="no way to build a Sequential"):
        models.save(nn.Sequential(), path)
    assert path.read_bytes() == whole[:-7]


def test_what_a_network_was_told_to_be_is_kept_and_the_version_written(tmp_path):
    net = models.load_pretrained("nuclei")
    net.save(tmp_path / "again.safetensors")
    assert models.load(tmp_path / "again.safetensors").about == net.about
    assert storage.load_safetensors(tmp_path / "again.safetensors")[1]["version"] == __version__
    with pytest.raises(TypeError, match="not JSON serializable"):
        net.save(tmp_path / "again.safetensors", about={"weights": np.ones(3)})
    assert models.load(tmp_path / "again.safetensors").about == net.about


NETS = {
    type(net).__name__: net
    for net in (
        *(make(3, 2) for make in laptop.SYSTEMS.values()),
        models.MobileNet(width=0.25),
        models.MobileNetV2(width=0.25),
        models.ShuffleNet(),
        models.ResNet18(),
        models.PatchClassifier(3, 2, patch_size=21, widths=(16, 32), kernel_sizes=(4, 4), hidden=(64,)),
    )
}


def lie(net, path, config, architecture=None):
    metadata = {"format": models.files.FORMAT, "architecture": architecture or type(net).__name__, "config": config}
    storage.save_safetensors(path, net.state_dict(), metadata)


def test_every_class_is_lied_about_and_its_truth_believed(tmp_path):
    assert set(NETS) == set(models.files.ARCHITECTURES)
    for net in NETS.values():
        lie(net, tmp_path / "truth.safetensors", json.dumps(net.config))
        assert models.load(tmp_path / "truth.safetensors").config == json.loads(json.dumps(net.config))


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("UNet", {"depth": 10**6}, "a number that fits none of its arrays"),
        ("UNet", {"depth": 4000}, "more than .* parameters"),
        ("UNet", {"base_channels": 500}, "more than .* parameters"),
        ("DeconvNet", {"convs": [2, 10**6, 2, 2]}, "a number that fits none"),
        ("DeconvNet", {"convs": [2, 4096, 2, 2]}, "more than .* parameters"),
        ("PatchClassifier", {"kernel_sizes": [4, 10**9]}, "a number that fits none"),
        ("DeepLab", {"head": {"v2": [[10**12]]}}, "a number that fits none"),
        ("FCN", {"stride": float("inf")}, "a number that fits none"),
        ("RTSeg", {"os": "system"}, "unexpected keyword"),
    ],
)
def test_a_lie_is_refused_before_it_costs_anything(tmp_path, name, changes, reason):
    net = NETS[name]
    lie(net, tmp_path / "lie.safetensors", json.dumps({**net.config, **changes}))
    with pytest.raises(ValueError, match=rf"lie.safetensors: the model cannot be built from this file: .*{reason}"):
        models.load(tmp_path / "lie.safetensors")


def test_what_json_cannot_read_is_refused(tmp_path):
    for config in ("[" * 10**5, '{"depth": 1', "null", ""):
        lie(NETS["UNet"], tmp_path / "lie.safetensors", config)
        with pytest.raises(ValueError, match=r"the model cannot be built from this file: ."):
            models.load(tmp_path / "lie.safetensors")


EVIL = (0, -1, 3, 129, 4096, 10**6, 10**30, -(10**12), 1.5, 1e308, float("nan"), "", "x" * 100, None, True, [], [0])
EVIL = (*EVIL, [10**9] * 3, [[1] * 50] * 50, {"a": 1}, [-1, -1], "UNet", list(range(5000)))


@pytest.mark.parametrize("name", sorted(NETS))
def test_random_lies_end_in_one_kind_of_error(tmp_path, name):
    draw, net, refusals = random.Random(name), NETS[name], []
    for _ in range(25):
        config = json.loads(json.dumps(net.config))
        for _ in range(draw.choice([1, 1, 2])):
            key, evil = draw.choice([*config, "unknown"]), json.loads(json.dumps(draw.choice(EVIL)))
            if isinstance(config.get(key), list) and config[key] and draw.random() < 0.5:
                config[key][draw.randrange(len(config[key]))] = evil
            else:
                config[key] = evil
        other = draw.choice([None, None, None, draw.choice(sorted(NETS))])
        lie(net, tmp_path / "lie.safetensors", json.dumps(config), other)
        try:
            models.load(
                tmp_path / "lie.safetensors"
            )  # possible: a change that asks for the same arrays, another dropout
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) >= 15
    assert all(text.startswith(f"{tmp_path / 'lie.safetensors'}: the model cannot be built") for text in refusals)


def test_pretrained_names_are_checked():
    with pytest.raises(ValueError, match="name must be one of"):
        models.load_pretrained("cats")
