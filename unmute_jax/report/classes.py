"""Average precision per class: which classes gain from a better probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.patheffects import withStroke

from unmute_jax.datasets.tables import csv_text
from unmute_jax.report import drawing
from unmute_jax.report.names import slug
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.result_grid import ResultCell, ResultGrid
from unmute_jax.report.tables import Table, number
from unmute_jax.results import looks
from unmute_jax.results.plots import FEW_POSITIVES

COLUMNS = (
    *("dataset", "encoder", "probe", "class", "average_precision", "sd", "seeds"),
    *("test_positives", "chance"),
)
# The number of rows of a table in the page. The CSV file has all of them.
MOST_ROWS = 30
# The number of classes with a label at either end of a picture.
LABELLED = 3
# Classes are drawn in a colour that no probe has.
DOTS = {"color": "#332288", "marker": "o", "linestyle": "none"}


@dataclass(frozen=True)
class Comparison:
    """The average precision of two probes on one data set, in points of 100.

    Attributes:
        dataset: The name of the data set.
        base: The linear probe, or the first probe if linear was not run.
        other: The probe with the best mean gain over `base`.
        encoders: The encoders that have both probes. Values are means over them.
        classes: The C classes with a positive test clip.
        before: Average precision of each class with `base`.
        after: Average precision of each class with `other`.
        positives: The number of test clips of each class, over all folds; NaN if it is
            not known.
        chance: Average precision of a random order for each class; NaN if not known.
    """

    dataset: str
    base: str
    other: str
    encoders: tuple[str, ...]
    classes: tuple[str, ...]
    before: Float[np.ndarray, " C"]
    after: Float[np.ndarray, " C"]
    positives: Float[np.ndarray, " C"]
    chance: Float[np.ndarray, " C"]

    @property
    def few(self) -> Bool[np.ndarray, " C"]:
        """The classes whose positives are known to be few."""
        return self.positives < FEW_POSITIVES


def section(grid: ResultGrid) -> Section:
    """Compares the linear probe with the best one on each data set."""
    comparisons = [c for d in grid.datasets if (c := _compare(grid, d)) is not None]
    paragraph = (
        "Average precision of each class on the test split, in points of 100, for the "
        "linear probe and for the probe with the best mean score. Values are means "
        "over the encoders that have both probes, over seeds and over folds. Classes "
        "above the line gain. Grey crosses show the chance level of each class, which "
        "is the share of its positives. Hollow markers, and an asterisk in the table, "
        f"are classes with fewer than {FEW_POSITIVES} positive test clips, whose "
        "average precision is mostly chance. Classes without a positive test clip are "
        "left out; per_class.csv lists every class of every cell."
    )
    if not comparisons:
        paragraph = "No data set has two probes of one encoder; see per_class.csv."
    return Section(
        name="classes",
        title="Average precision per class",
        paragraphs=(paragraph,),
        pictures=(_picture(comparisons),) if comparisons else (),
        tables=tuple(map(_table, comparisons)),
    )


def as_csv(grid: ResultGrid) -> str:
    """Formats every class of every cell as CSV."""
    lines = []
    for cell in grid.cells:
        classes, values = _per_seed(cell)
        means = values.mean(0)
        sds = (
            values.std(0, ddof=1) if len(values) > 1 else np.full(len(classes), np.nan)
        )
        counts, levels = positives_and_chance(cell)
        for name, mean, sd in zip(classes, means, sds, strict=True):
            names = (cell.dataset, cell.encoder, cell.probe, name)
            level = 100 * levels.get(name, np.nan)
            numbers = [f"{v:.4f}" if np.isfinite(v) else "" for v in (mean, sd, level)]
            positives = counts.get(name)
            lines.append((*names, *numbers[:2], len(values), positives, numbers[2]))
    return csv_text([COLUMNS, *lines])


def _per_seed(cell: ResultCell) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes, and means over folds `[seeds, C]`.

    A value is NaN if the class has no positive clip in a fold.
    """
    classes = tuple(cell.first.per_class)
    rows = {
        (f.record.seed, f.record.protocol): [
            np.nan if (v := f.record.per_class.get(c)) is None else v for c in classes
        ]
        for f in cell.files
    }
    stacked = np.asarray([[rows[s, p] for p in cell.folds] for s in cell.seeds], float)
    return classes, 100 * stacked.mean(1)


def positives_and_chance(cell: ResultCell) -> tuple[dict[str, int], dict[str, float]]:
    """For each class its test clips over all folds, and its mean chance level.

    A class is left out where they are not known, as in older records without saved
    predictions.
    """
    first = [f for f in cell.files if f.record.seed == cell.seeds[0]]
    classes = cell.first.per_class
    counts = {
        c: sum(f.positives[c] for f in first)
        for c in classes
        if all(c in f.positives for f in first)
    }
    # Where a fold has no positives, there is no average precision either.
    levels = {
        c: [f.chance[c] for f in first if f.record.per_class.get(c) is not None]
        for c in classes
        if all(c in f.chance for f in first)
    }
    return counts, {c: float(np.mean(v)) for c, v in levels.items() if v}


def _mean(cell: ResultCell) -> dict[str, float]:
    classes, values = _per_seed(cell)
    return dict(zip(classes, values.mean(0).tolist(), strict=True))


def _compare(grid: ResultGrid, dataset: str) -> Comparison | None:
    cells = grid.of_dataset(dataset)
    probes = [p for p in grid.probes if any(c.probe == p for c in cells)]
    base = next((p for p in probes if p.split(" ")[0] == "linear"), probes[0])
    bases = {c.encoder: c for c in cells if c.probe == base and not c.has_diverged}
    others = [c for c in cells if c.encoder in bases]
    others = [c for c in others if c.folds == bases[c.encoder].folds]
    gains = {
        probe: float(np.mean([c.mean - bases[c.encoder].mean for c in own]))
        for probe in probes
        if probe != base and (own := [c for c in others if c.probe == probe])
    }
    # A probe that diverged on any encoder has no mean gain.
    gains = {probe: gain for probe, gain in gains.items() if np.isfinite(gain)}
    if not gains:
        return None
    other = max(gains, key=lambda probe: gains[probe])
    pairs = [(bases[c.encoder], c) for c in others if c.probe == other]
    before, after = ([_mean(p[i]) for p in pairs] for i in (0, 1))
    classes = tuple(
        c
        for c in before[0]
        if all(np.isfinite(x.get(c, np.nan)) for x in (*before, *after))
    )
    if not classes:
        return None
    counts, levels = positives_and_chance(pairs[0][0])
    return Comparison(
        dataset,
        base,
        other,
        tuple(a.encoder for a, _ in pairs),
        classes,
        np.mean([[x[c] for c in classes] for x in before], 0),
        np.mean([[x[c] for c in classes] for x in after], 0),
        np.asarray([counts.get(c, np.nan) for c in classes], float),
        100 * np.asarray([levels.get(c, np.nan) for c in classes], float),
    )


def _table(c: Comparison) -> Table:
    gain = c.after - c.before
    order = np.argsort(-gain, kind="stable")
    shown = order
    note = f"Mean over {', '.join(c.encoders)}."
    if len(order) > MOST_ROWS:
        half = MOST_ROWS // 2
        shown = np.concatenate([order[:half], order[-half:]])
        note += f" The {half} classes that gain most and least, of {len(order)}."
    if c.few.any():
        note += f" *: fewer than {FEW_POSITIVES} positive test clips."
    return Table(
        name=f"classes-{slug(c.dataset)}",
        title=f"{c.dataset}: {c.base} and {c.other}",
        columns=("class", "positives", "chance", c.base, c.other, "gain"),
        rows=tuple(
            (
                f"{c.classes[i]}{' *' * bool(c.few[i])}",
                number(float(c.positives[i]), 0),
                number(float(c.chance[i]), 1),
                number(float(c.before[i]), 1),
                number(float(c.after[i]), 1),
                number(float(gain[i]), 1, sign=True),
            )
            for i in shown
        ),
        note=note,
    )


def _picture(comparisons: list[Comparison]) -> Picture:
    titles = [looks.shorten(c.dataset, 34) for c in comparisons]
    figure, axes = drawing.panels(titles)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height * 1.15)
    for axis, c in zip(axes, comparisons, strict=True):
        axis.plot([0, 100], [0, 100], color="0.4", lw=1, zorder=0)
        axis.plot(c.chance, c.chance, "x", color="0.5", ms=4, mew=0.8, zorder=1)
        look = DOTS | {"ms": 4, "clip_on": False}
        for chosen, own in ((~c.few, {"alpha": 0.6}), (c.few, {"mfc": "white"})):
            # An empty line that is not clipped would confuse the layout.
            if chosen.any():
                axis.plot(c.before[chosen], c.after[chosen], **look | own)
        _label_extremes(axis, c)
        axis.set(xlim=(0, 100), ylim=(0, 100))
        axis.set_xlabel(looks.shorten(c.base, 34), fontsize=8)
        axis.set_ylabel(looks.shorten(c.other, 34), fontsize=8)
    handles = [
        looks.handle(DOTS),
        looks.handle(DOTS | {"markerfacecolor": "white"}),
        looks.handle({"color": "0.5", "marker": "x", "linestyle": "none"}),
    ]
    labels = [
        *("a class", f"a class with fewer than {FEW_POSITIVES} positives"),
        "chance level",
    ]
    looks.legend(figure, handles, labels)
    alt = "Average precision per class: the best probe against the linear one"
    return drawing.picture("classes", alt, figure)


def _label_extremes(axis: Any, c: Comparison) -> None:
    """Labels the classes that gain most and least, if there is room."""
    order = np.argsort(c.after - c.before).tolist()
    taken: list[tuple[float, float]] = []
    for i in dict.fromkeys([*order[-LABELLED:][::-1], *order[:LABELLED]]):
        x, y = float(c.before[i]), float(c.after[i])
        if any(abs(x - u) < 45 and abs(y - v) < 6 for u, v in taken):
            continue
        taken.append((x, y))
        is_right = x > 50
        axis.annotate(
            looks.shorten(c.classes[i].replace("_", " "), 16),
            (x, y),
            xytext=(-5 if is_right else 5, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="center",
            fontsize=6,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
