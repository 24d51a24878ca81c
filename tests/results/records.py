"""Records that were made up."""

from unmute_jax.results import Record


def record(**changes):
    """A record of the probe `linear`; `changes` replace its fields."""
    values = {
        "experiment": "e",
        "dataset": "tones",
        "source": "made up",
        "encoder": "fake",
        "probe": "linear",
        "probe_options": {},
        "protocol": "official split",
        "seed": 0,
        "metric": "mAP",
        "parameters": 1,
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "epoch": 1,
        "validation": 0.5,
        "test": 0.5,
        "per_class": {"ash": 0.4, "birch": 0.6, "cedar": None},
        "masked_classes": 1,
        "search": ({"learning_rate": 0.1, "validation": 0.5},),
        "seconds": 2.0,
        "settings": {
            "epochs": 1,
            "batch_size": 16,
            "loss": {"name": "asymmetric"},
            "report_epoch": "last",
            "refit": False,
            "standardise": False,
        },
        "facts": {
            "encoder": {},
            "splits": {"validation": ["validation"]},
            "clips": {"validation": 21},
        },
    }
    return Record(**{**values, **changes})
