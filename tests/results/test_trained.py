"""A trained probe, used again outside of its run."""

import dataclasses

import jax
import numpy as np
import pytest

from tests.store.fakes import fake_encoder
from tests.training.fakes import settings, setup, tones
from unmute_jax import distributed
from unmute_jax.config import Experiment, TokenOptions
from unmute_jax.errors import InputError
from unmute_jax.results import trained
from unmute_jax.training import loop
from unmute_jax.training.batches import ProbeData
from unmute_jax.training.run import embed_all, run_experiment, selection
from unmute_jax.training.workdir import Workdir


def run(folder, **changes):
    made = setup(settings(**changes))
    return run_experiment(made, Workdir(folder, made.settings), log=lambda _: None)


@pytest.fixture(
    scope="module",
    params=[{}, {"standardise": True}, {"tokens": TokenOptions(dtype="int8")}],
    ids=["plain", "standardised", "int8"],
)
def finished(request, tmp_path_factory):
    """The folder of a run with four probes: two kinds, two seeds."""
    folder = tmp_path_factory.mktemp("run")
    records = run(folder, epochs=2, **request.param)
    return folder, records


def waveforms(split="test"):
    clips = tones().source_of(split)
    return np.stack([clip.waveform for clip in clips])


@pytest.mark.parametrize("name", ["linear", "protobin"])
def test_it_predicts_what_the_run_predicted(finished, name):
    folder, records = finished
    probe = trained.load_trained(folder, probe=name, seed=1)
    made = setup(Experiment.from_dict(probe.settings))
    stores = embed_all(made, ["test"], distributed.make_mesh())
    normaliser = probe.normaliser
    input_kind = probe.probe.input_kind
    held_out = ProbeData([stores["test"]], input_kind, normaliser)
    mesh = distributed.make_mesh()
    params = distributed.replicate(jax.tree.map(lambda x: x[None], probe.params), mesh)
    (want,) = np.moveaxis(loop.logits(probe.probe, params, held_out, 16, mesh), 1, 0)
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
    with pytest.raises(InputError, match=r"unknown seed of .* '7'"):
        trained.load_trained(folder, probe="linear", seed=7)
    with pytest.raises(InputError, match="holds no trained probes"):
        trained.load_trained(tmp_path)
    (file,) = (folder / "probes").glob("linear-*-seed0.*")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InputError, match="is no file of a trained probe, or damaged"):
        trained.load_trained(broken)
