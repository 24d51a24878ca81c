"""Options that choose a trained probe of a finished run, and its encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from unmute_jax.cli import program
from unmute_jax.config import Experiment

if TYPE_CHECKING:
    from unmute_jax.encoders import Encoder, Source
    from unmute_jax.results.trained import TrainedProbe

PROBE = flags.DEFINE_string(
    "probe", None, "The name of the probe, where the run trained several."
)
SEED = flags.DEFINE_integer(
    "seed",
    None,
    "The seed of the training. By default the one with the best validation score.",
)
PROTOCOL = flags.DEFINE_string(
    "protocol",
    None,
    "The protocol (fold), where the run has several. By default the one with the best "
    "validation score.",
)
WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "The file of the encoder's weights, where it is no longer where training found it.",
)


def open_trained() -> TrainedProbe:
    """The trained probe that the options choose.

    Raises:
        InputError: The run has no such probe.
    """
    with program.importing():
        from unmute_jax.results.trained import load_trained

    return load_trained(
        program.required(program.WORKDIR),
        probe=PROBE.value,
        seed=SEED.value,
        protocol=PROTOCOL.value,
    )


def open_its_source(trained: TrainedProbe) -> Source:
    """The encoder of the run, or the exported tokens that the run was trained on.

    Raises:
        InputError: The weights are missing, or they are not those of the run.
    """
    with program.importing():
        from unmute_jax.training.setup import open_source

    return open_source(Experiment.from_dict(trained.settings), WEIGHTS.value)


def open_its_encoder(trained: TrainedProbe) -> Encoder:
    """The encoder of the run.

    Raises:
        InputError: The weights are missing or wrong, or the run was trained on
            exported tokens, without an encoder.
    """
    with program.importing():
        from unmute_jax.inference.recordings.predict import encoder_of

    return encoder_of(trained, WEIGHTS.value)
