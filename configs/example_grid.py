"""An example of a whole grid: the paper's probes on two data sets, no download.

    unmute grid --config example_grid
    unmute report runs/example_grid --output report

`logmel` has no weights, Dasheng-base has random ones, and both data sets are embedded,
so a laptop can make the whole report in about an hour. `--config.encoders=logmel` runs
a third of it. The settings are the defaults (ten rates with one seed, the best one with
five) with half as many epochs: 15. `esc10` is tested on its first fold;
`--config.dataset_options.test_fold=0` runs all five.

`conv` is 32 channels wide and the score of `abmilp` is one affine map. With the usual
256 channels, and with a hidden layer per token, they would take more multiplications
than all other probes together. Attention has 8 heads, because the usual 12 do not
divide the 256 features of a patch. `simpool` and `proto` stand in it with both
readings. The paper's search, `--config.search=sweep`, has 50 trials instead of ten.
"""

from unmute_jax.grid.cells import default_grid

PROBES = (
    "linear,mlp,linearc,conv@width=32,linpre,mhca,ep,"
    "simpool,simpool@reading=unprojected,abmilp@depth=1,proto,proto@reading=shared,protofloat,protobin"
)
BASELINES = "stats,knn"


def get_config():
    """Two encoders, esc_mix and esc10, the paper's probes and two baselines."""
    config = default_grid()
    config.name = "example_grid"
    config.encoders = "logmel,dasheng@untrained"
    config.datasets = "esc_mix,esc10"
    config.probes = f"{PROBES},{BASELINES}"
    config.probe_options.per_band = True
    config.probe_options.num_heads = 8
    config.epochs = 15
    config.eval_every = 3
    return config
