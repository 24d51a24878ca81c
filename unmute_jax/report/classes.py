"""Average precision per class: which classes gain where every token is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.patheffects import withStroke

from unmute_jax.report import drawing
from unmute_jax.report.grid import Cell, Grid
from unmute_jax.report.names import slug
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.tables import Table, csv_text, number

COLUMNS = ("dataset", "encoder", "probe", "class", "average_precision", "sd", "seeds")
# Rows of a table in the page; the CSV has them all.
MOST = 30
# Classes that are named in a picture, at either end.
NAMED = 3


@dataclass(frozen=True)
class Comparison:
    """Two probes on one data set, class by class, in points of 100.

    Attributes:
        dataset: Which.
        base: The linear probe, or the first there is.
        other: The probe with the best mean score beside it.
        encoders: Those that have both; the values are means over them.
        classes: Those with a positive test clip.
        before: Average precision of `base`.
        after: Of `other`.
    """

    dataset: str
    base: str
    other: str
    encoders: tuple[str, ...]
    classes: tuple[str, ...]
    before: Float[np.ndarray, " C"]
    after: Float[np.ndarray, " C"]


def section(grid: Grid) -> Section:
    """Per data set: the linear probe against the best one, class by class."""
    found = [c for d in grid.datasets if (c := _comparison(grid, d)) is not None]
    words = (
        "Average precision of each class on the test split, in points of 100: the "
        "linear probe against the probe with the best mean score, mean over the "
        "encoders that have both, over seeds and folds. Above the line the class "
        "gains. Classes without a positive test clip are left out; per_class.csv has "
        "every class of every cell.",
    )
    if not found:
        words = ("No data set has two probes of one encoder; see per_class.csv.",)
    return Section(
        name="classes",
        title="Average precision per class",
        words=words,
        pictures=(_picture(found),) if found else (),
        tables=tuple(map(_table, found)),
    )


def as_csv(grid: Grid) -> str:
    """Every class of every cell."""
    lines = []
    for cell in grid.cells:
        classes, values = _per_seed(cell)
        means = values.mean(0)
        sds = (
            values.std(0, ddof=1) if len(values) > 1 else np.full(len(classes), np.nan)
        )
        for name, mean, sd in zip(classes, means, sds, strict=True):
            known = f"{mean:.4f}" if np.isfinite(mean) else ""
            spread = f"{sd:.4f}" if np.isfinite(sd) else ""
            names = (cell.dataset, cell.encoder, cell.probe, name)
            lines.append((*names, known, spread, len(values)))
    return csv_text(COLUMNS, lines)


def _per_seed(cell: Cell) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes, and `[S, C]` means over folds; NaN where a fold has no positive."""
    classes = tuple(cell.first.per_class)
    rows = {
        (f.record.seed, f.record.protocol): [
            np.nan if (v := f.record.per_class.get(c)) is None else v for c in classes
        ]
        for f in cell.found
    }
    stacked = np.asarray([[rows[s, p] for p in cell.folds] for s in cell.seeds], float)
    return classes, 100 * stacked.mean(1)


def _mean(cell: Cell) -> dict[str, float]:
    classes, values = _per_seed(cell)
    return dict(zip(classes, values.mean(0).tolist(), strict=True))


def _comparison(grid: Grid, dataset: str) -> Comparison | None:
    cells = grid.of_dataset(dataset)
    probes = [p for p in grid.probes if any(c.probe == p for c in cells)]
    base = next((p for p in probes if p.split(" ")[0] == "linear"), probes[0])
    mine = {c.encoder: c for c in cells if c.probe == base}
    beside = [c for c in cells if c.encoder in mine]
    beside = [c for c in beside if c.folds == mine[c.encoder].folds]
    gains = {
        probe: float(np.mean([c.mean - mine[c.encoder].mean for c in pairs]))
        for probe in probes
        if probe != base and (pairs := [c for c in beside if c.probe == probe])
    }
    if not gains:
        return None
    other = max(gains, key=lambda probe: gains[probe])
    pairs = [(mine[c.encoder], c) for c in beside if c.probe == other]
    before, after = ([_mean(p[i]) for p in pairs] for i in (0, 1))
    classes = tuple(
        c
        for c in before[0]
        if all(np.isfinite(x.get(c, np.nan)) for x in (*before, *after))
    )
    if not classes:
        return None
    return Comparison(
        dataset,
        base,
        other,
        tuple(a.encoder for a, _ in pairs),
        classes,
        np.mean([[x[c] for c in classes] for x in before], 0),
        np.mean([[x[c] for c in classes] for x in after], 0),
    )


def _table(c: Comparison) -> Table:
    gain = c.after - c.before
    order = np.argsort(-gain, kind="stable")
    shown = order
    note = f"Mean over {', '.join(c.encoders)}."
    if len(order) > MOST:
        shown = np.concatenate([order[: MOST // 2], order[-MOST // 2 :]])
        note += f" The {MOST // 2} that gain most and least, of {len(order)} classes."
    return Table(
        name=f"classes-{slug(c.dataset)}",
        title=f"{c.dataset}: {c.base} and {c.other}",
        columns=("class", c.base, c.other, "gain"),
        rows=tuple(
            (
                c.classes[i],
                number(float(c.before[i]), 1),
                number(float(c.after[i]), 1),
                number(float(gain[i]), 1, sign=True),
            )
            for i in shown
        ),
        note=note,
    )


def _picture(found: list[Comparison]) -> Picture:
    figure, axes = drawing.panels([drawing.short(c.dataset, 34) for c in found])
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide, high * 1.15)
    for axis, c in zip(axes, found, strict=True):
        axis.plot([0, 100], [0, 100], color="0.4", lw=1, zorder=0)
        look = drawing.style(0) | {"linestyle": "none"}
        axis.plot(c.before, c.after, ms=4, alpha=0.6, clip_on=False, **look)
        _name_ends(axis, c)
        axis.set(xlim=(0, 100), ylim=(0, 100))
        axis.set_xlabel(drawing.short(c.base, 34), fontsize=8)
        axis.set_ylabel(drawing.short(c.other, 34), fontsize=8)
    alt = "Average precision per class: the best probe against the linear one"
    return drawing.picture("classes", alt, figure)


def _name_ends(axis: Any, c: Comparison) -> None:
    """Names the classes that gain most and least, where there is room."""
    order = np.argsort(c.after - c.before).tolist()
    taken: list[tuple[float, float]] = []
    for i in dict.fromkeys([*order[-NAMED:][::-1], *order[:NAMED]]):
        x, y = float(c.before[i]), float(c.after[i])
        if any(abs(x - u) < 45 and abs(y - v) < 6 for u, v in taken):
            continue
        taken.append((x, y))
        is_right = x > 50
        axis.annotate(
            drawing.short(c.classes[i].replace("_", " "), 16),
            (x, y),
            xytext=(-5 if is_right else 5, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="center",
            fontsize=6,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
