import pytest

from tests.inference.recordings.fakes import fake_trained
from tests.store.fakes import fake_encoder
from tests.training.fakes import tones
from unmute_jax.inference.clips_of_run import batches_of
from unmute_jax.inference.diagnose import diagnose
from unmute_jax.store.embed import embed


@pytest.fixture(scope="module")
def diagnosed():
    """A probe, its training tokens in at least two batches, and their diagnosis."""
    trained, encoder, dataset = fake_trained(), fake_encoder(), tones()
    stores = [embed(encoder, dataset, split, log=str) for split in dataset.splits]
    trained.settings["batch_size"] = 2
    found = diagnose(trained, batches_of(trained, stores, "looking"), nearest=2)
    return trained, stores, found
