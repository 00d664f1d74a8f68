"""``minisegnet train`` and ``eval``: what they write, resuming, bad input, honest scores."""

import json

import numpy as np
import pytest

from minisegnet import data, models
from minisegnet.cli import main, train
from minisegnet.cli.seen import digests, seen

TINY = ["--images", "6", "--steps", "3", "--width", "4", "--crop", "32", "--batch", "2", "--folds", "2"]
FILES = {
    "best.png",
    "checkpoint.safetensors",
    "curves.png",
    "history.json",
    "model.safetensors",
    "result.json",
    "worst.png",
}


def test_a_run_leaves_everything_that_is_promised(trained):
    for fold in (1, 2):
        assert {path.name for path in (trained / f"fold-{fold}").iterdir()} == FILES
        assert len(json.loads((trained / f"fold-{fold}" / "history.json").read_text())["loss"]) == 3
    summary = json.loads((trained / "summary.json").read_text())
    scores = [fold["mean_dice"] for fold in summary["folds"]]
    assert summary["mean_dice"] == pytest.approx(np.mean(scores))
    judged = [name for fold in summary["folds"] for name in fold["images"]]
    assert sorted(judged) == [f"synthetic-{i:04d}" for i in range(6)]  # each image once
    assert f"{summary['mean_dice']:.3f}" in (trained / "summary.md").read_text()


def test_the_model_of_a_fold_is_the_one_that_was_judged(trained):
    from minisegnet import metrics

    result = json.loads((trained / "fold-1" / "result.json").read_text())
    model = models.load(trained / "fold-1" / "model.safetensors")
    images, labels = data.synthetic_tissue(6, seed=0)
    for name, score in result["images"].items():
        i = int(name.split("-")[1])
        found = model.predict(images[i]).argmax(0) == 1
        assert metrics.dice(found, labels[i] > 0, empty=1.0) == pytest.approx(score, abs=1e-4)


def test_resume_skips_what_is_finished_and_does_what_is_missing(trained, tmp_path, capsys):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(trained, out)
    shutil.rmtree(out / "fold-2")
    before = (out / "fold-1" / "model.safetensors").read_bytes()
    command = ["train", "--data", "synthetic", *TINY, "--out", str(out)]
    assert main(command) == 2  # it would be overwritten
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "fold 1: done before" in capsys.readouterr().out
    assert (out / "fold-1" / "model.safetensors").read_bytes() == before
    again, first = ((path / "fold-2" / "history.json").read_text() for path in (out, trained))
    assert json.loads(again)["loss"] == json.loads(first)["loss"]
    assert main([*command, "--resume", "--seed", "5"]) == 2
    assert "--seed 0 (now 5)" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_bit_for_bit(trained, tmp_path, monkeypatch, capsys):
    from minisegnet.training import loop

    out = tmp_path / "run"
    real, steps = loop.train_step, []

    def interrupted_at_second_step(*args):
        steps.append(1)
        real(*args)
        if len(steps) == 2:
            import signal

            signal.raise_signal(signal.SIGINT)

    command = ["train", "--data", "synthetic", *TINY, "--fold", "1", "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", interrupted_at_second_step)
        assert main(command) == 130
    assert "stopped at step 2" in capsys.readouterr().out
    assert not (out / "fold-1" / "result.json").exists()
    assert main([*command, "--resume"]) == 0
    whole, resumed = (models.load(path / "fold-1" / "model.safetensors").state_dict() for path in (trained, out))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_no_folds_learns_from_everything_and_judges_nothing(tmp_path, capsys):
    out = tmp_path / "all"
    assert main(["train", "--data", "synthetic", *TINY[:-2], "--folds", "0", "--steps", "1", "--out", str(out)]) == 0
    assert "learning from 6 images, judging 0" in capsys.readouterr().out
    assert {path.name for path in (out / "fold-0").iterdir()} == FILES - {"best.png", "worst.png"}


def test_default_folders_are_numbered_and_never_reused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--data", "synthetic", *TINY, "--fold", "2", "--steps", "1"]
    assert main(command) == 0
    assert main(command) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["synthetic-field", "synthetic-field-2"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--folds", "1"], "--folds must be 0"),
        (["--fold", "3"], "--fold must be from 1 to"),
        (["--steps", "0"], "--steps must be at least 1"),
        (["--kind", "brightfield"], "cannot be drawn"),
        (["--images", "4", "--folds", "9"], "folds must be from 2"),
    ],
)
def test_numbers_that_make_no_sense(words, told, tmp_path, capsys):
    assert main(["train", "--data", "synthetic", *TINY, "--out", str(tmp_path / "x"), *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_damaged_data_file_is_named(tmp_path, capsys):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing more")
    assert main(["train", "--data", str(tmp_path / "broken.npz"), "--out", str(tmp_path / "x")]) == 2
    assert "broken.npz" in capsys.readouterr().err


def test_eval_scores_and_says_what_was_learned_from(model, tmp_path, capsys):
    file = tmp_path / "scores.json"
    command = ["eval", "--data", "synthetic", "--images", "6", "--seed", "0", "--model", model]
    assert main([*command, "--json", str(file)]) == 0
    text = capsys.readouterr().out
    assert "learned from 3 of these 6 images" in text
    numbers = json.loads(file.read_text())
    assert [row["seen"] for row in numbers["images"]].count(True) == 3
    for row in numbers["images"]:
        assert row["iou"] == pytest.approx(row["dice"] / (2 - row["dice"]))
    (kind,) = numbers["kinds"]
    assert kind["dice"] == pytest.approx(np.mean([row["dice"] for row in numbers["images"]]))


def test_eval_chooses_fields_and_refuses_others(model, tmp_path, capsys):
    command = [
        "eval",
        "--data",
        "synthetic",
        "--images",
        "6",
        "--seed",
        "0",
        "--model",
        model,
        "--json",
        str(tmp_path / "s"),
    ]
    assert main([*command, "--fields", "1,4"]) == 0
    assert [row["field"] for row in json.loads((tmp_path / "s").read_text())["images"]] == [1, 4]
    assert main([*command, "--fields", "1,77"]) == 2
    assert main([*command, "--fields", "one"]) == 2
    assert main([*command[:-2], "--threshold", "1.5"]) == 2
    assert "there is no field [77]" in capsys.readouterr().err


def test_seen_knows_an_image_by_its_pixels():
    images = np.zeros((3, 4, 5, 3), dtype=np.uint8)
    images[1, 0, 0, 0] = 1
    images[2, 0, 0, 1] = 1
    assert seen({"trained_on": digests(images[1:2])}, images).tolist() == [False, True, False]
    assert seen({}, images).tolist() == [False] * 3
    assert digests([images[0]]) != digests([images[0].transpose(1, 0, 2)])


def test_synthetic_data_has_a_field_for_each_image():
    nuclei = train.synthetic(5, "fluorescence", 3)
    assert nuclei.fields.tolist() == [0, 1, 2, 3, 4]
    assert set(nuclei.kinds) == {"fluorescence"}
