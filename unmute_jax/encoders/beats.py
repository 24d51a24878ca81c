"""BEATs, audio pre-training with acoustic tokenizers (arXiv 2212.09058, ICML 2023).

Re-implemented from github.com/microsoft/unilm, folder beats, commit 158b811 (MIT); the
published weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.encoders.base import Encoder, Geometry, Params, mean_token
from unmute_jax.encoders.beats_network import BeatsNetwork
from unmute_jax.errors import InputError
from unmute_jax.frontends import KaldiFbank, kaldi_fbank, real_frames, silence_behind
from unmute_jax.tokens import Arr, Tokens
from unmute_jax.weights import beats as checkpoints
from unmute_jax.weights.beats import BANDS, PATCH, Sizes
from unmute_jax.weights.beats_params import to_params, untrained
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.published import find_weights

FBANK = KaldiFbank(window="povey")
# Waveforms as 16-bit numbers; then (log-mel - mean) / (2 std), for all data sets.
SCALE, MEAN, STD = 2.0**15, 15.41663, 6.55582
HEAD_WIDTH = 64
LICENCE = "MIT"

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BeatsEncoder(Encoder):
    """BEATs with one set of weights; takes clips of any length.

    What lies behind a clip is silence, as the reference sees padding without a mask.

    Attributes:
        network: The flax module.
    """

    version: ClassVar[int] = 1
    sample_rate: ClassVar[int] = FBANK.sample_rate
    min_samples: ClassVar[int] = FBANK.frame_length

    network: BeatsNetwork

    @property
    def num_features(self) -> int:
        """D."""
        return self.network.sizes.width

    @property
    def geometry(self) -> Geometry:
        """160 ms by 16 mel bands."""
        return Geometry(
            seconds_per_step=PATCH * FBANK.frame_shift / FBANK.sample_rate,
            frequency_edges_hz=tuple(
                FBANK.band_edges_hz(PATCH * f, PATCH * (f + 1)) for f in range(BANDS)
            ),
        )

    @property
    def frames_per_step(self) -> int:
        """16."""
        return PATCH

    def details(self) -> dict[str, Any]:
        """Sizes, heads among them, and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.sizes.num_heads,
            "fbank": dataclasses.asdict(FBANK),
            "input": {"scale": SCALE, "mean": MEAN, "std": STD},
        }

    def input_samples(self, clip_seconds: float) -> int:
        """The samples of the clip."""
        return round(clip_seconds * FBANK.sample_rate)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """Every whole patch that fits into the clip.

        Raises:
            InputError: Not even one does.
        """
        frames = FBANK.num_frames(self.input_samples(clip_seconds))
        if frames < PATCH:
            shortest = FBANK.num_samples(PATCH) / FBANK.sample_rate
            raise InputError(
                f"{self.name} needs clips of at least {shortest} s, a patch of {PATCH} "
                f"frames; got {clip_seconds} s"
            )
        return frames // PATCH, BANDS

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Complete frames of the clip."""
        return real_frames(lengths, FBANK)

    def spectrogram(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Normalised log-mels of the clip and of the silence behind it."""
        del params
        logmel = kaldi_fbank(SCALE * silence_behind(waveform, lengths), FBANK)
        return (logmel - MEAN) / (2 * STD)

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Arr, "B frames mels"],
        real: Int[Arr, "B"] | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The output of the last block, and of all of them on request."""
        spectrogram = jnp.asarray(spectrogram)
        b, frames, mels = spectrogram.shape
        if mels != PATCH * BANDS or frames < PATCH:
            raise InputError(
                f"{self.name} takes at least {PATCH} frames of {PATCH * BANDS} mel "
                f"bands; got {frames} of {mels}"
            )
        outputs = cast(list[Array], self.network.apply({"params": params}, spectrogram))
        maps = [x.reshape(b, frames // PATCH, BANDS, -1) for x in outputs]
        mask = self.step_mask(real, (b, frames // PATCH))
        means = [mean_token(x, mask) for x in maps]
        return Tokens(
            patches=maps[-1],
            cls=means[-1],
            mask=mask,
            layers=jnp.stack(maps, axis=1) if all_layers else None,
            layer_cls=jnp.stack(means, axis=1) if all_layers else None,
        )

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """`head(mean token)` of fine-tuned weights."""
        if self.network.sizes.classes is None:
            return super().logits(tokens)
        with jax.default_matmul_precision("highest"):
            variables = {"params": self.params}
            logits = self.network.apply(variables, tokens.cls, method="classify")
        return cast(Array, logits)


def load(
    name: str,
    source: str | os.PathLike[str] | None,
    untrained_seed: int | None,
    *,
    mask_padding: bool = False,
    num_heads: int | None = None,
    width: int | None = None,
    depth: int | None = None,
) -> BeatsEncoder:
    """BEATs with the weights of a file, the published ones, or untrained.

    Args:
        name: As in the registry.
        source: The file; None, the published one.
        untrained_seed: Makes random weights instead.
        mask_padding: Whether time steps without a real frame are masked.
        num_heads: Of untrained weights, by default width / 64; a file tells its own.
        width: D of untrained weights, 768 by default.
        depth: Blocks of untrained weights, 12 by default.

    Raises:
        InputError: A file that does not fit, or sizes that do not fit each other.
    """
    if untrained_seed is None:
        if width or depth:
            raise InputError("width and depth are for untrained weights only")
        file = read_weights(find_weights(name, source))
        origin, identity = str(file.path), f"sha256:{file.sha256}"
        tensors = checkpoints.canonical(file.content, origin)
        sizes = checkpoints.read_sizes(tensors, file.content, origin)
        if num_heads not in (None, sizes.num_heads):
            raise InputError(f"{origin} has {sizes.num_heads} heads, not {num_heads}")
        training = "pre-trained" if sizes.classes is None else "fine-tuned"
        description = f"{_title(sizes)}, {training}, {file.path.name}"
        _log.warning("%s; licence of the weights: %s", description, LICENCE)
    else:
        width = width or 768
        num_heads = num_heads or width // HEAD_WIDTH
        sizes = checkpoints.base_sizes(width, depth or 12, num_heads)
        tensors = untrained(sizes, untrained_seed)
        origin = identity = f"untrained (seed {untrained_seed})"
        description = f"{_title(sizes)}, {origin}"
    return BeatsEncoder(
        name=name,
        description=description,
        licence=LICENCE,
        weights=identity,
        params=jax.device_put(to_params(tensors, sizes, origin)),
        mask_padding=mask_padding,
        network=BeatsNetwork(sizes=sizes),
    )


def _title(sizes: Sizes) -> str:
    is_base = (sizes.width, sizes.depth) == (768, 12)
    return f"BEATs-{'base' if is_base else f'{sizes.width}x{sizes.depth}'}"
