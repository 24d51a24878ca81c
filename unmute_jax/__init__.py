"""How good is this frozen audio encoder? Probes on patch tokens, in JAX.

import unmute_jax as uj
encoder = uj.load_encoder("eat", "EAT-base_epoch30_pt.pt")
tokens = encoder(waveform)
probe = uj.make_probe("protobin", num_classes=50, prototypes_per_class=20)
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unmute_jax.datasets import list_datasets, load_dataset
    from unmute_jax.encoders import list_encoders, load_encoder
    from unmute_jax.errors import InputError
    from unmute_jax.probes import list_probes, make_probe
    from unmute_jax.tokens import Summary, Tokens, summarise

__version__ = importlib.metadata.version("unmute-jax")

# Where each public name is defined. They are imported when they are first used, so that
# a command that needs no JAX does not wait for it.
_PUBLIC = {
    "InputError": "errors",
    "Summary": "tokens",
    "Tokens": "tokens",
    "list_datasets": "datasets",
    "list_encoders": "encoders",
    "list_probes": "probes",
    "load_dataset": "datasets",
    "load_encoder": "encoders",
    "make_probe": "probes",
    "summarise": "tokens",
}

__all__ = [
    "InputError",
    "Summary",
    "Tokens",
    "__version__",
    "list_datasets",
    "list_encoders",
    "list_probes",
    "load_dataset",
    "load_encoder",
    "make_probe",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
