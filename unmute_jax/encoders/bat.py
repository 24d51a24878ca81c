"""BAT, the better audio transformer (arXiv 2602.16305, ICML 2026).

Re-implemented from github.com/houtan-ghaffari/BAT_ICML2026, commit cc92282 (MIT). The
copy of the weights on Hugging Face is used under the same licence by others; the
authors state none for the weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.audio.kaldi import frame_mask
from unmute_jax.audio.mel import MelDecibels, band_decibels
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.bat_network import BatNetwork
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.encoders.spectrogram_encoder import (
    SpectrogramEncoder,
    weights_fields,
)
from unmute_jax.encoders.vit_encoder import split_tokens
from unmute_jax.errors import unknown_name
from unmute_jax.tokens import Tokens
from unmute_jax.weights.bat import PUBLISHED_SIZES, BatCheckpoints
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin
from unmute_jax.weights.vit import BANDS, PATCH

ORIGIN = Origin(
    title="BAT",
    licence="MIT (code; none stated for the weights)",
    citation="Ghaffari et al., BAT: Better Audio Transformer Guided by Convex Gated "
    "Probing, ICML 2026, arXiv 2602.16305",
    code="github.com/houtan-ghaffari/BAT_ICML2026, commit cc92282",
    checkpoints=BatCheckpoints(),
    published=PUBLISHED_SIZES,
)


def _filters(sample_rate: int, fft_size: int, frame_shift: int) -> MelDecibels:
    return MelDecibels(
        num_mels=128,
        high_hz=sample_rate / 2,
        sample_rate=sample_rate,
        fft_size=fft_size,
        frame_shift=frame_shift,
        floor=1e-10,
        range_db=80.0,
    )


class Recipe(NamedTuple):
    """What the reference does with the clips of a data set.

    Attributes:
        filters: The front end.
        target_frames: Length of the input in frames.
        samples: Length to which shorter waveforms are padded with silence; 0 if all
            padding is that of the spectrogram.
    """

    filters: MelDecibels
    target_frames: int
    samples: int


_FILTERS = _filters(16000, 1024, 160)
RECIPES: Mapping[str, Recipe] = {
    "audioset": Recipe(_FILTERS, 1024, 163_680),
    "esc50": Recipe(_FILTERS, 512, 0),
    "speech_commands": Recipe(_FILTERS, 112, 16_000),
    "birdset": Recipe(_filters(32000, 2048, 320), 512, 0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WholeClips(Framing):
    """Inputs that hold all of a longer clip, whose spectrogram is cut later.

    The reference normalises a clip before it cuts its spectrogram.
    """

    def input_samples(self, samples: int) -> int:
        """Length of the input for clips of up to `samples` samples."""
        whole = super().input_samples(samples)
        return max(samples, whole) if self.policy == "pad" else whole


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BatEncoder(SpectrogramEncoder):
    """BAT with one set of weights.

    Every clip is normalised by its own minimum and maximum, so silence that is added to
    a waveform changes all cells of its spectrogram, while rows that are added to the
    spectrogram change none. The recipe says which one the reference does. Inputs of
    more than 10.24 s are encoded in chunks of that length.

    Attributes:
        recipe: Name of the recipe in `RECIPES`.
    """

    version: ClassVar[int] = 1

    network: BatNetwork
    recipe: str

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        recipe: str = "audioset",
        length_policy: str = "pad",
        target_frames: int | None = None,
        mask_padding: bool = False,
    ) -> BatEncoder:
        """Makes an encoder with the weights that `read` returns.

        Args:
            name: The name in the registry.
            read: Reads the weights; called once the options are valid.
            recipe: One of `RECIPES`: front end, length and padding of the input.
            length_policy: The policy for clips of other lengths, see `framing`. The
                reference always pads or cuts.
            target_frames: Length of the input in frames; None, that of the recipe.
            mask_padding: Whether time steps without a real frame are masked.

        Raises:
            InputError: The recipe or the policy is unknown, or `read` fails.
        """
        if recipe not in RECIPES:
            raise unknown_name(f"recipe of encoder {name!r}", recipe, RECIPES)
        reference = RECIPES[recipe]
        framing = (Framing if reference.samples else WholeClips)(
            filters=reference.filters,
            patch_frames=PATCH,
            frames_per_step=PATCH,
            policy=length_policy,
            target_frames=target_frames or reference.target_frames,
        )
        weights = read()
        return cls(
            name=name,
            **weights_fields(weights),
            framing=framing,
            mask_padding=mask_padding,
            network=BatNetwork(sizes=weights.sizes, num_heads=weights.num_heads),
            recipe=recipe,
        )

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of each frequency patch, 16 mel bands each."""
        return self._filters.patch_edges_hz(PATCH)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the tokens of clips of up to `clip_seconds`."""
        steps, bands = super().grid(clip_seconds)
        if self.framing.policy == "pad":
            steps = self.framing.num_steps(self._target)
        return steps, bands

    def details(self) -> dict[str, Any]:
        """Sizes, heads and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "mel": dataclasses.asdict(self._filters),
            "padded_samples": RECIPES[self.recipe].samples,
        }

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes decibels, maps those of each clip to [0, 1], and pads with zeros.

        Both ends of a clip are reflected, wherever in the input it ends.
        """
        options, samples = self._filters, waveform.shape[1]
        end = jnp.maximum(lengths, RECIPES[self.recipe].samples)
        end = jnp.clip(end, 1, samples)[:, None]
        half = options.fft_size // 2
        place = jnp.abs(jnp.arange(-half, samples + half))[None, :]
        # Reflected at the last sample.
        place = jnp.clip(end - 1 - jnp.abs(end - 1 - place), 0, samples - 1)
        padded = jnp.take_along_axis(waveform, place, axis=1)
        frames = options.num_frames(samples)
        decibels = band_decibels(padded, options, frames)
        real = frame_mask(1 + end[:, 0] // options.frame_shift, frames)[:, :, None]
        highest = jnp.where(real, decibels, -jnp.inf).max((1, 2), keepdims=True)
        decibels = jnp.maximum(decibels, highest - options.range_db)
        lowest = jnp.where(real, decibels, jnp.inf).min((1, 2), keepdims=True)
        scaled = (decibels - lowest) / (highest - lowest + 1e-8)
        scaled = jnp.where(real, scaled, 0.0)
        return scaled[:, : self._target] if self.framing.policy == "pad" else scaled

    def tokens(
        self,
        params: Params,
        spectrogram: Float[Array, "B frames mels"],
        extent: Extent | None,
        *,
        all_layers: bool,
    ) -> Tokens:
        """The feature of the network and, on request, the output of every block."""
        b, frames, _ = spectrogram.shape
        t = frames // PATCH
        outputs, feature = self.run_network(
            params,
            (spectrogram,),
            tokens_per_clip=1 + t * BANDS,
            all_layers=all_layers,
        )
        mask = self.step_mask(extent, (b, t))
        return split_tokens(self.network, outputs, feature, mask)

    @property
    def _filters(self) -> MelDecibels:
        return cast(MelDecibels, self.framing.filters)

    @property
    def _target(self) -> int:
        return cast(int, self.framing.target_frames)


build = BatEncoder.build
