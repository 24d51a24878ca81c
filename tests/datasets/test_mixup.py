import numpy as np
import pytest

from unmute_jax.datasets import mixup
from unmute_jax.datasets.file_builder import FileEntry


def entries(count):
    return [
        FileEntry(id=f"clip{i}", file=f"{i}.ogg", labels=(i % 3,)) for i in range(count)
    ]


def test_nine_of_ten_copies_are_mixed():
    originals = entries(400)
    copies = mixup.mixed_copies(originals, variant=1, seed=0)
    mixed = [copy for copy in copies if copy.added]
    assert len(mixed) / 400 == pytest.approx(0.9, abs=0.05)
    assert {len(copy.added) for copy in mixed} == {1, 2, 3}
    snrs = [copy.snr_db for copy in copies]
    assert 2 <= min(snrs) < 4
    assert 28 < max(snrs) <= 30
    for copy, original in zip(copies, originals, strict=True):
        assert copy.clip == original
        assert original not in copy.added
        union = {*original.labels, *(c for other in copy.added for c in other.labels)}
        assert copy.labels == tuple(sorted(union))
    assert mixup.mixed_copies(originals, variant=1, seed=0) == copies
    assert mixup.mixed_copies(originals, variant=2, seed=0)[0] != copies[0]
    assert not mixup.mixed_copies(originals[:1], variant=1, seed=0)[0].added


def test_an_added_clip_has_the_drawn_level():
    rng = np.random.default_rng(0)
    x, other = (0.05 * rng.standard_normal((2, 16_000))).astype(np.float32)
    mixture = mixup.mix(x, [7 * other], [0.25], 10.0)
    added = mixture - x
    ratio = 10 * np.log10(np.mean(x**2) / np.mean(added**2))
    assert ratio == pytest.approx(10.0, abs=0.01)
    np.testing.assert_allclose(
        added / np.std(added), np.roll(other, 4000) / np.std(other), atol=1e-3
    )
    # A short clip is padded, a silent one adds nothing, and nothing is clipped.
    assert mixup.mix(x, [other[:100]], [0.0], 2.0).shape == x.shape
    np.testing.assert_array_equal(mixup.mix(x, [0 * other], [0.5], 2.0), x)
    assert np.abs(mixup.mix(30 * x, [other], [0.0], 2.0)).max() <= 0.9901
    np.testing.assert_array_equal(mixup.mix(30 * x, [], [], 2.0), 30 * x)
