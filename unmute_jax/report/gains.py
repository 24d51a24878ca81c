"""What probes gain over the linear probe, and how the number of prototypes matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unmute_jax.report import drawing, intervals
from unmute_jax.report.common import common_items
from unmute_jax.report.drawing import Dot
from unmute_jax.report.intervals import Estimate
from unmute_jax.report.names import encoder_title, has_published_weights
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.paper_numbers import fine_tuned, of_probe
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.result_grid import ResultCell, ResultGrid, searched
from unmute_jax.report.scores import BASELINE, NEVER_STARTED, over_datasets
from unmute_jax.report.statistics import gap_closed
from unmute_jax.report.tables import (
    DIVERGED,
    NOT_RUN,
    Field,
    Table,
    between,
    number,
    signed,
)
from unmute_jax.results import looks

GAINS_TITLE = "Gain over the linear probe"
GAP_TITLE = "Gap closed towards fine-tuning"
PROTOTYPES_TITLE = "Sensitivity to J, the number of prototypes per class"


def gains_section(grid: ResultGrid, resampler: Resampler) -> Section:
    """Makes a table of the gain of every probe over the linear one, per encoder."""
    found = _gains(grid)
    if not found:
        return Section(
            name="gains",
            title=GAINS_TITLE,
            paragraphs=("No probe was run beside a linear probe.",),
        )
    have = {key: {a.dataset for a, _ in pairs} for key, pairs in found.items()}
    datasets = common_items(have, grid.datasets)
    # Every number of the table is a mean over the same data sets.
    gains = {
        key: [pair for pair in pairs if pair[0].dataset in datasets]
        for key, pairs in found.items()
        if set(datasets) <= have[key]
    }
    probes = [p for p in grid.probes if any(p == q for _, q in gains)]
    encoders = [e for e in grid.encoders if any(e == f for f, _ in gains)]

    def field(encoder: str, probe: str) -> Field:
        pairs = gains.get((encoder, probe))
        if not pairs:
            return NOT_RUN
        estimate = _gain(pairs, resampler)
        if np.isnan(estimate.value):
            return DIVERGED
        stuck = any(cell.never_started for pair in pairs for cell in pair)
        ends = between(*estimate.interval(is_score=False), 1)
        text = f"{signed(estimate.value)}{NEVER_STARTED * stuck}"
        return Field(text, estimate.value, ends)

    has_baseline = any(p.startswith(BASELINE) for p in probes)
    table = Table(
        name="gains",
        title="Gain over linear in points",
        columns=("encoder", *probes),
        rows=tuple((e, *(field(e, p) for p in probes)) for e in encoders),
        note=" ".join(
            [
                over_datasets(datasets, grid.datasets),
                "A dash: not run on all of them beside a linear probe that did not "
                "diverge.",
                *([] if has_baseline else [f"{BASELINE} was not run beside linear."]),
                searched(cell for pairs in gains.values() for p in pairs for cell in p),
            ]
        ).strip(),
    )
    return Section(
        name="gains",
        title=GAINS_TITLE,
        paragraphs=(
            "Points of the test score above the linear probe that was trained in the "
            "same way on the same tokens, as the mean over the data sets that the note "
            "names. In small print is the 95 % interval over other clips (the same "
            "ones for both probes) and seeds. Points of mAP and of accuracy count "
            f"alike. {NEVER_STARTED}: trainings that never left their start, of this "
            "probe or of the linear one.",
        ),
        pictures=(_gains_picture(grid, encoders, gains, resampler),),
        tables=(table,),
    )


def gap_section(grid: ResultGrid) -> Section:
    """Makes a table of how far probes close the gap from linear to fine-tuning."""
    gaps = [(c, *gap) for c in grid.cells if (gap := _gap(grid, c)) is not None]
    paragraphs = (
        "(probe − linear) / (fine-tuning − linear) in %, with our linear probe and the "
        "fine-tuned score that the paper quotes from the encoder's own paper "
        "(second-hand, mark D). In small print is the same value from the paper's own "
        "scores.",
    )
    if not gaps:
        missing = (
            "Fine-tuned scores are known for A-MAE, BEATs, EAT and SSLAM on as20k, for "
            "BEATs and EAT on esc50, and for EAT on sc2. No record here is of one of "
            "these with its published weights and a linear probe beside it."
        )
        return Section(name="gap", title=GAP_TITLE, paragraphs=(*paragraphs, missing))
    rows = tuple(
        (
            *(cell.dataset, cell.encoder, cell.probe),
            Field(f"{closed:.1f}", closed, f"paper {paper:.1f}" if paper else ""),
            number(target),
        )
        for cell, closed, paper, target in gaps
    )
    table = Table(
        name="gap",
        title=f"{GAP_TITLE}, %",
        columns=("data set", "encoder", "probe", "gap closed", "fine-tuned"),
        rows=rows,
    )
    return Section(name="gap", title=GAP_TITLE, paragraphs=paragraphs, tables=(table,))


def prototypes_section(grid: ResultGrid) -> Section:
    """Makes a table of scores by the number of prototypes per class."""
    curves: dict[tuple[str, str, str], list[ResultCell]] = {}
    for cell in grid.cells:
        if cell.prototypes is not None:
            name = f"{cell.first.probe}{_other_options(cell)}"
            curves.setdefault((cell.dataset, cell.encoder, name), []).append(cell)
    curves = {k: sorted(v, key=lambda c: c.prototypes or 0) for k, v in curves.items()}
    curves = {k: v for k, v in curves.items() if len({c.prototypes for c in v}) > 1}
    if not curves:
        return Section(
            name="prototypes",
            title=PROTOTYPES_TITLE,
            paragraphs=(
                "No probe was run with two numbers of prototypes on the same tokens. "
                "The number is set by --config.probe_options.prototypes_per_class.",
            ),
        )
    table = Table(
        name="prototypes",
        title=PROTOTYPES_TITLE,
        columns=("data set", "encoder", "probe", "J", "test", "over the smallest J"),
        rows=tuple(
            (
                *(dataset, encoder, name),
                number(cell.prototypes or 0, 0),
                DIVERGED
                if cell.has_diverged
                else Field(f"{cell.mean:.2f}", cell.mean, _spread(cell)),
                number(cell.mean - cells[0].mean, sign=True),
            )
            for (dataset, encoder, name), cells in curves.items()
            for cell in cells
        ),
    )
    return Section(
        name="prototypes",
        title=PROTOTYPES_TITLE,
        paragraphs=(
            "Test scores by J. In the picture, thin lines are encoders and thick ones "
            "their mean. ± is the standard deviation over seeds. The paper reports "
            "that scores rise between 1 and 10 and are flat beyond. n/a: a "
            "seed diverged.",
        ),
        pictures=(_prototypes_picture(grid, curves),),
        tables=(table,),
    )


# For each (encoder, probe), cells with the cell of the linear probe beside each.
Pairs = dict[tuple[str, str], list[tuple[ResultCell, ResultCell]]]


def _gains(grid: ResultGrid) -> Pairs:
    pairs: Pairs = {}
    for cell in grid.cells:
        linear = grid.linear_baseline(cell)
        if linear is None or linear is cell or linear.has_diverged:
            continue
        pairs.setdefault((cell.encoder, cell.probe), []).append((cell, linear))
    return pairs


def _gain(
    pairs: Sequence[tuple[ResultCell, ResultCell]], resampler: Resampler
) -> Estimate:
    """The mean gain over data sets, whose clips are drawn independently."""
    return intervals.mean([resampler.difference(a, b) for a, b in pairs])


def _gap(
    grid: ResultGrid, cell: ResultCell
) -> tuple[float, float | None, float] | None:
    """The share that is closed here and in the paper, and the fine-tuned score."""
    r, linear = cell.first, grid.linear_baseline(cell)
    if linear is None or linear is cell or not has_published_weights(r):
        return None
    encoder = encoder_title(r)
    target = fine_tuned(r.dataset, r.metric, encoder)
    if target is None:
        return None
    closed = gap_closed(cell.mean, linear.mean, target.value)
    if not np.isfinite(closed):
        return None
    high = of_probe(r.dataset, r.metric, encoder, r.probe, cell.prototypes)
    low = of_probe(r.dataset, r.metric, encoder, "linear", None)
    paper = high and low and gap_closed(high.value, low.value, target.value)
    return closed, paper, target.value


def _gains_picture(
    grid: ResultGrid, encoders: Sequence[str], gains: Pairs, resampler: Resampler
) -> Picture:
    dots: dict[str, dict[str, Dot]] = {encoder: {} for encoder in encoders}
    for (encoder, probe), pairs in gains.items():
        estimate = _gain(pairs, resampler)
        low, high = estimate.interval(is_score=False)
        dots[encoder][probe] = Dot(value=estimate.value, low=low, high=high)
    figure, axes = drawing.rows_of_dots(dots, drawing.probe_looks(grid.probes))
    for axis in axes:
        axis.axvline(0, color="0.3", lw=1, zorder=0)
    figure.supxlabel("points above the linear probe, mean over data sets", fontsize=9)
    alt = (
        "Gain of each probe over the linear probe for each encoder, with 95 % intervals"
    )
    return drawing.picture("gains", alt, figure)


def _prototypes_picture(
    grid: ResultGrid, curves: dict[tuple[str, str, str], list[ResultCell]]
) -> Picture:
    """Draws thin lines for encoders, and with markers the mean over all of them."""
    datasets = [d for d in grid.datasets if any(d == key[0] for key in curves)]
    styles = drawing.probe_looks(list(dict.fromkeys(probe for *_, probe in curves)))
    figure, axes = drawing.panels([looks.shorten(d, 34) for d in datasets])
    for axis, dataset in zip(axes, datasets, strict=True):
        for probe, style in styles.items():
            scores = [
                {c.prototypes: c.mean for c in cells}
                for (d, _, p), cells in curves.items()
                if (d, p) == (dataset, probe)
            ]
            if not scores:
                continue
            for own in scores:
                thin = style | {"marker": "", "lw": 0.7, "alpha": 0.4}
                axis.plot(list(own), list(own.values()), **thin)
            shared = [j for j in scores[0] if all(j in s for s in scores)]
            means = [np.mean([own[j] for own in scores]) for j in shared]
            axis.plot(shared, means, **style, ms=5, lw=1.5)
        counts = sorted({c.prototypes or 1 for v in curves.values() for c in v})
        axis.set_xscale("log")
        axis.set_xticks(counts, [str(n) for n in counts])
        axis.minorticks_off()
    figure.supxlabel("J, prototypes per class", fontsize=9)
    figure.supylabel("test score", fontsize=9)
    handles = [looks.handle(style) for style in styles.values()]
    looks.legend(figure, handles, [looks.shorten(p, 40) for p in styles])
    alt = (
        "Test score by the number of prototypes per class, with a panel per data set: "
        "thin lines are encoders, thick ones their mean"
    )
    return drawing.picture("prototypes", alt, figure)


def _other_options(cell: ResultCell) -> str:
    """The options and the training of a cell, apart from the prototypes per class."""
    options = dict(cell.first.probe_options)
    options.pop("prototypes_per_class", None)
    parts = [f"{k}={v}" for k, v in options.items()]
    parts += [f"[{cell.training}]"] if cell.training else []
    return f" {', '.join(parts)}" if parts else ""


def _spread(cell: ResultCell) -> str:
    return f"± {cell.sd:.2f}" if len(cell.seeds) > 1 else ""
