"""A trained probe and its encoder as one: windows in, scores and evidence out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from unmute_jax import distributed
from unmute_jax.encoders import Encoder
from unmute_jax.inference import explain
from unmute_jax.inference.recordings.windows import Cut, Window, cut_of, padded
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.embed import default_batch_size
from unmute_jax.store.key import as_json
from unmute_jax.tokens import Tokens

# Share of the positive evidence that the band of an event holds.
HELD = 0.5


class Answer(NamedTuple):
    """What was heard in some windows.

    Attributes:
        scores: `[B, C]`, in [0, 1].
        bands: `[B, C, 2]`, first and last frequency patch with the evidence; None
            where the probe cannot tell.
        finite: `[B]`, whether the tokens of the window are numbers.
    """

    scores: Float[np.ndarray, "B C"]
    bands: Int[np.ndarray, "B C 2"] | None
    finite: Bool[np.ndarray, "B"]


class Listener:
    """Hears windows in batches of one size, on all devices.

    Attributes:
        trained: The probe.
        encoder: The one it was trained with.
        batch_size: Windows heard at a time.
    """

    def __init__(
        self, trained: TrainedProbe, encoder: Encoder, batch_size: int | None = None
    ):
        """Joins a probe and an encoder.

        Raises:
            InputError: The probe was trained on tokens of another encoder.
        """
        trained.check_encoder(encoder)
        self.trained, self.encoder = trained, encoder
        self._mesh = distributed.make_mesh()
        size = batch_size or default_batch_size()
        self.batch_size = -(-size // self._mesh.size) * self._mesh.size
        self._clip_input = encoder.clip_input(trained.clip_seconds)
        self._params = distributed.replicate(trained.params, self._mesh)
        wants_layers = trained.probe.input_kind == "layers"
        self._encode = encoder.on(self._mesh, all_layers=wants_layers)
        # Each device goes over its own windows, one at a time.
        self._answer = distributed.pmapped(
            self._answered, self._mesh, in_axes=(None, 0, 0), out_axes=0
        )
        self._evidence = distributed.pmapped(
            self._evident, self._mesh, in_axes=(None, 0), out_axes=0
        )

    def cut(self, overlap: float) -> Cut:
        """Windows as long as the clips that the probe was trained on.

        Args:
            overlap: Share of a window that the next one covers again.
        """
        return cut_of(self.encoder, self.trained.clip_seconds, overlap)

    def identity(self, cut: Cut) -> dict[str, Any]:
        """Everything that changes the scores of a recording, as plain JSON."""
        trained = self.trained
        arrays = trained.params, trained.normaliser and asdict(trained.normaliser)
        digest = hashlib.sha256()
        for path, leaf in jax.tree.leaves_with_path(arrays):
            digest.update(jax.tree_util.keystr(path).encode())
            digest.update(np.asarray(leaf).tobytes())
        return {
            "probe": trained.name,
            "options": as_json(trained.options),
            "parameters": f"sha256:{digest.hexdigest()}",
            "classes": list(trained.classes),
            "encoder": trained.encoder,
            "tokens": trained.dtype,
            "window_seconds": cut.seconds(cut.samples),
            "hop_seconds": cut.seconds(cut.hop),
        }

    def hear(self, windows: Sequence[Window]) -> Answer:
        """Scores of up to `batch_size` windows, and where the evidence lies."""
        logits, profile, finite = jax.device_get(
            self._answer(self._params, *self._tokens(windows))
        )
        b = len(windows)
        return Answer(
            scores=scores_of(logits[:b], self.trained.task),
            bands=None if profile is None else narrowest_bands(profile[:b]),
            finite=finite[:b],
        )

    def evidence(self, windows: Sequence[Window]) -> Float[np.ndarray, "B C T F"]:
        """Where in them the classes were heard: what each cell adds to the logits.

        Raises:
            InputError: The probe has none.
        """
        explain.check_prototypical(self.trained.probe)
        _, inputs = self._tokens(windows)
        return np.asarray(self._evidence(self._params, inputs))[: len(windows)]

    def _tokens(self, windows: Sequence[Window]) -> tuple[Tokens, Any]:
        """Tokens of the encoder, and what the probe reads."""
        tokens = self._encode(*padded(windows, self.batch_size, self._clip_input))
        return tokens, self.trained.prepare(tokens)

    def _answered(
        self, params: Any, tokens: Tokens, inputs: Any
    ) -> tuple[Array, Array | None, Array]:
        logits = self.trained.apply(params, inputs)
        profile = None
        if explain.is_prototypical(self.trained.probe):
            maps = self._evident(params, inputs)
            profile = jnp.nansum(jax.nn.relu(maps), axis=2)
        return logits, profile, jnp.isfinite(tokens.patches).all((1, 2, 3))

    def _evident(self, params: Any, inputs: Any) -> Array:
        maps = explain.share_maps(self.trained.probe, {"params": params}, inputs)
        # `proto` may have made the map larger; back to a value per token.
        b, c = maps.shape[:2]
        t, f = self.encoder.grid(self.trained.clip_seconds)
        return maps.reshape(b, c, t, maps.shape[2] // t, f, -1).sum((3, 5))


def scores_of(logits: Float[np.ndarray, "B C"], task: str) -> Float[np.ndarray, "B C"]:
    """Sigmoid where several classes may be heard at a time, softmax where one is."""
    scores = jax.nn.sigmoid if task == "multi-label" else jax.nn.softmax
    return np.asarray(scores(logits))


def narrowest_bands(profile: Float[np.ndarray, "B C F"]) -> Int[np.ndarray, "B C 2"]:
    """First and last of the fewest neighbouring patches with `HELD` of the evidence.

    Args:
        profile: Evidence per class and frequency patch, not negative.

    Returns:
        Of equally narrow bands the one with most evidence; all where there is none.
    """
    f = profile.shape[2]
    sums = np.pad(profile.astype(np.float64).cumsum(2), ((0, 0), (0, 0), (1, 0)))
    total = sums[:, :, -1]
    bands = np.zeros((*total.shape, 2), np.int64)
    bands[..., 1] = f - 1
    for width in range(f - 1, 0, -1):
        held = sums[:, :, width:] - sums[:, :, :-width]
        best = held.argmax(2)
        enough = (total > 0) & (held.max(2) >= HELD * total)
        bands[enough] = np.stack([best, best + width - 1], axis=2)[enough]
    return bands
