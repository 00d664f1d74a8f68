"""A slide predicted tile by tile equals the prediction in memory, whoever does it and however often it was killed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="slides need zarr: pip install minisegnet[scale]")
distributed = pytest.importorskip("distributed", reason="slides on several machines need Dask: minisegnet[scale]")
tifffile = pytest.importorskip("tifffile", reason="TIFF slides need tifffile: pip install minisegnet[scale]")

from minisegnet import models, random  # noqa: E402
from minisegnet.backend import use_backend  # noqa: E402
from minisegnet.cli import main  # noqa: E402
from minisegnet.data import synthetic_tissue  # noqa: E402
from minisegnet.scale import open_slide, predict_slide  # noqa: E402

PROGRAM = Path(__file__).with_name("slide_program.py")
ROOT = PROGRAM.parents[2]


@pytest.fixture(autouse=True)
def reference():
    with use_backend("reference"):
        yield


def network(**options):
    random.manual_seed(0)
    return models.UNet(3, 2, **{"base_channels": 4, "depth": 1, **options})


@pytest.fixture(scope="module")
def picture():
    """An image whose sides are no multiples of anything, uint8 (H, W, 3)."""
    return synthetic_tissue(1, (203, 331))[0][0]


@pytest.fixture
def slide(tmp_path, picture):
    array = zarr.create_array(str(tmp_path / "slide.zarr"), shape=picture.shape, chunks=(64, 64, 3), dtype="uint8")
    array[:] = picture
    return tmp_path / "slide.zarr"


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("output", ["labels", "probabilities"])
def test_equal_to_the_prediction_in_memory(output, padding, slide, picture, tmp_path):
    model = network(padding=padding, norm=None if padding == "valid" else "batch", depth=2)
    wanted = model.predict(picture, tile=64)
    result = predict_slide(model, slide, tmp_path / "out.zarr", output=output, tile=64, progress=False, workers=2)
    if output == "probabilities":
        np.testing.assert_array_equal(result[:], wanted)
        np.testing.assert_allclose(result[:], model.predict(picture, tile=None), atol=1e-6)
    else:
        np.testing.assert_array_equal(result[:], wanted.argmax(0))
        assert result.dtype == np.uint8
    assert not (tmp_path / "out.zarr.done").exists()


def test_a_single_class_and_a_slide_smaller_than_a_tile(tmp_path, picture):
    random.manual_seed(1)
    model = models.UNet(1, 1, base_channels=4, depth=2)
    small = picture[:37, :29, :1]
    array = zarr.create_array(str(tmp_path / "small.zarr"), shape=small.shape[:2], dtype="uint8")
    array[:] = small[:, :, 0]
    result = predict_slide(model, tmp_path / "small.zarr", tmp_path / "out.zarr", progress=False)
    np.testing.assert_array_equal(result[:], model.predict(small)[0] > 0.5)


def test_ome_zarr_tiff_pyramids_and_orders_of_axes(tmp_path, picture, slide):
    planes = picture.transpose(2, 0, 1)
    group = zarr.create_group(str(tmp_path / "planes.zarr"))
    levels = [planes, planes[:, ::2, ::2]]
    for k, level in enumerate(levels):
        group.create_array(str(k), data=np.ascontiguousarray(level[None]))
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 0.5 * 2**k, 0.5 * 2**k]}]}
        for k in range(2)
    ]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(picture, tile=(64, 64), photometric="rgb", subifds=1)
        file.write(np.ascontiguousarray(picture[::2, ::2]), tile=(64, 64), photometric="rgb", subfiletype=1)
    every, other = np.arange(20, 60), np.arange(10, 31)
    for name in ("slide.zarr", "planes.zarr", "pyramid.tif"):
        opened = open_slide(tmp_path / name)
        assert opened.shape == picture.shape
        np.testing.assert_array_equal(opened.read(every, other), picture[20:60, 10:31])
    for name in ("planes.zarr", "pyramid.tif"):
        np.testing.assert_array_equal(
            open_slide(tmp_path / name, 1).read(other, other), picture[::2, ::2][10:31, 10:31]
        )
    model = network()
    result = predict_slide(model, tmp_path / "planes.zarr", tmp_path / "out.zarr", tile=64, progress=False)
    np.testing.assert_array_equal(result[:], model.predict(picture, tile=64).argmax(0))
    told = zarr.open_group(str(tmp_path / "out.zarr"), mode="r").attrs["ome"]["multiscales"][0]
    assert told["datasets"][0]["coordinateTransformations"][0]["scale"] == [0.5, 0.5]
    again = open_slide(tmp_path / "out.zarr")  # what comes out is a picture, too
    assert (again.axes, again.scale) == ("yx", (0.5, 0.5))


def run(slide, out, scheduler="threads", wait="0"):
    command = [sys.executable, str(PROGRAM), str(slide), str(out), "32", scheduler, wait]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_run_that_is_killed_goes_on_where_it_was(slide, picture, tmp_path):
    out = tmp_path / "out.zarr"
    process = run(slide, out, wait="0.05")
    for _ in range(7):
        assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    marks = {path.name for path in (tmp_path / "out.zarr.done").iterdir()}
    assert 7 <= len(marks) < 60
    # The power cut tore a chunk that nobody had marked, and left one half written at the slide's edge.
    torn = out / "0" / "c" / "6" / "10"
    torn.parent.mkdir(parents=True, exist_ok=True)
    torn.write_bytes(b"torn")
    before = {path: path.stat().st_mtime_ns for path in (out / "0" / "c").rglob("*") if path.is_file() and path != torn}
    model = network()
    result = predict_slide(model, slide, out, tile=32, progress=False)
    np.testing.assert_array_equal(result[:], model.predict(picture, tile=32).argmax(0))
    kept = [path for path in before if path.stat().st_mtime_ns == before[path]]
    assert len(kept) >= 7  # what was done was not done again
    assert zarr.open_group(str(out), mode="r").attrs["complete"]
    again = predict_slide(model, slide, out, tile=32, progress=False)  # finished: nothing is left to do
    assert {p: p.stat().st_mtime_ns for p in kept} == {p: before[p] for p in kept}
    assert again.shape == result.shape


def test_marks_of_a_result_that_was_removed_are_not_believed(slide, picture, tmp_path):
    out = tmp_path / "out.zarr"
    process = run(slide, out, wait="0.05")
    for _ in range(5):
        assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    shutil.rmtree(out)
    result = predict_slide(network(), slide, out, tile=32, progress=False)
    np.testing.assert_array_equal(result[:], network().predict(picture, tile=32).argmax(0))


def test_a_result_of_another_job_is_refused(slide, tmp_path):
    predict_slide(network(), slide, tmp_path / "out.zarr", tile=64, progress=False)
    random.manual_seed(7)
    other = models.UNet(3, 2, base_channels=4, depth=1)
    with pytest.raises(ValueError, match=r"out.zarr is the result of another job: weights differ"):
        predict_slide(other, slide, tmp_path / "out.zarr", tile=64, progress=False)
    with pytest.raises(ValueError, match=r"tile differ"):
        predict_slide(network(), slide, tmp_path / "out.zarr", tile=32, progress=False)
    with pytest.raises(ValueError, match=r"slide.zarr exists and was not made by predict_slide"):
        predict_slide(network(), slide, slide, tile=64, progress=False)


@pytest.mark.filterwarnings("ignore")  # what Dask and Tornado say of closing sockets
def test_a_cluster_whose_worker_is_killed(slide, picture, tmp_path):
    model = network()
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = list(client.run(os.getpid).values())
        killed = []

        from minisegnet.scale import predict

        mark = predict.mark

        def kill_once(job, place):
            mark(job, place)
            if not killed:
                killed.append(pids[0])
                os.kill(pids[0], getattr(signal, "SIGKILL", signal.SIGTERM))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(predict, "mark", kill_once)
            result = predict_slide(
                model, slide, tmp_path / "out.zarr", tile=32, scheduler=cluster.scheduler_address, progress=False
            )
        assert killed
        np.testing.assert_array_equal(result[:], model.predict(picture, tile=32).argmax(0))


@pytest.mark.filterwarnings("ignore")
def test_processes_of_this_machine(slide, picture, tmp_path):
    process = run(slide, tmp_path / "out.zarr", scheduler="processes")
    assert process.wait(120) == 0
    process.stdout.close()
    result = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")["0"]
    np.testing.assert_array_equal(result[:], network().predict(picture, tile=32).argmax(0))


def test_a_slide_that_was_replaced_is_noticed(slide, picture, tmp_path):
    predict_slide(network(), slide, tmp_path / "out.zarr", tile=64, progress=False)
    array = zarr.open_array(str(slide), mode="r+")
    array[-3, 5] = 255 - array[-3, 5]
    with pytest.raises(ValueError, match=r"out.zarr is the result of another job: pixels differ. Remove it"):
        predict_slide(network(), slide, tmp_path / "out.zarr", tile=64, progress=False)


def test_the_command(slide, picture, tmp_path, capsys):
    models.save(network(), tmp_path / "net.safetensors")
    options = ["-o", str(tmp_path / "results"), "--model", str(tmp_path / "net.safetensors"), "--tile", "64"]
    assert main(["predict", str(slide), *options]) == 0
    assert "331x203 pixels" in capsys.readouterr().out
    result = zarr.open_group(str(tmp_path / "results" / "slide_labels.zarr"), mode="r")["0"]
    np.testing.assert_array_equal(result[:], network().predict(picture, tile=64).argmax(0))
    assert main(["predict", str(slide), "photo.png", *options]) == 2
    assert "in separate commands" in capsys.readouterr().err
    assert main(["predict", str(slide), *options, "--threshold", "0.3"]) == 2
    assert "--threshold is for images" in capsys.readouterr().err


def test_known_wrong_inputs(slide, tmp_path):
    model, out = network(), tmp_path / "out.zarr"
    with pytest.raises(FileNotFoundError, match="there is no slide"):
        predict_slide(model, tmp_path / "nothing.zarr", out)
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(ValueError, match=r"text.tif: this is no TIFF"):
        predict_slide(model, tmp_path / "text.tif", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no Zarr array or picture can be read there"):
        open_slide(tmp_path / "empty")
    zarr.create_group(str(tmp_path / "bare.zarr"))
    with pytest.raises(ValueError, match=r"this Zarr group has no 'multiscales'"):
        open_slide(tmp_path / "bare.zarr")
    zarr.create_array(str(tmp_path / "deep.zarr"), shape=(4, 4, 3), dtype="uint16")
    with pytest.raises(ValueError, match=r"a slide must hold uint8, 0 to 255, got uint16"):
        open_slide(tmp_path / "deep.zarr")
    with pytest.raises(ValueError, match=r"the slide has 3 channels, the network takes 1"):
        predict_slide(models.UNet(1, 2, base_channels=4, depth=1), slide, out)
    with pytest.raises(ValueError, match=r"level 3 was asked for, but this is a single array"):
        open_slide(slide, 3)
    for options, message in {
        ("output", "map"): 'output must be "labels" or "probabilities"',
        ("tile", 0): "tile must be an integer of at least 1, got 0",
        ("workers", 0): "workers must be an integer of at least 1, got 0",
    }.items():
        with pytest.raises(ValueError, match=message):
            predict_slide(model, slide, out, **dict([options]))
    with pytest.raises(TypeError, match="model must be a network that labels each pixel"):
        predict_slide(models.MobileNet(3, 5, width=0.125), slide, out)
    with pytest.raises(ValueError, match=r'scheduler must be "threads", "processes" or an address, got .nonsense'):
        predict_slide(model, slide, out, scheduler="nonsense://here", progress=False)
