"""What the programs share that use the probes of a finished run."""

from __future__ import annotations

from absl import flags

from unmute_jax.cli import program
from unmute_jax.config import Experiment
from unmute_jax.encoders import Encoder, Source
from unmute_jax.errors import InputError
from unmute_jax.results.trained import TrainedProbe, load_trained
from unmute_jax.training.setup import open_source

PROBE = flags.DEFINE_string("probe", None, "Which probe, where the run has several.")
SEED = flags.DEFINE_integer("seed", None, "Which training of it; by default the best.")
PROTOCOL = flags.DEFINE_string(
    "protocol", None, "Which one, where the run went over several; by default the best."
)
WEIGHTS = flags.DEFINE_string(
    "weights", None, "The encoder's weights, where they are not found as in training."
)


def open_trained() -> TrainedProbe:
    """The probe that the options name.

    Raises:
        InputError: There is none.
    """
    return load_trained(
        program.required(program.WORKDIR),
        probe=PROBE.value,
        seed=SEED.value,
        protocol=PROTOCOL.value,
    )


def open_its_source(trained: TrainedProbe) -> Source:
    """The encoder of the run, or the tokens that one has left.

    Raises:
        InputError: Its weights are not there, or others are.
    """
    return open_source(Experiment.from_dict(trained.settings), WEIGHTS.value)


def open_its_encoder(trained: TrainedProbe) -> Encoder:
    """The encoder of the run.

    Raises:
        InputError: As above; or the run had tokens alone.
    """
    source = open_its_source(trained)
    if not isinstance(source, Encoder):
        raise InputError(
            f"the run was trained on {source.name}, the tokens of known clips: there "
            "is no encoder to hear other recordings with"
        )
    return source
