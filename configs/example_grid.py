"""An example of a whole grid: every probe on two data sets, without any download.

    unmute grid --config example_grid
    unmute report runs/example_grid --output report

`logmel` has no weights, EAT-base has random ones, and both data sets are embedded, so a
laptop can make the whole report. `--config.encoders=logmel` runs a fraction of it. The
settings are the defaults (ten rates with one seed, the best one with five) with half as
many epochs: 15. `esc10` is tested on its first fold;
`--config.dataset_options.test_fold=0` runs all five.

`conv` is 32 channels wide and the score of `abmilp` is one affine map. With the usual
256 channels, and with a hidden layer per token, they would take more multiplications
than all other probes together (`abmilp` on EAT's mixtures 22 minutes on two cores).
Attention has 8 heads, because the usual 12 do not divide the 256 features of a patch.
The probes that read every layer are left out, because patches of a spectrogram have one
layer. The paper's search, `--config.search=sweep`, has 50 trials instead of ten.
"""

from unmute_jax.grid.cells import default_grid

# The paper's, then those beyond it.
PAPER = (
    "linear,mlp,linearc,conv@width=32,linpre,mhca,ep,simpool,abmilp@depth=1,"
    "proto,protofloat,protobin"
)
OTHERS = "stats,knn,esimpool,jepa,cae,cait,siglip,coca"


def get_config():
    """Two encoders, esc_mix and esc10, every probe that reads tokens; five seeds."""
    config = default_grid()
    config.name = "example_grid"
    config.encoders = "logmel,eat@untrained"
    config.datasets = "esc_mix,esc10"
    config.probes = f"{PAPER},{OTHERS}"
    config.probe_options.per_band = True
    config.probe_options.num_heads = 8
    config.epochs = 15
    config.eval_every = 3
    return config
