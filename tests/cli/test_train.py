import contextlib
import csv
import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from keras_hvae import load_model
from keras_hvae.cli import main
from tests.cli.conftest import OPTIONS, TINY, write_corpus


@pytest.mark.slow
def test_train_writes_model_vocabulary_settings_log_and_picture(trained):
    assert sorted(x.name for x in trained.iterdir()) == [
        "log.csv",
        "metrics.json",
        "model.keras",
        "report.png",
        "settings.json",
        "vocabulary.txt",
    ]
    model = keras.saving.load_model(trained / "model.keras")
    words = (trained / "vocabulary.txt").read_text().split("\n")[:-1]
    assert words == list(model.preprocessor)
    # The prior of z_1 was fitted, and with that the file written anew.
    assert np.any(keras.ops.convert_to_numpy(model.latent_chain.initial_mean))
    settings = json.loads((trained / "settings.json").read_text())
    assert settings["latent_dim"] == 3
    assert settings["parameters"] == model.count_params()
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["split"] == "test"
    assert metrics["neg_elbo"]["per_document"] == pytest.approx(
        metrics["nll"]["per_document"] + metrics["kl"]["per_document"]
    )
    assert len(metrics["mean_variances"]) == 3
    with open(trained / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert float(rows[0]["val_loss"]) > 0
    # Annealed over 40 % of the steps: done in the first of two epochs.
    weights = [float(row["kl_weight"]) for row in rows]
    assert weights == [1.0, 1.0]
    # The rate falls to 2 % of what it was, over all steps.
    model = keras.saving.load_model(trained / "model.keras")
    rate = model.optimizer.get_config()["learning_rate"]["config"]
    steps = int(metrics["corpus"]["train"]["batches"]) * 2
    assert (rate["initial_learning_rate"], rate["alpha"]) == (0.005, 0.02)
    assert rate["decay_steps"] == steps
    assert "z_ablation" in rows[0]
    assert (trained / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_train_repeats_exactly(trained, corpus, tmp_path):
    out = tmp_path / "again"
    arguments = ["train", str(corpus), "--out", str(out), *OPTIONS]
    assert main(arguments) == 0
    weights = [
        keras.saving.load_model(x / "model.keras").get_weights()
        for x in (trained, out)
    ]
    for one, two in zip(*weights):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
@pytest.mark.eager
def test_train_on_characters_of_a_script_without_spaces(tmp_path, capsys):
    path = tmp_path / "corpus.txt"
    path.write_text("你好，世界。\n\n世界很大。\n\n" * 5, "utf-8")
    out = tmp_path / "m"
    options = ["--tokenizer=characters", "--min-count=3", "--steps=1"]
    assert main(["train", str(path), "--out", str(out), *TINY, *options]) == 0
    model = keras.saving.load_model(out / "model.keras")
    assert {*"世界。"} <= set(model.preprocessor) and len(
        model.preprocessor
    ) < 13
    assert model.preprocessor.detokenize(model.preprocessor(["世界"])) == [
        ["世界"]
    ]


@pytest.mark.slow
@pytest.mark.eager
def test_train_in_bfloat16(corpus, tmp_path):
    out = tmp_path / "m"
    options = ["--dtype=mixed_bfloat16", "--steps=1"]
    assert main(["train", str(corpus), "--out", str(out), *TINY, *options]) == 0
    model = keras.saving.load_model(out / "model.keras")
    policies = {
        x.dtype_policy.name for x in (model, model.emission, model.latent_chain)
    }
    assert policies == {"mixed_bfloat16"}
    assert {x.dtype for x in model.trainable_weights} == {"float32"}


@pytest.mark.slow
@pytest.mark.eager
def test_a_diverged_training_is_an_error(corpus, tmp_path, capsys):
    out = tmp_path / "m"
    options = ["--out", str(out), *TINY, "--learning-rate=1e30"]
    assert main(["train", str(corpus), *options]) == 1
    assert "diverged" in capsys.readouterr().err
    assert not (out / "model.keras").exists()


@pytest.mark.slow
@pytest.mark.eager
def test_train_stops_after_steps(corpus, tmp_path, capsys):
    options = ["--out", str(tmp_path / "m"), *TINY, "--steps=1"]
    assert main(["train", str(corpus), *options]) == 0
    model = keras.saving.load_model(tmp_path / "m" / "model.keras")
    assert int(model.optimizer.iterations) == 1


@pytest.mark.slow
def test_train_does_not_replace_a_model_unasked(trained, corpus, capsys):
    before = (trained / "model.keras").read_bytes()
    assert main(["train", str(corpus), "--out", str(trained), *TINY]) == 1
    assert "--force" in capsys.readouterr().err
    assert (trained / "model.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "corpus.txt"),
        (b"\n \n\n", "corpus.txt"),
        (b"good\n\xff\xfe bad\n", "corpus.txt:2"),
        (b"good\nnul \x00 byte\n", "corpus.txt:2"),
    ],
)
def test_train_on_a_bad_corpus_leaves_no_model(tmp_path, capsys, text, message):
    path = tmp_path / "corpus.txt"
    path.write_bytes(text)
    out = tmp_path / "out"
    assert main(["train", str(path), "--out", str(out), *TINY]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not out.exists()


def test_train_needs_a_folder_that_can_be_written(corpus, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert main(["train", str(corpus), "--out", str(out), *TINY]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--latent-dim=0", "`latent_dim`"),
        ("--dropout=-0.1", "`dropout`"),
        ("--vocabulary-size=0", "`vocabulary_size`"),
        ("--batch-size=0", "`batch_size`"),
        ("--free-bits=-1", "`free_bits`"),
        ("--rate=-1", "`rate`"),
        ("--epochs=0", "`epochs`"),
        ("--steps=0", "`steps`"),
        ("--learning-rate=-1", "`learning_rate`"),
    ],
)
def test_train_with_a_bad_option(corpus, tmp_path, capsys, option, message):
    out = str(tmp_path / "out")
    assert main(["train", str(corpus), "--out", out, *TINY, option]) == 1
    assert message in capsys.readouterr().err


def test_unknown_transition_is_wrong_usage(corpus, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", str(corpus), "--out", "m", "--transition=linear"])
    assert stop.value.code == 2
    assert "gated" in capsys.readouterr().err


def test_missing_corpus(tmp_path, capsys):
    out = str(tmp_path / "m")
    assert main(["train", str(tmp_path / "no.txt"), "--out", out]) == 1
    assert "no.txt" in capsys.readouterr().err


@pytest.mark.slow
def test_debug_shows_the_traceback(tmp_path):
    out = str(tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        main(["train", str(tmp_path / "no.txt"), "--out", out, "--debug"])


@pytest.fixture
def old(trained, tmp_path):
    """A model to replace, and what its folder holds."""
    out = shutil.copytree(trained, tmp_path / "m")
    return out, contents(out)


def contents(folder):
    return {x.name: x.read_bytes() for x in folder.iterdir()}


@contextlib.contextmanager
def once_there_is(pattern, run):
    """Calls `run` in a thread when a path of that pattern is there."""

    def wait():
        while not stop.wait(0.01):
            if glob.glob(pattern, include_hidden=True):
                return run()

    stop = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_stop_leaves_the_old_model(corpus, old, capsys, number, code):
    out, before = old
    # As in a terminal: what a shell starts in the background ignores SIGINT.
    default = {signal.SIGINT: signal.default_int_handler}
    handler = signal.signal(number, default.get(number, signal.SIG_DFL))
    arguments = ["train", str(corpus), "--out", str(out), *TINY, "--force"]
    try:
        with once_there_is(
            f"{out.parent}/m.unfinished/model.keras",
            lambda: os.kill(os.getpid(), number),
        ):
            assert main([*arguments, "--epochs=9999"]) == code
    finally:
        signal.signal(number, handler)
    assert contents(out) == before
    said = capsys.readouterr()
    assert "Interrupted." in said.err
    # The half-trained one is named, and nothing else is left.
    unfinished = out.parent / "m.unfinished"
    assert f"{unfinished}/" in said.out
    assert sorted(out.parent.iterdir()) == [out, unfinished]
    load_model(unfinished)
    assert not (unfinished / "metrics.json").exists()


@pytest.mark.slow
def test_a_killed_training_leaves_the_old_model(corpus, old):
    out, before = old
    code = "import sys; from keras_hvae.cli import main; sys.exit(main())"
    options = ["train", str(corpus), "--out", str(out), *TINY, "--force"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options, "--epochs=9999"],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 240
        # In the first epoch: the new model is not there yet.
        while not list(out.parent.glob("m.unfinished/settings.json")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()
        process.communicate()
    assert contents(out) == before


@pytest.mark.slow
@pytest.mark.eager
def test_a_diverging_training_leaves_the_old_model(corpus, old, capsys):
    out, before = old
    options = ["--out", str(out), *TINY, "--learning-rate=1e30", "--force"]
    assert main(["train", str(corpus), *options]) == 1
    assert "diverged" in capsys.readouterr().err
    assert contents(out) == before
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.eager
def test_a_full_disk_leaves_the_old_model(corpus, old, capsys):
    resource = pytest.importorskip("resource")
    out, before = old
    options = ["--out", str(out), *TINY, "--hidden-dim=64", "--force"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert main(["train", str(corpus), *options]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "keras-hvae: error: " in capsys.readouterr().err
    assert contents(out) == before
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.eager
def test_force_replaces_all_of_the_old_model(corpus, old):
    out, before = old
    (out / "metrics.json").write_text("of the old model")
    options = ["--out", str(out), *TINY, "--epochs=1", "--force"]
    assert main(["train", str(corpus), *options]) == 0
    after = contents(out)
    assert after.keys() == before.keys()
    assert json.loads(after["metrics.json"])["best_epoch"] == 1
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
@pytest.mark.eager
def test_two_trainings_into_one_folder_end_whole(
    corpus, trained, tmp_path, capsys
):
    out = tmp_path / "m"
    options = ["--out", str(out), *TINY, "--epochs=1"]
    with once_there_is(
        f"{tmp_path}/m.unfinished/settings.json",
        lambda: shutil.copytree(trained, out),  # the other one has ended
    ):
        assert main(["train", str(corpus), *options]) == 1
    said = capsys.readouterr()
    assert "model.keras exists" in said.err
    assert f"{tmp_path / 'm.new'}/" in said.out
    assert contents(out) == contents(trained)
    assert contents(tmp_path / "m.new").keys() == contents(trained).keys()
    load_model(tmp_path / "m.new")


@pytest.mark.slow
def test_train_replaces_nothing_but_models(
    corpus, old, tmp_path, capsys, monkeypatch
):
    out, before = old
    (out / "notes.txt").write_text("mine")
    arguments = ["train", str(corpus), *TINY, "--force", "--out"]
    assert main([*arguments, str(out)]) == 1
    assert "with notes.txt" in capsys.readouterr().err
    assert main([*arguments, str(out / "notes.txt")]) == 1
    assert "notes.txt, a file" in capsys.readouterr().err
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([*arguments, "."]) == 1
    assert "can be renamed" in capsys.readouterr().err
    assert contents(out) == {**before, "notes.txt": b"mine"}


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        (2, ["Epoch 1 of 1, step 1 of 2", "Epoch 1 of 1, end"]),
        (
            5,
            [
                *(f"Epoch 1 of 2, step {i} of 4" for i in (1, 2, 3)),
                "Epoch 1 of 2, end",
                "Epoch 2 of 2, step 1 of 4",
                "Epoch 2 of 2, end",
            ],
        ),
    ],
)
def test_output_that_is_redirected(corpus, tmp_path, capsys, steps, lines):
    options = ["--out", str(tmp_path / "m"), *TINY, f"--steps={steps}"]
    assert main(["train", str(corpus), *options, "--epochs=9"]) == 0
    out = capsys.readouterr().out
    assert not set("\b\r\x1b") & set(out)
    epochs = [x for x in out.split("\n") if x.startswith("Epoch ")]
    assert [x.partition(":")[0] for x in epochs] == lines
    metrics = json.loads((tmp_path / "m" / "metrics.json").read_text())
    losses = metrics["history"]["val_loss"]
    best = int(np.argmin(losses)) + 1
    assert metrics["best_epoch"] == best
    kept = f"Kept epoch {best} of {len(losses)}: val_loss {min(losses):.4f}"
    assert kept in out
    model = load_model(tmp_path / "m")
    kept_at = min(4 * best, steps)
    assert int(model.optimizer.iterations) == kept_at


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize("model", ["gru_lm", "vhcr", "flat_vae"])
def test_trains_and_evaluates_the_baselines(model, corpus, tmp_path, capsys):
    out = tmp_path / "baseline"
    options = [x for x in TINY if model != "gru_lm" or "latent" not in x]
    arguments = ["train", corpus, "--out", out, "--model", model, *options]
    arguments.append("--steps=2")
    assert main([str(x) for x in arguments]) == 0
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((out / "metrics.json").read_text())
    assert ("active_units" in figures) == (model != "gru_lm")
    said = capsys.readouterr().out
    assert ("KL by position" in said) == (model != "gru_lm")
    assert main(["generate", str(out), "--seed", "1"]) == 0


def test_refuses_options_of_other_models(corpus, tmp_path, capsys):
    arguments = ["train", corpus, "--out", tmp_path / "m", "--model", "hred"]
    assert main([*map(str, arguments), "--transition", "sum"]) == 1
    error = capsys.readouterr().err
    assert "`--transition` is not an option of the model hred" in error
    assert main([*map(str, arguments), "--free-bits", "2"]) == 1
    error = capsys.readouterr().err
    assert "`--free-bits` is not an option of the model hred" in error


@pytest.mark.slow
@pytest.mark.eager
def test_cures_by_options(corpus, tmp_path):
    arguments = [
        *("train", corpus, "--out", tmp_path / "m", *TINY),
        *("--pretraining-steps", 3, "--annealing-steps", 4),
        *("--bow-weight", 0.5, "--mean-norm", 0.5),
    ]
    assert main([str(x) for x in arguments]) == 0
    log = (tmp_path / "m" / "log.csv").read_text().split("\n")
    weights = [row["kl_weight"] for row in csv.DictReader(log)]
    assert float(weights[-1]) == 1.0


@pytest.mark.slow
@pytest.mark.eager
def test_without_validation_the_weight_of_the_kl_chooses_no_model(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_corpus(folder / "train.txt", documents=16)
    arguments = [
        *("train", folder, "--out", tmp_path / "m", *TINY, "--epochs", 6),
        *("--pretraining-steps", 8, "--annealing-steps", 4),
    ]
    assert main([str(x) for x in arguments]) == 0
    with open(tmp_path / "m" / "log.csv") as file:
        rows = list(csv.DictReader(file))
    model = keras.saving.load_model(tmp_path / "m" / "model.keras")
    perplexities = [float(row["perplexity"]) for row in rows]
    best = rows[int(np.argmin(perplexities))]
    weight = float(keras.ops.convert_to_numpy(model.kl_weight))
    assert weight == pytest.approx(float(best["kl_weight"]))
