"""A small learnable task: three tones, two of which may sound in a clip."""

import dataclasses

import numpy as np

from tests.store.fakes import RATE, FakeDataset, fake_dataset, fake_encoder
from unmute_jax import results
from unmute_jax.config import Experiment, Optimizer
from unmute_jax.datasets import Clip, Protocol
from unmute_jax.store.embed import embed
from unmute_jax.training import losses
from unmute_jax.training.setup import Setup, make_probes
from unmute_jax.training.step import State

SIZES = {"train": 50, "validation": 21, "test": 22}
PROTOCOL = Protocol(
    name="official split", train=("train",), validation=("validation",), test=("test",)
)


class Tones(FakeDataset):
    """Clip `i` of a split holds the tones of its classes in a little noise."""

    def fingerprint(self, split):
        return f"tones {split} {self.splits[split]} {self.task}"

    def source_of(self, split):
        salt = sorted(SIZES).index(split)
        return [self._clip(salt, i) for i in range(self.splits[split])]

    def _clip(self, salt, i):
        rng = np.random.default_rng([salt, i])
        count = 1 if self.task == "single-label" else int(rng.integers(1, 3))
        labels = tuple(sorted(int(c) for c in rng.permutation(3)[:count]))
        time = np.arange(RATE) / RATE
        waveform = 0.3 * rng.standard_normal(RATE)
        for c in labels:
            waveform += np.sin(2 * np.pi * (5 + 3 * c) * time)
        return Clip(
            id=f"{salt}-{i}",
            waveform=waveform.astype(np.float32),
            sample_rate=RATE,
            labels=labels,
            events=tuple((c, 0.0, 1.0) for c in labels),
        )


def tones(**changes):
    """The data set."""
    facts = {"name": "fake/tones", "splits": SIZES, "all_protocols": (PROTOCOL,)}
    plain = fake_dataset(**{**facts, **changes})
    fields = [f.name for f in dataclasses.fields(plain)]
    return Tones(**{name: getattr(plain, name) for name in fields})


def settings(**changes):
    """A quick experiment."""
    defaults = {
        "dataset": "fake/tones",
        "encoder": "fake+",
        "probes": "linear,protobin",
        "epochs": 4,
        "batch_size": 16,
        "seeds": 2,
        "optimizer": Optimizer(learning_rates=(0.01, 0.1)),
    }
    return Experiment(**{**defaults, **changes})


def make_setup(chosen=None, **kinds):
    """What `setup.prepare` returns, made of fakes."""
    chosen = chosen or settings()
    dataset, encoder = tones(**kinds), fake_encoder()
    return Setup(
        settings=chosen,
        dataset=dataset,
        encoder=encoder,
        protocols=dataset.protocols(),
        probes=make_probes(chosen, 3, encoder),
        loss=losses.make_loss(chosen.loss.name),
    )


def store(split="train", dataset=None, **options):
    """The token store of one split."""
    dataset = dataset or tones()
    return embed(fake_encoder(), dataset, split, log=lambda line: None, **options)


def records_in(folder):
    """All records in a folder of results."""
    found = [results.read_record(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda r: (r.probe, r.protocol, r.seed))


def state_without_params(count):
    """The state of `count` trials where nothing is really trained."""
    zeros = np.zeros(count)
    return State({}, (), zeros, zeros, zeros, zeros)
