"""The probes: small networks from tokens to logits, made by name.

The contract of a probe, and how to add one, is described in `probes/base.py`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.probes.attention import Ep, ESimPool, Mhca, SimPool
from unmute_jax.probes.base import Probe, Reading
from unmute_jax.probes.class_prototypes import Proto
from unmute_jax.probes.layers import Cgp, Head2Toe, LinearCgp
from unmute_jax.probes.linear import Linear, LinearC, Mlp, Stats
from unmute_jax.probes.mil import AbMilp
from unmute_jax.probes.neighbours import Knn
from unmute_jax.probes.poolers import Cae, Cait, CoCa, Jepa, SigLip
from unmute_jax.probes.prototypes import Protobin, Protofloat
from unmute_jax.probes.token_maps import Conv, LinPre

__all__ = [
    "Probe",
    "Reading",
    "list_probes",
    "make_probe",
    "name_of",
    "probe_options",
]

_PROBES: dict[str, type[Probe]] = {
    "abmilp": AbMilp,
    "cae": Cae,
    "cait": Cait,
    "cgp": Cgp,
    "coca": CoCa,
    "conv": Conv,
    "ep": Ep,
    "esimpool": ESimPool,
    "head2toe": Head2Toe,
    "jepa": Jepa,
    "knn": Knn,
    "linear": Linear,
    "linear_cgp": LinearCgp,
    "linearc": LinearC,
    "linpre": LinPre,
    "mhca": Mhca,
    "mlp": Mlp,
    "proto": Proto,
    "protobin": Protobin,
    "protofloat": Protofloat,
    "siglip": SigLip,
    "simpool": SimPool,
    "stats": Stats,
}


def list_probes() -> list[str]:
    """The names of all probes."""
    return sorted(_PROBES)


def make_probe(name: str, /, *, num_classes: int, **options: Any) -> Probe:
    """Makes the probe called `name`, a Flax module.

        probe = make_probe("protobin", num_classes=50, prototypes_per_class=20)
        variables = probe.init(key, tokens)
        logits = probe.apply(variables, tokens)

    Args:
        name: The name of a probe, one of `list_probes()`.
        num_classes: The number of logits.
        **options: Options of the probe, the attributes of its class.

    Raises:
        InputError: The probe or an option is unknown, or a value is out of range.
    """
    known = probe_options(name)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of probe {name!r}", option, known)
    return _PROBES[name](num_classes=num_classes, **options)


def name_of(probe: Probe) -> str:
    """The name under which `make_probe` makes probes of this class.

    Raises:
        InputError: The class is not one of this library.
    """
    for name, of_name in _PROBES.items():
        if type(probe) is of_name:
            return name
    raise InputError(
        f"{type(probe).__name__} is no probe of this library, which are "
        f"{', '.join(_PROBES)}"
    )


def probe_options(name: str) -> set[str]:
    """The names of the options of a probe, besides `num_classes`."""
    if name not in _PROBES:
        raise unknown_name("probe", name, _PROBES)
    # Flax adds `parent` and `name` to the fields of every module.
    fields = {f.name for f in dataclasses.fields(_PROBES[name])}
    return fields - {"parent", "name", "num_classes", "training"}
