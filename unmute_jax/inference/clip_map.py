"""Draws the clips of a run as points in two dimensions, by class and by site.

The points are the means over the tokens of clips, laid out by t-SNE (van der Maaten and
Hinton, 2008). Scikit-learn computes it, which librosa installs in any case; UMAP would
be one more package.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from unmute_jax.datasets import Dataset
from unmute_jax.report.drawing import picture
from unmute_jax.report.page import Section
from unmute_jax.results.looks import look, shorten
from unmute_jax.store.reader import TokenStore

# More clips take minutes; of more, these many are drawn at random.
MOST_CLIPS = 2000
# Classes or sites with a colour and marker of their own.
MOST_NAMES = 20
# About the number of neighbours of a clip; the default of scikit-learn.
PERPLEXITY = 30.0
SEVERAL, OTHERS = "several", "others"


def map_section(stores: Sequence[TokenStore], dataset: Dataset) -> Section | None:
    """Makes the section of a page with the map of training clips.

    Args:
        stores: The tokens of the clips.
        dataset: The data set, which may know groups of clips.

    Returns:
        The section; None of fewer than four clips, which have no map.
    """
    total = sum(store.n for store in stores)
    chosen = np.sort(np.random.default_rng(0).permutation(total)[:MOST_CLIPS])
    if len(chosen) < 4:
        return None
    means = np.concatenate([store.pooled(slice(None))["mean"] for store in stores])
    points = two_dimensions(means[chosen])
    rows = [(store, row) for store in stores for row in range(store.n)]
    classes, sites = list[str](), list[str]()
    for store, row in (rows[i] for i in chosen):
        names = [store.classes[c] for c in np.flatnonzero(store.labels[row])]
        classes.append((*names, "no class")[0] if len(names) < 2 else SEVERAL)
        sites.append(dataset.groups.get(store.ids[row], "unknown"))
    panels = {"class": classes}
    if dataset.groups:
        panels["recording or site"] = sites
    titles, count = " and by ".join(panels), f"{len(chosen):,}"
    return Section(
        name="map",
        title="How the encoder arranges the clips",
        paragraphs=(
            f"Each point is the mean over the tokens of one of {count} training "
            "clips, laid out in two dimensions by t-SNE from their cosines. Neighbours "
            "are similar for the encoder; distances between groups, and their sizes, "
            f"mean nothing. Coloured by {titles}"
            + (
                ": where sites form groups of their own, a probe may learn the site "
                "instead of the sound."
                if dataset.groups
                else "."
            ),
        ),
        pictures=(
            picture("map", f"Map of the clips by {titles}", _draw(points, panels)),
        ),
    )


def two_dimensions(means: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n 2"]:
    """Lays out vectors in two dimensions; the same ones in every call.

    Args:
        means: At least four vectors.
    """
    # The import takes a second.
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(means) - 1) / 3)
    # The similarity of `recordings/nearest.py`.
    layout = TSNE(perplexity=perplexity, metric="cosine", random_state=0)
    with warnings.catch_warnings():
        # joblib asks `lscpu`, and warns at length where a container has none.
        warnings.filterwarnings("ignore", "Could not find the number of physical cores")
        return np.asarray(layout.fit_transform(means), np.float32)


def _draw(points: Float[np.ndarray, "n 2"], panels: dict[str, list[str]]) -> Figure:
    figure = Figure(figsize=(5.4 * len(panels), 5.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        counts = collections.Counter(names)
        several = counts.pop(SEVERAL, 0)
        shown = [name for name, _ in counts.most_common(MOST_NAMES)]
        rest = [name not in shown for name in names]
        grey = SEVERAL if several and len(shown) == len(counts) else OTHERS
        if any(rest):
            axis.scatter(*points[rest].T, s=9, color="#c8c8c8", label=grey)
        for i, name in enumerate(sorted(shown)):
            here = [other == name for other in names]
            style = look(i)
            axis.scatter(
                *points[here].T,
                s=16,
                color=style["color"],
                marker=style["marker"],
                linewidths=0,
                label=shorten(name, 22),
            )
        axis.set(title=f"by {title}", xticks=[], yticks=[])
        axis.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=3,
            fontsize=7,
            frameon=False,
        )
    return figure
