"""Names of encoders and probes in reports, and which weights are the published ones."""

from __future__ import annotations

import functools
import hashlib
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from unmute_jax import probes
from unmute_jax.report.paper_numbers import paper_prototypes
from unmute_jax.results.record import Record
from unmute_jax.weights.published_list import PUBLISHED, PublishedFile

# The paper's spelling of each encoder in the registry. Supervised variants, whose names
# end in "+", are derived from these.
TITLES = {
    "audiomae": "A-MAE",
    "asit": "ASiT",
    "dasheng": "Dasheng",
    "beats": "BEATs",
    "eat": "EAT",
    "sslam": "SSLAM",
    "logmel": "log-mel",
}
# How data sets and probes are spelt in print. The paper's own probes keep their names.
DATASET_TITLES = {
    **{"as20k": "AS-20k", "fsd50k": "FSD50K", "desed": "DESED", "spass": "SPASS"},
    **{"urban": "URBAN", "esc50": "ESC-50", "esc10": "ESC-10", "esc_mix": "ESC-mix"},
    **{"sc2": "SC-2", "fsdd": "FSDD"},
    **{
        name: name.upper() for name in ("hsn", "pow", "per", "nes", "sne", "uhh", "nbp")
    },
}
PROBE_TITLES = {
    **{"stats": "statistics", "knn": "k-NN", "cgp": "CGP", "linear_cgp": "linear CGP"},
    **{"head2toe": "Head2Toe", "cae": "CAE", "cait": "CaiT", "coca": "CoCa"},
    **{"esimpool": "e-simpool", "jepa": "JEPA", "siglip": "SigLIP"},
}
# The order of the paper. Names that the paper does not have come last.
DATASETS = (
    *("as20k", "fsd50k", "desed", "spass", "urban"),
    *("hsn", "pow", "per", "nes", "sne", "uhh", "nbp"),
    *("esc50", "sc2"),
)
ENCODERS = tuple(t + plus for plus in ("", "+") for t in TITLES.values())
PROBES = (
    *("linear", "mlp", "linearc", "conv", "linpre", "mhca", "ep", "simpool", "abmilp"),
    *("proto", "protofloat", "protobin", "stats"),
)
# Bytes of the name of a file that come from a name in a record.
LONGEST_SLUG = 150
# File names that many publishers use, and which therefore do not identify weights.
_COMMON_FILES = (
    *("model.safetensors", "pytorch_model.bin"),
    *("checkpoint_last.pt", "checkpoint_best.pt"),
)


def encoder_title(record: Record) -> str:
    """The encoder in the paper's spelling, marked if its weights are random."""
    name = str(record.facts.get("encoder", {}).get("name", record.encoder))
    return title_of(name, untrained=_weights(record).startswith("untrained"))


def title_of(name: str, *, untrained: bool) -> str:
    """An encoder of the registry in the paper's spelling."""
    base = name.removesuffix("+")
    title = TITLES.get(base, base) + "+" * (name != base)
    return f"{title} (untrained)" if untrained else title


def encoder_detail(record: Record) -> str:
    """A description that distinguishes two sets of weights with the same title."""
    weights = _weights(record)
    description = record.encoder.removesuffix(", converted")
    if weights.startswith("sha256:"):
        return f"{description}, {weights[7:15]}"
    return description


def has_published_weights(record: Record) -> bool:
    """Whether a record used the published default weights of its encoder.

    Only these results may be compared with the paper's row of that name. The weights
    are the published ones if no weights were given, if the given name or file is the
    published one, or if the SHA-256 checksum is known.
    """
    weights = _weights(record)
    name = record.facts.get("encoder", {}).get("name")
    wanted = next((p for p in PUBLISHED if p.default_of == name), None)
    if wanted is None or not weights.startswith("sha256:"):
        return False
    given = str(record.settings.get("weights") or "")
    parts = pathlib.PurePath(given).parts
    file = record.encoder.removesuffix(", converted").rpartition(", ")[2]
    return (
        not given
        or wanted.name in parts
        or (wanted.drive_is_folder and (wanted.drive_name or "").split("/")[0] in parts)
        or file in _published_files(wanted)
        or weights.removeprefix("sha256:") in (wanted.sha256, wanted.hub_sha256)
    )


def prototypes_per_class(record: Record) -> int | None:
    """The number of prototypes per class; None for probes without prototypes."""
    return _prototypes(record.probe, record.probe_options)


def probe_title(record: Record) -> str:
    """The probe with its options that differ from the defaults.

    The number of prototypes per class, J, is left out if it is the paper's number for
    the data set.
    """
    return title_of_probe(record.probe, record.probe_options, record.dataset)


def title_of_probe(probe: str, changed: Mapping[str, Any], dataset: str) -> str:
    """The title of a probe with these changed options on a data set."""
    options = dict(changed)
    options.pop("prototypes_per_class", None)
    count = _prototypes(probe, changed)
    if count is not None and count != paper_prototypes(dataset):
        options = {"J": count, **options}
    text = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{probe} {text}" if text else probe


def dataset_title(name: str) -> str:
    """A data set as papers print it, such as "HSN (64shot)" for `hsn/64shot`."""
    name, space, detail = name.partition(" ")
    base, _, variant = name.partition("/")
    title = DATASET_TITLES.get(base, base) + (f" ({variant})" if variant else "")
    return title + space + detail


def probe_in_print(title: str) -> str:
    """The title of a probe as papers print it, with its options in brackets."""
    title, bracket, training = title.partition(" [")
    name, _, options = title.partition(" ")
    name = PROBE_TITLES.get(name, name)
    return name + (f" ({options})" if options else "") + bracket + training


def changed_options(probe: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options in some settings that change a probe.

    Args:
        probe: The name of the probe. An unknown one has no options.
        given: The options of all probes; None where one is not set.
    """
    if probe not in probes.list_probes():
        return {}
    known, usual = probes.probe_options(probe), probes.make_probe(probe, num_classes=1)
    options = {k: v for k, v in given.items() if k in known and v is not None}
    return {k: v for k, v in options.items() if v != getattr(usual, k)}


def _prototypes(probe: str, changed: Mapping[str, Any]) -> int | None:
    default = _default_prototypes(probe)
    if default is None:
        return None
    return int(changed.get("prototypes_per_class", default))


def position(name: str, order: tuple[str, ...]) -> tuple[int, str]:
    """A sort key: the position in `order`, and then the name."""
    head = name.split(" ")[0].split("/")[0]
    known = [n for n in (name, head) if n in order]
    return (order.index(known[0]) if known else len(order), name)


def slug(text: str) -> str:
    """Converts a text to lower-case letters, digits and hyphens for a file name.

    A text that is long or has unusual characters ends with a digest, so that two of
    them have two names.
    """
    safe = "".join(c if c.isalnum() else "-" for c in text.lower())
    name = "-".join(part for part in safe.split("-") if part)
    start = name.encode()[:LONGEST_SLUG].decode(errors="ignore")
    if start == name and re.fullmatch(r"[\w\s:/().,+-]*", text):
        return name
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
    return f"{start}-{digest[:8]}".lstrip("-")


@functools.cache
def _default_prototypes(probe: str) -> int | None:
    if probe not in probes.list_probes():
        return None
    made = probes.make_probe(probe, num_classes=1)
    return getattr(made, "prototypes_per_class", None)


def _weights(record: Record) -> str:
    return str(record.facts.get("encoder", {}).get("weights", ""))


def _published_files(published: PublishedFile) -> set[str]:
    """The file names under which these weights are published."""
    address = (published.url or "").split("?")[0]
    names = {
        pathlib.PurePath(address).name,
        pathlib.PurePath(published.drive_name or "").name,
        f"{published.name}.pt",
        f"{published.name}.safetensors",
    }
    return names - {"", *_COMMON_FILES}
