"""Records that were made up, and not by training: grids of any size in no time."""

import csv
import dataclasses
import pathlib

import numpy as np

from unmute_jax.report.gather import make_grid
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.result_grid import RecordFile
from unmute_jax.results import predictions
from unmute_jax.results.record import Record, write_record

ENCODERS = ("audiomae", "asit", "dasheng", "beats", "eat", "sslam")
DATASETS = ("as20k", "fsd50k", "desed", "spass", "urban", "hsn", "esc50", "sc2")
PROBES = ("linear", "mlp", "linpre", "mhca", "simpool", "proto", "protobin", "stats")
SINGLE = ("esc50", "sc2", "esc10")
RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
CLASSES = ("dog", "rain_&_wind", "sea waves", "50% <noise>", "église", "x^2_{i}")


def record(**changes):
    """A record; `weights` is "" for the published ones, or "untrained"."""
    encoder = changes.pop("encoder", "eat")
    weights = changes.pop("weights", "")
    dataset = changes.get("dataset", "urban")
    epochs = changes.pop("epochs", 30)
    score = changes.get("test", 0.5)
    description = f"{encoder}-base, pre-trained, model.safetensors"
    identity = "sha256:" + 64 * "0"
    if weights == "untrained":
        description, identity = f"{encoder}-base, untrained", "untrained (seed 0)"
    options = changes.get("probe_options", {})
    values = {
        "experiment": "e0",
        "dataset": dataset,
        "source": f"official {dataset}",
        "encoder": description,
        "probe": "linear",
        "probe_options": {},
        "protocol": "official splits",
        "seed": 0,
        "metric": "accuracy" if dataset in SINGLE else "mAP",
        "parameters": 1000,
        "learning_rate": 0.01,
        "weight_decay": 1e-4,
        "epoch": epochs,
        "validation": score,
        "test": score,
        "per_class": {c: score * (0.8 + 0.04 * i) for i, c in enumerate(CLASSES)},
        "masked_classes": 0,
        "search": tuple(
            {
                "learning_rate": r,
                "validation": score * (1 - abs(np.log10(r / 0.01)) / 4),
            }
            for r in RATES
        ),
        "seconds": 12.5,
        "settings": {
            "dataset": dataset,
            "encoder": encoder,
            "weights": weights,
            "probes": "linear",
            "labels": "clip",
            "epochs": epochs,
            "batch_size": 128,
            "report_epoch": "last",
            "refit": False,
            "seeds": 5,
            "seed": 0,
            "loss": {"name": "asymmetric", "clip": None},
            "optimizer": {"learning_rates": list(RATES), "weight_decay": 1e-4},
            "probe_options": options,
        },
        "facts": {
            "encoder": {"name": encoder, "weights": identity, "precision": "float32"},
            "clips": {"train": 6000, "validation": 2000, "test": 2000},
            "versions": {"jax": "0.10.0"},
            "devices": "1 x cpu",
        },
    }
    return Record(**{**values, **changes})


def grid_records(
    datasets=DATASETS, encoders=ENCODERS, probes=PROBES, seeds=3, trials=0, classes=None
):
    """Records of every cell. Scores rise with the position of the probe."""
    rng = np.random.default_rng(0)
    names = [f"class {i}" for i in range(classes)] if classes else CLASSES
    for d, dataset in enumerate(datasets):
        for e, encoder in enumerate(encoders):
            level = 0.25 + 0.05 * d + 0.02 * rng.normal() + 0.01 * e
            for p, probe in enumerate(probes):
                score = min(0.95, level + 0.04 * p + 0.015 * rng.normal())
                search = _trials(rng, trials, score) if trials else None
                for seed in range(seeds):
                    test = float(np.clip(score + 0.005 * rng.normal(), 0, 1))
                    per_class = {
                        c: float(np.clip(test + 0.15 * np.sin(7 * i + p), 0, 1))
                        for i, c in enumerate(names)
                    }
                    made = record(
                        dataset=dataset, encoder=encoder, probe=probe, seed=seed,
                        test=test, validation=score, per_class=per_class,
                        parameters=int(500 * 3**p),
                    )  # fmt: skip
                    if search:
                        best = max(search, key=lambda t: t["validation"] or 0)
                        made = dataclasses.replace(
                            made,
                            search=search,
                            learning_rate=best["learning_rate"],
                            weight_decay=best["weight_decay"],
                        )
                    yield made


def _trials(rng, count, score):
    """Trials as a sweep leaves them: some were stopped, and some diverged."""
    trials = []
    for i in range(count):
        rate = float(10 ** rng.uniform(-4, -0.5))
        value = max(
            0.02, score - 0.1 * abs(np.log10(rate / 0.01)) - 0.02 * rng.random()
        )
        status = "finished" if i == 0 or value > score - 0.07 else "stopped"
        if rate > 0.2 and i:
            status, value = "diverged", None
        trials.append(
            {
                "learning_rate": rate,
                "weight_decay": float(10 ** rng.uniform(-5, -3)),
                "validation": value,
                "epochs": 30 if status == "finished" else 4,
                "status": status,
            }
        )
    return tuple(trials)


def grid_of(records):
    """The grid of some records, without any file."""
    folder = pathlib.Path("nowhere") / "results"
    return make_grid([RecordFile(r, folder / r.file_name()) for r in records])


def resampler():
    """Knows of seeds only: records without a file have no predictions."""
    return Resampler(pathlib.Path("nowhere"))


def rows(table):
    """A table as a list of dictionaries of its fields."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.fields()]


def named(section, name):
    """The table of a section with this name."""
    (table,) = (t for t in section.tables if t.name == name)
    return table


def read_csv(path):
    """The lines of a CSV file as dictionaries."""
    with open(path, encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def write(folder, records):
    """Writes records to the folder of a run, and returns the folder."""
    for r in records:
        write_record(pathlib.Path(folder) / "results", r)
    return folder


def write_predictions(folder, r, logits, labels, groups=None):
    """Writes predictions beside a record of `write`."""
    ids = [f"clip {i}" for i in range(len(labels))]
    predictions.write_predictions(
        pathlib.Path(folder) / "predictions", r.file_name(), ids, groups or {}, labels,
        logits,
    )  # fmt: skip
