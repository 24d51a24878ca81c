import dataclasses
import itertools

import jax
import jax.numpy as jnp
import pytest

from configs import example_grid, quickstart
from unmute_jax.config import Experiment, options_of
from unmute_jax.grid.cells import Grid
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.tokens import Tokens


@pytest.fixture(scope="module")
def cells():
    return Grid.from_dict(example_grid.get_config().to_dict()).cells()


def test_both_readings_and_both_baselines_are_in_it_for_every_pair(cells):
    found = sorted((*cell.pair, cell.settings.probes, cell.name) for cell in cells)
    assert len({name for *_, name in found}) == len(found) == 64
    pairs = sorted(
        itertools.product(("dasheng@untrained", "logmel"), ("esc10", "esc_mix"))
    )
    for pair in pairs:
        probes = [probe for *p, probe, _ in found if tuple(p) == pair]
        assert probes.count("proto") == probes.count("simpool") == 2
        assert {"linear", "stats", "knn"} <= set(probes) <= set(list_probes())


@pytest.mark.parametrize("features", [256, 768])
def test_its_probes_fit_the_tokens_of_both(cells, features):
    # As of five seconds.
    tokens = Tokens(
        patches=jnp.zeros((2, 31, 8, features)),
        cls=jnp.zeros((2, features)),
        mask=jnp.ones((2, 31), bool),
    )
    for cell in cells:
        options = options_of(cell.settings.probe_options)
        probe = make_probe(cell.settings.probes, num_classes=10, **options)
        if not probe.is_fitted:
            made = jax.eval_shape(probe.init, jax.random.key(0), tokens)
            assert jax.tree.leaves(made), cell.name


def test_only_epochs_and_rates_differ_from_the_quickstart(cells):
    alone = Experiment.from_dict(quickstart.get_config().to_dict())
    mixtures = (c.settings for c in cells if c.pair == ("logmel", "esc_mix"))
    ours = {settings.probes: settings for settings in mixtures}
    for name in alone.probe_names:
        same = dataclasses.replace(
            alone,
            probes=name,
            probe_options=ours[name].probe_options,
            epochs=15,
            optimizer=Experiment().optimizer,
        )
        assert ours[name] == same
    assert ours["stats"].probe_options.per_band
    assert ours["protobin"].seeds == 5
