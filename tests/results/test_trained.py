import dataclasses

import jax
import numpy as np
import pytest
import safetensors

from tests.store.fakes import fake_encoder
from tests.training.fakes import make_setup, settings, tones
from unmute_jax import distributed
from unmute_jax.config import Experiment, Optimizer, TokenOptions
from unmute_jax.errors import InputError
from unmute_jax.results import trained
from unmute_jax.training import loop, selection
from unmute_jax.training.data import ProbeData
from unmute_jax.training.run import embed_all, run_experiment
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.workdir import Workdir

CHANGES = {
    "plain": {},
    "standardised": {"standardise": True},
    "int8": {"tokens": TokenOptions(dtype="int8")},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder and records of a run with two probes and two seeds, for each change."""
    made = {}

    def run(change):
        if change not in made:
            folder = tmp_path_factory.mktemp(change)
            # One rate, so that the search and its repeats share what is compiled.
            rate = Optimizer(learning_rates=(0.1,))
            setup = make_setup(settings(epochs=1, optimizer=rate, **CHANGES[change]))
            workdir = Workdir(folder, setup.settings)
            records = run_experiment(setup, workdir, log=lambda line: None)
            made[change] = folder, records
        return made[change]

    return run


@pytest.fixture
def finished(runs):
    return runs("plain")


def waveforms(split="test"):
    clips = tones().source_of(split)
    return np.stack([clip.waveform for clip in clips])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["linear", "protobin"])
def test_it_predicts_what_the_run_predicted(runs, change, name):
    folder, records = runs(change)
    probe = trained.load_trained(folder, probe=name, seed=1)
    made = make_setup(Experiment.from_dict(probe.settings))
    stores = embed_all(made, ["test"], distributed.make_mesh())
    normaliser = probe.normaliser
    input_kind = probe.probe.input_kind
    held_out = ProbeData([stores["test"]], input_kind, normaliser)
    sharding = Sharding(distributed.make_mesh())
    params = sharding.place_state(jax.tree.map(lambda x: x[None], probe.params))
    logits = loop.logits(probe.probe, params, held_out, 16, sharding)
    (want,) = np.moveaxis(logits, 1, 0)
    got = probe.logits(fake_encoder()(waveforms()))
    np.testing.assert_allclose(got, want, atol=2e-5)
    # And those are the ones that were scored.
    (record,) = [r for r in records if (r.probe, r.seed) == (name, 1)]
    ap = selection.score(want[:, None], held_out.labels, "multi-label")
    assert ap[0] == pytest.approx(record.test, abs=1e-9)


def test_the_best_seed_is_the_default(finished):
    folder, records = finished
    best = max((r for r in records if r.probe == "linear"), key=lambda r: r.validation)
    probe = trained.load_trained(folder, probe="linear")
    assert (probe.seed, probe.validation) == (best.seed, best.validation)
    assert probe.classes == ("ash", "birch", "cedar")
    assert probe.geometry == fake_encoder().geometry
    (file,) = (folder / "probes").glob("linear-*-seed1.*")
    assert trained.load_trained(file).seed == 1


def test_another_encoder_is_refused(finished):
    probe = trained.load_trained(finished[0], probe="linear")
    probe.check_encoder(fake_encoder())
    other = dataclasses.replace(fake_encoder(), weights="other")
    with pytest.raises(InputError, match=r"another encoder: weights was .*'other'"):
        probe.check_encoder(other)


def test_mistakes_are_named(finished, tmp_path):
    folder, _ = finished
    with pytest.raises(InputError, match="name one: linear, protobin"):
        trained.load_trained(folder)
    with pytest.raises(InputError, match="did you mean 'protobin'"):
        trained.load_trained(folder, probe="protobn")
    with pytest.raises(InputError, match=r": unknown seed '7': known: "):
        trained.load_trained(folder, probe="linear", seed=7)
    with pytest.raises(InputError, match="holds no trained probes"):
        trained.load_trained(tmp_path)
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        trained.load_trained(tmp_path / "nowhere")
    (file,) = (folder / "probes").glob("linear-*-seed0.*")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        InputError, match="is not the file of a trained probe, or it is damaged"
    ):
        trained.load_trained(broken)


def test_a_training_that_diverged_is_worse_than_all_others(finished, tmp_path):
    first, second = (
        trained.load_trained(finished[0], probe="linear", seed=seed) for seed in (0, 1)
    )
    lost = dataclasses.replace(first, validation=float("nan"))
    for probe in (lost, second):
        path = trained.save_trained(tmp_path / "probes", probe)
        with safetensors.safe_open(path, framework="np") as file:
            assert "NaN" not in file.metadata()["unmute_jax"]
    assert np.isnan(trained.load_trained(tmp_path, seed=0).validation)
    assert trained.load_trained(tmp_path).seed == 1
