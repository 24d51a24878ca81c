"""How good is this frozen audio encoder? Probes on patch tokens, in JAX.

import unmute_jax as uj
encoder = uj.load_encoder("eat", "EAT-base_epoch30_pt.pt")
tokens = encoder(waveform)
probe = uj.make_probe("protobin", num_classes=50, prototypes_per_class=20)
"""

from unmute_jax.datasets import list_datasets, load_dataset
from unmute_jax.encoders import list_encoders, load_encoder
from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.tokens import Summary, Tokens, summarise

__all__ = [
    "InputError",
    "Summary",
    "Tokens",
    "list_datasets",
    "list_encoders",
    "list_probes",
    "load_dataset",
    "load_encoder",
    "make_probe",
    "summarise",
]
