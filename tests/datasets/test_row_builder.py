import dataclasses
import pathlib

import pytest

from tests.datasets.miniatures import by_id
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.own_clips import OwnEntry
from unmute_jax.datasets.row_builder import About, RowBuilder
from unmute_jax.errors import InputError

ABOUT = About(
    name="hf:rows",
    place="owner/rows",
    source="owner/rows at 0123456",
    classes=("wren", "crow", "gull"),
    has_lists=False,
    licence="cc0",
    notes=("a remark",),
)


def build(miniature, about=ABOUT):
    root = pathlib.Path(miniature.root) / "audio"
    rows = [
        OwnEntry(file=path.name, labels=(("wren", "gull")[i % 2],))
        for i, path in enumerate(sorted(root.iterdir()))
    ]
    return RowBuilder(about, Folder(root), rows, on_bad="fail").dataset()


def test_rows_are_clips(miniature):
    dataset = build(miniature)
    assert dataset.name == "hf:rows"
    assert dataset.source == "owner/rows at 0123456"
    assert dataset.licence == "cc0"
    assert dataset.notes[0] == "a remark"
    # The order of the classes is the declared one, and classes without a clip stay.
    assert dataset.classes == ("wren", "crow", "gull")
    assert {clip.labels for clip in by_id(dataset).values()} == {(0,), (2,)}
    assert dataset.task == "single-label"


def test_lists_of_one_label_are_lists(miniature):
    about = dataclasses.replace(ABOUT, has_lists=True)
    assert build(miniature, about).task == "multi-label"


def test_another_order_of_the_classes_is_another_data_set(miniature):
    first = build(miniature)
    other = dataclasses.replace(ABOUT, classes=("gull", "crow", "wren"))
    assert build(miniature, other).fingerprints != first.fingerprints


def test_one_class_is_refused(miniature):
    about = dataclasses.replace(ABOUT, classes=("wren",))
    with pytest.raises(InputError, match="owner/rows: needs two classes or more; ther"):
        RowBuilder(about, Folder(miniature.root), [], on_bad="fail")
