"""A picture of where in a window each class was heard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.windows import Window
from unmute_jax.results.plots import COLOURS

# The spectrogram under the evidence, and how many decibels of it are shown.
FRAME_SECONDS, HOP_SECONDS, RANGE_DB = 0.04, 0.02, 70.0
# From nothing to vermilion: on grey, the colour-blind see it as well.
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
    """A PNG: the spectrogram, and again for each class with its evidence over it.

    All panels share their axes, seconds and Hz (on a mel scale); evidence is drawn in
    the true bounds of the patches. What speaks against a class is left blank.

    Args:
        window: What was heard.
        sample_rate: Of its waveform.
        maps: Evidence by what a panel is called.
        geometry: Of the encoder.
        title: Of the whole.
    """
    figure = Figure(figsize=(9, 1.2 + 1.35 * (1 + len(maps))), layout="constrained")
    axes = figure.subplots(1 + len(maps), 1, sharex=True, sharey=True, squeeze=False)
    seconds, hertz, level = spectrogram(window.waveform, sample_rate)
    edges = frequency_bounds(geometry)
    top = max([np.nanmax(m) for m in maps.values()], default=0.0)
    top = top if top > 0 else 1.0
    drawn: Any = None
    for axis, label in zip(axes[:, 0], ["spectrogram", *maps], strict=True):
        # Pale under the evidence.
        darkest = 0.6 * RANGE_DB if label in maps else 0.0
        axis.pcolormesh(
            window.start + seconds, hertz, level, cmap="gray_r", vmax=darkest
        )
        if label in maps:
            held = np.asarray(maps[label])
            steps = window.start + geometry.seconds_per_step * np.arange(len(held) + 1)
            drawn = axis.pcolormesh(
                steps, edges, held.T, cmap=EVIDENCE, vmin=0, vmax=top
            )
        axis.set_title(label, loc="left", fontsize=9, pad=3)
    low, high = max(edges[0], hertz[0]), edges[-1]
    axes[0, 0].set_yscale("function", functions=(_mel, _hz))
    axes[0, 0].set(ylim=(low, high), xlim=(window.start, window.end))
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000, 16000) if low < hz <= high]
    axes[0, 0].set_yticks(ticks, [f"{hz:,}" for hz in ticks], minor=False)
    axes[-1, 0].set_xlabel("time (s)")
    figure.supylabel("frequency (Hz)", fontsize=10)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes[1:, 0].tolist(), pad=0.01, aspect=30)
        bar.set_label("adds to the logit")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()


def spectrogram(
    waveform: Float[np.ndarray, " S"], sample_rate: int
) -> tuple[
    Float[np.ndarray, "x"], Float[np.ndarray, "y"], Float[np.ndarray, "y-1 x-1"]
]:
    """Bounds in seconds and Hz of the cells of a spectrogram, and their decibels.

    Not the input of any encoder: the same picture for all of them. Levels are relative
    to the loudest cell.
    """
    hop = round(HOP_SECONDS * sample_rate)
    half = round(FRAME_SECONDS * sample_rate / 2)
    around = np.pad(waveform, half)
    frames = np.lib.stride_tricks.sliding_window_view(around, 2 * half)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(2 * half)))).T
    decibels = 10 * np.log10(np.maximum(power, 1e-12))
    level = np.maximum(decibels - decibels.max(), -RANGE_DB)
    seconds = (np.arange(len(frames) + 1) - 0.5) * hop / sample_rate
    hertz = (np.arange(len(power) + 1) - 0.5) * sample_rate / (2 * half)
    return seconds, np.maximum(hertz, 0.0), level


def frequency_bounds(geometry: Geometry) -> Float[np.ndarray, " edges"]:
    """Where one frequency patch gives way to the next, in Hz; overlaps are halved."""
    edges = np.asarray(geometry.frequency_edges_hz)
    inner = (edges[:-1, 1] + edges[1:, 0]) / 2
    return np.concatenate([edges[:1, 0], inner, edges[-1:, 1]])


def _mel(hz: Any) -> Any:
    return 1127.0 * np.log1p(np.maximum(hz, 0.0) / 700.0)


def _hz(mel: Any) -> Any:
    return 700.0 * np.expm1(np.asarray(mel) / 1127.0)
