"""Encoders that users write: loading them, calling them, their keys and mistakes."""

import jax
import numpy as np
import pytest

from tests.encoders import custom_encoders
from tests.store.fakes import FakeDataset, fake_dataset
from unmute_jax import distributed, load_encoder
from unmute_jax.datasets import Clip
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed

MODULE = "tests.encoders.custom_encoders"
# Clips of 800 Hz, half a second to one long; two batches, the second ragged.
DATASET = fake_dataset(5)


def custom(name, **options):
    return load_encoder(f"{MODULE}:{name}", **options)


def embedded(root, encoder, **options):
    """The store of the encoder's tokens, and the lines that were logged."""
    lines = []
    store = embed(encoder, DATASET, "train", root=root, log=lines.append, **options)
    return store, lines


@pytest.fixture(scope="module")
def clips():
    noise = np.random.default_rng(0).standard_normal((3, 800), np.float32) / 10
    lengths = np.array([800, 500, 90], np.int32)
    return np.where(np.arange(800) < lengths[:, None], noise, 0), lengths


def test_numpy_code_runs_on_the_host_in_batches_of_the_embedding_pass(tmp_path):
    encoder = custom("Spectral")
    store, _ = embedded(tmp_path, encoder, batch_size=3, dtype="float32")
    # One clip to learn the grid; batches are padded to the two devices.
    assert encoder.model.batches == [1, 4, 4]
    assert store.grid == (10, 2, 8)
    source = DATASET.source_of("train")
    tokens = store.load()
    for i in range(5):
        samples = custom_encoders.RATE / source[i].sample_rate * len(source[i].waveform)
        # Behind the resampled clip there is silence: log(0.01) everywhere.
        assert abs(tokens.patches[i, round(samples) // 100 + 1 :] + 4.6).max() < 0.01
        assert tokens.patches[i, 0].max() > 0
    np.testing.assert_allclose(tokens.cls, tokens.patches.mean((1, 2)), atol=1e-5)
    assert tokens.mask.all()


def test_a_call_and_two_devices_give_the_model_s_own_output(clips):
    encoder = custom("Spectral", gain=2.0)
    tokens = encoder(*clips)
    wanted = 2 * custom_encoders.Spectral.spectra(clips[0])
    np.testing.assert_array_equal(tokens.patches, wanted)
    on_two = encoder.on(distributed.make_mesh(2))
    rows = np.array([0, 1, 2, 2])
    sharded = on_two(clips[0][rows], clips[1][rows])
    assert len(sharded.patches.sharding.device_set) == 2
    np.testing.assert_array_equal(sharded.patches, wanted[rows])


def test_jax_code_is_compiled_with_its_weights_as_an_argument(tmp_path, clips):
    encoder, closed = custom("Jax"), custom("closed")
    tokens = encoder(*clips)
    assert tokens.patches.shape == (3, 8, 1, 6)
    np.testing.assert_array_equal(tokens.mask.sum(1), [8, 5, 1])
    np.testing.assert_allclose(tokens.cls, tokens.patches[:, 0, 0])
    text = jax.jit(encoder.apply).lower(encoder.params, *clips).as_text()
    assert "100x6xf32" in text[text.index("@main(") :].splitlines()[0]
    np.testing.assert_allclose(closed(*clips).patches, tokens.patches, rtol=1e-6)
    store, _ = embedded(tmp_path, encoder)
    assert store.grid == (10, 1, 6)
    assert encoder.geometry.frequency_edges_hz == ((0.0, 500.0),)


def test_version_weights_and_options_name_the_tokens(tmp_path, monkeypatch):
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"one")
    first = custom("Spectral", source=str(weights)).identity()
    assert first["name"] == f"{MODULE}:Spectral"
    assert custom("Spectral", source=str(weights)).identity() == first
    others = [custom("Spectral").identity(), custom("Spectral", gain=3).identity()]
    weights.write_bytes(b"two")
    others.append(custom("Spectral", source=str(weights)).identity())
    monkeypatch.setattr(custom_encoders.Spectral, "version", "2")
    others.append(custom("Spectral").identity())
    assert all(a != b for i, a in enumerate(others) for b in [first, *others[:i]])


def test_changed_code_under_the_same_version_is_logged(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        f"from {MODULE} import Spectral\nclass Mine(Spectral): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    _, lines = embedded(tmp_path, load_encoder("mine:Mine"))
    assert not any("has changed" in line for line in lines)
    with open("mine.py", "a") as file:
        file.write("# and a comment\n")
    _, lines = embedded(tmp_path, load_encoder("mine:Mine"))
    assert "the code of mine:Mine has changed since, but clip 'clip 0'" in lines[0]
    assert "read from" in lines[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{MODULE}:Spectra", "did you mean 'Spectral'"),
        (f"{MODULE}:an_object", "an object of type Spectral: name its class"),
        (f"{MODULE}:Nameless", "has no version: an encoder needs sample_rate, vers"),
        (f"{MODULE}:np", "object of type module"),
        ("tokens:folder", "no encoder for other audio"),
        ("pathlib:Path", "has no sample_rate, no version, no seconds_per_step, no __c"),
    ],
)  # fmt: skip
def test_an_object_that_is_not_an_encoder_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_unknown_options_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'gain'"):
        custom("Spectral", gian=2.0)
    with pytest.raises(InputError, match="must be numbers and strings"):
        custom("Spectral", gain=np.ones(1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ForgotToSay", "set jittable = False"),
        (
            "Flat",
            r"patches of shape \[1, 8\] for 1 clips: the shape must be \[clips, t",
        ),
        ("Integers", "patches of int32: it must be floating point"),
        ("Misnamed", "did you mean 'patches'"),
        ("WantsGrad", r"requires grad.*detach\(\).cpu\(\).float\(\).numpy\(\)"),
        ("WrongBands", r"gives 2 frequency bands, and .* has \(low, high\) of 3"),
        ("Ragged", r"gives a grid \(.*\) for clips of 1000 samples, and gave \("),
        ("NanInSilence", "'clip 0' gives tokens that are not finite"),
    ],
)
def test_wrong_tokens_are_refused_in_one_line(tmp_path, name, message, monkeypatch):
    if name == "NanInSilence":
        silence = [
            Clip(
                id=f"clip {i}",
                waveform=np.zeros(800, np.float32),
                sample_rate=800,
                labels=(),
            )
            for i in range(5)
        ]
        monkeypatch.setattr(FakeDataset, "source_of", lambda self, split: silence)
    with pytest.raises(InputError, match=message) as caught:
        embedded(tmp_path, custom(name))
    assert "\n" not in str(caught.value)


def test_errors_of_the_model_keep_their_traceback_and_get_a_hint(monkeypatch):
    monkeypatch.setattr(custom_encoders.Spectral, "jittable", True)
    with pytest.raises(AssertionError) as caught:
        custom("Spectral").grid(1.0)
    assert "set jittable = False" in caught.value.__notes__[0]
