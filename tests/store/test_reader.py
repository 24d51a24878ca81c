"""A token store gives back what was written, or says what is wrong with it."""

import json

import ml_dtypes
import numpy as np
import pytest

from tests.store.fakes import FakeEncoder, fake_dataset, fake_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.files import DamagedStore, sealed, unsealed
from unmute_jax.store.key import differences, store_key, store_path
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout, new_manifest
from unmute_jax.store.maintenance import explain_miss
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter

CLIPS = 2 * CLIPS_PER_SHARD + 9
GRID = (5, 2, 6)


def manifest(**changes):
    return new_manifest(
        store_key(fake_encoder(), fake_dataset(CLIPS), "train"),
        clips=CLIPS,
        grid=GRID,
        classes=("ash", "birch", "cedar"),
        **changes,
    )


def content(seed=0):
    """Random rows for every array of the store."""
    rng = np.random.default_rng(seed)
    rows = {}
    for name, (shape, dtype) in Layout.of(manifest()).arrays.items():
        if name == "patches_crc":
            continue  # The writer makes it.
        x = rng.standard_normal(shape, np.float32)
        if dtype in ("bool", "uint8"):
            x = x > 0
        rows[name] = x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return rows


def clips():
    return [{"id": f"clip {i}", "events": [[i % 3, 0.5, 1.5]]} for i in range(CLIPS)]


def write(writer, shard, rows):
    where = writer.layout.rows(shard)
    writer.write(shard, {k: x[where] for k, x in rows.items()}, clips()[where])


@pytest.fixture
def rows():
    return content()


@pytest.fixture
def store(tmp_path, rows):
    writer = TokenWriter(tmp_path / "store", manifest(licence="CC0"))
    for shard in (1, 0, 2):
        write(writer, shard, rows)
    return writer.finish()


def equal(x, y):
    """Equal to the last bit, type included."""
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


# What was written comes back


def test_read_gives_the_rows_asked_for_in_that_order(store, rows):
    index = np.random.default_rng(1).integers(CLIPS, size=100)
    tokens = TokenStore.open(store.path).read(index)
    for name in ("patches", "inverse_norms", "mask", "cls"):
        equal(getattr(tokens, name), rows[name][index])
    assert tokens.patches.dtype == ml_dtypes.bfloat16


def test_load_and_summary_give_all_rows(store, rows):
    tokens, summary = store.load(), store.summary()
    for name in ("patches", "inverse_norms", "mask", "cls"):
        equal(getattr(tokens, name), rows[name])
    for name in ("cls", "mean", "max", "std"):
        equal(getattr(summary, name), rows[name])
    held = (tokens.patches, tokens.inverse_norms, tokens.mask, tokens.cls)
    assert store.nbytes() == sum(x.nbytes for x in held)


def test_the_rest_of_the_store(store, rows):
    assert (store.n, store.grid, store.dtype) == (CLIPS, GRID, ml_dtypes.bfloat16)
    assert store.classes == ("ash", "birch", "cedar")
    assert store.ids == [f"clip {i}" for i in range(CLIPS)]
    assert store.events[4] == ((1, 0.5, 1.5),)
    assert store.manifest["licence"] == "CC0"
    equal(store.labels, rows["labels"])
    equal(store.mask, rows["mask"])


def test_clips_of_a_local_disk_do_not_pass_through_tensorstore(store, rows):
    store.read([0])
    fetched = []
    object.__setattr__(
        store, "_fetch", lambda *names, rows: fetched.extend(names) or {}
    )
    equal(store.read([70, 3, 136, 3]).patches, rows["patches"][[70, 3, 136, 3]])
    assert fetched == []


def test_no_clips_asked_no_clips_given(store):
    assert store.read([]).patches.shape == (0, *GRID)


@pytest.mark.parametrize("index", [[0, CLIPS], [-1]])
def test_clips_outside_are_refused(store, index):
    with pytest.raises(IndexError, match=f"of {CLIPS}"):
        store.read(index)


def test_tokens_of_silence_are_stored_too(tmp_path, rows):
    zero = {k: np.zeros_like(x) for k, x in rows.items()}
    writer = TokenWriter(tmp_path, manifest())
    for shard in writer.pending():
        write(writer, shard, zero)
    equal(writer.finish().load().patches, zero["patches"])


# Unfinished and damaged stores


@pytest.mark.parametrize("broken", content())
def test_a_shard_is_done_only_with_all_its_arrays(tmp_path, rows, broken):
    writer = TokenWriter(tmp_path, manifest())
    write(writer, 1, rows)
    where = writer.layout.rows(0)
    part = {k: x[where] for k, x in rows.items()}
    part[broken] = part[broken][:-1]  # The write stops there.
    with pytest.raises(RuntimeError, match=rf"rows of {broken}(_crc)? are \(63,"):
        writer.write(0, part, clips()[where])
    assert TokenWriter(tmp_path, manifest()).pending() == [0, 2]
    with pytest.raises(InputError, match=r"unfinished \(64 of 137 clips\)"):
        TokenStore.open(tmp_path)


def test_finish_refuses_a_store_with_holes(tmp_path, rows):
    writer = TokenWriter(tmp_path, manifest())
    write(writer, 0, rows)
    with pytest.raises(RuntimeError, match=r"\[1, 2\]"):
        writer.finish()


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def cut(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize("harm", [flip, cut, lambda _: b""])
@pytest.mark.parametrize("name", ["patches", "cls", "mean", "labels"])
def test_harm_to_a_shard_is_found(store, name, harm):
    (path,) = (p for p in (store.path / name / "c" / "1").rglob("0") if p.is_file())
    path.write_bytes(harm(path.read_bytes()))
    harmed = TokenStore.open(store.path)
    with pytest.raises(InputError, match=r"damaged.*embed again") as error:
        _ = harmed.read(np.arange(CLIPS)), harmed.summary(), harmed.labels
    assert str(store.path) in str(error.value)
    assert "\n" not in str(error.value)


def test_harm_to_one_clip_leaves_the_others(store, rows):
    (path,) = (p for p in (store.path / "patches/c/1").rglob("0") if p.is_file())
    path.write_bytes(flip(path.read_bytes()))
    harmed = TokenStore.open(store.path)
    with pytest.raises(InputError):
        harmed.read(range(64, 128))
    equal(harmed.read(range(64)).patches, rows["patches"][:64])


@pytest.mark.parametrize("name", ["patches/c/2/0/0/0", "std/c/0/0", "clips/1"])
def test_a_missing_file_is_found_on_opening(store, name):
    (store.path / name).unlink()
    with pytest.raises(InputError, match=f"damaged.*{name} is missing"):
        TokenStore.open(store.path)


@pytest.mark.parametrize("name", ["patches/c/2/0/0/0", "std/c/0/0", "clips/1"])
def test_a_file_that_goes_missing_after_opening_is_not_read_as_zeros(store, name):
    found = TokenStore.open(store.path)
    (store.path / name).unlink()
    with pytest.raises(DamagedStore, match="embed again"):
        _ = found.read([CLIPS - 1]), found.summary(), found.ids
    with pytest.raises(DamagedStore):
        TokenStore.open(store.path)


@pytest.mark.parametrize("name", ["manifest.json", "patches/zarr.json", "clips/0"])
def test_a_cut_text_file_is_found(store, name):
    path = store.path / name
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        _ = (harmed := TokenStore.open(store.path)).load(), harmed.ids


def test_no_store_and_another_format(store, tmp_path):
    with pytest.raises(InputError, match="no token store at"):
        TokenStore.open(tmp_path / "elsewhere")
    path = store.path / "manifest.json"
    path.write_text(json.dumps({**store.manifest, "format": 0}))
    with pytest.raises(InputError, match=r"format 0.*embed again"):
        TokenStore.open(store.path)


def test_a_folder_of_other_tokens_is_not_written_to(store):
    other = manifest() | {"key": manifest()["key"] | {"fingerprint": "f00"}}
    with pytest.raises(InputError, match=r"other tokens.*key.fingerprint: .* -> \"f00"):
        TokenWriter(store.path, other)


def test_a_disk_that_refuses_is_one_line(tmp_path):
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="store: Not a directory"):
        TokenWriter(tmp_path / "store", manifest())


def test_no_byte_of_a_text_can_be_altered():
    data = sealed({"clips": [{"id": "é", "events": []}], "more": 1.5})
    assert json.loads(data)["clips"] == unsealed(data)["clips"]
    for i in range(len(data)):
        with pytest.raises(ValueError, match="checksum"):
            unsealed(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(ValueError, match="checksum"):
            unsealed(data[:i])


# The key


def test_equal_keys_have_equal_folders():
    one = store_key(fake_encoder(), fake_dataset(), "train")
    two = store_key(fake_encoder(), fake_dataset(), "train")
    assert one == two == json.loads(json.dumps(one))
    assert store_path("root", one) == store_path("root", two)
    assert store_path("root", one).name.startswith("fake_noise-train-fake+-")


def second_version():
    class Second(FakeEncoder):
        version = 2

    return Second(**vars(fake_encoder()))


@pytest.mark.parametrize(
    ("field", "encoder", "dataset", "dtype"),
    [
        ("encoder.weights", fake_encoder(1), fake_dataset(), "bfloat16"),
        ("encoder.version", second_version(), fake_dataset(), "bfloat16"),
        (
            "encoder.mask_padding",
            fake_encoder(mask_padding=False),
            fake_dataset(),
            "bfloat16",
        ),
        ("fingerprint", fake_encoder(), fake_dataset(seed=1), "bfloat16"),
        ("input_samples", fake_encoder(), fake_dataset(clip_seconds=2.0), "bfloat16"),
        ("resampling", fake_encoder(), fake_dataset(sample_rate=400), "bfloat16"),
        ("dtype", fake_encoder(), fake_dataset(), "float32"),
    ],
)
def test_every_change_of_content_is_a_miss_that_is_named(
    tmp_path, field, encoder, dataset, dtype
):
    old = manifest() | {"key": store_key(fake_encoder(), fake_dataset(), "train")}
    TokenWriter(store_path(tmp_path, old["key"]), old)
    key = store_key(encoder, dataset, "train", dtype)
    assert store_path(tmp_path, key) != store_path(tmp_path, old["key"])
    (line,) = explain_miss(tmp_path, key)
    assert f"differs in {field}: " in line
    assert "->" in line


def test_a_miss_is_explained_by_the_nearest_store_of_the_same_split(tmp_path):
    for seed, dtype in ((1, "float32"), (1, "bfloat16")):
        key = store_key(fake_encoder(seed), fake_dataset(), "train", dtype)
        TokenWriter(store_path(tmp_path, key), manifest() | {"key": key})
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "manifest.json").write_text("[]")
    wanted = store_key(fake_encoder(), fake_dataset(), "train")
    (line,) = explain_miss(tmp_path, wanted)
    assert 'weights: "untrained, seed 1" -> "untrained, seed 0"' in line
    other = wanted | {"split": "test"}
    (line,) = explain_miss(tmp_path, other)
    assert "no tokens of fake/noise test by fake+" in line


def test_long_values_and_absent_fields_stay_readable():
    (a, b) = differences({"means": [1.5] * 99}, {"means": [2.5] * 99, "new": 1})
    assert a.startswith("means: [1.5, 1.5")
    assert len(a) < 160
    assert b == "new: absent -> 1"


def test_names_that_do_not_exist():
    with pytest.raises(InputError, match=r"split of fake/noise 'trian'.*'train'"):
        store_key(fake_encoder(), fake_dataset(), "trian")
    with pytest.raises(InputError, match="token type 'float16'"):
        store_key(fake_encoder(), fake_dataset(), "train", "float16")


def test_tokens_of_another_encoder_are_refused(store):
    store.check_encoder(fake_encoder().identity())
    with pytest.raises(InputError, match=r'weights: "untrained, seed 0" -> .*seed 1"'):
        store.check_encoder(fake_encoder(1).identity())
