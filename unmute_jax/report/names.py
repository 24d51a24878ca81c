"""What encoders and probes are called in reports, and whose numbers may be compared."""

from __future__ import annotations

import functools
import pathlib

from unmute_jax import probes
from unmute_jax.report.paper_numbers import usual_prototypes
from unmute_jax.results.record import Record
from unmute_jax.weights.published_list import PUBLISHED, Published

# Registry name, without the "+" of supervised variants -> the paper's spelling.
TITLES = {
    "audiomae": "A-MAE",
    "asit": "ASiT",
    "dasheng": "Dasheng",
    "beats": "BEATs",
    "eat": "EAT",
    "sslam": "SSLAM",
    "logmel": "log-mel",
}
# The paper's orders; what it does not have comes behind.
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
# Names of files that say nothing of what is in them.
_NAMELESS = (
    *("model.safetensors", "pytorch_model.bin"),
    *("checkpoint_last.pt", "checkpoint_best.pt"),
)


def encoder_title(record: Record) -> str:
    """As the paper spells it; marked where the weights are random."""
    name = str(record.facts.get("encoder", {}).get("name", record.encoder))
    base = name.removesuffix("+")
    title = TITLES.get(base, base) + "+" * (name != base)
    return f"{title} (untrained)" if _weights(record).startswith("untrained") else title


def encoder_detail(record: Record) -> str:
    """What tells two sets of weights of one title apart."""
    weights = _weights(record)
    told = record.encoder.removesuffix(", converted")
    return f"{told}, {weights[7:15]}" if weights.startswith("sha256:") else told


def has_published_weights(record: Record) -> bool:
    """Whether the weights are those that the encoder's name stands for by default.

    Only then is its row the paper's row of that name. They are where none were named,
    where what was named is the published set or file, or where the SHA-256 is known.
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
        or file in _files(wanted)
        or weights.removeprefix("sha256:") in (wanted.sha256, wanted.hub_sha256)
    )


def prototypes_per_class(record: Record) -> int | None:
    """J of a probe with prototypes."""
    usual = _default_prototypes(record.probe)
    if usual is None:
        return None
    return int(record.probe_options.get("prototypes_per_class", usual))


def probe_title(record: Record) -> str:
    """The probe with those of its options that are not the usual ones.

    J is usual where it is the paper's for this data set.
    """
    options = dict(record.probe_options)
    options.pop("prototypes_per_class", None)
    count = prototypes_per_class(record)
    if count is not None and count != usual_prototypes(record.dataset):
        options = {"J": count, **options}
    told = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"{record.probe} {told}" if told else record.probe


def position(name: str, order: tuple[str, ...]) -> tuple[int, str]:
    """Sorts by the paper's order, what it does not have by name."""
    head = name.split(" ")[0].split("/")[0]
    known = [n for n in (name, head) if n in order]
    return (order.index(known[0]) if known else len(order), name)


def slug(text: str) -> str:
    """`text` as a part of the name of a file."""
    kept = "".join(c if c.isalnum() else "-" for c in text.lower())
    return "-".join(part for part in kept.split("-") if part)


@functools.cache
def _default_prototypes(probe: str) -> int | None:
    if probe not in probes.list_probes():
        return None
    made = probes.make_probe(probe, num_classes=1)
    return getattr(made, "prototypes_per_class", None)


def _weights(record: Record) -> str:
    return str(record.facts.get("encoder", {}).get("weights", ""))


def _files(published: Published) -> set[str]:
    """What a file of these weights is called by its publisher."""
    address = (published.url or "").split("?")[0]
    names = {
        pathlib.PurePath(address).name,
        pathlib.PurePath(published.drive_name or "").name,
        f"{published.name}.pt",
        f"{published.name}.safetensors",
    }
    return names - {"", *_NAMELESS}
