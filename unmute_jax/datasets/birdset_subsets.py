"""The seven subsets of BirdSet: their sizes, classes and files."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.resources

from unmute_jax.datasets import few_shot
from unmute_jax.datasets.info import DatasetInfo, Download

RATE = 32_000
# With fewer shots, a fifth of a class is less than one clip.
FEWEST_TO_SPLIT = 3

_HOME = "https://huggingface.co/datasets/DBD-research-group/BirdSet"
# Clips of train and of test_5s, training archives, and the recording site.
SUBSETS = {
    "HSN": (5_460, 12_000, 7, "High Sierra Nevada"),
    "POW": (14_911, 4_560, 9, "Powdermill"),
    "PER": (16_802, 15_120, 11, "Amazon, Peru"),
    "NES": (16_117, 24_480, 13, "Colombia and Costa Rica"),
    "SNE": (19_390, 23_756, 21, "Sierra Nevada"),
    "UHH": (3_626, 36_637, 5, "Hawaii"),
    "NBP": (24_327, 563, 32, "NIPS4Bplus"),
}


@functools.cache
def classes_of(subset: str) -> tuple[str, ...]:
    """Returns the eBird codes of a subset, in the order of BirdSet."""
    folder = importlib.resources.files("unmute_jax") / "assets" / "birdset"
    lines = (folder / "classes.csv").read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return tuple(row["code"] for row in rows if row["subset"] == subset)


def info_of(subset: str) -> DatasetInfo:
    """Returns the description of a subset with all of its recordings."""
    train, test, shards, site = SUBSETS[subset]
    names = [f"{subset}_metadata_train.parquet", f"{subset}_metadata_test_5s.parquet"]
    names += [f"{subset}_train_shard_{n:04d}.tar.gz" for n in range(1, shards + 1)]
    names += [f"{subset}_test5s_shard_0001.tar.gz"]
    return DatasetInfo(
        name=subset.lower(),
        title=f"BirdSet {subset} ({site})",
        task="multi-label",
        classes=len(classes_of(subset)),
        splits={"train": train, "validation": 0, "test": test},
        protocol="test_5s is the test, one clip per recording; a fifth validates",
        layout="verified",
        checked="the loading script of the data set",
        files=f"a folder with {names[0]}, {names[1]} and the archives "
        f"{subset}_train_shard_*.tar.gz and {subset}_test5s_shard_*.tar.gz, or what "
        "was in them; or tables of Hugging Face (hf:OWNER/NAME, or their folder)",
        licence="CC BY-NC 4.0",
        citation="L. Rauch et al., BirdSet: A Large-Scale Dataset for Audio "
        "Classification in Avian Bioacoustics, ICLR 2025",
        home=_HOME,
        downloads=tuple(
            Download(url=f"{_HOME}/resolve/data/{subset}/{name}", name=name)
            for name in names
        ),
        max_seconds=few_shot.SECONDS,
    )


def few_shot_info(info: DatasetInfo, shots: int) -> DatasetInfo:
    """Returns the description of a subset with a few clips per class."""
    selects = "a fifth of it" if shots >= FEWEST_TO_SPLIT else "one more per class"
    return dataclasses.replace(
        info,
        name=f"{info.name}/{shots}shot",
        title=f"{info.title}, {shots}-shot",
        splits={"train": 0, "validation": 0, "test": info.splits["test"]},
        protocol=f"{shots}-shot, {selects} validates; test_5s is the test",
    )


INFOS = tuple(
    info for s in SUBSETS for info in (info_of(s), few_shot_info(info_of(s), 64))
)
