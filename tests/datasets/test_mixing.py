import numpy as np
import pytest

from unmute_jax.datasets import mixing
from unmute_jax.datasets.esc_mix import EscMix
from unmute_jax.errors import InputError


def sounds(per_class=3, classes=10):
    """Returns sources without files: bursts of noise, each with its own spectrum."""
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
    # If this fails, the mixtures have changed: raise `EscMix.VERSION`, and replace the
    # values.
    assert str(EscMix.VERSION) == "1.0.0"
    mixture = mixer().mix(1)
    assert mixture.digest == (
        "332d264ab605b1ed21d13debfd9b8fd0ddc95f83509e02fdc62b53563fd48c2c"
    )
    steps = np.rint(mixture.waveform[[0, 40_000, 80_000, 159_999]] * 32768)
    np.testing.assert_allclose(steps, [-324, 120, 3762, 170], atol=1)


def test_statistics_of_the_recipe():
    make = mixer()
    clips = [make.mix(i) for i in range(240)]
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
    # Onsets are uniform, around the middle, or around two times.
    uniform, one, two = (np.std(law) for law in onsets)
    assert one < two - 0.3 < uniform - 0.3
    assert np.mean(onsets[1]) == pytest.approx(5, abs=0.4)


def test_levels_follow_the_recipe():
    levels = []
    for index in range(40):
        clip = mixer().mix(index)
        if len(clip.events) > 1 or np.abs(clip.waveform).max() > 0.98:
            continue
        _, onset, offset = clip.events[0]
        a, b = round(onset * 16_000), round(offset * 16_000)
        steps = np.diff(clip.waveform[:a])
        # Before the first event there is Brownian noise, whose steps are independent.
        assert 0 < np.abs(steps).max() < 1e-3
        assert abs(np.corrcoef(steps[1:], steps[:-1])[0, 1]) < 0.05
        event = np.sqrt(np.mean(np.square(clip.waveform[a:b])))
        levels.append(20 * np.log10(event) - mixing.NOISE_DBFS)
    assert levels
    assert min(levels) > 4
    assert max(levels) < 32


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
    trimmed = mixing.trim(x)
    assert 10_000 <= len(trimmed) <= 10_800
    assert (trimmed == 0.5).sum() == 10_000
    assert len(mixing.trim(np.zeros(5000, np.float32))) == 0


def test_every_class_needs_a_source():
    with pytest.raises(InputError, match="nothing to mix of class 9"):
        mixing.Mixer(sounds(classes=9), classes=10, seed=0, split=0)
