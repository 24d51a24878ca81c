import dataclasses
import shutil
import zipfile

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.conftest import CLASSES, RATE
from tests.hub import running_hub
from unmute_jax.datasets import esc50, load_dataset
from unmute_jax.errors import InputError

FOLDS = ["fold1", "fold2", "fold3", "fold4", "fold5"]
ESC10 = ("dog", "rooster", "rain", "sea_waves", "crackling_fire", "crying_baby")
ESC10 += ("sneezing", "clock_tick", "helicopter", "chainsaw")


def zipped(miniature, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(miniature.root.rglob("*")):
            archive.write(file, file.relative_to(miniature.root.parent))
    return path


def refusal(name="esc50", **arguments):
    """Returns the message of a load that fails."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, **arguments)
    return str(caught.value)


def test_the_official_layout_is_read(miniature):
    dataset = load_dataset("esc50", data_dir=miniature.root)
    assert dataset.task == "single-label"
    assert dataset.splits == dict.fromkeys(FOLDS, len(CLASSES))
    assert len(dataset.classes) == 50
    assert all(dataset.classes[target] == name for target, name in CLASSES.items())
    assert dataset.sample_rates == {RATE: 60}
    assert dataset.clip_seconds == pytest.approx(0.3)
    assert "non-commercial" in dataset.licence
    assert dataset.notes == ("60 of the official 2000 clips",)
    assert "official" not in dataset.source
    clips = dataset.source_of("fold4")
    assert [clip.labels for clip in clips] == [(target,) for target in CLASSES]
    for clip in clips:
        assert clip.id.startswith("4-")
        x, _ = sf.read(miniature.audio(f"{clip.id}.wav"), dtype="float32")
        np.testing.assert_array_equal(clip.waveform, x)
        assert clip.waveform.dtype == np.float32


def test_folder_parent_and_zip_give_the_same_clips(miniature, tmp_path):
    (tmp_path / "zips").mkdir()
    archive = zipped(miniature, tmp_path / "zips" / "anything.zip")
    places = miniature.root, miniature.root.parent, archive, archive.parent
    first, *others = (load_dataset("esc50", data_dir=place) for place in places)
    assert all(other.fingerprints == first.fingerprints for other in others)


def test_a_copy_in_the_cache_is_found(miniature, own_cache):
    shutil.copytree(miniature.root, own_cache / "datasets" / "esc50" / "ESC-50-master")
    assert load_dataset("esc50").splits == dict.fromkeys(FOLDS, len(CLASSES))
    assert "copy" in load_dataset("esc10").source


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_the_csv_decides_the_format(kind, miniature):
    for path in miniature.root.glob("audio/*.wav"):
        x, _ = sf.read(path, dtype="float32")
        sf.write(path.with_suffix(f".{kind}"), x, RATE)
        path.unlink()
    miniature.edit_csv(".wav", f".{kind}")
    dataset = load_dataset("esc50", data_dir=miniature.root)
    assert dataset.source_of("fold1")[3].id == "1-1010-A-10"
    assert kind in dataset.source


def test_clips_of_another_rate_keep_it(miniature):
    path = miniature.audio("2-2001-A-1.wav")
    x, _ = sf.read(path, dtype="float32")
    sf.write(path, x, 2 * RATE)
    dataset = load_dataset("esc50", data_dir=miniature.root)
    clip = dataset.source_of("fold2")[1]
    assert clip.sample_rate == 2 * RATE
    np.testing.assert_array_equal(clip.waveform, x)
    assert dataset.sample_rates == {RATE: 59, 2 * RATE: 1}


def test_esc10_is_the_subset_with_labels_of_its_own(miniature):
    dataset = load_dataset("esc50/esc10", data_dir=miniature.root)
    assert dataset == load_dataset("esc10", data_dir=miniature.root)
    assert dataset.name == "esc10"
    assert dataset.classes == ESC10
    assert dataset.splits == dict.fromkeys(FOLDS, 10)
    assert [clip.labels[0] for clip in dataset.source_of("fold1")] == list(range(10))
    assert dataset.licence == "CC BY 3.0"


def test_only_a_whole_copy_of_wavs_is_called_official(miniature, monkeypatch):
    monkeypatch.setattr(esc50, "CLIPS_PER_CLASS", 5)
    dataset = load_dataset("esc10", data_dir=miniature.root)
    assert (dataset.source, dataset.notes) == ("official ESC-10", ())
    miniature.edit_csv("2-2010-A-10.wav,2,10,rain,True,2010,A\n", "")
    dataset = load_dataset("esc10", data_dir=miniature.root)
    assert dataset.source == "ESC-10 copy (.wav)"
    assert dataset.notes == ("49 of the official 50 clips",)


def test_the_embedded_sample_is_complete():
    dataset = load_dataset("esc10")
    assert "sample" in dataset.source
    assert dataset.classes == ESC10
    assert list(dataset.splits.values()) == [79, 79, 80, 80, 80]
    # Decoders of Ogg exceed the range that the original clips fill.
    missing, loud = dataset.notes
    assert missing == "398 of the official 400 clips"
    assert loud.startswith("56 clips are beyond [-1, 1]")
    ids = set()
    for split in dataset.splits:
        for clip in dataset.source_of(split):
            ids.add(clip.id)
            assert clip.waveform.shape == (80_000,)
            # The name of a clip ends in its ESC-50 target.
            target = esc50.ESC10_TARGETS[clip.labels[0]]
            assert clip.id.startswith(split[-1])
            assert clip.id.endswith(f"-{target}")
    assert len(ids) == 398
    assert not ids & {"1-40730-A-1", "2-96460-A-1"}
    # Two takes of one recording.
    assert dataset.groups.keys() == ids
    assert dataset.groups["5-203128-A-0"] == dataset.groups["5-203128-B-0"] == "203128"


def test_the_protocols_follow_the_folds(miniature):
    dataset = load_dataset("esc10", data_dir=miniature.root)
    everything = dataset.protocols(test_fold=0)
    assert [p.name for p in everything] == [f"test fold {k}" for k in range(1, 6)]
    for k, protocol in enumerate(everything, start=1):
        assert dataset.protocols(test_fold=k) == (protocol,)
        assert protocol.test == (f"fold{k}",)
        assert protocol.validation == (f"fold{k % 5 + 1}",)
        used = (*protocol.train, *protocol.validation, *protocol.test)
        assert sorted(used) == FOLDS
    assert dataset.protocols() == everything[:1]
    with pytest.raises(InputError, match="folds 1 to 5"):
        dataset.protocols(test_fold=6)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("2-2010-A-10.wav,2,", "2-2010-A-10.wav,9,", "line 17: fold is '9'"),
        ("2-2010-A-10.wav,2,10,", "2-2010-A-10.wav,2,50,", "line 17: target is '50'"),
        ("2-2010-A-10.wav", "2-2011-A-11.wav", "names 2-2011-A-11.wav more than once"),
        ("2-2010-A-10.wav,2,10,rain", "2-2010-A-10.wav,2,10,pig", "more than one"),
    ],
)
def test_mistakes_in_the_csv_are_named(old, new, expected, miniature):
    miniature.edit_csv(old, new)
    message = refusal(data_dir=miniature.root)
    assert message.startswith(str(miniature.csv))
    assert expected in message


def test_a_fold_without_clips_is_refused(miniature):
    lines = miniature.csv.read_text().splitlines()
    others = [line for line in lines if not line.startswith("3-")]
    miniature.csv.write_text("\n".join(others))
    assert "fold 3 has no clips" in refusal(data_dir=miniature.root)


def test_missing_files_are_counted(miniature):
    miniature.audio("2-2010-A-10.wav").unlink()
    miniature.audio("3-3010-A-10.wav").unlink()
    message = refusal(data_dir=miniature.root)
    assert "2 of its 60 files" in message
    assert "audio/2-2010-A-10.wav" in message
    dataset = load_dataset("esc50", data_dir=miniature.root, on_bad="skip")
    assert "2 unreadable clips skipped: " in str(dataset.notes)


# Downloading.


@pytest.fixture
def home(monkeypatch, tmp_path):
    """Makes a local server the home of ESC-50."""
    with running_hub(monkeypatch, tmp_path / "hub") as server:
        (item,) = esc50.INFOS[0].downloads
        item = dataclasses.replace(item, url=f"{server.url}/master.zip")
        info = dataclasses.replace(esc50.INFOS[0], downloads=(item,))
        monkeypatch.setattr(esc50, "_ESC50", info)
        yield server


def test_the_official_zip_is_downloaded_once(home, miniature, tmp_path, own_cache):
    archive = zipped(miniature, tmp_path / "esc50.zip")
    home.files["/master.zip"] = archive.read_bytes()
    downloaded = load_dataset("esc50")
    assert [p.name for p in (own_cache / "datasets" / "esc50").iterdir()] == [
        "ESC-50-master.zip"
    ]
    local = load_dataset("esc50", data_dir=miniature.root)
    assert downloaded.fingerprints == local.fingerprints
    assert load_dataset("esc50") == downloaded
    assert len(home.downloads) == 1


def test_a_page_instead_of_the_zip_leaves_nothing(home, own_cache):
    home.files["/master.zip"] = b"<html>please log in</html>" * 100
    message = refusal()
    assert f"{home.url}/master.zip" in message
    assert "as ESC-50-master.zip" in message
    assert "data_dir" in message
    assert "configs/quickstart.py" in message
    assert list((own_cache / "datasets" / "esc50").iterdir()) == []
