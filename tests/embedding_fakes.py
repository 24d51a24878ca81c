"""The least data set and encoder that the embedding pass accepts; also a program.

`python -m tests.embedding_fakes ROOT DELAY` embeds the default data set, sleeping DELAY
seconds per clip, so that a test can kill it on the way.
"""

import hashlib
import sys
import time
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from unmute_jax.tokens import Tokens

RATE, T, F, D = 800, 5, 2, 6


class FakeDataset:
    """Noise; clip `i` has class `i % 3` and lasts from a half to one second."""

    name, task, source = "fake/noise", "multi-label", "noise made on the spot"
    licence, citation, notes = "CC0", "nobody", ("made up",)
    classes = ("ash", "birch", "cedar")
    sample_rate, clip_seconds = RATE, 1.0

    def __init__(self, clips=150, *, delay=0.0, seed=0, bad=None):
        self.splits = {"train": clips, "empty": 0}
        self.seed, self.delay, self.bad = seed, delay, bad

    def fingerprint(self, split):
        text = f"{self.seed} {self.splits[split]} {self.bad}"
        return hashlib.sha256(text.encode()).hexdigest()

    def source_of(self, split):
        return _Source(self, self.splits[split])


class _Source:
    def __init__(self, dataset, clips):
        self._dataset, self._clips = dataset, clips

    def __len__(self):
        return self._clips

    def __getitem__(self, i):
        if not 0 <= i < self._clips:
            raise IndexError(i)
        time.sleep(self._dataset.delay)
        rng = np.random.default_rng([self._dataset.seed, i])
        waveform = rng.standard_normal(RATE // 2 + 7 * i % (RATE // 2), np.float32)
        if i == self._dataset.bad:
            waveform[3] = np.nan
        return SimpleNamespace(
            id=f"clip {i}",
            waveform=waveform,
            labels=(i % 3,),
            events=((i % 3, 0.0, 0.5),),
        )


class FakeEncoder:
    """A random linear map of the samples of each token; masks steps beyond the clip."""

    name, version, sample_rate = "fake+", 1, RATE
    description, licence, num_features = "random projection", "Apache-2.0", D
    geometry = SimpleNamespace(
        seconds_per_step=0.2, frequency_edges_hz=((0.0, 200.0), (200.0, 400.0))
    )

    def __init__(self, seed=0, *, masks=True):
        self.seed, self.masks = seed, masks
        kernel = np.random.default_rng(seed).standard_normal((RATE // T // F, D))
        self.params = {"kernel": kernel.astype(np.float32)}

    def identity(self):
        return {
            "name": self.name,
            "version": self.version,
            "weights": f"untrained, seed {self.seed}",
            "front_end": {"masks": self.masks, "bands": (1, 2)},
        }

    def input_samples(self, clip_seconds):
        return round(clip_seconds * self.sample_rate)

    def grid(self, clip_seconds):
        return T, F

    def apply(self, params, waveform, lengths):
        x = waveform.reshape(len(waveform), T, F, -1)
        patches = jnp.einsum("btfs,sd->btfd", x, params["kernel"])
        mask = jnp.arange(T)[None] * (RATE // T) < lengths[:, None]
        if not self.masks:
            mask = jnp.ones_like(mask)
        return Tokens(patches=patches, cls=patches[:, 0, 0] * 2.0, mask=mask)


if __name__ == "__main__":
    from unmute_jax.embedding import embed

    embed(
        FakeEncoder(), FakeDataset(delay=float(sys.argv[2])), "train", root=sys.argv[1]
    )
