"""All probes on Whisper base with its real weights, beside the front end `logmel`.

    unmute grid --config whisper_grid --config.encoders=whisper@FILE,logmel
    unmute report runs/whisper_grid --output report

The weights are downloaded from Hugging Face where no file is given. `esc_mix` has
several sounds at once, the five folds of `esc10` have one per clip, and `fsdd` has
spoken digits, for which Whisper was made; `fsdd@FOLDER` reads them from a folder.

All probes search the same ten learning rates, and the best one is trained with five
seeds. `conv` is 32 channels wide and the score of `abmilp` is one affine map, because
the usual 256 channels and hidden layer would take more multiplications than all other
probes together. Attention has 8 heads, which divide the 512 and 256 features. The
baseline `stats` reads each band of `logmel` on its own; Whisper has one.
"""

from unmute_jax.grid.cells import default_grid

PROBES = (
    "linear,mlp,linearc,conv@width=32,linpre,mhca,ep,simpool,abmilp@depth=1,"
    "esimpool,cae,cait,coca,jepa,siglip,proto,protofloat,protobin"
)
BASELINES = "stats,knn"


def get_config():
    """Whisper and `logmel`, three data sets, 18 probes and two baselines."""
    config = default_grid()
    config.name = "whisper_grid"
    config.encoders = "whisper,logmel"
    config.datasets = "esc_mix,esc10,fsdd"
    config.probes = f"{PROBES},{BASELINES}"
    config.probe_options.num_heads = 8
    config.probe_options.per_band = True
    config.eval_every = 3
    with config.unlocked():
        config.for_datasets.esc10 = {"dataset_options": {"test_fold": 0}}
    return config
