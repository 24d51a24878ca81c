"""Names that people give to classes, groups and splits, made comparable."""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Iterable, Sequence

SPLITS = ("train", "validation", "test")

# The names that `datasets` of Hugging Face knows, because many folders follow it.
_NAMES_OF_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "validate"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
# Words beside them that say nothing, as in "train_set" and "audio-test".
_OTHER_WORDS = r"set|data|dataset|audio|wav|wavs|clips|files|split|samples|sounds"
# Blanks, and characters that no editor shows.
_BLANKS = r"[\s\u200b\u200c\u200d\ufeff]+"


def normal_name(name: str) -> str:
    """Returns a name in Unicode NFC and without surrounding blanks.

    macOS writes an umlaut as two characters and other systems write one, so the same
    name would otherwise be two. What JSON may hold and no text file can, a NUL and half
    of a surrogate pair, becomes the replacement character.
    """
    name = name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    name = name.replace("\0", "\ufffd")
    name = unicodedata.normalize("NFC", name)
    return re.sub(f"^{_BLANKS}|{_BLANKS}$", "", name)


def split_named(name: str) -> str | None:
    """Returns the split that a folder or a word names, in any case of its letters.

    Args:
        name: A name, such as "val", "Training" or "test_set".

    Returns:
        "train", "validation" or "test"; None if it is the name of no split.
    """
    word = normal_name(name).casefold()
    word = re.sub(rf"^({_OTHER_WORDS})[\s_-]+|[\s_-]*({_OTHER_WORDS})$", "", word)
    return _NAMES_OF_SPLITS.get(word)


def is_fold(name: str) -> bool:
    """Returns whether a folder is named like a fold, such as "fold1" or "Fold 02"."""
    return bool(re.fullmatch(r"fold[\s_-]*\d+", normal_name(name).casefold()))


def notes_on_similar(names: Iterable[str]) -> list[str]:
    """Returns a note for names that may be meant as one, such as "Dog" and "dog".

    They are compared without regard to case, and blanks, hyphens and underscores count
    as the same.

    Args:
        names: Names of classes, each once.
    """
    alike = collections.defaultdict[str, list[str]](list)
    for name in names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        alike[re.sub(r"[\s_-]+", " ", plain)].append(name)
    return [
        f"{' and '.join(map(repr, same))} are different classes; rename them if they "
        "are meant as one"
        for same in alike.values()
        if len(same) > 1
    ]


def listed(names: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """Returns names for a message, such as "frog, toad and 3 more".

    Args:
        names: All names.
        most: Number of names that are written out.
        between: Text between two names.
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{between.join(names[:most])}{more}"
