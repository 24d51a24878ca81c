"""Probes of one's own training loop become the files that everything else reads."""

import jax
import numpy as np
import pytest

from tests.store.fakes import D, F, T, fake_encoder
from unmute_jax.config import Experiment
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.probes import make_probe
from unmute_jax.probes.linear import Linear
from unmute_jax.results.own_probe import save_trained
from unmute_jax.results.trained import load_trained
from unmute_jax.tokens import Tokens

CLASSES = ("ash", "birch")
TOKENS = Tokens.from_patches(
    np.random.default_rng(0).standard_normal((3, T, F, D), np.float32)
)


@pytest.fixture
def save(tmp_path):
    """Saves a probe with some arguments changed."""

    def save(probe=None, **changes):
        probe = probe or make_probe("linear", num_classes=2)
        arguments = {
            "params": dict(probe.init(jax.random.key(0), TOKENS)["params"]),
            "encoder": fake_encoder(),
            "classes": CLASSES,
            "path": tmp_path / "own.safetensors",
            "clip_seconds": 1.0,
        }
        return save_trained(probe, **{**arguments, **changes})

    return save


@pytest.mark.parametrize("name", ["linear", "protobin", "mhca", "stats"])
def test_a_saved_probe_gives_the_logits_of_the_loop(name, save, tmp_path):
    options = {"num_heads": 2} if name == "mhca" else {}
    probe = make_probe(name, num_classes=2, **options)
    variables = probe.init(jax.random.key(1), TOKENS)
    save(probe, params=variables["params"])
    again = load_trained(tmp_path / "own.safetensors")
    want = probe.apply(variables, TOKENS)
    np.testing.assert_allclose(again.logits(TOKENS), want, atol=1e-6)
    assert again.name == name
    assert again.classes == CLASSES


def test_few_arguments_are_enough_to_open_the_encoder_again(tmp_path):
    encoder = load_encoder("eat", weights="untrained", width=64, depth=1)
    tokens = encoder(np.zeros((1, 16_000), np.float32))
    probe = make_probe("linear", num_classes=2)
    params = probe.init(jax.random.key(0), tokens)["params"]
    path = tmp_path / "own.safetensors"
    save_trained(probe, params, encoder, ["a", "b"], path, clip_seconds=1.0)
    settings = Experiment.from_dict(load_trained(path).settings)
    assert (settings.encoder, settings.weights) == ("eat", "untrained")
    assert (settings.dataset, settings.probes) == ("", "linear")


class Mine(Linear):
    """A probe that is not one of the library."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["ash"]}, "1 classes are named, and probe 'linear' has 2 logits"),
        ({"classes": ["ash", "ash"]}, "classes must be different names"),
        ({"path": "own.npz"}, r"own\.npz: the name of the file must end in"),
        ({"clip_seconds": 0.0}, r"own\.safetensors: clip_seconds is 0\.0"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"validation": 64.7}, r"validation is 64\.7, and must lie between 0 and 1"),
        ({"params": {"params": {}}}, r'give variables\["params"\]'),
        (
            {"params": {"classifier": {"kernel": np.ones((D, 2), np.float32)}}},
            "lacks its tensor classifier/bias",
        ),
        ({"probe": Mine(num_classes=2)}, "Mine is no probe of this library, which are"),
    ],
)
def test_what_does_not_fit_is_one_line_and_no_file(changes, message, save, tmp_path):
    with pytest.raises(InputError, match=message):
        save(**changes)
    assert not list(tmp_path.iterdir())


def test_parameters_of_a_training_that_diverged_are_refused(save):
    probe = make_probe("linear", num_classes=2)
    params = probe.init(jax.random.key(0), TOKENS)["params"]
    lost = jax.tree.map(lambda x: x * np.float32(np.nan), params)
    with pytest.raises(InputError, match=r"parameter classifier/\w+ of probe 'linear'"):
        save(probe, params=lost)
