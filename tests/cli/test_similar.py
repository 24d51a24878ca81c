"""`unmute predict --like` lists the clips that sound like a recording."""

import csv

import soundfile as sf

from tests.cli.commands import start, start_forked
from unmute_jax.inference.clips_of_run import dataset_of
from unmute_jax.results.trained import load_trained


def test_a_training_clip_is_found_and_mistakes_are_one_line(
    tiny_run, shared_cache, tmp_path
):
    run = f"--workdir={tiny_run[0]}"
    clip = dataset_of(load_trained(tiny_run[0], probe="linear")).source_of("train")[7]
    query, out = tmp_path / "query.wav", tmp_path / "out"
    sf.write(query, clip.waveform, clip.sample_rate, subtype="FLOAT")
    options = ("--probe=linear", f"--like={query}", "--top=3", f"--output={out}")
    done = start(run, *options, cache=shared_cache, program="predict")
    assert done.returncode == 0, done.stderr
    assert clip.id in done.stdout
    with (out / "similar.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert rows[0]["clip"] == clip.id
    assert float(rows[0]["similarity"]) > 0.999

    orders = [
        ["predict", run, "--probe=linear", f"--like={query}", *more]
        for more in (["other.wav"], ["--threshold=0.3"])
    ]
    orders.append(["predict", run, "--probe=linear", f"--like={tmp_path}"])
    wanted = (
        "unexpected argument 'other.wav': --like",
        "--threshold has no effect with --like",
        f"--like={tmp_path}: is a folder",
    )
    for order, text in zip(
        start_forked(orders, cache=shared_cache), wanted, strict=True
    ):
        assert order.returncode == 2
        (line,) = order.stderr.splitlines()
        assert text in line
