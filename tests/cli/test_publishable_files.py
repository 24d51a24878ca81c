"""What people publish of a run does not tell where their files lie."""

import zipfile

import numpy as np
import pytest
import soundfile as sf

from tests.cli.commands import start

OWNER = "ann-of-the-lake"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Runs every command on data in a home folder; yields the folder of its outputs."""
    top = tmp_path_factory.mktemp("published")
    home, out = top / OWNER, top / "out"
    clips, cache = home / "sounds" / "my clips", home / "cache"
    rng, time = np.random.default_rng(0), np.arange(8000) / 8000
    for c, name in enumerate(("hiss", "hum")):
        (clips / name).mkdir(parents=True)
        for k in range(12):
            noise = 0.05 * rng.standard_normal(8000)
            x = noise if c == 0 else noise + 0.3 * np.sin(2 * np.pi * (200 + k) * time)
            sf.write(clips / name / f"{k}.wav", x, 8000)
    config = (
        "--config=quickstart",
        f"--config.dataset=folder:{clips}",
        "--config.dataset_options.train_clips=None",
        "--config.dataset_options.validation_clips=None",
        "--config.dataset_options.test_clips=None",
        "--config.probes=protobin",
        "--config.batch_size=8",
        "--config.epochs=2",
        "--config.optimizer.learning_rates=0.1,",
    )
    run = f"--workdir={out}/run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for program, *arguments in (
            ("train", *config, run),
            ("report", f"{out}/run", f"--output={out}/report"),
            ("export", run, f"--output={out}/small.safetensors"),
            ("diagnose", run, f"--output={out}/diagnosis"),
            ("embed", *config, "--export=npy", "--what=tokens", f"--output={out}/npy"),
            ("embed", *config, "--export=parquet", f"--output={out}/parquet"),
            # This reads the data of the run again, which only its folder locates.
            ("predict", run, "--thresholds=validation", f"{clips}/hum", "--plot",
             f"--output={out}/predictions"),
        ):  # fmt: skip
            done = start(*arguments, cache=cache, program=program)
            assert done.returncode == 0, (program, done.stderr)
    return out


def contents(path):
    """The bytes of a file, and of the members of an archive."""
    yield path.read_bytes()
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())


def test_no_file_that_is_published_tells_the_home_folder(published):
    # The settings of a run say where it finds its data, and are not published.
    files = [p for p in published.rglob("*") if p.is_file() and p.name != "config.json"]
    suffixes = {path.suffix for path in files}
    assert {".json", ".jsonl", ".npz", ".safetensors", ".html", ".md", ".tex", ".csv",
            ".png", ".txt", ".parquet"} <= suffixes  # fmt: skip
    telling = [
        str(path.relative_to(published))
        for path in files
        if any(OWNER.encode() in content for content in contents(path))
    ]
    assert not telling
    assert OWNER in (published / "run" / "config.json").read_text()
