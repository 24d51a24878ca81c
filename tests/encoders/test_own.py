"""Encoders of other people: found, called as they want it, kept apart, refused."""

import jax
import numpy as np
import pytest

from tests.encoders import own_encoders
from tests.store.fakes import fake_dataset
from unmute_jax import distributed, load_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed

MODULE = "tests.encoders.own_encoders"
# Clips of 800 Hz, half a second to one long; two batches, the second ragged.
DATASET = fake_dataset(5)


def own(name, **options):
    return load_encoder(f"{MODULE}:{name}", **options)


def run(root, encoder, **options):
    said = []
    store = embed(encoder, DATASET, "train", root=root, log=said.append, **options)
    return store, said


@pytest.fixture(scope="module")
def clips():
    noise = np.random.default_rng(0).standard_normal((3, 800), np.float32) / 10
    lengths = np.array([800, 500, 90], np.int32)
    return np.where(np.arange(800) < lengths[:, None], noise, 0), lengths


def test_numpy_code_runs_on_the_host_in_the_batches_of_the_pass(tmp_path):
    encoder = own("Spectral")
    store, _ = run(tmp_path, encoder, batch_size=3, dtype="float32")
    # One clip to learn the grid; batches are padded to the two devices.
    assert encoder.theirs.batches == [1, 4, 4]
    assert store.grid == (10, 2, 8)
    source = DATASET.source_of("train")
    tokens = store.load()
    for i in range(5):
        waveform = np.zeros((1, 1000), np.float32)
        heard = own_encoders.RATE / DATASET.sample_rate * len(source[i].waveform)
        # The waveform is that of the data set, resampled.
        assert abs(tokens.patches[i, round(heard) // 100 + 1 :] + 4.6).max() < 0.01
        assert tokens.patches[i, 0].max() > waveform.max()
    np.testing.assert_allclose(tokens.cls, tokens.patches.mean((1, 2)), atol=1e-5)
    assert tokens.mask.all()


def test_what_is_stored_is_what_it_gives(tmp_path, clips):
    encoder = own("Spectral", gain=2.0)
    tokens = encoder(*clips)
    wanted = 2 * own_encoders.Spectral.spectra(clips[0])
    np.testing.assert_array_equal(tokens.patches, wanted)
    on_two = encoder.on(distributed.make_mesh(2))
    rows = np.array([0, 1, 2, 2])
    sharded = on_two(clips[0][rows], clips[1][rows])
    assert len(sharded.patches.sharding.device_set) == 2
    np.testing.assert_array_equal(sharded.patches, wanted[rows])


def test_jax_code_is_compiled_with_its_weights_as_an_argument(tmp_path, clips):
    encoder, closed = own("Jax"), own("closed")
    tokens = encoder(*clips)
    assert tokens.patches.shape == (3, 8, 1, 6)
    np.testing.assert_array_equal(tokens.mask.sum(1), [8, 5, 1])
    np.testing.assert_allclose(tokens.cls, tokens.patches[:, 0, 0])
    text = jax.jit(encoder.apply).lower(encoder.params, *clips).as_text()
    assert "100x6xf32" in text[text.index("@main(") :].splitlines()[0]
    np.testing.assert_allclose(closed(*clips).patches, tokens.patches, rtol=1e-6)
    store, _ = run(tmp_path, encoder)
    assert store.grid == (10, 1, 6)
    assert encoder.geometry.frequency_edges_hz == ((0.0, 500.0),)


def test_version_weights_and_options_name_the_tokens(tmp_path, monkeypatch):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"one")
    first = own("Spectral", source=str(weights)).identity()
    assert first["name"] == f"{MODULE}:Spectral"
    assert own("Spectral", source=str(weights)).identity() == first
    others = [own("Spectral").identity(), own("Spectral", gain=3).identity()]
    weights.write_bytes(b"two")
    others.append(own("Spectral", source=str(weights)).identity())
    monkeypatch.setattr(own_encoders.Spectral, "version", "2")
    others.append(own("Spectral").identity())
    assert all(a != b for i, a in enumerate(others) for b in [first, *others[:i]])


def test_changed_code_under_the_same_version_is_told(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        f"from {MODULE} import Spectral\nclass Mine(Spectral): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    _, said = run(tmp_path, load_encoder("mine:Mine"))
    assert not any("note" in line for line in said)
    with open("mine.py", "a") as file:
        file.write("# and a comment\n")
    _, said = run(tmp_path, load_encoder("mine:Mine"))
    assert "the code of mine:Mine has changed" in said[0]
    assert "read from" in said[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Mine", "there is no module 'no_such_module', neither in"),
        ("tests.encoders.own:Spectral", "there is no module 'tests.encoders.own'"),
        (f"{MODULE}:Spectra", "did you mean 'Spectral'"),
        (f"{MODULE}:an_object", "an object of type Spectral: name the class"),
        ("my-module:Mine", "is no encoder: a module, a colon and a class"),
        (f"{MODULE}:Nameless", "has no version: an encoder needs sample_rate, vers"),
        (f"{MODULE}:np", "object of type module"),
        ("tokens:folder", "no encoder for other audio"),
        ("pathlib:Path", "has no sample_rate, no version, no seconds_per_step, no __c"),
    ],
)  # fmt: skip
def test_what_is_no_encoder_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_unknown_options_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'gain'"):
        own("Spectral", gian=2.0)
    with pytest.raises(InputError, match="must be numbers and words"):
        own("Spectral", gain=np.ones(1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ForgotToSay", "set jittable = False"),
        ("Flat", r"patches of shape \[1, 8\] for 1 clips: \[clips, time, bands"),
        ("Integers", "patches of int32: floating point is wanted"),
        ("Misnamed", "did you mean 'patches'"),
        ("WantsGrad", r"requires grad.*detach\(\).cpu\(\).float\(\).numpy\(\)"),
        ("WrongBands", r"gives 2 frequency bands, and .* has \(low, high\) of 3"),
        ("Ragged", r"gives a grid \(.*\) for clips of 1000 samples, and gave \("),
        ("NanInSilence", "'clip 0' gives tokens that are not finite"),
    ],
)
def test_wrong_tokens_are_refused_in_one_line(tmp_path, name, message, monkeypatch):
    if name == "NanInSilence":
        monkeypatch.setattr(
            "unmute_jax.store.batches.pad_or_crop",
            lambda x, n: (np.zeros(n, np.float32), n),
        )
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, own(name))
    assert "\n" not in str(caught.value)


def test_its_own_errors_keep_their_traceback_and_get_a_hint(monkeypatch):
    monkeypatch.setattr(own_encoders.Spectral, "jittable", True)
    with pytest.raises(AssertionError) as caught:
        own("Spectral").grid(1.0)
    assert "set jittable = False" in caught.value.__notes__[0]


def test_a_module_that_lacks_a_package_says_which(tmp_path, monkeypatch):
    (tmp_path / "lacking.py").write_text("import a_package_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lacking imports a_package_nobody_has, which"):
        load_encoder("lacking:Mine")
