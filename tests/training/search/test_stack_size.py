"""Large banks of prototypes fit: a step is compiled at full size, not run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.config import Optimizer
from unmute_jax.probes import make_probe
from unmute_jax.tokens import Tokens
from unmute_jax.training import losses
from unmute_jax.training.batches import Batch, pack
from unmute_jax.training.step import Trial, init_state, make_step

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
    step = make_step(probe, loss, 100, settings, mesh)
    leaves, structure = jax.tree.flatten(batch)

    def run(state, leaves):
        return step(state, jax.tree.unflatten(structure, leaves))

    compiled = jax.jit(run, donate_argnums=0).lower(state, leaves).compile()
    plan = compiled.memory_analysis()
    assert plan.temp_size_in_bytes < limit
