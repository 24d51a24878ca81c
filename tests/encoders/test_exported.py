"""Tokens that other code has exported: layouts of files, stores, runs and mistakes."""

import json
import shutil

import numpy as np
import pytest

from tests import golden
from tests.damage import LONE, damaged
from tests.store.fakes import fake_dataset
from tests.training.fakes import make_setup, settings
from unmute_jax import load_encoder
from unmute_jax.encoders import ExportedTokens, load_source
from unmute_jax.encoders import exported as module
from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE, cache_dir
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


def write(folder, arrays, *rows, facts=FACTS, **changes):
    """Writes one file per selection of rows; by default all clips in one file."""
    folder.mkdir(exist_ok=True)
    (folder / "tokens.json").write_text(json.dumps(facts))
    for k, selection in enumerate(rows or [np.arange(CLIPS)]):
        part = {name: x[selection] for name, x in arrays.items()} | changes
        np.savez(folder / f"part{k}.npz", **part)
    return ExportedTokens.open(folder)


def imported(root, exported, dataset=DATASET, **options):
    options = {"dtype": "float32", "log": lambda _: None, **options}
    return embed(exported, dataset, "train", root=root, **options)


def check(store, arrays):
    tokens = store.load()
    for name in ("patches", "cls", "mask"):
        np.testing.assert_array_equal(getattr(tokens, name), arrays[name])
    assert store.ids == list(arrays["ids"])
    np.testing.assert_array_equal(store.labels.argmax(1), np.arange(CLIPS) % 3)


# Layouts


def test_clips_are_matched_by_id_in_any_order_and_file(tmp_path, arrays):
    order = np.random.default_rng(1).permutation(CLIPS)
    more = {
        name: np.concatenate([x, x[:1]]) for name, x in arrays.items() if name != "ids"
    }
    more["ids"] = np.append(arrays["ids"], "of another data set")
    order = np.append(order, CLIPS)
    exported = write(tmp_path / "x", more, order[:9], order[9:50], order[50:])
    check(imported(tmp_path, exported), arrays)


def test_cls_mask_and_bands_have_defaults(tmp_path, arrays):
    plain = {"ids": arrays["ids"], "patches": arrays["patches"][:, :, 0]}
    facts = FACTS | {"frequency_edges_hz": [[0, 400]]}
    exported = write(tmp_path / "x", plain, facts=facts)
    assert exported.grid(1.0) == (T, 1)
    tokens = exported.read(arrays["ids"].tolist())
    np.testing.assert_array_equal(tokens.patches[:, :, 0], plain["patches"])
    np.testing.assert_allclose(tokens.cls, plain["patches"].mean(1), atol=1e-6)
    assert tokens.mask.all()


# Stores and training


def test_content_names_the_store_and_is_read_once(tmp_path, arrays, monkeypatch):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    first = write(tmp_path / "x", arrays)
    path = imported(tmp_path, first).path
    digests = []
    digest = module.hashlib.file_digest
    monkeypatch.setattr(
        module.hashlib, "file_digest", lambda *a: digests.append(a) or digest(*a)
    )
    again = ExportedTokens.open(tmp_path / "x")
    assert imported(tmp_path, again).path == path
    assert digests == []
    other = write(tmp_path / "x", arrays, patches=arrays["patches"] + 1)
    assert len(digests) == 1
    assert imported(tmp_path, other).path != path


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
        imported(tmp_path, exported)
    check(imported(tmp_path, exported), arrays)
    # Shards are made in any order; the one that was cut off is asked for again.
    assert sorted(asked[:2]) == [6, 64]
    assert asked[2:] == asked[1:2]


def test_a_whole_run_on_exported_tokens(tmp_path):
    made = make_setup(settings(probes="linear", seeds=1))
    for split in made.dataset.splits:
        # Here NumPy takes the place of the network of another program.
        ids, patches = [], []
        for clip in made.dataset.source_of(split):
            ids.append(clip.id)
            patches.append(abs(np.fft.rfft(clip.waveform.reshape(8, 100)))[:, :20])
        np.savez(tmp_path / f"{split}.npz", ids=ids, patches=np.stack(patches))
    facts = {"name": "spectra", "seconds_per_step": 0.125}
    facts["frequency_edges_hz"] = [[0, 160]]
    (tmp_path / "tokens.json").write_text(json.dumps(facts))
    object.__setattr__(made, "encoder", load_source(f"tokens:{tmp_path}"))
    plan_text = plan.describe(made, tmp_path / "run")
    assert "spectra: 8 x 1 tokens of 20" in plan_text
    workdir = Workdir(tmp_path / "run", made.settings)
    records = run_experiment(made, workdir, log=lambda _: None)
    assert {r.encoder for r in records} == {"spectra"}
    assert records[0].test > 0.5


# Mistakes


def test_missing_clips_are_named_together_with_additional_ones(tmp_path, arrays):
    ids = arrays["ids"].astype("U20")
    ids[[3, 9]] = "clip 3.wav", "clip 9.wav"
    exported = write(tmp_path / "x", arrays, ids=ids)
    message = (
        r"no tokens of 2 of the 70 clips of fake/noise train: 'clip 3', 'clip 9'; "
        r"clips that are not in fake/noise train: 'clip 3.wav', 'clip 9.wav'$"
    )
    with pytest.raises(InputError, match=message):
        imported(tmp_path, exported)
    assert not list(tmp_path.glob("fake*"))


def test_a_repeated_clip_is_named(tmp_path, arrays):
    with pytest.raises(InputError, match=r"part1.npz has tokens of 'clip 5' again"):
        write(tmp_path / "x", arrays, np.arange(60), np.array([60, 5]))


def test_tokens_that_are_not_finite_name_the_clip(tmp_path, arrays):
    patches = arrays["patches"].copy()
    patches[66, 1] = np.nan
    exported = write(tmp_path / "x", arrays, patches=patches)
    with pytest.raises(InputError, match="'clip 66' gives tokens that are not finite"):
        imported(tmp_path, exported)


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        (np.zeros((CLIPS, T)), r"shape \[70, 4\]: it must be \[clips, time, bands"),
        (np.zeros((CLIPS, T, 3, D)), "of 2 bands, and the patches have 3"),
    ],
)
def test_patches_must_fit_the_stated_geometry(tmp_path, arrays, patches, message):
    with pytest.raises(InputError, match=message) as caught:
        write(tmp_path, arrays, patches=patches)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_types_of_float_become_float32(tmp_path, arrays):
    patches = arrays["patches"].astype(np.float16)
    exported = write(tmp_path / "x", arrays, patches=patches)
    got = exported.read(arrays["ids"][:5].tolist()).patches
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, patches[:5].astype(np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.ones((CLIPS, T))}, r"mask of shape .* of float64: .* of bool"),
        ({"cls": np.zeros((CLIPS, 3))}, r"cls of shape \[5, 3\]: .*\[5, 6\] here"),
        ({"patches": np.zeros((CLIPS, T, F, D), int)}, "must be floating point"),
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
        ({"name": 3}, "must be strings"),
    ],
)
def test_wrong_facts_are_refused(tmp_path, arrays, facts, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path / "x", arrays, facts=FACTS | facts)


def test_missing_files_and_invalid_json_are_refused(tmp_path, arrays):
    with pytest.raises(InputError, match=r"tokens.json: there is no such file; it mu"):
        ExportedTokens.open(tmp_path)
    (tmp_path / "tokens.json").write_text(json.dumps(FACTS))
    with pytest.raises(InputError, match=r"holds no .npz and no .safetensors files"):
        ExportedTokens.open(tmp_path)
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(InputError, match="is not valid JSON"):
        ExportedTokens.open(tmp_path)


def test_exported_tokens_have_no_options_and_encode_no_other_audio(tmp_path, arrays):
    write(tmp_path / "x", arrays)
    with pytest.raises(InputError, match="has no options, 'weights' was given"):
        load_source(f"tokens:{tmp_path / 'x'}", "weights.pt")
    with pytest.raises(InputError, match="no encoder for other audio"):
        load_encoder(f"tokens:{tmp_path / 'x'}")


# Damage


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "must be strings"),
        ({"seconds_per_step": True}, "must be a number > 0, not True"),
        ({"seconds_per_step": 10**400}, "must be a number > 0, not 1000"),
        ({"frequency_edges_hz": [[0, 10**400]]}, "lowest first"),
        ({"name": LONE}, "is not valid JSON .*surrogates"),
        ({"format": 9}, "was written by a newer version"),
        ({"format": 2}, "was altered or damaged"),
        ({"format": "2"}, "was altered or damaged"),
        ({"files": {}}, "was altered or damaged"),
        ({"digest": "0"}, "was altered or damaged"),
    ],
)
def test_descriptions_that_are_impossible_are_refused(tmp_path, change, message):
    (tmp_path / "tokens.json").write_text(json.dumps(FACTS | change))
    with pytest.raises(InputError, match=message) as caught:
        ExportedTokens.open(tmp_path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ["[" * 10_000, '{"name": 1, "name": 2}', '{"name": NaN}', b"\xff", "1"]
)
def test_descriptions_that_are_no_json_objects_are_refused(tmp_path, text):
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "tokens.json").write_bytes(content)
    with pytest.raises(InputError, match=r"tokens\.json (is not valid JSON|must hold)"):
        ExportedTokens.open(tmp_path)


@pytest.fixture(scope="module")
def sealed_folder(tmp_path_factory, arrays):
    """A folder with digests, never to be changed."""
    folder = tmp_path_factory.mktemp("sealed")
    write(folder, arrays, np.arange(9), np.arange(9, CLIPS))
    digests = {p.name: module.sha256_of_file(p) for p in folder.glob("*.npz")}
    (folder / "tokens.json").write_text(json.dumps(module.sealed(FACTS, digests)))
    return folder


def test_damage_anywhere_in_an_exported_folder_is_noticed(sealed_folder, tmp_path):
    shutil.copytree(sealed_folder, tmp_path / "x")
    assert len(ExportedTokens.open(tmp_path / "x").files) == 2
    read = []
    for name in ("tokens.json", "part0.npz"):
        path = tmp_path / "x" / name
        content = path.read_bytes()
        for what, changed in damaged(content, 1, 150):
            path.write_bytes(changed)
            try:
                ExportedTokens.open(tmp_path / "x")
            except InputError as error:
                message = str(error)
            else:
                # Spaces at the end of JSON mean nothing.
                if changed.strip() != content.strip():
                    read.append(f"{name}: {what}")
                continue
            assert message.isprintable()
            assert len(message) < 600
        path.write_bytes(content)
    assert not read


def test_missing_additional_and_exchanged_files_are_noticed(sealed_folder, tmp_path):
    def changed(name):
        return shutil.copytree(sealed_folder, tmp_path / name)

    (changed("less") / "part1.npz").unlink()
    shutil.copy(sealed_folder / "part0.npz", changed("more") / "part2.npz")
    other = changed("other")
    (other / "part0.npz").rename(other / "part3.npz")
    (other / "part1.npz").rename(other / "part0.npz")
    (other / "part3.npz").rename(other / "part1.npz")
    for name, message in (
        ("less", r"lacks part1\.npz, which was exported"),
        ("more", r"part2\.npz is not one of the files that tokens\.json lists"),
        ("other", r"part0\.npz was altered or damaged after it was exported"),
    ):
        with pytest.raises(InputError, match=message):
            ExportedTokens.open(tmp_path / name)


def test_a_changed_number_in_a_file_without_digest_is_noticed(tmp_path, arrays):
    write(tmp_path / "x", arrays)
    path = tmp_path / "x" / "part0.npz"
    content = bytearray(path.read_bytes())
    content[content.index(arrays["patches"].tobytes()) + 9] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"checksum of 'patches\.npy' differs"):
        ExportedTokens.open(tmp_path / "x")


def test_folders_of_the_first_version_are_read_and_give_the_same():
    exported = ExportedTokens.open(golden.FORMAT_1 / "tokens")
    with np.load(golden.FORMAT_1 / "expected.npz") as expected:
        want = expected["patches"]
    tokens = exported.read([f"clip {i}" for i in range(len(want))])
    np.testing.assert_array_equal(tokens.patches, want)


def test_a_damaged_cache_of_digests_is_made_again(tmp_path, arrays, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "caches"))
    first = write(tmp_path / "x", arrays)
    (cache,) = cache_dir("tokens").glob("exported-*.json")
    for content in ("[1]", '{"x": 1}', "3", "{"):
        cache.write_text(content)
        assert ExportedTokens.open(tmp_path / "x").sha256 == first.sha256


def test_long_and_odd_ids_are_shown_in_one_short_line(tmp_path, arrays):
    odd = np.array(["\x1b[31m\n" + "x" * 10_000] * CLIPS)
    source = write(tmp_path, arrays, [0], ids=odd[:1])
    with pytest.raises(
        InputError, match="has no tokens of 1 of the 1 clips"
    ) as refused:
        source.check_clips(["y" * 10_000], "a split")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < len(str(tmp_path)) + 300
