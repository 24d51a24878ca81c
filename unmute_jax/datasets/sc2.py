"""Speech Commands v0.02: single words of one second.

P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018.
The archive `speech_commands_v0.02.tar.gz` has a folder per word, `validation_list.txt`
and `testing_list.txt`; all clips that no list names are for training.
`speech_commands_test_set_v0.02.tar.gz` is the test split of the twelve-class task. The
copy on Hugging Face, `google/speech_commands`, has the latter as its test split, so it
serves for `sc2/twelve` only.

The twelve classes are ten command words, `_unknown_` for the 25 other words, and
`_silence_`. The clips of silence are seconds of the background recordings, one every
half second; those of the running tap are for validation. This is the rule of the
builder in TFDS.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from unmute_jax.audio.decode import decode_audio
from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files, Joined, Mounted
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download
from unmute_jax.datasets.table_copies import speech_commands_copy
from unmute_jax.datasets.tables import read_text
from unmute_jax.errors import InputError

WORDS = tuple(
    "backward bed bird cat dog down eight five follow forward four go happy house "
    "learn left marvin nine no off on one right seven sheila six stop three tree two "
    "up visual wow yes zero".split()
)
COMMANDS = tuple("down go left no off on right stop up yes".split())
SILENCE, UNKNOWN = "_silence_", "_unknown_"

_HOME = "http://download.tensorflow.org/data"
_WORDS_TAR = "speech_commands_v0.02.tar.gz"
_TEST_TAR = "speech_commands_test_set_v0.02.tar.gz"
_WORDS = Download(url=f"{_HOME}/{_WORDS_TAR}", name=_WORDS_TAR, megabytes=2429)
_TEST = Download(url=f"{_HOME}/{_TEST_TAR}", name=_TEST_TAR, megabytes=113)
_SPEAKER = re.compile(r"(.+)_nohash_\d+")
_NOISE = "_background_noise_"
_TEST_FOLDER = "twelve_class_test"

_ALL_WORDS = DatasetInfo(
    name="sc2",
    title="Speech Commands v0.02",
    task="single-label",
    classes=len(WORDS),
    splits={"train": 84_843, "validation": 9_981, "test": 11_005},
    protocol="official lists",
    layout="verified",
    checked="the official archives",
    files=f"{_WORDS_TAR}, or the folder it was unpacked into",
    licence="CC BY 4.0",
    citation="P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech "
    "Recognition, arXiv:1804.03209, 2018",
    home=_HOME,
    downloads=(_WORDS,),
)
_TWELVE = dataclasses.replace(
    _ALL_WORDS,
    name="sc2/twelve",
    title="Speech Commands v0.02, twelve classes",
    classes=len(COMMANDS) + 2,
    splits={"train": 85_511, "validation": 10_102, "test": 4_890},
    protocol="official lists and test archive; silence by the rule of TFDS",
    files=f"a folder with {_WORDS_TAR} and {_TEST_TAR}, or with the two folders they "
    "were unpacked into; or their tables on Hugging Face "
    "(hf:google/speech_commands:v0.02, or their folder)",
    downloads=(_WORDS, _TEST),
)
INFOS = (_ALL_WORDS, _TWELVE)


class SpeechCommands(FileBuilder):
    """Builder of the 35 words."""

    dataset_info = _ALL_WORDS
    classes = WORDS

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        files = find_files(place, "validation_list.txt", (_WORDS_TAR,))
        return files or speech_commands_copy(place)

    def layout(self) -> Splits:
        """Reads the folders, one per word, and the lists of two splits."""
        lists = {
            "validation": _names(self.files, "validation_list.txt"),
            "test": _names(self.files, "testing_list.txt"),
        }
        splits: Splits = {"train": [], "validation": [], "test": []}
        for file, word in self.clips():
            split = next((s for s, names in lists.items() if file in names), "train")
            splits[split].append(
                FileEntry(
                    id=file.removesuffix(".wav"),
                    file=file,
                    labels=(self.label(word),),
                    group=_speaker(file),
                )
            )
        return splits

    def clips(self) -> Iterator[tuple[str, str]]:
        """Yields every clip and its word."""
        words: set[str] = set()
        for file in self.files.names():
            word, _, name = file.partition("/")
            if (
                word in (_NOISE, _TEST_FOLDER)
                or "/" in name
                or not name.endswith(".wav")
            ):
                continue
            if word not in WORDS:
                raise InputError(
                    f"{self.files.where(file)}: {word!r} is not a word of v0.02, which "
                    f"has {', '.join(WORDS)}"
                )
            words.add(word)
            yield file, word
        if absent := [word for word in WORDS if word not in words]:
            raise InputError(
                f"{self.files.where('')}: there are no clips of {', '.join(absent)} "
                "(v0.01 lacks some of the words of v0.02)"
            )

    def label(self, word: str) -> int:
        """Returns the label of a word."""
        return self.classes.index(word)


class TwelveCommands(SpeechCommands):
    """Builder of the twelve-class task: ten words, all others, and silence."""

    dataset_info = _TWELVE
    classes = (*COMMANDS, SILENCE, UNKNOWN)

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        words = find_files(place, "validation_list.txt", (_WORDS_TAR,))
        test = find_files(place, f"{UNKNOWN}/*.wav", (_TEST_TAR,))
        if words is None and test is None:
            return speech_commands_copy(place, _TEST_FOLDER)
        if words is None or test is None:
            absent = _WORDS_TAR if words is None else _TEST_TAR
            raise InputError(f"{place}: the contents of {absent} are not there")
        return Joined([words, Mounted(_TEST_FOLDER, test)])

    def layout(self) -> Splits:
        """Reads the words, the background recordings and the other test split."""
        splits = super().layout()
        splits["test"] = [
            FileEntry(
                id=file.removesuffix(".wav"),
                file=file,
                labels=(self.classes.index(file.split("/")[1]),),
            )
            for file in self.files.names(_TEST_FOLDER)
            if file.endswith(".wav")
        ]
        for file in self.files.names(_NOISE):
            if file.endswith(".wav"):
                split = "validation" if file.endswith("/running_tap.wav") else "train"
                splits[split] += self._silence(file)
        return splits

    def label(self, word: str) -> int:
        """Returns the label of a word, that of `_unknown_` for most."""
        return self.classes.index(word if word in COMMANDS else UNKNOWN)

    def _silence(self, file: str) -> list[FileEntry]:
        """Returns seconds of a background recording, one every half second."""
        x, rate = decode_audio(self.files.read(file), self.files.where(file))
        halves = 2 * len(x) // rate - 1
        return [
            FileEntry(
                id=f"{file.removesuffix('.wav')}-{half / 2:.1f}",
                file=file,
                labels=(self.classes.index(SILENCE),),
                start=half / 2,
                seconds=1.0,
                group=file,
            )
            for half in range(halves)
        ]


def _names(files: Files, name: str) -> frozenset[str]:
    return frozenset(read_text(files, name).split())


def _speaker(file: str) -> str:
    match = _SPEAKER.fullmatch(pathlib.PurePosixPath(file).stem)
    return match[1] if match else file
