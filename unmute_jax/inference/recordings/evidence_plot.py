"""Draws the spectrogram of a window with the evidence for each class on top of it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.windows import Window
from unmute_jax.results.looks import COLOURS, shorten

# The spectrogram below the evidence: its frames, its mel bands, and how many decibels
# below the loudest cell are shown.
FRAME_SECONDS, HOP_SECONDS, BANDS, RANGE_DB = 0.04, 0.02, 128, 70.0
# From transparent to vermilion, which colour-blind readers can tell from grey.
EVIDENCE = LinearSegmentedColormap.from_list(
    "evidence", [(*to_rgb(COLOURS[1]), 0.0), (*to_rgb(COLOURS[1]), 0.9)]
)


def evidence_png(
    window: Window,
    sample_rate: int,
    maps: Mapping[str, Float[np.ndarray, "T F"]],
    geometry: Geometry,
    title: str,
) -> bytes:
    """Draws the spectrogram of a window, and again for each class with its evidence.

    All panels share the time axis and librosa's mel axis. Evidence is drawn within the
    true edges of the patches, and evidence against a class is left blank.

    Args:
        window: The window.
        sample_rate: The sample rate of its waveform in Hz.
        maps: The evidence of each class by the title of its panel.
        geometry: The geometry of the encoder.
        title: The title of the picture.

    Returns:
        The content of a PNG file.
    """
    # Importing librosa takes seconds, which only commands with pictures should spend.
    import librosa.display

    figure = Figure(figsize=(9, 1.2 + 1.35 * (1 + len(maps))), layout="constrained")
    axes = figure.subplots(1 + len(maps), 1, sharex=True, sharey=True, squeeze=False)
    level = mel_spectrogram(window.waveform, sample_rate, geometry)
    centres = window.start + HOP_SECONDS * np.arange(level.shape[1])
    edges = frequency_bounds(geometry)
    top = max([np.nanmax(m) for m in maps.values()], default=0.0)
    top = top if top > 0 else 1.0
    overlay: Any = None
    for axis, label in zip(axes[:, 0], ["spectrogram", *maps], strict=True):
        librosa.display.specshow(
            level,
            x_coords=centres,
            x_axis="time",
            y_axis="mel",
            fmin=edges[0],
            fmax=edges[-1],
            # The scale of the encoders' filter banks, and of their patches.
            htk=True,
            cmap="gray_r",
            vmin=-RANGE_DB,
            # The spectrogram is pale below evidence.
            vmax=0.6 * RANGE_DB if label in maps else 0.0,
            ax=axis,
        )
        if label in maps:
            evidence = np.asarray(maps[label])
            times = geometry.seconds_per_step * np.arange(len(evidence) + 1)
            overlay = axis.pcolormesh(
                window.start + times, edges, evidence.T, cmap=EVIDENCE, vmin=0, vmax=top
            )
        axis.set_title(shorten(label, 100), loc="left", fontsize=9, pad=3)
        axis.set(xlabel="", ylabel="")
        axis.label_outer()
    axes[-1, 0].set(
        ylim=(edges[0], edges[-1]),
        xlim=(window.start, window.end),
        xlabel="time (s)",
    )
    # librosa's formatter has two digits, which are too few in a long recording.
    axes[-1, 0].xaxis.set_major_formatter(lambda seconds, _: f"{seconds:.10g}")
    figure.supylabel("frequency (Hz, mel scale)", fontsize=10)
    if overlay is not None:
        bar = figure.colorbar(overlay, ax=axes[1:, 0].tolist(), pad=0.01, aspect=30)
        bar.set_label("contribution to the logit")
    figure.suptitle(shorten(title, 200), fontsize=10, x=0.01, ha="left")
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()


def mel_spectrogram(
    waveform: Float[np.ndarray, " S"], sample_rate: int, geometry: Geometry
) -> Float[np.ndarray, "M frames"]:
    """Computes the mel spectrogram of a picture, in decibels below its loudest cell.

    It covers the frequencies of the encoder, but it is not the encoder's input: its
    frames and bands are the same for all encoders.
    """
    import librosa

    low, high = geometry.frequency_edges_hz[0][0], geometry.frequency_edges_hz[-1][1]
    bands = librosa.mel_frequencies(BANDS + 2, fmin=low, fmax=high, htk=True)
    frame, hop = (round(s * sample_rate) for s in (FRAME_SECONDS, HOP_SECONDS))
    # Padding gives the narrowest band a bin of its own.
    longest = max(frame, sample_rate / np.diff(bands).min())
    size = 2 ** math.ceil(math.log2(longest))
    power = librosa.feature.melspectrogram(
        y=librosa.util.fix_length(waveform, size=max(size, len(waveform))),
        sr=sample_rate,
        n_fft=size,
        win_length=frame,
        hop_length=hop,
        n_mels=BANDS,
        fmin=low,
        fmax=high,
        htk=True,
    )
    power = power[:, : 1 + len(waveform) // hop]
    return librosa.power_to_db(power, ref=np.max, amin=1e-12, top_db=RANGE_DB)


def frequency_bounds(geometry: Geometry) -> Float[np.ndarray, " edges"]:
    """The frequencies in Hz that separate the patches; an overlap is halved."""
    edges = np.asarray(geometry.frequency_edges_hz)
    inner = (edges[:-1, 1] + edges[1:, 0]) / 2
    return np.concatenate([edges[:1, 0], inner, edges[-1:, 1]])
