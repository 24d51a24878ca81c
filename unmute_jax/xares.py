"""Makes every encoder of this package an encoder for X-ARES.

X-ARES wants one Python file for each encoder, with one class whose name ends in
"Encoder":

    from unmute_jax import xares

    class EatEncoder(xares.UnmuteEncoder):
        def __init__(self):
            super().__init__("eat", "/weights/EAT-base_epoch30_pt.pt")

    python -m xares.run eat_encoder.py tasks/esc50_task.py

Encoders of X-ARES (https://github.com/jimbozhang/xares) are modules of PyTorch, which
this module and `unmute_jax.hear` alone import: `pip install torch`.
"""

from __future__ import annotations

from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor  # pyright: ignore[reportMissingImports]

from unmute_jax.encoders import embedder


class UnmuteEncoder(torch.nn.Module):  # pyright: ignore[reportUntypedBaseClass]
    """An encoder of this package for X-ARES.

    Attributes:
        embedder: Computes the embeddings, on the devices of JAX.
        sampling_rate: Sample rate of the audio, in Hz.
        output_dim: Number of features of a time step.
        hop_size_in_ms: Milliseconds from one time step to the next.
    """

    def __init__(
        self,
        name: str,
        source: str | None = None,
        *,
        bands: str = "mean",
        **options: Any,
    ) -> None:
        """Loads the encoder.

        Args:
            name: The name of the encoder, see `unmute_jax.load_encoder`.
            source: The weights file, or "untrained"; None for the published default.
            bands: What becomes of the frequency bands of a time step: "mean", or
                "concatenate".
            **options: Options of the encoder.

        Raises:
            InputError: The encoder cannot be loaded.
        """
        super().__init__()
        self.embedder = embedder.Embedder.load(name, source, bands, options)
        self.sampling_rate = self.embedder.sample_rate
        self.output_dim = self.embedder.step_features
        self.hop_size_in_ms = self.embedder.ms_per_step

    def forward(self, audio: Tensor) -> Tensor:
        """Computes the embeddings of all time steps, `[B, T, output_dim]`.

        Args:
            audio: Audio in [-1, 1] at `sampling_rate`, `[B, S]`.
        """
        steps = self.embedder(audio.detach().cpu().float().numpy()).steps
        return torch.from_numpy(steps).to(audio.device)
