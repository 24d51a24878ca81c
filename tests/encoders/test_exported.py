"""Tokens that other code exported: any layout gives the same store; mistakes are told.

The exporter of the README is run here with NumPy in place of a network.
"""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests.store.fakes import fake_dataset
from tests.training.fakes import settings, setup
from unmute_jax import load_encoder
from unmute_jax.encoders import ExportedTokens, load_source
from unmute_jax.encoders import exported as module
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed
from unmute_jax.training import plan
from unmute_jax.training.run import run_experiment
from unmute_jax.training.workdir import Workdir

CLIPS, T, F, D = 70, 4, 2, 6
DATASET = fake_dataset(CLIPS)
FACTS = {
    "name": "their model",
    "seconds_per_step": 0.25,
    "frequency_edges_hz": [[0, 200], [200, 400]],
}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return {
        "ids": np.array(DATASET.ids("train")),
        "patches": rng.standard_normal((CLIPS, T, F, D), np.float32),
        "cls": rng.standard_normal((CLIPS, D), np.float32),
        "mask": np.arange(T) < rng.integers(1, T + 1, (CLIPS, 1)),
    }


def write(folder, arrays, *rows, suffix=".npz", facts=FACTS, **changes):
    """One file per selection of rows; without any, all clips in one file."""
    folder.mkdir(exist_ok=True)
    (folder / "tokens.json").write_text(json.dumps(facts))
    for k, selection in enumerate(rows or [np.arange(CLIPS)]):
        part = {name: x[selection] for name, x in arrays.items()} | changes
        path = folder / f"part{k}{suffix}"
        if suffix == ".npz":
            np.savez(path, **part)
        else:
            ids = part.pop("ids").tolist()
            part = {name: np.ascontiguousarray(x) for name, x in part.items()}
            told = {"ids": json.dumps(ids)}
            safetensors.numpy.save_file(part, path, metadata=told)
    return ExportedTokens.open(folder)


def bring_in(root, exported, dataset=DATASET, **options):
    options = {"dtype": "float32", "say": lambda _: None, **options}
    return embed(exported, dataset, "train", root=root, **options)


def check(store, arrays):
    tokens = store.load()
    for name in ("patches", "cls", "mask"):
        np.testing.assert_array_equal(getattr(tokens, name), arrays[name])
    assert store.ids == list(arrays["ids"])
    np.testing.assert_array_equal(store.labels.argmax(1), np.arange(CLIPS) % 3)


# Layouts


def test_clips_are_matched_by_id_wherever_they_are(tmp_path, arrays):
    order = np.random.default_rng(1).permutation(CLIPS)
    more = {
        name: np.concatenate([x, x[:1]]) for name, x in arrays.items() if name != "ids"
    }
    more["ids"] = np.append(arrays["ids"], "of another data set")
    order = np.append(order, CLIPS)
    exported = write(tmp_path / "x", more, order[:9], order[9:50], order[50:])
    check(bring_in(tmp_path, exported), arrays)


@pytest.mark.parametrize("kind", ["safetensors", "compressed", "fortran", "bytes"])
def test_every_way_to_write_a_file_gives_the_same(tmp_path, arrays, kind, monkeypatch):
    changes, suffix = {}, ".npz"
    if kind == "safetensors":
        suffix = ".safetensors"
    elif kind == "compressed":
        monkeypatch.setattr(np, "savez", np.savez_compressed)
    elif kind == "fortran":
        changes = {"patches": np.asfortranarray(arrays["patches"])}
    else:
        changes = {"ids": arrays["ids"].astype("S")}
    exported = write(tmp_path / "x", arrays, suffix=suffix, **changes)
    rows = np.random.default_rng(2).permutation(CLIPS)
    tokens = exported.read(arrays["ids"][rows].tolist())
    for name in ("patches", "cls", "mask"):
        np.testing.assert_array_equal(getattr(tokens, name), arrays[name][rows])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_types_of_float_are_widened(tmp_path, arrays, dtype):
    patches = arrays["patches"].astype(jnp.dtype(dtype))
    suffix = ".safetensors" if dtype == "bfloat16" else ".npz"
    exported = write(tmp_path / "x", arrays, suffix=suffix, patches=patches)
    got = exported.read(arrays["ids"][:5].tolist()).patches
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, patches[:5].astype(np.float32))


def test_without_cls_mask_and_bands_they_are_the_usual_ones(tmp_path, arrays):
    plain = {"ids": arrays["ids"], "patches": arrays["patches"][:, :, 0]}
    facts = FACTS | {"frequency_edges_hz": [[0, 400]]}
    exported = write(tmp_path / "x", plain, facts=facts)
    assert exported.grid(1.0) == (T, 1)
    tokens = exported.read(arrays["ids"].tolist())
    np.testing.assert_array_equal(tokens.patches[:, :, 0], plain["patches"])
    np.testing.assert_allclose(tokens.cls, plain["patches"].mean(1), atol=1e-6)
    assert tokens.mask.all()


def test_patches_stay_on_disk_until_they_are_read(tmp_path, arrays):
    exported = write(tmp_path / "x", arrays)
    assert isinstance(exported.files[0].arrays["patches"], np.memmap)


# Stores and training


def test_content_names_the_store_and_is_read_once(tmp_path, arrays, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    first = write(tmp_path / "x", arrays)
    path = bring_in(tmp_path, first).path
    digests = []
    digest = module.hashlib.file_digest
    monkeypatch.setattr(
        module.hashlib, "file_digest", lambda *a: digests.append(a) or digest(*a)
    )
    again = ExportedTokens.open(tmp_path / "x")
    assert bring_in(tmp_path, again).path == path
    assert digests == []
    other = write(tmp_path / "x", arrays, patches=arrays["patches"] + 1)
    assert len(digests) == 1
    assert bring_in(tmp_path, other).path != path


def test_an_interrupted_import_goes_on(tmp_path, arrays, monkeypatch):
    exported, read = write(tmp_path / "x", arrays), ExportedTokens.read
    asked = []

    def failing(self, ids):
        asked.append(len(ids))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return read(self, ids)

    monkeypatch.setattr(ExportedTokens, "read", failing)
    with pytest.raises(KeyboardInterrupt):
        bring_in(tmp_path, exported)
    check(bring_in(tmp_path, exported), arrays)
    # Shards are made in any order; the one that was cut off is asked for again.
    assert sorted(asked[:2]) == [6, 64]
    assert asked[2:] == asked[1:2]


def test_a_whole_run_on_exported_tokens(tmp_path):
    made = setup(settings(probes="linear", seeds=1))
    for split in made.dataset.splits:
        # As in the README: a network, here of NumPy, and what it gives per clip.
        ids, patches = [], []
        for clip in made.dataset.source_of(split):
            ids.append(clip.id)
            patches.append(abs(np.fft.rfft(clip.waveform.reshape(8, 100)))[:, :20])
        np.savez(tmp_path / f"{split}.npz", ids=ids, patches=np.stack(patches))
    facts = {"name": "spectra", "seconds_per_step": 0.125}
    facts["frequency_edges_hz"] = [[0, 160]]
    (tmp_path / "tokens.json").write_text(json.dumps(facts))
    object.__setattr__(made, "encoder", load_source(f"tokens:{tmp_path}"))
    told = plan.describe(made, tmp_path / "run")
    assert "spectra: 8 x 1 tokens of 20" in told
    workdir = Workdir(tmp_path / "run", made.settings)
    records = run_experiment(made, workdir, log=lambda _: None)
    assert {r.encoder for r in records} == {"spectra"}
    assert records[0].test > 0.5


# Mistakes


def test_missing_clips_are_named_with_those_that_nobody_wants(tmp_path, arrays):
    ids = arrays["ids"].astype("U20")
    ids[[3, 9]] = "clip 3.wav", "clip 9.wav"
    exported = write(tmp_path / "x", arrays, ids=ids)
    message = (
        r"no tokens of 2 of the 70 clips of fake/noise train: 'clip 3', 'clip 9'; "
        r"clips there that fake/noise train has not: 'clip 3.wav', 'clip 9.wav'$"
    )
    with pytest.raises(InputError, match=message):
        bring_in(tmp_path, exported)
    assert not list(tmp_path.glob("fake*"))


def test_a_clip_that_is_there_twice_is_named(tmp_path, arrays):
    with pytest.raises(InputError, match=r"part1.npz has tokens of 'clip 5' again"):
        write(tmp_path / "x", arrays, np.arange(60), np.array([60, 5]))


def test_tokens_that_are_not_finite_name_the_clip(tmp_path, arrays):
    patches = arrays["patches"].copy()
    patches[66, 1] = np.nan
    exported = write(tmp_path / "x", arrays, patches=patches)
    with pytest.raises(InputError, match="'clip 66' gives tokens that are not finite"):
        bring_in(tmp_path, exported)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.arange(CLIPS)}, "must be a list of words; they are int64"),
        ({"ids": np.array(["a"])}, "has 1 ids, and .* one row per clip is wanted"),
        ({"ids": np.array([object()] * CLIPS)}, "cannot be read"),
        ({"patches": np.zeros((CLIPS, T))}, r"shape \[70, 4\]: \[clips, time, bands"),
        ({"patches": np.zeros((CLIPS, T, 3, D))}, r"of 2 bands, and the patches have"),
        ({"clss": np.zeros(CLIPS)}, "did you mean 'cls'"),
    ],
)
def test_wrong_arrays_are_refused_in_one_line(tmp_path, arrays, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        write(tmp_path / "x", arrays, **changes)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.ones((CLIPS, T))}, r"mask of shape .* of float64: .* of bool"),
        ({"cls": np.zeros((CLIPS, 3))}, r"cls of shape \[5, 3\]: .*\[5, 6\] here"),
        ({"patches": np.zeros((CLIPS, T, F, D), int)}, "floating point is wanted"),
    ],
)
def test_wrong_types_are_refused_when_they_are_read(tmp_path, arrays, changes, message):
    exported = write(tmp_path / "x", arrays, **changes)
    with pytest.raises(InputError, match=message):
        exported.read(arrays["ids"][:5].tolist())


def test_files_must_be_alike(tmp_path, arrays):
    write(tmp_path / "x", arrays, np.arange(60))
    rest = {name: arrays[name][60:] for name in ("ids", "patches")}
    np.savez(tmp_path / "x" / "rest.npz", **rest)
    with pytest.raises(InputError, match=r"is \[.*\] in .* and absent in .*rest.npz"):
        ExportedTokens.open(tmp_path / "x")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"seconds_per_step": 0}, "must be a number > 0, not 0"),
        ({"frequency_edges_hz": [[0, 200], [100, 50]]}, r"must be \(low, high\) in Hz"),
        ({"second_per_step": 1}, "did you mean 'seconds_per_step'"),
        ({"name": 3}, "must be words"),
    ],
)
def test_wrong_facts_are_refused(tmp_path, arrays, facts, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "x", arrays, facts=FACTS | facts)


def test_what_is_not_there_is_said(tmp_path, arrays):
    with pytest.raises(InputError, match=r"tokens.json: there is no such file; it sa"):
        ExportedTokens.open(tmp_path)
    (tmp_path / "tokens.json").write_text(json.dumps(FACTS))
    with pytest.raises(InputError, match=r"holds no .npz and no .safetensors files"):
        ExportedTokens.open(tmp_path)
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        ExportedTokens.open(tmp_path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_that_is_cut_short_is_named(tmp_path, arrays, suffix):
    write(tmp_path / "x", arrays, suffix=suffix)
    path = tmp_path / "x" / f"part0{suffix}"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=re.escape(f"{path} cannot be read, or is")):
        ExportedTokens.open(tmp_path / "x")


def test_exported_tokens_take_no_options_and_hear_nothing_else(tmp_path, arrays):
    write(tmp_path / "x", arrays)
    with pytest.raises(InputError, match="has no options, 'weights' was given"):
        load_source(f"tokens:{tmp_path / 'x'}", "weights.pt")
    with pytest.raises(InputError, match="no encoder for other audio"):
        load_encoder(f"tokens:{tmp_path / 'x'}")
