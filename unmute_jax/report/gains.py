"""What a probe gains over linear, how much of the gap it closes, and what J does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmute_jax.report import drawing
from unmute_jax.report.grid import Cell, Grid
from unmute_jax.report.names import encoder_title, has_published_weights
from unmute_jax.report.paper_numbers import fine_tuned, of_probe
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.scores import BASELINE
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.statistics import gap_closed, interval
from unmute_jax.report.tables import Field, Table, between, number, signed


def gains_section(grid: Grid, resampler: Resampler) -> Section:
    """The gain of every probe over the linear one, per encoder."""
    words = (
        "Points of the test score above the linear probe on the same tokens, trained "
        "alike; the mean over the data sets that have both. In small, the 95 % "
        "interval over draws of clips and seeds (the same clips for both probes), and "
        "the number of data sets. Points of mAP and of accuracy count alike.",
    )
    gains = _gains(grid)
    if not gains:
        return Section(
            name="gains",
            title="Gain over the linear probe",
            words=("No linear probe was run beside another one.",),
        )
    probes = [p for p in grid.probes if any(p == q for _, q in gains)]
    encoders = [e for e in grid.encoders if any(e == f for f, _ in gains)]

    def one(encoder: str, probe: str) -> Field:
        pairs = gains.get((encoder, probe))
        if not pairs:
            return Field("–")
        value = float(np.mean([a.mean - b.mean for a, b in pairs]))
        told = between(*_interval(pairs, resampler, value), 1)
        sets = f"{len(pairs)} set{'s' * (len(pairs) > 1)}"
        return Field(signed(value), value, f"{told}, {sets}" if told else sets)

    has_baseline = any(p.startswith(BASELINE) for p in probes)
    table = Table(
        name="gains",
        title="Gain over linear, points",
        columns=("encoder", *probes),
        rows=tuple((e, *(one(e, p) for p in probes)) for e in encoders),
        note="" if has_baseline else f"{BASELINE} was not run beside linear.",
    )
    return Section(
        name="gains",
        title="Gain over the linear probe",
        words=words,
        pictures=(_dots(encoders, probes, gains, resampler),),
        tables=(table,),
    )


def gap_section(grid: Grid) -> Section:
    """How far probes close the gap between linear and fine-tuning."""
    found = [(c, *ends) for c in grid.cells if (ends := _gap(grid, c)) is not None]
    words = (
        "(probe − linear) / (fine-tuning − linear), in %, with our linear probe and "
        "the fine-tuned score that the paper quotes from the encoder's own paper "
        "(second-hand, mark D). In small, the same from the paper's own numbers.",
    )
    if not found:
        words = (
            *words,
            "Fine-tuned scores are known of A-MAE, BEATs, EAT and SSLAM on as20k, of "
            "BEATs and EAT on esc50 and of EAT on sc2. No record here is of one of "
            "these with its published weights and a linear probe beside it.",
        )
        return Section(name="gap", title="Gap closed towards fine-tuning", words=words)
    rows = tuple(
        (
            *(cell.dataset, cell.encoder, cell.probe),
            Field(f"{closed:.1f}", closed, f"paper {paper:.1f}" if paper else ""),
            number(goal),
        )
        for cell, closed, paper, goal in found
    )
    table = Table(
        name="gap",
        title="Gap closed towards fine-tuning, %",
        columns=("data set", "encoder", "probe", "gap closed", "fine-tuned"),
        rows=rows,
    )
    return Section(
        name="gap",
        title="Gap closed towards fine-tuning",
        words=words,
        tables=(table,),
    )


def prototypes_section(grid: Grid) -> Section:
    """Scores against J, where a probe was run with several."""
    lines: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in grid.cells:
        if cell.prototypes is not None:
            name = f"{cell.first.probe}{_others(cell)}"
            lines.setdefault((cell.dataset, cell.encoder, name), []).append(cell)
    lines = {k: sorted(v, key=lambda c: c.prototypes or 0) for k, v in lines.items()}
    lines = {k: v for k, v in lines.items() if len({c.prototypes for c in v}) > 1}
    title = "Sensitivity to J, the prototypes per class"
    if not lines:
        return Section(
            name="prototypes",
            title=title,
            words=(
                "No probe was run with two numbers of prototypes on the same tokens. "
                "--config.probe_options.prototypes_per_class sets it.",
            ),
        )
    table = Table(
        name="prototypes",
        title=title,
        columns=("data set", "encoder", "probe", "J", "test", "over the smallest J"),
        rows=tuple(
            (
                *(dataset, encoder, name),
                number(cell.prototypes or 0, 0),
                Field(f"{cell.mean:.2f}", cell.mean, _spread(cell)),
                number(cell.mean - cells[0].mean, sign=True),
            )
            for (dataset, encoder, name), cells in lines.items()
            for cell in cells
        ),
    )
    return Section(
        name="prototypes",
        title=title,
        words=(
            "Test scores against J; bars are a standard deviation over seeds. The "
            "paper says that the gain comes between 1 and 10 and is flat beyond.",
        ),
        pictures=(_curves(grid, lines),),
        tables=(table,),
    )


Pairs = dict[tuple[str, str], list[tuple[Cell, Cell]]]


def _gains(grid: Grid) -> Pairs:
    """(encoder, probe) -> cells with the linear probe beside them."""
    found: Pairs = {}
    for cell in grid.cells:
        linear = grid.linear_beside(cell)
        if linear is not None and linear is not cell:
            found.setdefault((cell.encoder, cell.probe), []).append((cell, linear))
    return found


def _interval(
    pairs: Sequence[tuple[Cell, Cell]], resampler: Resampler, centre: float
) -> tuple[float, float]:
    draws = [resampler.draws(a) - resampler.draws(b) for a, b in pairs]
    mean = np.mean(draws, 0)
    return interval(mean, centre) if np.ptp(mean) > 0 else (np.nan, np.nan)


def _gap(grid: Grid, cell: Cell) -> tuple[float, float | None, float] | None:
    """Ours, the paper's, and the fine-tuned score."""
    r, linear = cell.first, grid.linear_beside(cell)
    if linear is None or linear is cell or not has_published_weights(r):
        return None
    encoder = encoder_title(r)
    goal = fine_tuned(r.dataset, r.metric, encoder)
    if goal is None:
        return None
    closed = gap_closed(cell.mean, linear.mean, goal.value)
    if not np.isfinite(closed):
        return None
    theirs = of_probe(r.dataset, r.metric, encoder, r.probe, cell.prototypes)
    low = of_probe(r.dataset, r.metric, encoder, "linear", None)
    paper = theirs and low and gap_closed(theirs.value, low.value, goal.value)
    return closed, paper, goal.value


def _dots(
    encoders: Sequence[str], probes: Sequence[str], gains: Pairs, resampler: Resampler
) -> Picture:
    figure, (axis, *_) = drawing.panels([""])
    figure.set_size_inches(7.5, 1.6 + len(encoders) * max(0.3, 0.085 * len(probes)))
    handles = []
    for k, probe in enumerate(probes):
        x, y, low, high = [], [], [], []
        for i, encoder in enumerate(encoders):
            if pairs := gains.get((encoder, probe)):
                value = float(np.mean([a.mean - b.mean for a, b in pairs]))
                ends = _interval(pairs, resampler, value)
                x.append(value)
                y.append(i + 0.75 * ((k + 0.5) / len(probes) - 0.5))
                low.append(0 if np.isnan(ends[0]) else max(0.0, value - ends[0]))
                high.append(0 if np.isnan(ends[1]) else max(0.0, ends[1] - value))
        look = drawing.style(k) | {"linestyle": "none"}
        handles.append(
            axis.errorbar(x, y, xerr=[low, high], ms=5, elinewidth=1, **look)
        )
    axis.axvline(0, color="0.3", lw=1)
    for i in range(len(encoders) - 1):
        axis.axhline(i + 0.5, color="0.85", lw=0.8)
    axis.set_yticks(range(len(encoders)), [drawing.short(e) for e in encoders])
    axis.set_ylim(len(encoders) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("points above the linear probe, mean over data sets")
    drawing.legend(figure, handles, [drawing.short(p) for p in probes])
    alt = "Gain of each probe over the linear one, per encoder, with 95 % intervals"
    return drawing.picture("gains", alt, figure)


def _curves(grid: Grid, lines: dict[tuple[str, str, str], list[Cell]]) -> Picture:
    datasets = [d for d in grid.datasets if any(d == key[0] for key in lines)]
    kinds = list(dict.fromkeys((e, p) for _, e, p in lines))
    figure, axes = drawing.panels(datasets)
    for axis, dataset in zip(axes, datasets, strict=True):
        for k, (encoder, probe) in enumerate(kinds):
            if cells := lines.get((dataset, encoder, probe)):
                axis.errorbar(
                    [c.prototypes for c in cells],
                    [c.mean for c in cells],
                    yerr=[0 if np.isnan(c.sd) else c.sd for c in cells],
                    **drawing.style(k) | {"ms": 4, "lw": 1},
                )
        counts = sorted({c.prototypes or 1 for v in lines.values() for c in v})
        axis.set_xscale("log")
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
    figure.supxlabel("prototypes per class, J", fontsize=9)
    figure.supylabel("test score", fontsize=9)
    handles = [drawing.handle(drawing.style(k)) for k in range(len(kinds))]
    drawing.legend(figure, handles, [drawing.short(f"{e}, {p}", 40) for e, p in kinds])
    alt = "Test score against the number of prototypes per class, a panel per data set"
    return drawing.picture("prototypes", alt, figure)


def _others(cell: Cell) -> str:
    """What tells the cell from others of its probe, but for J."""
    options = dict(cell.first.probe_options)
    options.pop("prototypes_per_class", None)
    told = [f"{k}={v}" for k, v in options.items()]
    told += [f"[{cell.recipe}]"] if cell.recipe else []
    return f" {', '.join(told)}" if told else ""


def _spread(cell: Cell) -> str:
    return f"± {cell.sd:.2f}" if len(cell.seeds) > 1 else ""
