import csv
import re

import jax
import numpy as np
import pytest
import soundfile as sf

from tests.cli.commands import start, start_forked
from unmute_jax.config import Experiment
from unmute_jax.datasets.annotations.reading import read_annotations
from unmute_jax.encoders import load_encoder
from unmute_jax.probes import make_probe
from unmute_jax.results.trained import TrainedProbe, write_trained
from unmute_jax.store.key import as_json

CLASSES = ("hiss", "hum")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a probe for noise and tones that was not trained."""
    encoder = load_encoder("logmel")
    t = np.arange(16_000) / 16_000
    hum = 0.3 * np.sin(2 * np.pi * 300 * t).astype(np.float32)
    hiss = 0.1 * np.random.default_rng(0).standard_normal(16_000, np.float32)
    tokens = encoder(np.stack([hiss, hum]))
    prototypes = np.asarray(tokens.patches).mean((1, 2))
    probe = make_probe("protofloat", num_classes=2, prototypes_per_class=1)
    shapes = jax.eval_shape(probe.init, jax.random.key(0), tokens)["params"]
    assert shapes["prototypes"].shape == prototypes.shape
    kernel = 20 * np.array([[1, -1], [-1, 1]], np.float32)
    trained = TrainedProbe(
        name="protofloat",
        options={"prototypes_per_class": 1},
        params={
            "prototypes": prototypes,
            "classifier": {"kernel": kernel, "bias": np.zeros(2, np.float32)},
        },
        normaliser=None,
        classes=CLASSES,
        task="multi-label",
        encoder=as_json(encoder.identity()),
        encoder_description=encoder.description,
        geometry=encoder.geometry,
        dtype="float32",
        dataset="made up",
        protocol="none",
        clip_seconds=1.0,
        seed=0,
        validation=1.0,
        settings=Experiment(probes="protofloat").to_dict(),
    )
    folder = tmp_path_factory.mktemp("run")
    write_trained(folder / "probes" / trained.file_name, trained)
    # Two seconds of each at another rate, with a tone above the band of the encoder.
    rng, rate = np.random.default_rng(1), 44_100
    t = np.arange(2 * rate) / rate
    parts = [0.1 * rng.standard_normal(2 * rate), 0.3 * np.sin(2 * np.pi * 300 * t)]
    x = np.concatenate(parts) + 0.1 * np.sin(2 * np.pi * 15_000 * np.tile(t, 2))
    (folder / "in" / "deep").mkdir(parents=True)
    sf.write(folder / "in" / "deep" / "both.flac", np.stack([x, x], 1), rate)
    sf.write(folder / "in" / "hiss.wav", np.asarray(hiss), 16_000)
    return folder


@pytest.fixture(scope="module")
def first(run, tmp_path_factory):
    return predict(run, f"{run}/in", f"--output={run}/out", "--plot")


def predict(run, *arguments):
    return start(f"--workdir={run}", *arguments, cache=run, program="predict")


def test_sounds_are_named_with_their_times_and_scores(first):
    assert first.returncode == 0, first.stderr
    _, both, hiss, note, _ = first.stdout.splitlines()
    assert both.startswith("deep/both.flac (4.0 s): ")
    assert re.search(r": hiss [01]\.\d\d at [01]\.?5?-", both)
    assert re.search(r", hum [01]\.\d\d at [23]\.?5?-", both)
    assert hiss.startswith("hiss.wav (1.0 s): hiss ")
    assert note.startswith("note: ")
    assert "of its energy lies above 7,916 Hz" in note


def test_events_are_where_the_sounds_are(first, run):
    with open(run / "out" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {
        (r["file"], r["class"]): (float(r["start_s"]), float(r["end_s"])) for r in rows
    }
    assert found["hiss.wav", "hiss"] == (0.0, 1.0)
    start_s, end_s = found["deep/both.flac", "hiss"]
    assert start_s == 0.0
    assert end_s == pytest.approx(2.0, abs=0.6)
    start_s, end_s = found["deep/both.flac", "hum"]
    assert start_s == pytest.approx(2.0, abs=0.6)
    assert end_s == 4.0
    assert all(20 < float(r["low_hz"]) < float(r["high_hz"]) < 8000 for r in rows)


def test_everything_that_was_promised_is_in_the_folder(first, run):
    out = run / "out"
    assert {p.name for p in out.iterdir()} == {
        "audacity", "plots", "predictions.csv", "raven", "settings.json",
        "thresholds.csv", "windows",
    }  # fmt: skip
    for kind in ("audacity", "raven"):
        names = [str(p.relative_to(out / kind)) for p in (out / kind).rglob("*.txt")]
        assert sorted(names) == ["deep/both.flac.txt", "hiss.wav.txt"]
    assert len(list((out / "plots").rglob("*.png"))) == 7 + 1


def test_what_is_written_can_be_read_as_annotations(first, run):
    recordings = {n: run / "in" / n for n in ("deep/both.flac", "hiss.wav")}
    csv_events, raven_events, audacity_events = (
        {
            name: {(e.label, round(e.onset, 3), round(e.offset, 3)) for e in events}
            for name, events in read_annotations(place, recordings).events.items()
        }
        for place in (run / "out" / n for n in ("predictions.csv", "raven", "audacity"))
    )
    assert csv_events == raven_events == audacity_events
    assert csv_events["hiss.wav"] == {("hiss", 0.0, 1.0)}
    assert len(csv_events["deep/both.flac"]) >= 2


def test_other_thresholds_reuse_the_scores_and_bad_files_are_named(first, run):
    (run / "in" / "bad.wav").write_bytes(b"RIFF")
    (run / "thresholds.csv").write_text("class,threshold\nhum,1\n")
    windows = run / "out" / "windows" / "deep" / "both.flac.jsonl"
    before = windows.stat().st_mtime_ns
    again = predict(
        run, f"{run}/in", f"--output={run}/out", f"--thresholds={run}/thresholds.csv",
        "--top=1",
    )  # fmt: skip
    assert again.returncode == 1
    error, left_out = again.stderr.strip().splitlines()[-2:]
    assert error.startswith(f"error: {run}/in/bad.wav: is damaged")
    assert left_out == "1 of 3 recordings were left out"
    assert windows.stat().st_mtime_ns == before
    assert again.stdout.splitlines()[1].count(" at ") == 1
    assert "hum" not in (run / "out" / "predictions.csv").read_text()
    assert "of an earlier call" not in again.stdout


def test_detections_are_compared_with_annotations(first, run):
    truth = run / "truth"
    (truth / "deep").mkdir(parents=True)
    header = "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n"
    (truth / "deep" / "both.selections.txt").write_text(
        f"{header}1\t0\t2\thiss\n2\t2\t4\thum\n3\t3\t3.5\towl\n"
    )
    done = predict(
        run, f"{run}/in/deep", f"{run}/in/hiss.wav", f"--output={run}/compared",
        f"--against={truth}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open(run / "compared" / "against.csv", newline="") as file:
        hiss, hum, together = csv.DictReader(file)
    # Windows of 1 s that begin every 0.5 s: the one from 1.5 to 2.5 s has both.
    assert (hiss["class"], hiss["windows"], hiss["annotated_windows"]) == (
        "hiss", "7", "4",
    )  # fmt: skip
    assert (hum["annotated_events"], hum["found_events"]) == ("1", "1")
    assert (hum["detections"], hum["right_detections"]) == ("1", "1")
    assert int(together["true_positives"]) >= 7
    assert together["class"] == "all classes"
    training = "protofloat, made up, none, seed 0, validation 100.00"
    table = done.stdout.index("Against the annotations of 7 windows")
    assert done.stdout.startswith(training)
    assert training in done.stdout[len(training) : table]
    for note in ("no annotations: hiss.wav", "probe does not know: owl"):
        assert note in done.stdout
    assert {"calibration.csv", "calibration.png"} <= {
        path.name for path in (run / "compared").iterdir()
    }


def test_mistakes_are_one_line_and_help_lists_the_options(run):
    orders = [
        ["predict", f"--workdir={run}", *arguments]
        for arguments in (
            [], ["nowhere.wav", "--threshold=2"], ["x.wav", "--treshold=2"], ["--help"]
        )
    ]  # fmt: skip
    *mistakes, help_text = start_forked(orders, cache=run)
    messages = (
        "--workdir RUN FILE_OR_FOLDER", "--threshold: a threshold is a number",
        "did you mean '--threshold=2'",
    )  # fmt: skip
    for done, message in zip(mistakes, messages, strict=True):
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert help_text.returncode == 0
    for word in ("predictions.csv", "--overlap=X", "--thresholds", "--workdir"):
        assert word in help_text.stdout
    assert "--config" not in help_text.stdout


def test_events_stay_single_windows_or_are_divided(first, run):
    single = predict(run, f"{run}/in/deep", f"--output={run}/single", "--no-merge")
    assert single.returncode == 0, single.stderr
    with open(run / "single" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {float(r["end_s"]) - float(r["start_s"]) for r in rows} == {1.0}
    refused = predict(run, f"{run}/in/deep", "--longest=0.5")
    assert refused.returncode == 2
    assert "an event is at least as long as a window, 1 s" in refused.stderr
