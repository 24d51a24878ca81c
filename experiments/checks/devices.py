"""Shows that the number of devices changes results by no more than rounding.

python -m experiments.checks.devices --config configs/quickstart.py

Each probe is trained on 1, 2 and 8 virtual CPU devices. The program prints the largest
relative difference of any parameter after 20 steps, and the final test score at the
learning rate that validation chooses (much too high rates amplify rounding without
bound). The same step is also mapped with `jax.pmap`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.cli import program
from unmute_jax.config import Experiment, default_config
from unmute_jax.store.embed import embed
from unmute_jax.training import loop, selection
from unmute_jax.training.batches import batches, steps_per_epoch, training_rows
from unmute_jax.training.data import Batch, ProbeData, ProtocolData
from unmute_jax.training.setup import Setup, prepare
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import (
    State,
    Trial,
    device_step,
    init_state,
    make_train_steps,
)

DEVICES = flags.DEFINE_multi_integer(
    "virtual_devices", [1, 2, 8], "A number of devices. It may be given several times."
)
STEPS = flags.DEFINE_integer(
    "steps", 20, "The number of steps before parameters are compared."
)

jax.config.update("jax_num_cpu_devices", 8)


def main(settings: Experiment) -> None:
    """Trains, and prints one line per probe and number of devices."""
    made = prepare(settings)
    protocol = made.protocols[0]
    splits = (*protocol.train, *protocol.validation, *protocol.test)
    stores = {s: embed(made.encoder, made.dataset, s) for s in splits}
    data = ProtocolData(protocol, {None: stores}, settings.standardise)
    first = DEVICES.value[0]
    for name, probe in made.probes.items():
        train, validation = data.development(probe.reads())
        held_out = data.held_out(probe.reads())
        wanted = None
        for count in DEVICES.value:
            mesh = distributed.make_mesh(count)
            early = _train(made, probe, train, mesh, STEPS.value)
            full = settings.epochs * steps_per_epoch(len(train), settings.batch_size)
            late = _train(made, probe, train, mesh, full)
            chosen, tested = (
                _scores(made, probe, late, clips, mesh)
                for clips in (validation, held_out)
            )
            best = int(np.argmax(chosen))
            if wanted is None:
                wanted = early, tested[best]
            apart = _relative(early, wanted[0])
            print(
                f"{name}: {count} devices: after {STEPS.value} steps {apart[best]:.1e} "
                f"from {first} device at the chosen rate "
                f"{settings.optimizer.learning_rates[best]:g}, {apart.max():.1e} at "
                f"the worst; final score {100 * tested[best]:.2f}, "
                f"{100 * (tested[best] - wanted[1]):+.2f}",
                flush=True,
            )
        mapped = _train(made, probe, train, distributed.make_mesh(2), STEPS.value, True)
        ours = _train(made, probe, train, distributed.make_mesh(2), STEPS.value)
        apart = _relative(mapped, ours).max()
        print(f"{name}: jax.pmap on 2 devices: {apart:.1e} from ours")


def _train(
    made: Setup,
    probe: Any,
    train: ProbeData,
    mesh: Mesh,
    steps: int,
    use_pmap: bool = False,
) -> Any:
    """The parameters of all learning rates after `steps` steps."""
    settings = made.settings
    stack = tuple(
        Trial(
            learning_rate=r,
            weight_decay=settings.optimizer.weight_decay,
            seed=settings.seed,
        )
        for r in settings.optimizer.learning_rates
    )
    example = jax.tree.map(jnp.asarray, train.read(np.arange(1)))
    state = init_state(probe, example, stack, settings.optimizer)
    sharding = Sharding(mesh)
    state = sharding.place_state(state)
    rest = (probe, made.loss, steps, settings.optimizer, sharding)
    if use_pmap:
        one = device_step(*rest)
        mapped = jax.pmap(one, distributed.BATCH, in_axes=(None, 0), out_axes=None)

        def step(state: State, batch: Batch) -> State:
            rows = jax.tree.map(
                lambda x: np.asarray(x).reshape(mesh.size, -1, *x.shape[1:]), batch
            )
            return mapped(state, rows)

    else:
        ours = make_train_steps(*rest)

        def step(state: State, batch: Batch) -> State:
            return ours(state, batch)

    size = settings.batch_size
    rows = training_rows(len(train), size, settings.seed, 0, steps)
    for batch in batches(train, rows, size, sharding):
        # Virtual devices can hang when many steps are in flight.
        state = jax.block_until_ready(step(state, batch))
    return jax.device_get(state.params)


def _scores(
    made: Setup,
    probe: Any,
    params: Any,
    clips: ProbeData,
    mesh: Mesh,
) -> np.ndarray:
    """The score of each learning rate."""
    size = made.settings.batch_size
    logits = loop.logits(probe, params, clips, size, Sharding(mesh))
    return selection.score(logits, clips.labels, made.dataset.task)


def _relative(a: Any, b: Any) -> np.ndarray:
    """The largest difference in any leaf of a trial, relative to its largest value."""
    parts = []
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        axes = tuple(range(1, x.ndim))
        parts.append(abs(x - y).max(axes) / abs(y).max(axes))
    return np.max(parts, axis=0)


if __name__ == "__main__":
    with program.command(__doc__, default_config()) as arguments:
        program.only_options(arguments)
        main(program.experiment())
