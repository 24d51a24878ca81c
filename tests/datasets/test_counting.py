"""Data sets are counted as they will be, and nothing is fetched, unpacked or kept."""

import numpy as np
import pytest
import soundfile as sf

from tests.datasets import layouts
from tests.datasets.hub_folders import push, two_classes
from unmute_jax.datasets import count_dataset, counting, load_dataset
from unmute_jax.datasets.counting import NotHereError
from unmute_jax.errors import InputError


def own_folder(root, count=9, seconds=0.2):
    for i in range(count):
        path = root / "own" / "ab"[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        length = round(8000 * seconds * (2 if i == 3 else 1))
        sf.write(path, np.random.default_rng(i).uniform(-0.1, 0.1, length), 8000)
    return root / "own"


def check(name, cache, **options):
    """Counts a data set, then prepares it, and compares the two."""
    counted = count_dataset(name, **options)
    assert not counted.is_prepared
    assert not any(path.is_file() for path in cache.rglob("*"))
    loaded = load_dataset(name, **options)
    for field in ("name", "splits", "classes", "all_protocols", "task", "has_events"):
        assert getattr(counted, field) == getattr(loaded, field), field
    assert [counted.ids(s) for s in counted.splits] == [
        loaded.ids(s) for s in loaded.splits
    ]
    assert counted.clip_seconds >= loaded.clip_seconds
    # What is prepared is opened.
    assert count_dataset(name, **options) == loaded
    return counted, loaded


# The archive of the others is unpacked when they are opened.
@pytest.mark.parametrize("name", ["as20k", "desed", "fsdd", "fsd50k"])
def test_published_files_are_counted_as_they_are_listed(name, place_of, own_cache):
    check(name, own_cache, data_dir=place_of(name))


def test_mixtures_are_counted_without_being_made(own_cache):
    options = {"train_clips": 5, "validation_clips": 4, "test_clips": 3}
    counted, _ = check("esc_mix", own_cache, **options)
    assert counted.clip_seconds == 10


def test_few_clips_of_ones_own_have_their_lengths_looked_at(tmp_path, own_cache):
    counted, loaded = check(f"folder:{own_folder(tmp_path)}", own_cache)
    assert counted.durations == loaded.durations
    assert counted.clip_seconds == loaded.clip_seconds == 0.4
    assert counted.notes[-1] == "not prepared yet: clips are counted, not read"


def test_of_many_clips_some_are_looked_at(tmp_path, own_cache, monkeypatch):
    monkeypatch.setattr(counting, "MOST_LOOKED_AT", 4)
    counted = count_dataset(f"folder:{own_folder(tmp_path)}")
    assert counted.durations == {}
    assert counted.notes[-1].endswith("not read; lengths are those of 3 clips")


def test_rows_of_tables_are_counted(tmp_path, own_cache):
    push(tmp_path / "tables", {"train": two_classes(20), "test": two_classes(4)})
    check(f"hf:{tmp_path / 'tables'}", own_cache)


def test_a_clip_that_cannot_be_read_is_named(tmp_path, own_cache):
    place = own_folder(tmp_path)
    for path in place.rglob("*.wav"):
        path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"\.wav: .*on_bad='skip'"):
        count_dataset(f"folder:{place}")
    with pytest.raises(InputError, match="none of 9 clips can be read, the first bec"):
        count_dataset(f"folder:{place}", on_bad="skip")


def test_what_would_be_downloaded_or_unpacked_is_left_alone(tmp_path, own_cache):
    with pytest.raises(NotHereError, match=r"urban is not in .*: downloaded when need"):
        count_dataset("urban")
    with pytest.raises(InputError, match="FSD50K is not in"):
        count_dataset("fsd50k")
    place = layouts.urban(tmp_path / "files")
    archive = layouts.tar(place.parent, tmp_path / "URBAN-SED_v2.0.0.tar.gz")
    with pytest.raises(NotHereError, match=r"is unpacked when needed: its clips canno"):
        count_dataset("urban", data_dir=archive)
    assert not any(path.is_file() for path in own_cache.rglob("*"))
