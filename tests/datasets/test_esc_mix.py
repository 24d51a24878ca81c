import numpy as np
import pytest

from tests.datasets.conftest import esc50 as write_esc50
from unmute_jax.datasets import esc50, load_dataset
from unmute_jax.datasets.clips import round_to_16_bits
from unmute_jax.datasets.esc_mix import FOLDS, EscMix
from unmute_jax.errors import InputError

SMALL = {"train_clips": 5, "validation_clips": 3, "test_clips": 3}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The folder of a copy of ESC-50 with short clips."""
    return write_esc50(tmp_path_factory.mktemp("sources")).root


@pytest.fixture
def load(sources):
    """Mixes the clips of that copy."""
    return lambda **options: load_dataset(
        "esc_mix", data_dir=sources, **SMALL | options
    )


def mixers(place):
    """Returns the mixers of a copy of ESC-10."""
    copy = esc50.esc10_copy(place)
    return EscMix(copy, clips={}, seed=0, on_bad="fail").mixers()


def test_no_source_is_in_two_splits():
    copy = esc50.esc10_copy(None)
    assert copy.source == "ESC-10 sample (16 kHz Ogg)"
    recordings = {
        split: {
            row.filename.split("-")[1] for fold in folds for row in copy.in_fold(fold)
        }
        for split, folds in FOLDS.items()
    }
    assert not recordings["train"] & recordings["validation"]
    assert not recordings["train"] & recordings["test"]
    assert not recordings["validation"] & recordings["test"]
    embedded = mixers(None)
    digests = {
        split: {sound.digest for group in mixer.sounds for sound in group}
        for split, mixer in embedded.items()
    }
    assert {split: len(d) for split, d in digests.items()} == {
        "train": 238,
        "validation": 80,
        "test": 80,
    }
    assert len(set.union(*digests.values())) == 398
    # Nor does one split repeat the pattern of another with other sounds.
    patterns = [
        [len(mixer.mix(index).events) for index in range(12)]
        for mixer in embedded.values()
    ]
    assert patterns[0] != patterns[1] != patterns[2] != patterns[0]


def test_the_data_set_has_fixed_splits_and_events(load):
    dataset = load()
    assert dataset.task == "multi-label"
    assert dataset.splits == {"train": 5, "validation": 3, "test": 3}
    assert dataset.sample_rates == {16_000: 11}
    assert dataset.clip_seconds == 10.0
    assert len(dataset.classes) == 10
    assert dataset.source == "mixed from ESC-10 copy (.wav), seed 0"
    (protocol,) = dataset.protocols()
    assert (protocol.train, protocol.validation, protocol.test) == (
        ("train",),
        ("validation",),
        ("test",),
    )
    assert dataset.protocols(test_fold=0) == (protocol,)
    assert dataset.has_events
    assert dataset.events("test", 1) == dataset.source_of("test")[1].events != ()
    with pytest.raises(InputError, match="no folds"):
        dataset.protocols(test_fold=2)


def test_stored_clips_are_the_mixtures(load, sources):
    dataset = load()
    for split, mixer in mixers(sources).items():
        for index, clip in enumerate(dataset.source_of(split)):
            mixture = mixer.mix(index)
            assert clip.labels == mixture.labels
            assert clip.events == mixture.events
            rounded = round_to_16_bits(mixture.waveform)
            np.testing.assert_array_equal(clip.waveform, rounded)
            np.testing.assert_allclose(rounded, mixture.waveform, atol=2e-5)
            assert len(clip.waveform) == 160_000


def test_more_clips_change_no_other(load):
    small, large = load(), load(train_clips=8)
    assert large.splits["train"] == 8
    for a, b in zip(
        small.source_of("train"), large.source_of("train")[:5], strict=True
    ):
        np.testing.assert_array_equal(a.waveform, b.waveform)
    assert small.fingerprint("test") == large.fingerprint("test")
    assert small.fingerprint("train") != large.fingerprint("train")
    assert load(seed=1).fingerprint("test") != small.fingerprint("test")


def test_a_bad_source_fails_or_is_skipped(miniature):
    miniature.audio("1-1000-A-0.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"1-1000-A-0\.wav: is empty"):
        load_dataset("esc_mix", data_dir=miniature.root, **SMALL)
    dataset = load_dataset("esc_mix", data_dir=miniature.root, on_bad="skip", **SMALL)
    assert "1 unreadable clip skipped: " in str(dataset.notes)
    # The only dog of fold 4: without it there is nothing to mix.
    miniature.audio("4-4000-A-0.wav").write_bytes(b"")
    with pytest.raises(InputError, match="nothing to mix of class 0"):
        load_dataset("esc_mix", data_dir=miniature.root, on_bad="skip", **SMALL)


@pytest.mark.parametrize(
    "options", [{"train_clips": 0}, {"test_clips": -1}, {"seed": -1}]
)
def test_values_that_make_no_sense_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        load_dataset("esc_mix", **options)
