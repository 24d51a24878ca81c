"""How good is this frozen audio encoder? Probes on patch tokens, in JAX.

import unmute_jax as uj

records = uj.train("quickstart")
uj.write_report(records, "report")

encoder = uj.load_encoder("eat", "EAT-base_epoch30_pt.pt")
tokens = encoder(waveform)
probe = uj.make_probe("protobin", num_classes=50, prototypes_per_class=20)

Everything that is wrong with an argument, a file or the machine is raised as
`InputError`, whose message is one line for people. Nothing is printed unless
`set_verbose` asks for it. The names below are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmute_jax.config import Experiment
    from unmute_jax.config_files import load_experiment
    from unmute_jax.console import set_verbose
    from unmute_jax.datasets import Dataset, list_datasets, load_dataset
    from unmute_jax.encoders import Encoder, list_encoders, load_encoder
    from unmute_jax.errors import InputError
    from unmute_jax.inference.recordings.detections import Detections
    from unmute_jax.inference.recordings.predict import predict
    from unmute_jax.probes import Probe, list_probes, make_probe
    from unmute_jax.report import (
        Comparison,
        compare,
        read_records,
        to_dataframe,
        write_report,
    )
    from unmute_jax.results import Record
    from unmute_jax.results.own_probe import save_trained
    from unmute_jax.results.trained import TrainedProbe, load_trained
    from unmute_jax.store.embed import embed
    from unmute_jax.store.reader import TokenStore
    from unmute_jax.tokens import Summary, Tokens, summarise
    from unmute_jax.training.experiments import sweep, train

    __version__: str

# Where each public name is defined. They are imported when they are first used, so that
# a command that needs no JAX does not wait for it.
_PUBLIC = {
    "Comparison": "report",
    "Dataset": "datasets",
    "Detections": "inference.recordings.detections",
    "Encoder": "encoders",
    "Experiment": "config",
    "InputError": "errors",
    "Probe": "probes",
    "Record": "results",
    "Summary": "tokens",
    "TokenStore": "store.reader",
    "Tokens": "tokens",
    "TrainedProbe": "results.trained",
    "compare": "report",
    "embed": "store.embed",
    "list_datasets": "datasets",
    "list_encoders": "encoders",
    "list_probes": "probes",
    "load_dataset": "datasets",
    "load_encoder": "encoders",
    "load_experiment": "config_files",
    "load_trained": "results.trained",
    "make_probe": "probes",
    "predict": "inference.recordings.predict",
    "read_records": "report",
    "save_trained": "results.own_probe",
    "set_verbose": "console",
    "summarise": "tokens",
    "sweep": "training.experiments",
    "to_dataframe": "report",
    "train": "training.experiments",
    "write_report": "report",
}

__all__ = [
    "Comparison",
    "Dataset",
    "Detections",
    "Encoder",
    "Experiment",
    "InputError",
    "Probe",
    "Record",
    "Summary",
    "TokenStore",
    "Tokens",
    "TrainedProbe",
    "__version__",
    "compare",
    "embed",
    "list_datasets",
    "list_encoders",
    "list_probes",
    "load_dataset",
    "load_encoder",
    "load_experiment",
    "load_trained",
    "make_probe",
    "predict",
    "read_records",
    "save_trained",
    "set_verbose",
    "summarise",
    "sweep",
    "to_dataframe",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # The version is written in pyproject.toml alone.
        from importlib.metadata import version

        return version("unmute-jax")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
