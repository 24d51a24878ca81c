"""Miniatures of the published layouts: seconds of noise, all irregularities.

`python -m tests.datasets.miniatures` prints a table of what is here.
"""

import dataclasses
import pathlib
import tarfile
from collections.abc import Callable

import numpy as np
import soundfile as sf


def write(path, seed, rate=16_000, seconds=0.2):
    """Writes noise in the format that the name says; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    sf.write(path, rng.uniform(-0.5, 0.5, round(seconds * rate)), rate)
    return path


def seed_of(text):
    """A seed for each name, so that no two clips are alike."""
    return list(text.encode())


def text(path, *lines, end="\n"):
    """Writes a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())


def tar(folder, archive):
    """Packs the contents of a folder, not the folder itself."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as packed:
        for path in sorted(folder.iterdir()):
            packed.add(path, f"./{path.name}")
    return archive


@dataclasses.dataclass(frozen=True)
class Miniature:
    """What a layout looks like.

    Attributes:
        make: Writes it below a folder and returns what a person would name.
        covers: Its irregularities.
        splits: What must be read of it.
    """

    make: Callable[[pathlib.Path], pathlib.Path]
    covers: str
    splits: dict[str, int]


def fsdd(root):
    """Two speakers of every digit."""
    root = root / "free-spoken-digit-dataset-master"
    for digit in range(10):
        for speaker in ("jackson", "yweweler"):
            for index in (0, 4, 5, 9, 10, 49):
                name = f"{digit}_{speaker}_{index}.wav"
                seconds = 0.14 if index == 10 else 0.2
                write(root / "recordings" / name, seed_of(name), 8000, seconds)
    write(root / "recordings" / "split.wav", 1, 8000)
    text(root / "README.md", "# Free Spoken Digit Dataset")
    return root


WORDS = (
    "backward bed bird cat dog down eight five follow forward four go happy house "
    "learn left marvin nine no off on one right seven sheila six stop three tree two "
    "up visual wow yes zero"
).split()


def sc2(root):
    """Three clips of every word, and a list with clips that are not there."""
    root = root / "speech_commands_v0.02"
    for word in WORDS:
        for speaker in ("00a1", "11b2", "22c3"):
            name = f"{word}/{speaker}_nohash_0.wav"
            seconds = 0.51 if speaker == "22c3" and word == "bed" else 0.1
            write(root / name, seed_of(name), seconds=seconds)
    lists = {"validation": "11b2", "testing": "22c3"}
    for kind, speaker in lists.items():
        lines = [f"{word}/{speaker}_nohash_{n}.wav" for word in WORDS for n in (0, 7)]
        text(root / f"{kind}_list.txt", *lines, end="\r\n")
    write(root / "_background_noise_" / "running_tap.wav", 1, seconds=1.6)
    write(root / "_background_noise_" / "pink_noise.wav", 2, seconds=2.2)
    text(root / "_background_noise_" / "README.md", "Noise")
    text(root / "LICENSE", "CC BY")
    return root


def sc2_twelve(root):
    """The same and the other archive, packed, in one folder."""
    place = root / "archives"
    tar(sc2(root), place / "speech_commands_v0.02.tar.gz")
    test = root / "test"
    for word in "down go left no off on right stop up yes _silence_ _unknown_".split():
        write(test / word / "0ff.wav", seed_of(f"test {word}"), seconds=0.1)
    tar(test, place / "speech_commands_test_set_v0.02.tar.gz")
    return place


MINIATURES = {
    "fsdd": Miniature(
        fsdd,
        "a file with another name, clips of 0.14 s",
        {"train": 40, "validation": 40, "test": 40},
    ),
    "sc2": Miniature(
        sc2,
        "lists with CRLF and clips that are not there, short clips, noise beside words",
        {"train": 35, "validation": 35, "test": 35},
    ),
    "sc2/twelve": Miniature(
        sc2_twelve,
        "two tar archives that share names, silence cut from long recordings",
        {"train": 38, "validation": 37, "test": 12},
    ),
}


def main():
    """Prints the table."""
    import tempfile

    from unmute_jax.datasets import all_facts, load_dataset

    print("| data set | layout | source | clips | classes | irregularities |")
    print("|---|---|---|---|---:|---|")
    facts = {f.name: f for f in all_facts()}
    for name, miniature in MINIATURES.items():
        with tempfile.TemporaryDirectory() as folder:
            place = miniature.make(pathlib.Path(folder))
            dataset = load_dataset(name, data_dir=place)
        clips = " / ".join(str(n) for n in dataset.splits.values())
        print(
            f"| `{name}` | {facts[name].layout} | {facts[name].checked} | {clips} "
            f"| {len(dataset.classes)} | {miniature.covers} |"
        )


if __name__ == "__main__":
    main()
