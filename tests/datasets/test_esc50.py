import dataclasses
import http.server
import shutil
import threading
import zipfile

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.conftest import CLASSES, RATE
from unmute_jax.audio.resample import resample
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


def fingerprints(dataset):
    return [dataset.fingerprint(split) for split in dataset.splits]


def refusal(name="esc50", **arguments):
    """The message of a failing load."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, **arguments)
    return str(caught.value)


def test_the_official_layout(miniature):
    dataset = load_dataset("esc50", data_dir=miniature.root)
    assert dataset.task == "single-label"
    assert dataset.splits == dict.fromkeys(FOLDS, len(CLASSES))
    assert len(dataset.classes) == 50
    assert all(dataset.classes[target] == name for target, name in CLASSES.items())
    assert dataset.sample_rate == RATE
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


def test_folder_parent_and_zip_are_the_same(miniature, tmp_path):
    (tmp_path / "zips").mkdir()
    archive = zipped(miniature, tmp_path / "zips" / "anything.zip")
    places = miniature.root, miniature.root.parent, archive, archive.parent
    found = [fingerprints(load_dataset("esc50", data_dir=place)) for place in places]
    assert all(each == found[0] for each in found)


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


def test_clips_of_another_rate_are_resampled(miniature):
    path = miniature.audio("2-2001-A-1.wav")
    x, _ = sf.read(path, dtype="float32")
    sf.write(path, x, 2 * RATE)
    clip = load_dataset("esc50", data_dir=miniature.root).source_of("fold2")[1]
    expected = resample(x, 2 * RATE, RATE)
    np.testing.assert_allclose(clip.waveform, expected, atol=1 / 32768)


def test_esc10_is_the_subset_with_labels_of_its_own(miniature):
    dataset = load_dataset("esc50/esc10", data_dir=miniature.root)
    assert (
        dataset.name == load_dataset("esc10", data_dir=miniature.root).name == "esc10"
    )
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


def test_the_embedded_sample():
    dataset = load_dataset("esc10")
    assert "sample" in dataset.source
    assert dataset.classes == ESC10
    assert list(dataset.splits.values()) == [79, 79, 80, 80, 80]
    assert dataset.notes == ("398 of the official 400 clips",)
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
        ("filename,fold,target,", "filename,fold,label,", "has no column target"),
        ("2-2010-A-10.wav,2,", "2-2010-A-10.wav,9,", "line 17: fold is '9'"),
        ("2-2010-A-10.wav,2,10,", "2-2010-A-10.wav,2,50,", "line 17: target is '50'"),
        ("2-2010-A-10.wav,2,10,rain,True", "2-2010-A-10.wav,2", "line 17: has more or"),
        ("2-2010-A-10.wav", "2-2011-A-11.wav", "names 2-2011-A-11.wav more than once"),
        ("2-2010-A-10.wav,2,10,rain", "2-2010-A-10.wav,2,10,pig", "more than one"),
    ],
)
def test_a_csv_that_is_wrong(old, new, expected, miniature):
    miniature.edit_csv(old, new)
    message = refusal(data_dir=miniature.root)
    assert message.startswith(str(miniature.csv))
    assert expected in message


def test_a_fold_without_clips(miniature):
    lines = miniature.csv.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("3-")]
    miniature.csv.write_text("\n".join(kept))
    assert "fold 3 has no clips" in refusal(data_dir=miniature.root)


def test_a_csv_that_is_no_text(miniature):
    miniature.csv.write_bytes(b"\xff\xfe\x00\x80" * 50)
    assert "not a text file" in refusal(data_dir=miniature.root)


def test_missing_files_are_counted(miniature):
    miniature.audio("2-2010-A-10.wav").unlink()
    miniature.audio("3-3010-A-10.wav").unlink()
    message = refusal(data_dir=miniature.root)
    assert "2 of its 60 files" in message
    assert "audio/2-2010-A-10.wav" in message
    dataset = load_dataset("esc50", data_dir=miniature.root, on_bad="skip")
    assert "2 unreadable clips skipped" in dataset.notes


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no ESC-50 here" in refusal(data_dir=tmp_path / "empty")
    assert "no such file or folder" in refusal(data_dir=tmp_path / "nowhere")


def test_two_copies_in_one_folder(miniature):
    shutil.copytree(miniature.root, miniature.root.parent / "second")
    assert "several copies" in refusal(data_dir=miniature.root.parent)


def test_a_zip_that_is_cut_short(miniature, tmp_path):
    archive = zipped(miniature, tmp_path / "esc50.zip")
    archive.write_bytes(archive.read_bytes()[:5000])
    assert "cut short" in refusal(data_dir=archive)


def test_a_damaged_member_of_a_zip(miniature, tmp_path):
    archive = zipped(miniature, tmp_path / "esc50.zip")
    with zipfile.ZipFile(archive) as whole:
        start = whole.getinfo("ESC-50-master/audio/1-1000-A-0.wav").header_offset
    data = bytearray(archive.read_bytes())
    data[start + 5000 : start + 5100] = bytes(100)
    archive.write_bytes(data)
    message = refusal(data_dir=archive)
    assert "1-1000-A-0.wav" in message
    assert "unpacked" in message


# Downloading.


class Server(http.server.BaseHTTPRequestHandler):
    body: bytes
    claim: int

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(self.claim))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format, *args):
        pass


def at(url, monkeypatch):
    """Makes `url` the home of ESC-50."""
    item = dataclasses.replace(esc50.INFOS[0].downloads[0], url=url)
    info = dataclasses.replace(esc50.INFOS[0], downloads=(item,))
    monkeypatch.setattr(esc50, "INFOS", (info, *esc50.INFOS[1:]))


@pytest.fixture
def serve(monkeypatch):
    """Makes a local server the home of ESC-50."""
    servers = []

    def start(body, claim=None):
        handler = type("H", (Server,), {"body": body, "claim": claim or len(body)})
        server = http.server.HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/master.zip"
        at(url, monkeypatch)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_is_fetched_once(serve, miniature, tmp_path, own_cache):
    serve(zipped(miniature, tmp_path / "esc50.zip").read_bytes())
    fetched = load_dataset("esc50")
    assert [p.name for p in (own_cache / "datasets" / "esc50").iterdir()] == [
        "ESC-50-master.zip"
    ]
    local = load_dataset("esc50", data_dir=miniature.root)
    assert fingerprints(fetched) == fingerprints(local)
    serve(b"no longer there")
    assert load_dataset("esc50") == fetched


@pytest.mark.parametrize("how", ["cut short", "a page"])
def test_a_download_that_fails_leaves_nothing(
    how, serve, miniature, tmp_path, own_cache
):
    body = zipped(miniature, tmp_path / "esc50.zip").read_bytes()
    if how == "cut short":
        url = serve(body[: len(body) // 2], claim=len(body))
    else:
        url = serve(b"<html>please log in</html>" * 100)
    message = refusal()
    assert url in message
    assert "ESC-50-master.zip" in message
    assert "data_dir" in message
    assert "esc10" in message
    assert list((own_cache / "datasets" / "esc50").iterdir()) == []


def test_no_network(monkeypatch):
    at("http://127.0.0.1:9/master.zip", monkeypatch)
    assert "configs/quickstart.py" in refusal()
