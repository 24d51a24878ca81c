"""Makes every encoder of this package a module with the interface of HEAR 2021.

hear-validator unmute_jax.hear --model eat:/weights/EAT-base_epoch30_pt.pt
python -m heareval.embeddings.runner unmute_jax.hear \
    --model /weights/EAT-base_epoch30_pt.pt --model-options '{"encoder": "eat"}'

The interface (https://hearbenchmark.com/hear-api.html) wants models and tensors of
PyTorch, which this module and `unmute_jax.xares` alone import: `pip install torch`.
"""

from __future__ import annotations

from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor  # pyright: ignore[reportMissingImports]

from unmute_jax.encoders import list_encoders
from unmute_jax.encoders.embedder import Embedder, Embeddings
from unmute_jax.errors import InputError, unknown_name


class HearModel(torch.nn.Module):  # pyright: ignore[reportUntypedBaseClass]
    """An encoder of this package as the model of a HEAR module.

    Attributes:
        embedder: Computes the embeddings, on the devices of JAX.
        sample_rate: Sample rate of the audio, in Hz.
        scene_embedding_size: Number of features of the embedding of a clip.
        timestamp_embedding_size: Number of features of that of a time step.
    """

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder
        self.sample_rate = embedder.sample_rate
        self.scene_embedding_size = embedder.clip_features
        self.timestamp_embedding_size = embedder.step_features

    def forward(self, audio: Tensor) -> Embeddings:
        """Computes the embeddings of audio `[B, S]` as NumPy arrays."""
        return self.embedder(audio.detach().cpu().float().numpy())


def load_model(
    model_file_path: str = "", encoder: str = "", *, bands: str = "mean", **options: Any
) -> HearModel:
    """Loads an encoder of this package, see `unmute_jax.load_encoder`.

    Args:
        model_file_path: The weights file, or "untrained"; empty for the published
            default. Without `encoder`, it is the name of the encoder, optionally with
            a colon and the weights: "logmel", "eat:/weights/EAT.pt", "eat:untrained".
        encoder: The name of the encoder.
        bands: What becomes of the frequency bands of a time step: "mean", or
            "concatenate".
        **options: Options of the encoder.

    Raises:
        InputError: No encoder is named, or it cannot be loaded.
    """
    if not encoder:
        encoder, _, model_file_path = model_file_path.partition(":")
        if not encoder:
            raise InputError(
                "name an encoder of unmute_jax: as the path of the model (eat:FILE), "
                'or with --model-options \'{"encoder": "eat"}\''
            )
        if encoder not in list_encoders():
            raise unknown_name("encoder", encoder, list_encoders())
    return HearModel(Embedder.load(encoder, model_file_path or None, bands, options))


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Computes the embeddings of all time steps.

    Args:
        audio: Audio in [-1, 1] at the model's sample rate, `[B, S]`.
        model: The model.

    Returns:
        Embeddings `[B, T, timestamp_embedding_size]`, and the centres of the time steps
        in milliseconds, `[B, T]`.
    """
    steps = model(audio).steps
    times = torch.from_numpy(model.embedder.centres_ms(steps.shape[1]))
    return (
        torch.from_numpy(steps).to(audio.device),
        times.expand(len(steps), -1).to(audio.device),
    )


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Computes the embeddings of whole clips.

    Args:
        audio: Audio in [-1, 1] at the model's sample rate, `[B, S]`.
        model: The model.

    Returns:
        Class tokens, or means over all tokens where the encoder has none, `[B,
        scene_embedding_size]`.
    """
    return torch.from_numpy(model(audio).clips).to(audio.device)
