"""What each layer of an encoder is worth: learned weights, and scores of one layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax.report import drawing
from unmute_jax.report.names import slug, title_of_probe
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.result_grid import ResultCell, ResultGrid
from unmute_jax.report.tables import NOT_RUN, Field, Table, number
from unmute_jax.results.looks import COLOURS, handle, legend, shorten

# The colours of learned weights, and of scores.
WEIGHT, SCORE = "#999999", COLOURS[0]


@dataclass
class Profile:
    """What is known of the layers of an encoder from one probe on one data set.

    Attributes:
        dataset: The data set's name in the report.
        encoder: The encoder's name in the report.
        probe: The probe's name, without the layers that it reads.
        count: The number of layers.
        weights: The learned weights of the layers, as means over seeds and folds; empty
            if none were learned.
        single: The cells that were trained on one layer, by its number from 0.
        last: The cell that was trained on what the encoder returns, if there is one.
    """

    dataset: str
    encoder: str
    probe: str
    count: int
    weights: Float[np.ndarray, " L"] = field(default_factory=lambda: np.zeros(0))
    single: dict[int, ResultCell] = field(default_factory=dict)
    last: ResultCell | None = None

    @property
    def title(self) -> str:
        """The heading of its panel."""
        return f"{shorten(self.encoder, 17)}, {shorten(self.probe, 15)}"


def sections(grid: ResultGrid) -> list[Section]:
    """The section, or none where no probe has read other layers than the last."""
    profiles = find_profiles(grid.cells)
    if not profiles:
        return []
    pictures = [
        _picture(grid, dataset, [p for p in profiles if p.dataset == dataset])
        for dataset in grid.datasets
        if any(p.dataset == dataset for p in profiles)
    ]
    paragraphs = (
        "Bars are the learned weights of the layers (means over seeds), with which "
        "their tokens, scaled to equal size, are averaged; they sum to 1. A large "
        "weight says that the probe uses a layer, not that the layer alone would do. "
        "Points are the test scores of probes that were trained on one layer, and the "
        "broken line is the score of what the encoder returns after its last layer. "
        "Layers count from 0, the first block.",
        "A layer is to be chosen by its validation score, which the table has as well: "
        "the best of many test scores is too good.",
    )
    return [
        Section(
            name="layers",
            title="What each layer is worth",
            paragraphs=paragraphs,
            pictures=tuple(pictures),
            tables=(_table(profiles),),
        )
    ]


def find_profiles(cells: Iterable[ResultCell]) -> list[Profile]:
    """Gathers the cells that differ in nothing but the layers that are read.

    Those that read all layers without learned weights say nothing about one of them.
    """
    found: dict[tuple[str, ...], Profile] = {}
    last: dict[tuple[str, ...], ResultCell] = {}
    for cell in cells:
        r = cell.first
        options = {k: v for k, v in r.probe_options.items() if k != "layers"}
        probe = title_of_probe(r.probe, options, r.dataset)
        probe += f" [{cell.training}]" * bool(cell.training)
        key = (cell.dataset, cell.encoder, probe)
        index = _layer_number(r.probe_options.get("layers"), r.num_layers)
        if not r.num_layers:
            last[key] = cell
        elif index is not None or r.layer_weights:
            profile = found.setdefault(key, Profile(*key, count=r.num_layers))
            if index is None:
                weights = [f.record.layer_weights for f in cell.files]
                profile.weights = np.mean(weights, axis=0)
            else:
                profile.single[index] = cell
    for key, profile in found.items():
        profile.last = last.get(key)
    return list(found.values())


def _layer_number(layers: Any, count: int) -> int | None:
    """The number of the one layer that is read, from 0; None if it is not one."""
    try:
        return int(layers) % count
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _table(profiles: Iterable[Profile]) -> Table:
    rows = []
    for p in profiles:
        for layer in range(p.count):
            cell = p.single.get(layer)
            rows.append(
                (
                    *(p.dataset, p.encoder, p.probe, number(layer, 0)),
                    number(p.weights[layer], 3) if len(p.weights) else NOT_RUN,
                    NOT_RUN if cell is None else number(_validation(cell)),
                    NOT_RUN if cell is None else _score(cell),
                )
            )
        if p.last is not None:
            scores = number(_validation(p.last)), _score(p.last)
            rows.append((p.dataset, p.encoder, p.probe, "last", NOT_RUN, *scores))
    return Table(
        name="layers",
        title="Learned weights of the layers, and scores of single layers",
        columns=(
            *("data set", "encoder", "probe", "layer"),
            *("learned weight", "validation", "test"),
        ),
        rows=tuple(rows),
        note="Scores are means over seeds, ± their standard deviation. A dash: no such "
        'probe was trained. "last" is what the encoder returns, after its final '
        "normalisation if it has one.",
    )


def _validation(cell: ResultCell) -> float:
    return 100 * float(np.mean([f.record.validation for f in cell.files]))


def _score(cell: ResultCell) -> Field:
    mean = number(cell.mean)
    if not np.isfinite(cell.sd):
        return mean
    return Field(f"{mean.text} ± {cell.sd:.2f}", mean.value)


def _picture(grid: ResultGrid, dataset: str, profiles: list[Profile]) -> Picture:
    figure, axes = drawing.panels([p.title for p in profiles])
    for axis, profile in zip(axes, profiles, strict=True):
        _draw(axis, profile)
    figure.supxlabel("layer", fontsize=9)
    figure.supylabel("learned weight", fontsize=9)
    metric = f"test {grid.metric(dataset)}"
    looks = {
        "learned weight (left)": {"color": WEIGHT, "marker": "s", "linestyle": "none"},
        f"{metric} of one layer (right)": {"color": SCORE, "marker": "o"},
        f"{metric} after the last layer (right)": {"color": SCORE, "linestyle": "--"},
    }
    legend(figure, list(map(handle, looks.values())), list(looks), dataset)
    alt = f"Learned weight and score of each layer on {dataset}, a panel per probe"
    return drawing.picture(f"layers_{slug(dataset)}", alt, figure)


def _draw(axis: Any, profile: Profile) -> None:
    if len(profile.weights):
        axis.bar(range(profile.count), profile.weights, color=WEIGHT)
    axis.set_xlim(-0.6, profile.count - 0.4)
    axis.set_xticks(range(0, profile.count, max(1, profile.count // 6)))
    axis.set_ylim(0, 1.15 * max(profile.weights, default=0.8))
    right = axis.twinx()
    right.tick_params(labelsize=8, colors=SCORE)
    layers = sorted(profile.single)
    means = [profile.single[k].mean for k in layers]
    deviations = [np.nan_to_num(profile.single[k].sd) for k in layers]
    if layers:
        look = {"color": SCORE, "marker": "o", "ms": 3, "lw": 1}
        right.errorbar(layers, means, yerr=deviations, elinewidth=1, **look)
    if profile.last is not None and np.isfinite(profile.last.mean):
        right.axhline(profile.last.mean, color=SCORE, linestyle="--", lw=1)
    if not layers and profile.last is None:
        right.set_yticks([])
