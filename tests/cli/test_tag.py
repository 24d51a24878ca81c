import csv

import numpy as np
import soundfile as sf

from tests import golden
from tests.cli.commands import start_forked
from unmute_jax.encoders import load_encoder

RATE, WEIGHTS = 16_000, golden.ENCODERS / "beats_ft_tiny.pt"


def test_tags_are_written_reused_and_bad_files_are_named(tmp_path):
    noise = 0.05 * np.random.default_rng(0).standard_normal(5 * RATE // 2)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    sf.write(tmp_path / "in" / "noise.wav", noise, RATE)
    sf.write(tmp_path / "in" / "deep" / "tone.flac", tone, RATE)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    order = [
        "tag", "--encoder=beats+", f"--weights={WEIGHTS}", "--window=1",
        f"{tmp_path}/in", f"--output={out}",
    ]  # fmt: skip
    orders = [[*order, "--top=5"], [*order, f"{tmp_path}/bad.wav", "--top=1"]]
    done, again = start_forked(orders, cache=tmp_path)

    assert done.returncode == 0, done.stderr
    first, second, last = done.stdout.splitlines()
    assert first.startswith("deep/tone.flac: ")
    assert second.count(" at ") == 5
    assert last.endswith(f" {out}/")
    # The second command lists the best class only, from the saved scores.
    assert again.returncode == 1
    assert f"error: {tmp_path}/bad.wav: is damaged" in again.stderr
    assert again.stderr.splitlines()[-1] == "1 of 3 recordings were left out"
    assert again.stdout.splitlines()[1] == second.split(", ")[0]
    windows = (out / "windows" / "noise.wav.jsonl").read_text().splitlines()
    # A line about the recording, four windows, and a line about the end.
    assert len(windows) == 1 + 4 + 1
    with open(out / "tags.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["start_s"]) for r in rows] == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert {r["class"] for r in rows} <= set(load_encoder("beats+", WEIGHTS).classes)
