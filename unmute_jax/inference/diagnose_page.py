"""Renders a diagnosis as one HTML page that needs no other file."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from unmute_jax.inference.diagnose import (
    Diagnostics,
    NearestClip,
    PrototypeDiagnosis,
    by_influence,
)
from unmute_jax.report.page import Picture, Section, html_page
from unmute_jax.report.tables import Field, Table
from unmute_jax.results.looks import COLOURS
from unmute_jax.results.trained import TrainedProbe

# The number of prototypes on the page. The JSON file has all of them.
MOST_ROWS = 40


def page(
    trained: TrainedProbe, diagnosis: Diagnostics, more: Sequence[Section] = ()
) -> str:
    """Renders the page.

    Args:
        trained: The trained probe.
        diagnosis: Its diagnosis.
        more: The sections that follow those of the diagnosis.
    """
    p, d = diagnosis.size
    summary = (
        f"{trained.encoder_description}; {trained.protocol}, seed {trained.seed}, "
        f"validation score {100 * trained.validation:.2f}. {p:,} prototypes with {d} "
        f"features; {diagnosis.clips:,} training clips with {diagnosis.tokens:,} "
        "tokens."
    )
    return html_page(
        f"Prototypes of {trained.name} on {trained.dataset}",
        summary,
        [
            _diversity_section(diagnosis),
            _prototypes_section(diagnosis, trained.classes),
            *more,
        ],
        most_rows=MOST_ROWS,
    )


def _diversity_section(diagnosis: Diagnostics) -> Section:
    own, random = diagnosis.shape, diagnosis.random
    rows = (
        ("standard deviation of pairwise cosines", own.deviation, random.deviation, 3),
        ("cosine of the most similar pair", own.largest, random.largest, 3),
        (
            f"effective rank, at most {min(diagnosis.size)}",
            own.rank,
            random.rank,
            1,
        ),
    )
    never = 100 * diagnosis.never
    table = Table(
        name="diversity",
        title="Diversity of the prototypes",
        columns=("measure", "these prototypes", "random signs"),
        rows=(
            *(
                (name, Field(f"{a:.{n}f}", a), Field(f"{b:.{n}f}", b))
                for name, a, b, n in rows
            ),
            ("prototypes nearest to no token", Field(f"{never:.1f} %", never), ""),
        ),
    )
    return Section(
        name="diversity",
        title="Do the prototypes differ from each other?",
        paragraphs=(
            "The right column has the same measures for as many random sign vectors: "
            "random directions in many dimensions are almost orthogonal.",
        ),
        pictures=(_picture(diagnosis),),
        tables=(table,),
    )


def _picture(diagnosis: Diagnostics) -> Picture:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.asarray(diagnosis.bins)
    for diversity, colour, label in (
        (diagnosis.shape, COLOURS[0], "these prototypes"),
        (diagnosis.random, COLOURS[1], "random signs"),
    ):
        pairs = max(1, sum(diversity.cosines))
        density = np.asarray(diversity.cosines) / pairs / np.diff(bins)
        left.stairs(density, bins, color=colour, label=label, lw=1.5)
    counts = np.sum([diagnosis.shape.cosines, diagnosis.random.cosines], 0)
    filled = np.flatnonzero(counts)
    if filled.size:
        reach = max(abs(bins[filled[0]]), abs(bins[filled[-1] + 1]))
        left.set_xlim(-reach, reach)
    left.set(xlabel="cosine of a pair of prototypes", ylabel="density")
    left.legend(frameon=False)
    wins = np.sort([x.wins for x in diagnosis.prototypes])[::-1]
    right.stairs(100 * wins, np.arange(len(wins) + 1), fill=True, color=COLOURS[0])
    right.axhline(100 / len(wins), color=COLOURS[6], lw=1, ls="--", label="equal share")
    right.set(
        xlabel="prototypes in descending order",
        ylabel="share of tokens that are nearest (%)",
        yscale="log",
    )
    right.legend(frameon=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)
    return Picture(
        name="diversity",
        alt="Histogram of pairwise cosines, and the share of tokens nearest to "
        "each prototype",
        png=png.getvalue(),
    )


def _prototypes_section(diagnosis: Diagnostics, classes: Sequence[str]) -> Section:
    shown = by_influence(diagnosis)[:MOST_ROWS]
    table = Table(
        name="prototypes",
        title=f"The {len(shown)} most influential of "
        f"{len(diagnosis.prototypes):,} prototypes",
        columns=(
            *("number", "influence", "tokens, %"),
            *("evidence for", "evidence against", "nearest training clips"),
        ),
        rows=tuple(_row(prototype, classes) for prototype in shown),
        note="Evidence: the class and its weight. Clips: the classes in the clip, its "
        "name, the position of the matching token, and the similarity.",
    )
    return Section(
        name="prototypes",
        title="What each prototype responds to",
        paragraphs=(
            "The influence of a prototype is the standard deviation of its best match "
            "over the training clips, multiplied by its largest absolute weight. "
            "Tokens are those to which it is the nearest prototype.",
        ),
        tables=(table,),
    )


def _row(
    prototype: PrototypeDiagnosis, classes: Sequence[str]
) -> tuple[Field | str, ...]:
    order = np.argsort(prototype.weights, kind="stable")
    signed = [(classes[int(i)], prototype.weights[int(i)]) for i in order]
    tokens = 100 * prototype.wins
    return (
        Field(str(prototype.index), float(prototype.index)),
        Field(f"{prototype.influence:.2f}", prototype.influence),
        Field(f"{tokens:.2f}", tokens),
        _weights([x for x in signed[::-1][:2] if x[1] > 0]),
        _weights([x for x in signed[:2] if x[1] < 0]),
        "\n".join(map(_describe, prototype.nearest)),
    )


def _weights(pairs: Sequence[tuple[str, float]]) -> str:
    return "\n".join(f"{name} {weight:+.2f}" for name, weight in pairs)


def _describe(x: NearestClip) -> str:
    return (
        f"{', '.join(x.classes) or 'no class'}: {x.clip}, "
        f"{x.seconds[0]:.2f}–{x.seconds[1]:.2f} s, "
        f"{x.hertz[0]:.0f}–{x.hertz[1]:.0f} Hz, {x.similarity:.2f}"
    )
