"""k nearest neighbours: against scikit-learn, and in a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from tests.training.fakes import make_setup, settings
from unmute_jax.errors import InputError
from unmute_jax.probes import make_probe
from unmute_jax.results import trained
from unmute_jax.tokens import Tokens, summarise
from unmute_jax.training import plan
from unmute_jax.training.run import run_experiment
from unmute_jax.training.workdir import Workdir


def summary_of(clips, seed, d=8):
    """The summary of random tokens."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((clips, 3, 2, d)).astype(np.float32)
    mask = np.ones((clips, 3), bool)
    return jax.jit(summarise)(Tokens(patches=x, cls=x.mean((1, 2)), mask=mask))


@pytest.mark.parametrize("source", ["cls", "mean"])
def test_equals_scikit_learn(source):
    memory, clips = summary_of(40, 0), summary_of(70, 1)
    labels = np.random.default_rng(2).integers(0, 2, (40, 3)).astype(np.float32)
    probe = make_probe("knn", num_classes=3, input=source, neighbours=5)
    logits = jax.jit(probe.apply)(probe.fit(memory, labels), clips)

    def weights(distance):
        w = np.exp((1 - distance) / 0.07)
        return w / w.sum(1, keepdims=True)

    for c in range(3):
        reference = KNeighborsClassifier(5, weights=weights, metric="cosine")
        reference.fit(getattr(memory, source), labels[:, c].astype(int))
        want = reference.predict_proba(getattr(clips, source))[:, 1]
        np.testing.assert_allclose(jax.nn.sigmoid(logits[:, c]), want, atol=2e-5)


def test_few_training_clips_and_silent_clips_are_valid():
    memory = summary_of(4, 0)
    probe = make_probe("knn", num_classes=2)
    labels = np.eye(2, dtype=np.float32)[[0, 1, 1, 1]]
    silent = jax.tree.map(jnp.zeros_like, summary_of(2, 1))
    logits = jax.jit(probe.apply)(probe.fit(memory, labels), silent)
    # No clip is nearer than another: all count the same.
    np.testing.assert_allclose(
        jax.nn.sigmoid(logits), [[0.25, 0.75], [0.25, 0.75]], atol=1e-6
    )


def test_mistakes_are_named(key):
    with pytest.raises(InputError, match="no initial values"):
        make_probe("knn", num_classes=2).init(key, summary_of(2, 0))
    with pytest.raises(InputError, match=r"Knn: temperature=0\.0: must be a number"):
        make_probe("knn", num_classes=2, temperature=0.0)
    linear = make_probe("linear", num_classes=2)
    with pytest.raises(InputError, match="is trained, not fitted"):
        linear.fit(summary_of(2, 0), np.ones((2, 2), np.float32))


def test_a_run_needs_no_training(tmp_path):
    made = make_setup(settings(probes="knn", refit=True))
    workdir = Workdir(tmp_path, made.settings)
    (record,) = run_experiment(made, workdir, log=lambda _: None)
    assert (record.learning_rate, record.parameters) == (None, 0)
    # Validation chose the best of five numbers of neighbours and three temperatures.
    best = max(record.search, key=lambda trial: trial["validation"])
    assert len(record.search) == 15
    assert record.chosen.items() <= best.items()
    assert any("validation chose neighbours=" in note for note in record.notes)
    assert record.validation > 0.5
    assert run_experiment(made, workdir, log=lambda _: None) == [record]
    # It is saved like every other probe; its vectors are those of the training and
    # validation clips.
    saved = trained.load_trained(tmp_path, probe="knn")
    assert len(saved.params["vectors"]) == 50 + 21
    assert saved.options["neighbours"] == record.chosen["neighbours"]
    assert "knn: nothing to train" in plan.describe(made, tmp_path / "other")
