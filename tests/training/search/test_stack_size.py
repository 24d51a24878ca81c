import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.fakes import make_setup, settings
from tests.training.search.fakes import make_task
from unmute_jax import distributed
from unmute_jax.config import Optimizer, Sweep
from unmute_jax.probes import make_probe
from unmute_jax.tokens import Tokens
from unmute_jax.training import losses
from unmute_jax.training.data import Batch, pack
from unmute_jax.training.search import stack_size
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import Trial, init_state, make_train_steps

B, T, F, D = 128, 64, 8, 768


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("name", "classes", "options", "limit"),
    [
        # AudioSet: the scores alone are 1.4 GB.
        ("protobin", 527, {}, 200e6),
        # Bird species of the world: twice the prototypes, no more. Scores: 26 TB.
        ("protofloat", 10_000, {"classifier": "block"}, 2.5 * 4 * 100_000 * D),
    ],
)
def test_temporary_memory_of_a_step_is_bounded(name, classes, options, limit, dtype):
    probe = make_probe(name, num_classes=classes, prototypes_per_class=10, **options)
    one = Tokens(
        patches=np.zeros((1, T, F, D), dtype),
        cls=np.zeros((1, D), np.float32),
        mask=np.ones((1, T), bool),
        inverse_norms=np.zeros((1, T, F), np.float32),
    )

    # Arrays that take no memory: their rows are one row.
    packed = jax.tree.map(lambda x: np.broadcast_to(x, (B, *x.shape[1:])), pack(one))
    zero = np.zeros((), np.float32)
    batch = Batch(packed, np.broadcast_to(zero, (B, classes)), np.broadcast_to(zero, B))
    stack = (Trial(learning_rate=1e-3, weight_decay=1e-4, seed=0),)
    settings, mesh = Optimizer(), distributed.make_mesh(1)
    state = jax.eval_shape(lambda: init_state(probe, one, stack, settings))
    loss = losses.make_loss("asymmetric")
    step = make_train_steps(probe, loss, 100, settings, Sharding(mesh))
    leaves, structure = jax.tree.flatten(batch)

    def run(state, leaves):
        return step(state, jax.tree.unflatten(structure, leaves))

    compiled = jax.jit(run, donate_argnums=0).lower(state, leaves).compile()
    plan = compiled.memory_analysis()
    assert plan.temp_size_in_bytes < limit


class FakeSteps:
    """Two seconds, and `each` more for each trial."""

    each = 0.0

    def __init__(self, task, settings, sharding, count):
        self.count = count

    def run(self):
        pass

    def seconds(self):
        return 2 + self.each * self.count


@pytest.fixture
def fake_steps(monkeypatch):
    monkeypatch.setattr(stack_size, "TimedSteps", FakeSteps)
    monkeypatch.setattr(stack_size, "_seconds", FakeSteps.seconds)


@pytest.fixture(scope="module")
def made():
    return make_setup(settings(probes="linear,protobin", sweep=Sweep(sobol=4, tpe=4)))


@pytest.mark.parametrize(
    # The tokens, then the probe, are most of the work; and a search of a moment.
    ("each", "long", "width"),
    [(0.1, 0, 4), (100, 0, 1), (100, 1e9, 4)],
)
def test_trials_are_stacked_where_that_is_faster(
    each, long, width, made, monkeypatch, fake_steps
):
    monkeypatch.setattr(FakeSteps, "each", each)
    monkeypatch.setattr(stack_size, "LONG_SEARCH", long)
    mesh = distributed.make_mesh(1)
    task = make_task(made)
    assert stack_size.fastest_stack(task, made.settings, mesh, 4) == width


def test_processes_take_the_same_turns_whatever_they_have_in_memory(
    made, monkeypatch, fake_steps
):
    """A process that left the measurement early would leave the others waiting."""
    monkeypatch.setattr(stack_size, "LONG_SEARCH", 0)
    monkeypatch.setattr(FakeSteps, "each", 100)
    mesh, asked = distributed.make_mesh(1), {}
    for here in (True, False):
        for everywhere in (True, False):
            task, questions = make_task(made), asked.setdefault((here, everywhere), [])
            if not here:
                task.train._cached = None

            def global_min(value, questions=questions, everywhere=everywhere):
                questions.append(value)
                return (
                    min(int(value), int(everywhere)) if questions[1:] == [] else value
                )

            monkeypatch.setattr(distributed, "global_min", global_min)
            width = stack_size.fastest_stack(task, made.settings, mesh, 4)
            assert width == (1 if here and everywhere else 4)
    # The first question is the one that all processes answer together.
    assert [len(asked[here, False]) for here in (True, False)] == [1, 1]
    assert [questions[0] for questions in asked.values()] == [True, True, False, False]


@pytest.mark.parametrize("devices", [1, 2])
def test_real_steps_are_timed(devices, made, monkeypatch):
    monkeypatch.setattr(stack_size, "LONG_SEARCH", 0)
    mesh = distributed.make_mesh(devices)
    width = stack_size.fastest_stack(make_task(made), made.settings, mesh, 8)
    assert width in (8, devices)


def test_the_memory_of_a_trial_grows_with_its_prototypes(made):
    task, mesh = make_task(made, "protobin"), distributed.make_mesh(1)
    sizes = []
    for j in (100, 400):
        probe = task.probe.clone(prototypes_per_class=j)
        bigger = dataclasses.replace(task, probe=probe)
        sizes.append(stack_size.bytes_per_trial(bigger, made.settings, mesh))
    # Parameters and two moments, float32.
    features = task.train.read(np.arange(1)).patches.shape[-1]
    assert sizes[1] - sizes[0] > 3 * 4 * 3 * 300 * features


def test_trials_get_no_memory_that_the_clips_take(made, monkeypatch):
    """On each of two devices the clips fill almost half of what was free."""
    task, mesh = make_task(made), distributed.make_mesh(2)
    monkeypatch.setattr(stack_size, "bytes_per_trial", lambda *arguments: 100)
    leaves = jax.tree.leaves(task.train.read(np.arange(len(task.train))))
    arrays = [*leaves, task.train.targets, task.train.weights]
    clips = 2 * sum(x.nbytes for x in arrays)
    total = int(2.1 * clips)

    def free_memory():
        return total - clips * (mesh in task.train._on_devices)

    monkeypatch.setattr(distributed, "free_memory", free_memory)
    trials = stack_size.trials_at_once(task, made.settings, mesh)
    assert task.train.on_devices(mesh) is not None
    assert 100 * trials + clips <= 0.85 * total
