"""AVES2 with a BEATs, an encoder for animal sounds (arXiv 2508.11845).

Re-implemented from the package avex 1.4.0 (MIT). The published weights are for
non-commercial use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, cast

from unmute_jax.encoders.beats import BeatsEncoder
from unmute_jax.errors import unknown_name
from unmute_jax.weights.aves2 import Aves2BeatsCheckpoints
from unmute_jax.weights.encoder_weights import EncoderWeights, Origin

LICENCE = "CC BY-NC-SA (non-commercial; version not stated)"
CITATION = "Miron et al., What Matters for Bioacoustic Encoding, arXiv 2508.11845"
CODE = "package avex 1.4.0"

ORIGIN = Origin(
    title="AVES2-BEATs",
    licence=LICENCE,
    citation=CITATION,
    code=CODE,
    checkpoints=Aves2BeatsCheckpoints(),
    published={(768, 12): ("base", 12)},
)
# Recipe -> rate of the samples that the filter bank for 16 kHz is given.
RECIPES = {"16khz": 16000, "32khz_as_16khz": 32000}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Aves2BeatsEncoder(BeatsEncoder):
    """BEATs with weights of AVES2.

    Attributes:
        recipe: "16khz"; or "32khz_as_16khz" for the weights of the ablation
            "sed-birdcode": they were trained on samples of 32 kHz that went through the
            filter bank for 16 kHz unchanged, so that a time step takes 80 ms and the
            bands reach up to 16 kHz.
    """

    version: ClassVar[int] = 1

    recipe: str = "16khz"

    @classmethod
    def build(
        cls,
        name: str,
        read: Callable[[], EncoderWeights],
        *,
        recipe: str = "16khz",
        length_policy: str = "pad",
        target_frames: int | None = None,
        mask_padding: bool = False,
        attention_mask: bool = False,
    ) -> Aves2BeatsEncoder:
        """Makes an encoder, see `AnyLengthEncoder.build`.

        Args:
            name: The name in the registry.
            read: Reads the weights; called once the options are valid.
            recipe: "16khz" or "32khz_as_16khz", see above.
            length_policy: The policy for clips of different lengths.
            target_frames: Length of the input in frames.
            mask_padding: Whether time steps without a real frame are masked.
            attention_mask: Whether padding is masked in the attention too.

        Raises:
            InputError: The recipe or the policy is unknown, or `read` fails.
        """
        if recipe not in RECIPES:
            raise unknown_name(f"recipe of encoder {name!r}", recipe, RECIPES)
        made = super().build(
            name,
            read,
            length_policy=length_policy,
            target_frames=target_frames,
            mask_padding=mask_padding,
            attention_mask=attention_mask,
        )
        return dataclasses.replace(cast(Aves2BeatsEncoder, made), recipe=recipe)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, in Hz."""
        return RECIPES[self.recipe]

    @property
    def frequency_edges_hz(self) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of each frequency patch, 16 mel bands each."""
        factor = self.sample_rate / self.filters.sample_rate
        edges = super().frequency_edges_hz
        return tuple((factor * low, factor * high) for low, high in edges)

    def details(self) -> dict[str, Any]:
        """Sizes, heads among them, and front end."""
        return {**super().details(), "sample_rate": self.sample_rate}


build = Aves2BeatsEncoder.build
