"""Implements encoders that are a vision transformer over patches of a Kaldi log-mel.

EAT, SSLAM, AudioMAE, ASiT and AST share the patches of 16 frames x 16 mel bands and
their order. To add another one, write a subclass of `VitEncoder` with its constants, in
a file of its own, and `build = MyEncoder.build`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.audio.kaldi import KaldiFbank, kaldi_fbank, zero_behind
from unmute_jax.encoders.base import Params
from unmute_jax.encoders.framing import Extent, Framing
from unmute_jax.encoders.spectrogram_encoder import (
    SpectrogramEncoder,
    weights_fields,
)
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.errors import unknown_name
from unmute_jax.tokens import Tokens
from unmute_jax.weights.encoder_weights import EncoderWeights
from unmute_jax.weights.vit import PATCH, Sizes

# (width, depth) -> (name, attention heads).
PUBLISHED_SIZES = {(768, 12): ("base", 12), (1024, 24): ("large", 16)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """How log-mels become the network input.

    Attributes:
        mean: Mean of the log-mels of the data set.
        std: Their standard deviation.
        padding: What lies behind a clip: "zeros" in place of its log-mels, as in all
            fine-tuning, the log-mels of "silence", or the "minimum" of its log-mels.
    """

    mean: float
    std: float
    padding: Literal["zeros", "silence", "minimum"] = "zeros"


class Recipe(NamedTuple):
    """What the reference does with the clips of a data set.

    Attributes:
        target_frames: Length of the input in frames, of which 100 are a second.
        input: Padding and normalisation of the input.
    """

    target_frames: int
    input: Input


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VitEncoder(SpectrogramEncoder):
    """A ViT with one set of weights.

    Attributes:
        filters: Front end of the encoder.
        networks: Classes of networks, by how the stored positions become those of
            another length; the first is that of the authors.
        recipes: Lengths and constants of the reference, by the name of the data set;
            the first is the usual one.
        network: The Flax module.
        input: Padding and normalisation of the spectrogram.
        positions: The way in which stored positions fit another length.
    """

    filters: ClassVar[KaldiFbank]
    networks: ClassVar[Mapping[str, type[VitNetwork]]]
    recipes: ClassVar[Mapping[str, Recipe]]

    network: VitNetwork
    input: Input
    positions: str

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        recipe: str | None = None,
        length_policy: str = "pad",
        target_frames: int | None = None,
        mean: float | None = None,
        std: float | None = None,
        positions: str | None = None,
        mask_padding: bool = False,
    ) -> VitEncoder:
        """Makes an encoder with the weights that `read` returns.

        Args:
            name: The name in the registry.
            read: Reads the weights; called once the options are valid.
            recipe: One of `recipes`: length and constants of the input; None, the
                first.
            length_policy: The policy for clips of other lengths, see `framing`. The
                reference always pads or crops.
            target_frames: Length of the input in frames; None, that of the recipe.
            mean: Mean of the log-mels; None, that of the recipe.
            std: Standard deviation of the log-mels; None, that of the recipe.
            positions: One of `networks`; None, the first.
            mask_padding: Whether time steps without a real frame are masked.

        Raises:
            InputError: The recipe, the policy or `positions` is unknown, the network
                does not take inputs that long, or `read` fails.
        """
        recipe = recipe or next(iter(cls.recipes))
        if recipe not in cls.recipes:
            raise unknown_name(f"recipe of encoder {name!r}", recipe, cls.recipes)
        positions = positions or next(iter(cls.networks))
        if positions not in cls.networks:
            what = f"positions of encoder {name!r}"
            raise unknown_name(what, positions, cls.networks)
        reference = cls.recipes[recipe]
        if target_frames is None:
            target_frames = reference.target_frames
        framing = Framing(
            filters=cls.filters,
            patch_frames=PATCH,
            frames_per_step=PATCH,
            policy=length_policy,
            target_frames=target_frames,
        )
        given = {"mean": mean, "std": std}
        changes = {key: value for key, value in given.items() if value is not None}
        weights = read()
        network = cls.networks[positions](
            sizes=weights.sizes,
            num_heads=weights.num_heads,
            **cls.network_options(weights.sizes),
        )
        return cls(
            name=name,
            **weights_fields(weights),
            framing=dataclasses.replace(framing, frames_per_step=network.stride),
            mask_padding=mask_padding,
            network=network,
            input=dataclasses.replace(reference.input, **changes),
            positions=positions,
        )

    @classmethod
    def network_options(cls, sizes: Sizes) -> dict[str, Any]:
        """Returns what the network needs besides its sizes and heads: here nothing."""
        return {}

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of each frequency patch, 16 mel bands each."""
        return self.filters.patch_edges_hz(PATCH, self.network.stride)

    @property
    def max_steps(self) -> int | None:
        """The most time steps that have positions; None for any number."""
        return self.network.max_steps

    def details(self) -> dict[str, Any]:
        """Sizes, heads and front end."""
        padding = self.input.padding
        return {
            "sizes": dataclasses.asdict(self.network.sizes),
            "num_heads": self.network.num_heads,
            "fbank": dataclasses.asdict(self.filters),
            "input": {
                "target_frames": self.framing.target_frames,
                "mean": self.input.mean,
                "std": self.input.std,
                # Only where it is not the usual one, so that older keys hold.
                **({"padding": padding} if padding != "zeros" else {}),
            },
            "positions": self.positions,
        }

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens of a waveform."""
        identity = super().identity()
        if self.framing.policy == "pad":
            # `input` holds the target already; older keys have nothing else.
            del identity["lengths"]
        return identity

    def spectrogram(
        self, params: Params, waveform: Float[Array, "B S"], lengths: Int[Array, "B"]
    ) -> Float[Array, "B frames mels"]:
        """Computes log-mels, pads them, and normalises: `(x - mean) / (2 std)`."""
        logmel = kaldi_fbank(waveform, self.filters)
        if self.input.padding == "zeros":
            logmel = zero_behind(logmel, self.filters.real_frames(lengths))
        return (logmel - self.input.mean) / (2 * self.input.std)

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
        t, f = self.framing.num_steps(frames), self.network.bands
        outputs, feature = self.run_network(
            params,
            (spectrogram,),
            tokens_per_clip=1 + t * f,
            all_layers=all_layers,
        )
        mask = self.step_mask(extent, (b, t))
        return split_tokens(self.network, outputs, feature, mask)


def split_tokens(
    network: VitNetwork,
    outputs: list[Float[Array, "B N D"]],
    feature: Float[Array, "B N D"],
    mask: Bool[Array, "B T"],
) -> Tokens:
    """Makes `Tokens` of what a network returns.

    Args:
        network: The network, which knows its special tokens.
        outputs: Outputs of all blocks if they are wanted, otherwise an empty list.
        feature: The feature of the network.
        mask: The time steps that count.
    """
    patches, cls = network.split(feature)
    layers = [network.split(x) for x in outputs]
    return Tokens(
        patches=patches,
        cls=cls,
        mask=mask,
        layers=jnp.stack([x for x, _ in layers], 1) if layers else None,
        layer_cls=jnp.stack([x for _, x in layers], 1) if layers else None,
    )
