"""The page that shows what `diagnostics` found: one HTML file, nothing beside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from unmute_jax.inference.diagnose import Diagnostics, Nearest, Prototype, by_influence
from unmute_jax.results.plots import COLOURS
from unmute_jax.results.trained import TrainedProbe

# More rows than this nobody reads; the JSON has them all.
ROWS = 40
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 66em;
       padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { text-align: left; vertical-align: top; padding: .25em .8em .25em 0;
         border-bottom: 1px solid #ddd }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100% } small { color: #555 }
"""


def page(trained: TrainedProbe, found: Diagnostics) -> str:
    """The whole page."""
    p, d = found.size
    title = f"Prototypes of {trained.name} on {trained.dataset}"
    about = (
        f"{trained.encoder_description}; {trained.protocol}, seed {trained.seed}, "
        f"validation {100 * trained.validation:.2f}. {p:,} prototypes of {d} features; "
        f"{found.clips:,} training clips, {found.tokens:,} tokens."
    )
    shown = min(ROWS, p)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><meta charset="utf-8">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<h1>{html.escape(title)}</h1>",
            f"<p>{html.escape(about)}</p>",
            _numbers(found),
            _picture(found),
            "<h2>What each prototype answers to</h2>",
            f"<p>The {shown} of {p:,} on which most of a logit hangs: the standard "
            "deviation of the best match over the training clips, times the largest "
            "weight. Behind a class stands its weight; behind a clip what is in it, "
            "the place that matched, and the similarity.</p>",
            _table(by_influence(found)[:shown], trained.classes),
            "</html>\n",
        ]
    )


def _numbers(found: Diagnostics) -> str:
    rows = [
        ("", "these prototypes", "random signs"),
        (
            "cosines of pairs, standard deviation",
            f"{found.shape.deviation:.3f}",
            f"{found.random.deviation:.3f}",
        ),
        (
            "cosine of the two most alike",
            f"{found.shape.largest:.3f}",
            f"{found.random.largest:.3f}",
        ),
        (
            f"effective rank, of {min(found.size)} at most",
            f"{found.shape.rank:.1f}",
            f"{found.random.rank:.1f}",
        ),
        ("prototypes that are nearest to no token", f"{100 * found.never:.1f} %", ""),
    ]
    cells = [
        "".join(
            f"<t{kind}{' class=n' * (i > 0)}>{html.escape(cell)}</t{kind}>"
            for i, cell in enumerate(row)
        )
        for kind, row in zip("h" + "d" * len(rows), rows, strict=False)
    ]
    return "<table>" + "".join(f"<tr>{c}</tr>" for c in cells) + "</table>"


def _picture(found: Diagnostics) -> str:
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.asarray(found.bins)
    for shape, colour, label in (
        (found.shape, COLOURS[0], "these prototypes"),
        (found.random, COLOURS[1], "random signs"),
    ):
        pairs = max(1, sum(shape.cosines))
        density = np.asarray(shape.cosines) / pairs / np.diff(bins)
        left.stairs(density, bins, color=colour, label=label, lw=1.5)
    seen = [shape.cosines for shape in (found.shape, found.random)]
    filled = np.flatnonzero(np.sum(seen, 0))
    if filled.size:
        reach = max(abs(bins[filled[0]]), abs(bins[filled[-1] + 1]))
        left.set_xlim(-reach, reach)
    left.set(xlabel="cosine of a pair of prototypes", ylabel="density")
    left.legend(frameon=False)
    wins = np.sort([x.wins for x in found.prototypes])[::-1]
    right.stairs(100 * wins, np.arange(len(wins) + 1), fill=True, color=COLOURS[0])
    right.axhline(100 / len(wins), color=COLOURS[6], lw=1, ls="--", label="equal share")
    right.set(
        xlabel="prototypes, busiest first",
        ylabel="nearest to % of all tokens",
        yscale="log",
    )
    right.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = "Histogram of pairwise cosines, and how many tokens each prototype wins"
    return f'<img alt="{alt}" src="data:image/png;base64,{data}">'


def _table(prototypes: Sequence[Prototype], classes: Sequence[str]) -> str:
    head = (
        "<tr><th class=n>no.<th class=n>influence<th class=n>tokens won"
        "<th>speaks for<th>speaks against<th>nearest training clips</tr>"
    )
    return f"<table>{head}{''.join(_row(p, classes) for p in prototypes)}</table>"


def _row(prototype: Prototype, classes: Sequence[str]) -> str:
    order = np.argsort(prototype.weights, kind="stable")
    signed = [(classes[int(i)], prototype.weights[int(i)]) for i in order]
    pro = [x for x in signed[::-1][:2] if x[1] > 0]
    con = [x for x in signed[:2] if x[1] < 0]
    return (
        f"<tr><td class=n>{prototype.index}<td class=n>{prototype.influence:.2f}"
        f"<td class=n>{100 * prototype.wins:.2f} %"
        f"<td>{_weights(pro)}<td>{_weights(con)}"
        f"<td>{'<br>'.join(_place(x) for x in prototype.nearest)}</tr>"
    )


def _weights(pairs: Sequence[tuple[str, float]]) -> str:
    return "<br>".join(f"{html.escape(name)} {weight:+.2f}" for name, weight in pairs)


def _place(x: Nearest) -> str:
    heard = ", ".join(x.classes) or "no class"
    place = (
        f"{x.clip}, {x.seconds[0]:.2f}-{x.seconds[1]:.2f} s, "
        f"{x.hertz[0]:.0f}-{x.hertz[1]:.0f} Hz, {x.similarity:.2f}"
    )
    return f"{html.escape(heard)} <small>{html.escape(place)}</small>"
