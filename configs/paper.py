"""The tables of the paper: encoders x data sets x probes.

    unmute grid --config paper:general

    :general       Table 2: general audio, all eleven probes. Means over the five data
                   sets and six encoders: linear 53.12, mhca 64.21, protobin 67.53 mAP.
    :single_label  Table 3: ESC-50 and Speech Commands, one class per clip.
                   EAT on ESC-50: linear 75.33, mhca 89.83, protobin 86.83 accuracy.
    :birds         Table 5: BirdSet, 64 clips per class; protobin is linear + 12.16.
    :prototypes    Table 7: how many prototypes, and of which kind. EAT on URBAN-SED,
                   20 per class: proto 89.11, protofloat 89.14, protobin 89.24 mAP.
    :all           all of them, and the supervised encoders.

All tables share one folder, `runs/paper`, and its cells. These options change what a
table crosses:

    --config.encoders=eat,eat@untrained,beats@FILE    weights follow an @
    --config.datasets=esc50,fsd50k@FOLDER             the folder of the files follows
    --config.probes=linear,protobin@prototypes_per_class=5

Learning rates are searched in the paper's two ranges (`--config.sweep.ranges=paper`);
that prototypes have one of them and all other probes the other is our guess.
`--config.sweep.ranges=common` searches 1e-5 to 0.3 for all probes, which is fairer
where probes are compared.

Not known of the paper are the loss for single-label data
(`--config.loss.name=cross_entropy` is the usual one), the validation splits, the choice
of the 64 clips, and the definitions of `linearc`, `conv`, `linpre` and `mlp`. Defaults
are those of all experiments here.
"""

from unmute_jax.errors import unknown_name
from unmute_jax.grid.cells import default_grid

ENCODERS = "audiomae,asit,dasheng,beats,eat,sslam"
SUPERVISED = "eat+,beats+,sslam+"
PROBES = "linear,mlp,linearc,conv,linpre,mhca,ep,simpool,abmilp,proto,protobin"
GENERAL = "as20k,fsd50k,desed,spass,urban"
SINGLE_LABEL = "esc50,sc2"
BIRDS = ",".join(
    f"{s}/64shot" for s in ("hsn", "pow", "per", "nes", "sne", "uhh", "nbp")
)
# Per class; the paper has 20, and 10 for AudioSet.
COUNTS = (1, 5, 10, 20, 40)
PROTOTYPES = ",".join(
    f"{probe}@prototypes_per_class={count}"
    for count in COUNTS
    for probe in ("proto", "protofloat", "protobin")
)

TABLES = {
    "general": (ENCODERS, GENERAL, PROBES),
    "single_label": (ENCODERS, SINGLE_LABEL, PROBES),
    "birds": (ENCODERS, BIRDS, PROBES),
    "prototypes": ("eat", "as20k,urban", PROTOTYPES),
    "all": (
        f"{ENCODERS},{SUPERVISED}",
        f"{GENERAL},{SINGLE_LABEL},{BIRDS}",
        f"{PROBES},protofloat",
    ),
}


def get_config(table: str = "general"):
    """One of the tables; AdamW, 30 epochs of batch 128, 50 trials, five seeds."""
    if table not in TABLES:
        raise unknown_name("table of the paper", table, TABLES)
    config = default_grid()
    config.name = "paper"
    config.encoders, config.datasets, config.probes = TABLES[table]
    config.epochs = 30
    config.batch_size = 128
    config.seeds = 5
    config.search = "sweep"
    config.sweep.ranges = "paper"
    config.probe_options.prototypes_per_class = 20
    with config.unlocked():
        config.for_datasets["as20k"] = {"probe_options": {"prototypes_per_class": 10}}
        for name in BIRDS.split(","):
            config.for_datasets[name] = {"dataset_options": {"mixup": 5}}
    return config
