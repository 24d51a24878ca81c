"""What each probe costs: seconds, parameters, bytes."""

from __future__ import annotations

import numpy as np

from unmute_jax.report import drawing
from unmute_jax.report.grid import Cell, Grid
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.tables import Field, Table, number


def section(grid: Grid) -> Section:
    """A table of costs, and scores against parameters."""
    rows = []
    for dataset in grid.datasets:
        for probe in grid.probes:
            cells = [c for c in grid.of_dataset(dataset) if c.probe == probe]
            if cells:
                rows.append(_row(dataset, probe, cells))
    devices = {str(r.facts.get("devices", "not told")) for r in grid.records}
    table = Table(
        name="costs",
        title="Cost per data set and probe",
        columns=(
            *("data set", "probe", "parameters", "kB, float32", "kB, one bit"),
            *("seconds", "trials"),
        ),
        rows=tuple(rows),
        note=f"Means over encoders. Trained on: {', '.join(sorted(devices))}.",
    )
    words = (
        "Parameters are those that were trained; a kB is 1,000 bytes. One bit: what "
        "experiments.export makes of protobin, a bit per prototype weight and a dense "
        "layer in float16. Seconds are those of the whole search and of all seeds and "
        "folds, as far as they were trained side by side; they are not comparable "
        "where runs shared a machine. The tokens were made before.",
    )
    picture = _picture(grid)
    return Section(
        name="costs",
        title="Cost",
        words=words,
        pictures=(picture,) if picture else (),
        tables=(table,),
    )


def seconds(cell: Cell) -> float:
    """Of all its stacks of trainings; the records of one stack share its time."""
    stacks = {(f.record.protocol, f.record.seconds) for f in cell.found}
    return sum(duration for _, duration in stacks)


def one_bit_bytes(cell: Cell) -> int | None:
    """Of a protobin with its prototypes packed, as `export` writes it."""
    if cell.first.probe != "protobin" or cell.prototypes is None:
        return None
    classes = len(cell.first.per_class)
    p = classes * cell.prototypes
    features, rest = divmod(cell.first.parameters - p * classes - classes, p)
    if rest or features < 1:
        return None
    return p * -(-features // 8) + 2 * p * classes + 4 * classes


def _row(dataset: str, probe: str, cells: list[Cell]) -> tuple[Field | str, ...]:
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


def _picture(grid: Grid) -> Picture | None:
    """Gain over linear against parameters, a panel per data set."""
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for cell in grid.cells:
        linear = grid.linear_beside(cell)
        if linear is not None and cell.first.parameters:
            gain = cell.mean - linear.mean
            of_set = points.setdefault(cell.dataset, {})
            of_set.setdefault(cell.probe, []).append((cell.first.parameters, gain))
    points = {d: v for d, v in points.items() if len(v) > 1}
    if not points:
        return None
    probes = [p for p in grid.probes if any(p in v for v in points.values())]
    figure, axes = drawing.panels([drawing.short(d, 34) for d in points])
    for axis, of_set in zip(axes, points.values(), strict=True):
        axis.axhline(0, color="0.4", lw=1, zorder=0)
        for i, probe in enumerate(probes):
            if found := of_set.get(probe):
                count, gain = np.mean(found, 0)
                look = drawing.style(i) | {"linestyle": "none"}
                axis.plot(count, gain, ms=6, **look)
        counts = [np.mean(found, 0)[0] for found in of_set.values()]
        drawing.log_scale(axis, counts)
        axis.margins(y=0.1)
    figure.supxlabel("trained parameters", fontsize=9)
    figure.supylabel("points above linear", fontsize=9)
    handles = [
        drawing.handle(drawing.style(i) | {"linestyle": "none"})
        for i in range(len(probes))
    ]
    drawing.legend(figure, handles, [drawing.short(p) for p in probes])
    alt = "Gain over the linear probe against trained parameters, mean over encoders"
    return drawing.picture("costs", alt, figure)
