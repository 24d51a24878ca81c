"""What people publish of a run does not tell where their files lie.

The folders have names that some program takes for markup, a formula or a command.
"""

import zipfile

import numpy as np
import pytest
import soundfile as sf

from tests.cli.commands import start
from tests.nasty_names import is_safe_to_print
from unmute_jax.datasets.annotations import event_table

OWNER = "ann-of-the-lake"
CLASSES = ("US$ and A$ coins", "=a $\\bad$ [b] <i>|\x1b[31m")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Runs every command on data in a home folder; yields the folder of its outputs."""
    top = tmp_path_factory.mktemp("published")
    home, out = top / OWNER, top / "out"
    clips, cache = home / "sounds" / "my [/b] $x$ clips", home / "cache"
    rng, time = np.random.default_rng(0), np.arange(8000) / 8000
    for c, name in enumerate(CLASSES):
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
    run = f"--workdir={out}/run $x$ [/b]"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for program, *arguments in (
            ("train", *config, run),
            ("report", f"{out}/run $x$ [/b]", f"--output={out}/report"),
            ("export", run, f"--output={out}/small.safetensors"),
            ("diagnose", run, f"--output={out}/diagnosis"),
            ("embed", *config, "--export=npy", "--what=tokens", f"--output={out}/npy"),
            ("embed", *config, "--export=parquet", f"--output={out}/parquet"),
            # This reads the data of the run again, which only its folder locates.
            ("predict", run, "--thresholds=validation", clips, "--plot",
             f"--output={out}/predictions"),
            ("datasets", f"folder:{clips}"),
        ):  # fmt: skip
            done = start(*arguments, cache=cache, program=program)
            assert done.returncode == 0, (program, done.stderr)
            assert is_safe_to_print(done.stdout + done.stderr), program
            assert program != "train" or "[/b]" in done.stdout
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
    assert OWNER in (published / "run $x$ [/b]" / "config.json").read_text()


def test_predictions_keep_the_names_of_classes_and_files(published):
    path = published / "predictions" / "predictions.csv"
    rows = event_table.read(path.read_bytes().decode(), str(path))
    assert {row.event.label for row in rows} <= set(CLASSES)
    assert {row.file.split("/")[0] for row in rows} == set(CLASSES)
    assert "=a" not in {field[:2] for field in path.read_text().split(",")}
    assert list((published / "predictions" / "plots").rglob("*.png"))
