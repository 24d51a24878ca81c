"""Modules with the interface of HEAR 2021 as encoders: tokens, keys and mistakes."""

import functools
import types

import numpy as np
import pytest

from tests.encoders import hear_module
from tests.encoders.custom_encoders import RATE, Spectral
from tests.store.fakes import fake_dataset
from unmute_jax import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.store.embed import embed

NAME = "hear:tests.encoders.hear_module"
DATASET = fake_dataset(5)


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal((3, 2 * RATE), np.float32) / 10


@pytest.fixture
def register(monkeypatch):
    return functools.partial(hear_module.register, monkeypatch)


def wanted(waveform):
    spectra = Spectral.spectra(waveform)
    return spectra.reshape(*spectra.shape[:2], 1, -1)


def test_embeddings_are_tokens_of_one_band_and_their_mean(waveform):
    encoder = load_encoder(NAME)
    tokens = encoder(waveform)
    np.testing.assert_array_equal(tokens.patches, wanted(waveform))
    np.testing.assert_allclose(tokens.cls, tokens.patches.mean((1, 2)), atol=1e-6)
    assert encoder.geometry.seconds_per_step == pytest.approx(0.1)
    assert encoder.geometry.frequency_edges_hz == ((0.0, RATE / 2),)
    assert (encoder.grid(2.0), encoder.num_features) == ((20, 1), 16)
    assert encoder.sample_rate == RATE
    assert "2021.1" in encoder.description


def test_padding_is_masked_on_demand(waveform):
    lengths = np.array([2000, 1501, 90])
    masked = load_encoder(NAME, mask_padding=True)(waveform, lengths)
    np.testing.assert_array_equal(masked.mask.sum(1), [20, 16, 1])
    assert load_encoder(NAME)(waveform, lengths).mask.all()


def test_weights_and_options_reach_load_model_and_the_key(tmp_path, waveform):
    weights = tmp_path / "w:1.txt"
    weights.write_text("2.0")
    encoder = load_encoder(f"{NAME}:{weights}", bins=4)
    np.testing.assert_array_equal(
        encoder(waveform).patches, 2 * wanted(waveform)[..., :4]
    )
    # The key holds what the file contains, and not where it lies.
    moved = weights.rename(tmp_path / "moved.txt")
    again = load_encoder(NAME, str(moved), bins=4)
    assert again.identity() == encoder.identity()
    assert str(tmp_path) not in str(again.identity())
    moved.write_text("3.0")
    assert load_encoder(NAME, str(moved), bins=4).identity() != encoder.identity()
    assert load_encoder(NAME, bins=4).identity() != encoder.identity()


def test_tokens_that_have_become_stale_are_refused(tmp_path, monkeypatch):
    embed(load_encoder(NAME), DATASET, "train", root=tmp_path, log=print)
    store = embed(load_encoder(NAME), DATASET, "train", root=tmp_path, log=print)
    assert "was embedded again and agrees" in store.checked
    monkeypatch.setattr(hear_module, "GAIN", 1.1)
    with pytest.raises(InputError, match="are not those that hear:tests"):
        embed(load_encoder(NAME), DATASET, "train", root=tmp_path, log=print)


def stamped(times):
    """A `get_timestamp_embeddings` with other time stamps, made of the right ones."""

    def embeddings(audio, model):
        x, right = hear_module.get_timestamp_embeddings(audio, model)
        return x, times(right)

    return embeddings


@pytest.mark.parametrize(
    "times",
    [
        lambda t: t - 50,  # They begin at 0, as those of the baseline do.
        lambda t: np.round(t * 0.999),
        # The length of the clip divided by the number of steps, as many modules do.
        lambda t: np.linspace(0, t.max() + 50, t.shape[1])[None].repeat(len(t), 0),
    ],
)
def test_time_stamps_that_are_rounded_or_begin_at_zero_are_taken(
    register, times, waveform
):
    encoder = load_encoder(register(get_timestamp_embeddings=stamped(times)))
    encoder(waveform)
    assert encoder.geometry.seconds_per_step == pytest.approx(0.1, rel=0.011)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"get_timestamp_embeddings": stamped(np.square)},
            r"of hear:a_variant are not regular: they are 2e\+04 to .* ms apart",
        ),
        ({"get_timestamp_embeddings": stamped(np.zeros_like)}, "are not regular"),
        ({"get_timestamp_embeddings": stamped(lambda t: t * np.nan)}, "not regular"),
        (
            {"get_timestamp_embeddings": stamped(lambda t: t[:, :1])},
            r"embeddings of shape \[1, 100, 16\] and time stamps of shape \[1, 1\]",
        ),
        (
            {"get_timestamp_embeddings": lambda a, m: np.zeros((len(a), 9, 16))},
            "must return embeddings and time stamps, not a ndarray",
        ),
        (
            {
                "get_timestamp_embeddings": lambda a, m: (
                    np.zeros((len(a), 1, 16)),
                    np.zeros((len(a), 1)),
                )
            },
            "gives 1 time stamps for 10 s of sound: a time grid needs two",
        ),
        ({"load_model": lambda: types.SimpleNamespace()}, "as its sample_rate, not No"),
        (
            {
                "load_model": lambda: types.SimpleNamespace(
                    sample_rate=RATE, gain=1, timestamp_embedding_size=17
                )
            },
            "gives 16 features, and its model states timestamp_embedding_size 17",
        ),
        ({"get_timestamp_embeddings": None}, "has no function get_timestamp_embed"),
    ],
)
def test_what_does_not_keep_to_the_interface_is_refused_in_one_line(
    register, changes, message
):
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(register(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("times", [lambda t: t * 1.2, lambda t: t + 500])
def test_a_grid_that_changes_with_the_length_of_the_clip_is_refused(
    register, times, waveform
):
    def embeddings(audio, model):
        x, right = hear_module.get_timestamp_embeddings(audio, model)
        return x, right if audio.shape[1] == 10 * RATE else times(right)

    encoder = load_encoder(register(get_timestamp_embeddings=embeddings))
    with pytest.raises(InputError, match=r"2 s of sound.* do not fit the 100 ms"):
        encoder(waveform)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hear:", {}, "does not name a module with the HEAR interface: hear:MODULE"),
        ("hear:my-module", {}, "does not name a module with the HEAR interface"),
        ("hear:no_such_module", {}, "there is no module 'no_such_module'"),
        (f"{NAME}:gone.txt", {}, "cannot open its weights: .*gone.txt"),
        (f"{NAME}:a.txt", {"source": "b.txt"}, "and b.txt is given too: leave out one"),
        (NAME, {"bin": 3}, "did you mean 'bins'"),
    ],
)
def test_names_that_cannot_be_loaded_are_refused_in_one_line(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(name, **options)
    assert "\n" not in str(caught.value)
