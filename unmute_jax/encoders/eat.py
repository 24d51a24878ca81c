"""EAT, the Efficient Audio Transformer (arXiv 2401.03497, IJCAI 2024).

Re-implemented from github.com/cwx-worst-one/EAT, commit 06c1c34 (MIT); the published
weights are under the same licence.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, ClassVar, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unmute_jax.encoders import vit
from unmute_jax.encoders.base import Encoder, Geometry, Params
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.frontends import KaldiFbank, fit_frames, kaldi_fbank, real_frames
from unmute_jax.tokens import Arr, Tokens
from unmute_jax.weights import eat as weights_eat
from unmute_jax.weights.eat import BANDS, PATCH, Sizes
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.published import find_weights

FBANK = KaldiFbank()
EPSILON = 1e-6
HEAD_WIDTH = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """How a log-mel becomes the network input: `(x - mean) / (2 std)`.

    Attributes:
        target_frames: Frames after cropping or padding with raw zeros.
        mean: Of the log-mels of the data set.
        std: Of the same.
    """

    target_frames: int
    mean: float
    std: float


RECIPES = {
    "audioset": Input(target_frames=1024, mean=-4.268, std=4.569),
    "esc50": Input(target_frames=512, mean=-6.627, std=5.359),
    "speech_commands": Input(target_frames=128, mean=-6.846, std=5.565),
}


class EatNetwork(nn.Module):
    """The encoder: a LayerNorm in front of post-norm blocks, none behind them.

    Attributes:
        sizes: Of the tensors.
        num_heads: Attention heads.
        epsilon: Of every LayerNorm.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON

    def setup(self) -> None:
        """Parameters named as `weights.eat.to_params` names them."""
        sizes = self.sizes
        shape = (sizes.positions, sizes.width)
        self.positions = self.param("positions", nn.initializers.zeros, shape)
        self.cls = self.param("cls", nn.initializers.zeros, shape[1:])
        self.patch_embed = nn.Dense(sizes.width)
        self.pre_norm = self._norm()
        self.blocks = [
            vit.PostNormBlock(self.num_heads, sizes.hidden, self.epsilon)
            for _ in range(sizes.depth)
        ]
        if sizes.classes is not None:
            self.fc_norm = self._norm()
            self.head = nn.Dense(sizes.classes)

    def _norm(self) -> nn.LayerNorm:
        return vit.layer_norm(self.epsilon)

    def embed(self, spectrogram: Float[Array, "B frames 128"]) -> Float[Array, "B N D"]:
        """The sequence in front of `pre_norm`: cls, then the tokens, time-major.

        The class token has no position of its own.
        """
        x = self.patch_embed(vit.patchify(spectrogram, PATCH))
        b, t, f, d = x.shape
        x = x.reshape(b, t * f, d) + self.positions[None, : t * f]
        cls = jnp.broadcast_to(self.cls, (b, 1, d))
        return jnp.concatenate([cls, x], axis=1)

    def __call__(
        self, spectrogram: Float[Array, "B frames 128"]
    ) -> list[Float[Array, "B N D"]]:
        """The output of every block, cls first; the last one is the feature."""
        x = self.pre_norm(self.embed(spectrogram))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def classify(self, cls: Float[Array, "B D"]) -> Float[Array, "B C"]:
        """The head of a fine-tuned file; scores before the sigmoid."""
        return self.head(self.fc_norm(cls))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EatEncoder(Encoder):
    """EAT, or another encoder with its network, with one set of weights.

    Attributes:
        network: The flax module.
        input: Length and normalisation of the spectrogram.
    """

    version: ClassVar[int] = 1
    sample_rate: ClassVar[int] = FBANK.sample_rate
    min_samples: ClassVar[int] = FBANK.frame_length

    network: EatNetwork
    input: Input

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
        """Sizes, heads and front end."""
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "fbank": dataclasses.asdict(FBANK),
            "input": dataclasses.asdict(self.input),
        }

    def input_samples(self, clip_seconds: float) -> int:
        """What fills `target_frames`, however long the clips are."""
        del clip_seconds
        return FBANK.num_samples(self.input.target_frames)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """Likewise the same for all clips."""
        del clip_seconds
        return self.input.target_frames // PATCH, BANDS

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Complete frames of the clip."""
        return real_frames(lengths, FBANK)

    def spectrogram(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Float[Array, "B frames 128"]:
        """Log-mels, cropped or padded with zeros, then normalised."""
        del params
        target, mean, std = dataclasses.astuple(self.input)
        # What lies behind the last frame would only be cropped later.
        logmel = kaldi_fbank(waveform[:, : FBANK.num_samples(target)], FBANK)
        fitted = fit_frames(logmel, self.real_frames(lengths), target)
        return (fitted - mean) / (2 * std)

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
        t, rows = frames // PATCH, self.network.sizes.positions
        if mels != PATCH * BANDS or not 0 < t <= rows // BANDS:
            raise InputError(
                f"{self.name} takes {PATCH} to {rows // BANDS * PATCH} frames of "
                f"{PATCH * BANDS} mel bands; got {frames} of {mels}"
            )
        outputs = cast(list[Array], self.network.apply({"params": params}, spectrogram))
        maps = [x[:, 1:].reshape(b, t, BANDS, -1) for x in outputs]
        return Tokens(
            patches=maps[-1],
            cls=outputs[-1][:, 0],
            mask=self.step_mask(real, (b, t)),
            layers=jnp.stack(maps, axis=1) if all_layers else None,
            layer_cls=jnp.stack([x[:, 0] for x in outputs], 1) if all_layers else None,
        )

    def logits(self, tokens: Tokens) -> Float[Array, "B C"]:
        """`head(fc_norm(cls))` of fine-tuned weights."""
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
    recipe: str = "audioset",
    target_frames: int | None = None,
    mean: float | None = None,
    std: float | None = None,
    mask_padding: bool = False,
    num_heads: int | None = None,
    width: int | None = None,
    depth: int | None = None,
) -> EatEncoder:
    """EAT with the weights of a file, the published ones, or untrained.

    Args:
        name: As in the registry.
        source: The file; None, the published one.
        untrained_seed: Makes random weights instead.
        recipe: "audioset" (10 s), "esc50" (5 s) or "speech_commands" (1 s): the
            lengths and constants of the reference.
        target_frames: Overrides those of the recipe; 100 frames are a second.
        mean: Likewise.
        std: Likewise.
        mask_padding: Whether time steps without a real frame are masked.
        num_heads: Where the file does not say; by default width / 64.
        width: D of untrained weights, 768 by default.
        depth: Blocks of untrained weights, 12 by default.

    Raises:
        InputError: An unknown recipe, or sizes that do not fit each other.
    """
    if recipe not in RECIPES:
        raise unknown_name(f"recipe of encoder {name!r}", recipe, RECIPES)
    given = {"target_frames": target_frames, "mean": mean, "std": std}
    overrides = {key: value for key, value in given.items() if value is not None}
    wanted = dataclasses.replace(RECIPES[recipe], **overrides)
    if wanted.target_frames < PATCH:
        raise InputError(
            f"target_frames must be at least {PATCH}, not {wanted.target_frames}"
        )
    if untrained_seed is None:
        if width or depth:
            raise InputError("width and depth are for untrained weights only")
        made = _read(name, source, num_heads)
    else:
        made = _untrained(width or 768, depth or 12, num_heads, untrained_seed)
    return EatEncoder(
        name=name,
        description=f"{_size_name(name, made.network.sizes)}, {made.origin}",
        licence="MIT",
        weights=made.identity,
        params=jax.device_put(made.params),
        mask_padding=mask_padding,
        network=made.network,
        input=wanted,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Weights:
    """A network and parameters that fit it; where they are from."""

    network: EatNetwork
    params: Params
    origin: str
    identity: str


def _read(
    name: str, source: str | os.PathLike[str] | None, num_heads: int | None
) -> _Weights:
    file = read_weights(find_weights(name, source))
    tensors = weights_eat.canonical(file.content, str(file.path))
    sizes = weights_eat.read_sizes(tensors, str(file.path))
    num_heads = num_heads or weights_eat.read_num_heads(file.content)
    training = "pre-trained" if sizes.classes is None else "fine-tuned"
    return _Weights(
        network=_network(sizes, num_heads),
        params=weights_eat.to_params(tensors, sizes, str(file.path)),
        origin=f"{training}, {file.path.name}",
        identity=f"sha256:{file.sha256}",
    )


def _untrained(width: int, depth: int, num_heads: int | None, seed: int) -> _Weights:
    sizes = weights_eat.base_sizes(width=width, depth=depth)
    tensors = weights_eat.untrained(sizes, seed)
    origin = f"untrained (seed {seed})"
    return _Weights(
        network=_network(sizes, num_heads),
        params=weights_eat.to_params(tensors, sizes, origin),
        origin=origin,
        identity=origin,
    )


def _network(sizes: Sizes, num_heads: int | None) -> EatNetwork:
    heads = num_heads or sizes.width // HEAD_WIDTH
    if heads < 1 or sizes.width % heads:
        raise InputError(
            f"width {sizes.width} cannot be split into {heads} heads: give num_heads"
        )
    return EatNetwork(sizes=sizes, num_heads=heads)


def _size_name(name: str, sizes: Sizes) -> str:
    """EAT-base, EAT-large, or width x depth where there is no name."""
    known = {(768, 12): "base", (1024, 24): "large"}
    default = f"{sizes.width}x{sizes.depth}"
    return (
        f"{name.rstrip('+').upper()}-{known.get((sizes.width, sizes.depth), default)}"
    )
