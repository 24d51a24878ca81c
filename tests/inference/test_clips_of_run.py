"""The clips of a run, seen again by the probe that came out of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.inference.recordings.fakes import fake_trained
from tests.store.fakes import fake_encoder
from tests.training.fakes import SIZES, settings, tones
from unmute_jax.errors import InputError
from unmute_jax.inference import clips_of_run


@pytest.fixture(autouse=True)
def dataset(monkeypatch):
    monkeypatch.setattr(clips_of_run, "open_dataset", lambda settings: tones())


def all_logits(trained, stores):
    return np.concatenate([trained.logits(s.read(range(s.n))) for s in stores])


@pytest.mark.parametrize("name", ["protobin", "linear"])
def test_every_clip_comes_once_as_the_probe_reads_it(name):
    trained = fake_trained(name)
    stores = clips_of_run.stores_of(trained, fake_encoder(), "train", print)
    batches = list(clips_of_run.batches_of(trained, stores, "train"))
    assert [len(rows) for _, rows, _ in batches] == [16, 16, 16, 2]
    assert np.concatenate([r for _, r, _ in batches]).tolist() == list(range(50))
    logits = []
    for _, rows, inputs in batches:
        assert len(inputs.cls) == 16
        params = {"params": jax.tree.map(jnp.asarray, trained.params)}
        logits.append(np.asarray(trained.probe.apply(params, inputs))[: len(rows)])
    wanted = all_logits(trained, stores)
    np.testing.assert_allclose(np.concatenate(logits), wanted, atol=1e-4)


def test_after_a_refit_no_clips_are_left_to_select_on():
    refitted = dataclasses.replace(
        fake_trained(), settings=settings(refit=True).to_dict()
    )
    with pytest.raises(InputError, match="no clips are left to select anything on"):
        clips_of_run.stores_of(refitted, fake_encoder(), "validation")
    stores = clips_of_run.stores_of(refitted, fake_encoder(), "train", print)
    assert [s.n for s in stores] == [SIZES["train"], SIZES["validation"]]
