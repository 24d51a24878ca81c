"""A script as a user writes it, with every name of the API and the types they expect.

The tests run it, and check its types with mypy and pyright.
"""

import dataclasses
import pathlib
import sys
import wave
from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import unmute_jax as uj


def small_experiment() -> uj.Experiment:
    """The quickstart, so small that it takes seconds."""
    shipped = uj.load_experiment("quickstart")
    assert_type(shipped, uj.Experiment)
    return dataclasses.replace(
        shipped,
        probes="linear,protobin",
        epochs=2,
        steps=0,
        seeds=2,
        batch_size=16,
        dataset_options=dataclasses.replace(
            shipped.dataset_options,
            train_clips=24,
            validation_clips=12,
            test_clips=12,
        ),
        optimizer=dataclasses.replace(shipped.optimizer, learning_rates=(0.01, 0.1)),
    )


def runs_and_reports(folder: pathlib.Path) -> None:
    """Trains, searches, compares and reports."""
    settings = small_experiment()
    records = uj.train(settings, workdir=folder / "run")
    assert_type(records, list[uj.Record])
    assert_type(records[0].test, float)
    assert_type(records[0].probe, str)
    assert_type(records[0].per_class, dict[str, float | None])
    short = dataclasses.replace(settings.sweep, sobol=2, tpe=0, halvings=0)
    searched = uj.sweep(
        dataclasses.replace(settings, probes="stats", sweep=short),
        workdir=folder / "sweep",
    )
    assert_type(searched, list[uj.Record])

    compared = uj.compare([r for r in records if r.seed < 2] + searched)
    assert_type(compared, list[uj.Comparison])
    assert_type(compared[0].better, str)
    assert_type(compared[0].interval, tuple[float, float])
    assert_type(compared[0].estimate.value, float)

    frame = uj.to_dataframe(uj.read_records(folder))
    assert_type(frame, pd.DataFrame)
    assert_type(uj.to_dataframe(compared), pd.DataFrame)
    assert_type(uj.write_report(records, folder / "report"), str)
    uj.write_report(folder, folder / "report")


def predictions(folder: pathlib.Path) -> None:
    """Names the sounds in a recording with the trained probe."""
    rng = np.random.default_rng(0)
    with wave.open(str(folder / "noise.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(rng.integers(-999, 999, 12 * 16_000, np.int16).tobytes())
    trained = uj.load_trained(folder / "run", probe="protobin")
    assert_type(trained, uj.TrainedProbe)
    assert_type(trained.classes, tuple[str, ...])
    found = uj.predict(folder / "noise.wav", trained, thresholds={"dog": 0.9})
    assert_type(found, list[uj.Detections])
    for event in found[0].events:
        assert_type(event.onset, float)
        assert_type(event.label, str)
    uj.predict([folder / "noise.wav"], folder / "run" / "probes" / trained.file_name)


def own_loop(folder: pathlib.Path) -> None:
    """Embeds a data set, makes a probe and saves its parameters."""
    settings = small_experiment()
    encoder = uj.load_encoder("logmel")
    assert_type(encoder, uj.Encoder)
    data = uj.load_dataset(
        settings.dataset, train_clips=24, validation_clips=12, test_clips=12
    )
    assert_type(data, uj.Dataset)
    assert_type(data.classes, tuple[str, ...])
    store = uj.embed(encoder, data, "train", dtype="float32")
    assert_type(store, uj.TokenStore)
    assert_type(store.ids, list[str])
    tokens = store.read([0, 1, 2])
    assert_type(tokens, uj.Tokens)
    assert_type(encoder(jnp.zeros((1, 16_000))), uj.Tokens)
    assert_type(uj.summarise(tokens), uj.Summary)

    probe = uj.make_probe("protobin", num_classes=len(data.classes))
    assert_type(probe, uj.Probe)
    params = probe.init(jax.random.key(0), tokens)["params"]
    trained = uj.save_trained(
        probe,
        params,
        encoder,
        data.classes,
        folder / "own.safetensors",
        clip_seconds=data.clip_seconds,
        protocol=data.all_protocols[0].name,
        settings=settings,
    )
    assert_type(trained, uj.TrainedProbe)
    assert_type(trained.logits(tokens), jax.Array)

    mine = uj.Tokens.from_patches(np.ones((2, 5, 7), np.float32))
    assert_type(mine, uj.Tokens)


def the_rest() -> None:
    """The other names."""
    assert_type(uj.list_encoders(), list[str])
    assert_type(uj.list_probes(), list[str])
    assert_type(uj.list_datasets(), list[str])
    assert_type(uj.__version__, str)
    uj.set_verbose(False)
    try:
        uj.make_probe("protobim", num_classes=2)
    except uj.InputError as error:
        print(error)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1])
    runs_and_reports(place)
    predictions(place)
    own_loop(place)
    the_rest()
