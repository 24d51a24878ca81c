"""A data set of noise, and an encoder that is one matrix.

`python -m tests.store.fakes ROOT DELAY` embeds the default data set, sleeping DELAY
seconds per clip, so that a test can kill it in between.
"""

import dataclasses
import hashlib
import pathlib
import sys
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from unmute_jax.datasets import Clip, Dataset, Protocol
from unmute_jax.encoders.framing import Framing
from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder
from unmute_jax.tokens import Tokens

RATE, T, F, D = 800, 5, 2, 6
CLIPS = 150


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeDataset(Dataset):
    """Noise; clip `i` has class `i % 3` and lasts from a half to one second.

    The clip `bad` has a sample that is not a number. `opened` collects the clips that
    were read.
    """

    seed: int = 0
    delay: float = 0.0
    bad: int | None = None
    opened: list[int] = dataclasses.field(default_factory=list)

    def fingerprint(self, split):
        self._checked(split)
        text = f"{self.seed} {self.splits[split]} {self.bad}"
        return hashlib.sha256(text.encode()).hexdigest()

    def source_of(self, split):
        return FakeSource(self, self.splits[split])


@dataclasses.dataclass(frozen=True)
class FakeSource(Sequence):
    dataset: FakeDataset
    length: int

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        if not 0 <= i < self.length:
            raise IndexError(i)
        self.dataset.opened.append(i)
        time.sleep(self.dataset.delay)
        rng = np.random.default_rng([self.dataset.seed, i])
        waveform = sixteenths(rng, RATE // 2 + 7 * i % (RATE // 2))
        if i == self.dataset.bad:
            waveform[3] = np.nan
        return Clip(
            id=f"clip {i}",
            waveform=waveform,
            sample_rate=next(iter(self.dataset.sample_rates)),
            labels=(i % 3,),
            events=((i % 3, 0.0, 0.5),),
        )


def sixteenths(rng, shape):
    """Noise whose products add up without rounding, in whichever order."""
    return np.round(16 * rng.standard_normal(shape)).astype(np.float32) / 16


def fake_dataset(clips=CLIPS, *, rate=RATE, **changes):
    facts = {
        "name": "fake/noise",
        "source": "noise made on the spot",
        "task": "multi-label",
        "classes": ("ash", "birch", "cedar"),
        "sample_rates": {rate: clips},
        "clip_seconds": 1.0,
        "licence": "CC0",
        "citation": "nobody",
        "notes": ("made up",),
        "splits": {"train": clips, "empty": 0},
        "fingerprints": {},
        "folder": pathlib.Path("nowhere"),
        "all_protocols": (
            Protocol(name="none", train=("train",), validation=(), test=()),
        ),
    }
    return FakeDataset(**{**facts, **changes})


@dataclasses.dataclass(frozen=True)
class FakeFrames:
    """The samples of a token as they are."""

    sample_rate: int = RATE
    frame_shift: int = RATE // T // F
    num_mels: int = RATE // T // F
    min_samples: int = 1

    def num_frames(self, samples):
        return samples // self.frame_shift

    def num_samples(self, frames):
        return frames * self.frame_shift

    def real_frames(self, lengths):
        return jnp.asarray(lengths) // self.frame_shift


class FakeEncoder(SpectrogramEncoder):
    """A random linear map of the samples of each token."""

    version = 1
    num_features = D
    frequency_edges_hz = ((0.0, 200.0), (200.0, 400.0))
    announced = (T, F)

    def details(self):
        return {"front_end": {"bands": (1, 2)}}

    def grid(self, clip_seconds):
        return self.announced

    def spectrogram(self, params, waveform, lengths):
        return waveform.reshape(len(waveform), -1, RATE // T // F)

    def tokens(self, params, spectrogram, extent, *, all_layers):
        x = jnp.einsum("bns,sd->bnd", spectrogram, params["kernel"])
        patches = x.reshape(len(x), -1, F, D)
        mask = self.step_mask(extent, patches.shape[:2])
        cls = patches[:, 0, 0] * 2.0
        if not all_layers:
            return Tokens(patches=patches, cls=cls, mask=mask)
        layers, layer_cls = (jnp.stack([x / 3.0, x], 1) for x in (patches, cls))
        return Tokens(
            patches=patches, cls=cls, mask=mask, layers=layers, layer_cls=layer_cls
        )


class UnhashedEncoder(FakeEncoder):
    """An encoder that may change under the same key."""

    is_hashed = False


def unhashed_encoder(seed):
    """An encoder whose weights have a seed that its key does not know."""
    return fake_encoder(seed, made=UnhashedEncoder, weights="its own", code="abc")


def fake_encoder(seed=0, made=FakeEncoder, **changes):
    kernel = sixteenths(np.random.default_rng(seed), (RATE // T // F, D))
    facts = {
        "name": "fake+",
        "description": "random projection",
        "licence": "Apache-2.0",
        "weights": f"untrained, seed {seed}",
        "params": {"kernel": kernel},
        "framing": Framing(filters=FakeFrames(), patch_frames=F, frames_per_step=F),
        "network": None,
        "mask_padding": True,
    }
    return made(**{**facts, **changes})


if __name__ == "__main__":
    from unmute_jax.store.embed import embed

    jax.config.update("jax_num_cpu_devices", 2)
    dataset = fake_dataset(delay=float(sys.argv[2]))
    embed(fake_encoder(), dataset, "train", root=sys.argv[1])
