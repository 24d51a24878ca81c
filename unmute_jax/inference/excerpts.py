"""Cuts what matches prototypes best out of clips, to be heard and seen on a page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import soundfile as sf
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unmute_jax.audio.resample import resample
from unmute_jax.console import progress
from unmute_jax.datasets import Clip, Dataset
from unmute_jax.encoders import Geometry
from unmute_jax.inference.diagnose import (
    Diagnostics,
    NearestClip,
    PrototypeDiagnosis,
    by_influence,
)
from unmute_jax.inference.recordings.evidence_plot import RANGE_DB, mel_spectrogram
from unmute_jax.report.page import Excerpt, ExcerptGroup, Section
from unmute_jax.results.looks import COLOURS
from unmute_jax.results.trained import TrainedProbe

# The length of an excerpt in seconds; a token lasts for a fraction of a second.
SECONDS = 3.0
# How many excerpts a page has: at about 35 kB each, it stays below 7 MB.
PER_CLASS, MOST_PROTOTYPES, PER_PROTOTYPE = 2, 60, 3
# The sample rates in Hz among which an excerpt gets the lowest that holds all
# frequencies of the encoder.
RATES = (8_000, 16_000, 24_000, 32_000, 48_000)
# The frequencies in Hz that are marked in the pictures.
MARKS = (125.0, 500.0, 2_000.0, 8_000.0, 32_000.0)


def listening_section(
    trained: TrainedProbe, diagnosis: Diagnostics, dataset: Dataset
) -> Section:
    """Makes the section of a page that lets people hear what prototypes respond to.

    Args:
        trained: The trained probe.
        diagnosis: Its diagnosis.
        dataset: The data set that it was trained on.
    """
    shown = most_telling(diagnosis)
    nearest = {x.index: x.nearest[:PER_PROTOTYPE] for x in shown}
    repeats = trained.settings.get("frontend", {}).get("length_policy") == "repeat"
    groups = []
    with progress(
        "cutting excerpts", sum(map(len, nearest.values())), unit="clips"
    ) as (advance):
        for prototype in shown:
            excerpts = []
            for match in nearest[prototype.index]:
                clip = dataset.source_of(match.split)[match.row]
                excerpts.append(
                    make_excerpt(clip, match, trained.geometry, repeats=repeats)
                )
                advance(1)
            groups.append(
                ExcerptGroup(
                    title=f"Prototype {prototype.index}: "
                    f"{_classes(prototype, trained.classes)}",
                    excerpts=tuple(excerpts),
                )
            )
    return Section(
        name="listen",
        title="Listen to what the prototypes respond to",
        paragraphs=(
            f"For each class, the {PER_CLASS} prototypes that change its logit most, "
            f"at most {MOST_PROTOTYPES} in all, and the training clips that match them "
            f"best: up to {SECONDS:g} seconds around the matching token, which is "
            "framed in the spectrogram.",
            f"The excerpts are audio of {dataset.name} (licence: {dataset.licence}). "
            "This page contains them: pass it on only as that licence allows.",
        ),
        excerpts=tuple(groups),
    )


def most_telling(diagnosis: Diagnostics) -> Sequence[PrototypeDiagnosis]:
    """The prototypes that change the logit of a class most, by falling influence.

    These are up to `PER_CLASS` prototypes with a positive weight for each class, and
    `MOST_PROTOTYPES` of them at most.
    """
    weights = np.asarray([x.weights for x in diagnosis.prototypes])
    changes = weights * np.asarray([[x.deviation] for x in diagnosis.prototypes])
    best = np.argsort(-changes, axis=0, kind="stable")[:PER_CLASS]
    positive = np.take_along_axis(changes, best, 0) > 0
    chosen = set(best[positive].tolist())
    found = [x for x in by_influence(diagnosis) if x.index in chosen]
    return found[:MOST_PROTOTYPES]


def make_excerpt(
    clip: Clip, match: NearestClip, geometry: Geometry, *, repeats: bool = False
) -> Excerpt:
    """Cuts what surrounds a match out of a clip.

    Args:
        clip: The clip.
        match: The place of the match.
        geometry: The geometry of the encoder.
        repeats: Whether the encoder hears short clips repeatedly, as with the length
            policy "repeat". Otherwise it hears silence behind their end.

    Returns:
        The sound as Ogg Vorbis, and its spectrogram with a frame around the token.
    """
    waveform, rate = clip.waveform, clip.sample_rate
    samples = max(len(waveform), round(match.seconds[1] * rate))
    if repeats:
        waveform = np.resize(waveform, samples)
    else:
        waveform = np.pad(waveform, (0, samples - len(waveform)))
    start, end = _around(match.seconds, samples / rate)
    part = waveform[round(start * rate) : round(end * rate)]
    highest = round(2 * geometry.frequency_edges_hz[-1][1])
    target = next((r for r in RATES if r >= highest), highest)
    sound = resample(part, rate, target)
    ogg = io.BytesIO()
    sf.write(ogg, np.clip(sound, -1, 1), target, format="OGG", subtype="VORBIS")
    return Excerpt(
        caption=f"{', '.join(match.classes) or 'no class'}\n{match.clip}, "
        f"{match.seconds[0]:.2f}–{match.seconds[1]:.2f} s, "
        f"{match.hertz[0]:.0f}–{match.hertz[1]:.0f} Hz, "
        f"similarity {match.similarity:.2f}",
        alt=f"Spectrogram of {match.clip} around the matching token",
        webp=_draw(sound, target, (start, end), match, geometry),
        ogg=ogg.getvalue(),
    )


def _around(seconds: tuple[float, float], length: float) -> tuple[float, float]:
    """The start and the end of an excerpt with a match in its middle, if possible."""
    start = max(0.0, sum(seconds) / 2 - SECONDS / 2)
    end = min(length, start + SECONDS)
    return max(0.0, end - SECONDS), end


def _draw(
    sound: Float[np.ndarray, " S"],
    rate: int,
    bounds: tuple[float, float],
    match: NearestClip,
    geometry: Geometry,
) -> bytes:
    # As in `evidence_plot`: the import takes seconds.
    import librosa

    low, high = geometry.frequency_edges_hz[0][0], geometry.frequency_edges_hz[-1][1]

    def mel(hertz: float) -> float:
        return float(librosa.hz_to_mel(hertz, htk=True))

    figure = Figure(figsize=(3.6, 1.7), layout="constrained")
    axis = figure.subplots()
    level = mel_spectrogram(sound, rate, geometry)
    axis.imshow(
        level,
        cmap="gray_r",
        origin="lower",
        aspect="auto",
        vmin=-RANGE_DB,
        vmax=0.0,
        extent=(*bounds, mel(low), mel(high)),
    )
    (start, end), (bottom, top) = match.seconds, map(mel, match.hertz)
    axis.add_patch(
        Rectangle(
            (start, bottom), end - start, top - bottom, fill=False, ec=COLOURS[1], lw=2
        )
    )
    marks = [hertz for hertz in MARKS if low <= hertz <= high]
    axis.set_yticks([mel(hertz) for hertz in marks], [f"{x:,.0f} Hz" for x in marks])
    axis.set_xlim(*bounds)
    axis.set_ylim(mel(low), mel(high))
    axis.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    axis.tick_params(labelsize=7)
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="webp", dpi=130, facecolor="white", pil_kwargs={"quality": 60}
    )
    return buffer.getvalue()


def _classes(prototype: PrototypeDiagnosis, classes: Sequence[str]) -> str:
    """The classes that a prototype speaks for and against most, with their weights."""
    order = np.argsort(prototype.weights, kind="stable")[::-1]
    parts = []
    for name, sign, rows in (("for", 1, order[:2]), ("against", -1, order[-1:])):
        pairs = [(classes[int(c)], prototype.weights[int(c)]) for c in rows]
        if named := [f"{label} {w:+.2f}" for label, w in pairs if sign * w > 0]:
            parts.append(f"{name} {', '.join(named)}")
    return "; ".join(parts)
