import time

import numpy as np
import pytest

from unmute_jax.datasets import esc50, load_dataset, mixing
from unmute_jax.datasets.esc_mix import FOLDS, EscMix
from unmute_jax.errors import InputError

SMALL = {"train_clips": 5, "validation_clips": 3, "test_clips": 3}


def sounds(per_class=3, classes=10):
    """Sources that need no file: bursts of noise, each with its own spectrum."""
    made = []
    for label in range(classes):
        for take in range(per_class):
            rng = np.random.default_rng([label, take])
            x = np.convolve(rng.standard_normal(20_000), np.ones(1 + label))
            x = (0.1 * x).astype(np.float32)
            digest = f"{label}-{take}"
            made.append(mixing.Sound(label=label, waveform=x, digest=digest))
    return made


def mixer(seed=0, split=0):
    return mixing.Mixer(sounds(), classes=10, seed=seed, split=split)


@pytest.fixture(scope="module")
def embedded():
    """The mixers of the real data set."""
    copy = esc50.esc10_copy(None)
    return EscMix(copy, clips={}, seed=0, on_bad="fail").mixers()


def same(a, b):
    return (
        np.array_equal(a.waveform, b.waveform)
        and a.events == b.events
        and a.digest == b.digest
    )


def test_a_mixture_is_a_function_of_seed_split_and_index():
    forwards = [mixer().mix(i) for i in range(6)]
    again = mixer()
    backwards = [again.mix(i) for i in reversed(range(6))][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    for other in (mixer().mix(1), mixer(seed=1).mix(0), mixer(split=1).mix(0)):
        assert not same(forwards[0], other)
        assert forwards[0].digest != other.digest


def test_the_recipe_is_that_of_the_version():
    # If this fails, the mixtures have changed: raise `EscMix.VERSION`, then the values.
    assert str(EscMix.VERSION) == "1.0.0"
    mixture = mixer().mix(1)
    assert mixture.digest == (
        "332d264ab605b1ed21d13debfd9b8fd0ddc95f83509e02fdc62b53563fd48c2c"
    )
    steps = np.rint(mixture.waveform[[0, 40_000, 80_000, 159_999]] * 32768)
    np.testing.assert_allclose(steps, [-324, 120, 3762, 170], atol=1)


def test_statistics_of_the_recipe():
    make = mixer()
    clips = [make.mix(i) for i in range(300)]
    assert np.mean([len(clip.labels) for clip in clips]) == pytest.approx(3.87, abs=0.3)
    counts = [len(clip.events) for clip in clips]
    assert {min(counts), max(counts)} == {1, 9}
    for clip in clips:
        assert clip.waveform.shape == (160_000,)
        assert clip.waveform.dtype == np.float32
        assert np.abs(clip.waveform).max() <= mixing.PEAK + 1e-6
        assert clip.labels == tuple(sorted({c for c, _, _ in clip.events}))
        for _, onset, offset in clip.events:
            assert 0 <= onset < offset <= 10
            assert 0.5 <= offset - onset <= 4
    onsets = [
        [a for clip in clips[law::3] for _, a, _ in clip.events] for law in (0, 1, 2)
    ]
    # Uniform, around the middle, around two times.
    uniform, one, two = (np.std(law) for law in onsets)
    assert one < two - 0.3 < uniform - 0.3
    assert np.mean(onsets[1]) == pytest.approx(5, abs=0.4)


def test_levels_follow_the_recipe():
    loud = []
    for index in range(40):
        clip = mixer().mix(index)
        if len(clip.events) > 1 or np.abs(clip.waveform).max() > 0.98:
            continue
        _, onset, offset = clip.events[0]
        a, b = round(onset * 16_000), round(offset * 16_000)
        steps = np.diff(clip.waveform[:a])
        # No event in it, and Brownian: each step knows nothing of the one before.
        assert 0 < np.abs(steps).max() < 1e-3
        assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.05
        event = np.sqrt(np.mean(np.square(clip.waveform[a:b])))
        loud.append(20 * np.log10(event) - mixing.NOISE_DBFS)
    assert loud
    assert min(loud) > 4
    assert max(loud) < 32


def test_a_loud_mixture_is_scaled_as_a_whole():
    clicks = []
    for label in range(10):
        x = np.full(16_000, 1e-4, np.float32)
        x[8000] = 1.0
        clicks.append(mixing.Sound(label=label, waveform=x, digest=str(label)))
    make = mixing.Mixer(clicks, classes=10, seed=0, split=0)
    peaks = [np.abs(make.mix(i).waveform).max() for i in range(20)]
    assert max(peaks) == pytest.approx(mixing.PEAK)
    # Clipping would put several samples at the limit.
    at_limit = [(np.abs(make.mix(i).waveform) > 0.9899).sum() for i in range(20)]
    assert max(at_limit) == 1


def test_silence_around_a_sound_is_cut():
    x = np.zeros(80_000, np.float32)
    x[20_000:30_000] = 0.5
    x[50_000:60_000] = 0.004  # More than 40 dB below.
    kept = mixing.trim(x)
    assert 10_000 <= len(kept) <= 10_800
    assert (kept == 0.5).sum() == 10_000
    assert len(mixing.trim(np.zeros(5000, np.float32))) == 0


def test_every_class_needs_a_source():
    with pytest.raises(InputError, match="nothing to mix of class 9"):
        mixing.Mixer(sounds(classes=9), classes=10, seed=0, split=0)


def test_no_source_is_in_two_splits(embedded):
    copy = esc50.esc10_copy(None)
    recordings = {
        split: {
            row.filename.split("-")[1] for fold in folds for row in copy.in_fold(fold)
        }
        for split, folds in FOLDS.items()
    }
    assert not recordings["train"] & recordings["validation"]
    assert not recordings["train"] & recordings["test"]
    assert not recordings["validation"] & recordings["test"]
    digests = {
        split: {sound.digest for group in made.sounds for sound in group}
        for split, made in embedded.items()
    }
    assert {split: len(d) for split, d in digests.items()} == {
        "train": 238,
        "validation": 80,
        "test": 80,
    }
    assert len(set.union(*digests.values())) == 398
    # Nor is one split the pattern of another with other sounds.
    patterns = [
        [len(made.mix(index).events) for index in range(12)]
        for made in embedded.values()
    ]
    assert patterns[0] != patterns[1] != patterns[2] != patterns[0]


def test_mixing_the_real_clips_is_quick(embedded):
    make = embedded["train"]
    make.mix(0)
    start = time.process_time()
    clips = [make.mix(index) for index in range(100)]
    seconds = time.process_time() - start
    assert np.mean([len(clip.labels) for clip in clips]) == pytest.approx(3.9, abs=0.5)
    assert seconds < 3.0  # A third of what it does on a slow core.


def test_the_data_set():
    dataset = load_dataset("esc_mix", **SMALL)
    assert dataset.task == "multi-label"
    assert dataset.splits == {"train": 5, "validation": 3, "test": 3}
    assert dataset.sample_rate == 16_000
    assert dataset.clip_seconds == 10.0
    assert len(dataset.classes) == 10
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


def test_what_is_stored_is_what_was_mixed(embedded):
    dataset = load_dataset("esc_mix", **SMALL)
    for split, make in embedded.items():
        for index, clip in enumerate(dataset.source_of(split)):
            mixture = make.mix(index)
            assert clip.labels == mixture.labels
            assert clip.events == mixture.events
            np.testing.assert_allclose(clip.waveform, mixture.waveform, atol=2e-5)
            assert len(clip.waveform) == 160_000


def test_more_clips_change_no_other():
    small = load_dataset("esc_mix", **SMALL)
    large = load_dataset("esc_mix", **SMALL | {"train_clips": 8})
    assert large.splits["train"] == 8
    for a, b in zip(
        small.source_of("train"), large.source_of("train")[:5], strict=True
    ):
        np.testing.assert_array_equal(a.waveform, b.waveform)
    assert small.fingerprint("test") == large.fingerprint("test")
    assert small.fingerprint("train") != large.fingerprint("train")
    other = load_dataset("esc_mix", **SMALL, seed=1)
    assert other.fingerprint("test") != small.fingerprint("test")


def test_sources_of_the_user(miniature):
    dataset = load_dataset("esc_mix", data_dir=miniature.root, **SMALL)
    assert "copy" in dataset.source
    assert dataset.splits["train"] == 5
    sample = load_dataset("esc_mix", **SMALL)
    assert dataset.fingerprint("train") != sample.fingerprint("train")


def test_a_bad_source_fails_or_is_skipped(miniature):
    miniature.audio("1-1000-A-0.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"1-1000-A-0\.wav: is empty"):
        load_dataset("esc_mix", data_dir=miniature.root, **SMALL)
    dataset = load_dataset("esc_mix", data_dir=miniature.root, on_bad="skip", **SMALL)
    assert "1 unreadable clips skipped" in dataset.notes
    # The only dog of fold 4: without it there is nothing to mix.
    miniature.audio("4-4000-A-0.wav").write_bytes(b"")
    with pytest.raises(InputError, match="nothing to mix of class 0"):
        load_dataset("esc_mix", data_dir=miniature.root, on_bad="skip", **SMALL)


@pytest.mark.parametrize(
    "options", [{"train_clips": 0}, {"test_clips": -1}, {"seed": -1}]
)
def test_values_that_make_no_sense(options):
    with pytest.raises(InputError, match=next(iter(options))):
        load_dataset("esc_mix", **options)
