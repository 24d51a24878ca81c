"""The cost of each probe: training time, parameters and file size."""

from __future__ import annotations

import numpy as np

from unmute_jax.report import drawing
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.result_grid import ResultCell, ResultGrid
from unmute_jax.report.tables import Field, Table, number
from unmute_jax.results import looks
from unmute_jax.results.record import training_seconds


def section(grid: ResultGrid) -> Section:
    """Makes a table of costs, and a picture of gains against parameters."""
    rows = []
    for dataset in grid.datasets:
        for probe in grid.probes:
            cells = [c for c in grid.of_dataset(dataset) if c.probe == probe]
            if cells:
                rows.append(_row(dataset, probe, cells))
    devices = {str(r.facts.get("devices", "unknown devices")) for r in grid.records}
    table = Table(
        name="costs",
        title="Cost per data set and probe",
        columns=(
            *("data set", "probe", "parameters", "kB in float32", "kB in one bit"),
            *("seconds", "trials"),
        ),
        rows=tuple(rows),
        note="Means over encoders. n/a: only a protobin can be exported in one bit. "
        f"Trained on: {', '.join(sorted(devices))}.",
    )
    picture = _picture(grid)
    return Section(
        name="costs",
        title="Cost",
        paragraphs=(
            "Parameters are the trained ones, and a kB is 1,000 bytes. One bit is the "
            "size of a protobin that was exported with one bit per prototype weight "
            "and a dense layer in float16. Seconds are those of the whole search and "
            "of all seeds and folds, which are partly trained at the same time; they "
            "cannot be compared if runs shared a machine. The time for computing the "
            "tokens is not included.",
        ),
        pictures=(picture,) if picture else (),
        tables=(table,),
    )


def seconds(cell: ResultCell) -> float:
    """The training time of a cell."""
    return training_seconds(f.record for f in cell.files)


def one_bit_bytes(cell: ResultCell) -> int | None:
    """The size of a protobin as `export` writes it; None for other probes."""
    if cell.first.probe != "protobin" or cell.prototypes is None:
        return None
    classes = len(cell.first.per_class)
    p = classes * cell.prototypes
    features, rest = divmod(cell.first.parameters - p * classes - classes, p)
    if rest or features < 1:
        return None
    return p * -(-features // 8) + 2 * p * classes + 4 * classes


def _row(dataset: str, probe: str, cells: list[ResultCell]) -> tuple[Field | str, ...]:
    counts = sorted({c.first.parameters for c in cells})
    text = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    mean = float(np.mean([c.first.parameters for c in cells]))
    packed = [b for c in cells if (b := one_bit_bytes(c)) is not None]
    return (
        *(dataset, probe, Field(text, mean)),
        number(mean * 4 / 1000, 1),
        number(float(np.mean(packed)) / 1000 if packed else np.nan, 1),
        number(float(np.mean([seconds(c) for c in cells])), 1),
        number(float(np.mean([len(c.search) for c in cells])), 0),
    )


def _picture(grid: ResultGrid) -> Picture | None:
    """Draws the gain over linear against parameters, with a panel per data set."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for cell in grid.cells:
        linear = grid.linear_baseline(cell)
        if linear is None or not cell.first.parameters:
            continue
        gain = cell.mean - linear.mean
        if np.isfinite(gain):
            by_probe = points.setdefault(cell.dataset, {})
            by_probe.setdefault(cell.probe, []).append((cell.first.parameters, gain))
    points = {d: v for d, v in points.items() if len(v) > 1}
    if not points:
        return None
    probes = [p for p in grid.probes if any(p in v for v in points.values())]
    styles = drawing.probe_looks(grid.probes)
    styles = {p: style | {"linestyle": "none"} for p, style in styles.items()}
    figure, axes = drawing.panels([looks.shorten(d, 34) for d in points])
    for axis, by_probe in zip(axes, points.values(), strict=True):
        axis.axhline(0, color="0.4", lw=1, zorder=0)
        for probe, pairs in by_probe.items():
            count, gain = np.mean(pairs, 0)
            axis.plot(count, gain, ms=6, **styles[probe])
        counts = [np.mean(pairs, 0)[0] for pairs in by_probe.values()]
        drawing.log_scale(axis, counts)
        axis.margins(y=0.1)
    figure.supxlabel("trained parameters", fontsize=9)
    figure.supylabel("points above linear", fontsize=9)
    handles = [looks.handle(styles[p]) for p in probes]
    looks.legend(figure, handles, [looks.shorten(p) for p in probes])
    alt = "Gain over the linear probe against trained parameters, mean over encoders"
    return drawing.picture("costs", alt, figure)
