"""The settings of an experiment: frozen records, built from a config file.

A config file (`configs/*.py`) returns `default_config()` with a few values changed; the
command line changes more; `Experiment.from_dict` then turns the whole at once into
records that cannot change and refuses unknown keys. A value of None means: the default
of the encoder, the probe or the data set that the option belongs to.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict, config_dict

from unmute_jax.errors import InputError, unknown_name

# What may differ where a run goes on, on another machine.
WHERE = ("devices", "data_dir")

# Settings that did not exist when the first runs were made, by section. As long as they
# are None they do not enter the digest, so those runs keep their names.
ADDED_LATER = {"loss": ("differentiate_weights",)}


@dataclass(frozen=True, kw_only=True)
class Audio:
    """How recordings are read."""

    # What an unreadable file does: "fail" stops, "skip" leaves it out and counts it.
    on_bad: str = "fail"


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Options of the data sets; each takes those it knows."""

    # Which fold is the test split, where there are folds; 0 runs all of them.
    test_fold: int | None = None
    # Sizes of the mixture set.
    train_clips: int | None = None
    validation_clips: int | None = None
    test_clips: int | None = None
    # Of what a data set draws: mixtures, few shots.
    seed: int | None = None
    # BirdSet: clips per class, which recordings are good for them, mixed copies.
    shots: int | None = None
    strict: bool | None = None
    fill_up: bool | None = None
    mixup: int | None = None


@dataclass(frozen=True, kw_only=True)
class Frontend:
    """Options of an encoder's front end."""

    # Named constants: "audioset" as in pre-training, "esc50" as in its fine-tuning, ...
    recipe: str | None = None
    # What becomes of clips of different lengths: "pad", "repeat", "crop" or "window".
    length_policy: str | None = None
    target_frames: int | None = None
    mean: float | None = None
    std: float | None = None
    # ASiT: how its positions fit other lengths: "bicubic", or "swapped" or "ast" as
    # in code of others.
    positions: str | None = None
    # Whether padded time steps are masked; the paper lets them take part.
    mask_padding: bool | None = None
    # BEATs and Dasheng: whether it is not attended to either; their code can do that.
    attention_mask: bool | None = None


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """What a weight file cannot tell, and sizes of untrained encoders."""

    # Of the products in the network: "float32", or "bfloat16", faster and less exact.
    precision: str | None = None
    num_heads: int | None = None
    width: int | None = None
    depth: int | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of the probes; each takes those it knows."""

    # proto, protofloat, protobin: the number of prototypes over that of classes.
    prototypes_per_class: int | None = None
    # linear, mlp: "cls" or "mean"; linearc: its two vectors.
    input: str | None = None
    # linear: a LayerNorm before the affine map.
    normalise: bool | None = None
    # stats: keep the frequency bands apart.
    per_band: bool | None = None
    # mlp: hidden layers and their width; conv: width of the convolution.
    hidden_layers: int | None = None
    width: int | None = None
    # mlp, abmilp.
    activation: str | None = None
    # knn.
    neighbours: int | None = None
    temperature: float | None = None
    # conv.
    kernel_size: int | None = None
    pooling: str | None = None
    # linpre: which reading of the paper.
    reading: str | None = None
    # mhca, esimpool; mhca, ep.
    num_heads: int | None = None
    num_queries: int | None = None
    # ep: features over value channels.
    reduction: int | None = None
    # simpool: where the query comes from.
    query: str | None = None
    # abmilp.
    depth: int | None = None
    self_attention: str | None = None
    # proto, protofloat.
    classifier: str | None = None
    focal: bool | None = None
    top_k: int | None = None
    # proto.
    non_negative: bool | None = None
    upsample: bool | None = None
    penalty_weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW with a cosine schedule (paper section 5), by default to zero."""

    # Trained side by side; validation chooses, so that no table compares rates.
    learning_rates: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    weight_decay: float = 1e-4
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    # Shares of all steps: a linear rise at the beginning, then a stretch at the peak.
    warmup: float = 0.0
    hold: float = 0.0
    # The last rate. Where it cuts, the cosine still falls to zero but nothing is lower.
    floor: float = 0.0
    floor_cuts: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The search="sweep" (paper section 5: 50 trials, half of each kind)."""

    # Trials of a Sobol sequence, then trials that TPE proposes, some at a time.
    sobol: int = 25
    tpe: int = 25
    tpe_at_once: int = 5
    # Ranges; None: those of the paper for the probe.
    lowest_rate: float | None = None
    highest_rate: float | None = None
    lowest_decay: float = 1e-5
    highest_decay: float = 5e-4
    # Successive halving: after 1/9 and 1/3 of the epochs one trial in 3 goes on. The
    # paper's numbers are not known; 0 halvings train every trial to its end.
    halvings: int = 2
    reduction: int = 3
    # How many of the best are trained with all seeds, for validation to choose from.
    top: int = 1

    @property
    def widest(self) -> int:
        """The most trials that are ever proposed together."""
        return max(self.sobol, min(self.tpe, self.tpe_at_once))


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The training loss; the paper's constants are not known (paper section 4)."""

    # "asymmetric", "bce" or "cross_entropy".
    name: str = "asymmetric"
    gamma_negative: float | None = None
    gamma_positive: float | None = None
    clip: float | None = None
    # asymmetric: whether the gradient includes the derivative of the focusing factor.
    differentiate_weights: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """How tokens are computed and kept."""

    # "bfloat16"; "float32"; "int8", with a scale per token: half the bytes.
    dtype: str = "bfloat16"
    # Clips per step of the encoder; None: few on a CPU, many on an accelerator.
    batch_size: int | None = None
    # How many lengths inputs may have: that of the longest clip, its half, and so on.
    # With 1 all clips are padded to the longest; with more, short ones cost less, and
    # the time behind the input of a clip is masked.
    lengths: int = 1


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Labels of time steps, and events made of scores; with labels="frames" only."""

    # "half": a step has a class whose events cover at least half of it; "any": any.
    rule: str = "half"
    # From which probability on a class is there; None: per class, where the time steps
    # of the validation split have the best F1.
    threshold: float | None = None
    # The median over so many seconds is taken before; 0 takes none. It is that of the
    # usual baselines of sound event detection, seven frames of 64 ms.
    median_seconds: float = 0.45
    # Event-based F1: seconds that onsets (and offsets) may be off, and the share of the
    # event's length that an offset may be off if that is more; -1 asks for onsets only.
    collar: float = 0.2
    offset_share: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that one run depends on."""

    dataset: str = "esc_mix"
    # Folder or archive of the user's own copy; empty: the cache, then the network.
    data_dir: str = ""
    encoder: str = "logmel"
    # A weight file, "untrained", or empty for the published default.
    weights: str = ""
    # One or several names, separated by commas.
    probes: str = "protobin"
    # What a probe learns and is scored on: "clip", the classes of a clip, or "frames",
    # those of each of its time steps, from onsets and offsets.
    labels: str = "clip"
    epochs: int = 30
    batch_size: int = 128
    # How rates are found: "rates", all of optimizer.learning_rates with one weight
    # decay; "sweep", a search over both.
    search: str = "rates"
    # Trainings of each probe that the final score is the mean of.
    seeds: int = 5
    # The first seed; also seeds the order of the clips.
    seed: int = 0
    # Epochs between two looks at the validation split.
    eval_every: int = 1
    # Which epoch is reported: the "last", or the "best" on the validation split.
    report_epoch: str = "last"
    # Train again on train + validation with the chosen rate before testing.
    refit: bool = False
    # Standardise a probe's input with statistics of the training split.
    standardise: bool = False
    # Devices to use; 0 takes all.
    devices: int = 0
    audio: Audio = field(default_factory=Audio)
    dataset_options: DatasetOptions = field(default_factory=DatasetOptions)
    frontend: Frontend = field(default_factory=Frontend)
    encoder_options: EncoderOptions = field(default_factory=EncoderOptions)
    probe_options: ProbeOptions = field(default_factory=ProbeOptions)
    optimizer: Optimizer = field(default_factory=Optimizer)
    sweep: Sweep = field(default_factory=Sweep)
    loss: Loss = field(default_factory=Loss)
    tokens: TokenOptions = field(default_factory=TokenOptions)
    frames: Frames = field(default_factory=Frames)

    def __post_init__(self):
        positive = {"epochs": 1, "batch_size": 1, "seeds": 1, "eval_every": 1}
        for name, least in positive.items():
            if getattr(self, name) < least:
                raise InputError(
                    f"config.{name}={getattr(self, name)}: must be at least {least}"
                )
        _one_of("report_epoch", self.report_epoch, ("last", "best"))
        _one_of("audio.on_bad", self.audio.on_bad, ("fail", "skip"))
        _one_of("tokens.dtype", self.tokens.dtype, ("bfloat16", "float32", "int8"))
        _one_of("labels", self.labels, ("clip", "frames"))
        _one_of("search", self.search, ("rates", "sweep"))
        _check_sweep(self.sweep)
        _one_of("frames.rule", self.frames.rule, ("half", "any"))
        if self.labels == "frames" and self.loss.name == "cross_entropy":
            raise InputError(
                "config.loss.name=cross_entropy is for one class at a time: with "
                "config.labels=frames use asymmetric or bce"
            )
        rise, hold = self.optimizer.warmup, self.optimizer.hold
        if min(rise, hold) < 0 or rise + hold >= 1:
            raise InputError(
                f"config.optimizer.warmup={rise} and hold={hold} must be shares of all "
                "steps, together below 1"
            )
        if not self.optimizer.learning_rates:
            raise InputError("config.optimizer.learning_rates is empty: give one rate")
        if self.refit and self.report_epoch == "best":
            raise InputError(
                "config.refit=True leaves no validation split to choose an epoch on: "
                "use --config.report_epoch=last"
            )

    @property
    def frame_rule(self) -> str | None:
        """How events become labels of time steps; None where clips are labelled."""
        return self.frames.rule if self.labels == "frames" else None

    @property
    def probe_names(self) -> tuple[str, ...]:
        """The names in `probes`."""
        return tuple(n.strip() for n in self.probes.split(",") if n.strip())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Experiment:
        """The records for a nested mapping; unknown keys are an `InputError`."""
        return _build(cls, values, "config")

    def to_dict(self) -> dict[str, Any]:
        """The same as plain nested values, ready for JSON."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def digest(self) -> str:
        """Eight characters that name this experiment; where it runs is left out.

        So is where the files of the data set are; what they hold, a run pins itself.
        """
        values = self.to_dict()
        for key in WHERE:
            del values[key]
        for section, names in ADDED_LATER.items():
            for name in names:
                if values[section][name] is None:
                    del values[section][name]
        canonical = json.dumps(values, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def default_workdir(self) -> str:
        """The folder of the run, named by what it does."""
        parts = (self.dataset, self.encoder, *self.probe_names, self.digest())
        return "runs/" + "-".join(p.replace("/", "_") for p in parts)


def _check_sweep(sweep: Sweep) -> None:
    least = {"sobol": 1, "tpe": 0, "tpe_at_once": 1, "halvings": 0, "reduction": 2}
    for name, lowest in {**least, "top": 1}.items():
        if getattr(sweep, name) < lowest:
            raise InputError(
                f"config.sweep.{name}={getattr(sweep, name)}: must be at least {lowest}"
            )
    for name in ("rate", "decay"):
        low, high = (getattr(sweep, f"{end}_{name}") for end in ("lowest", "highest"))
        if (low is not None and low <= 0) or (None not in (low, high) and low >= high):
            raise InputError(
                f"config.sweep.lowest_{name}={low} and highest_{name}={high}: must be "
                "above zero, the lowest below the highest"
            )


def default_config() -> Any:
    """The default experiment as a locked `ConfigDict`, for config files to change."""
    return _config_dict(Experiment())


def options_of(record: Any) -> dict[str, Any]:
    """The options of a record that somebody set (those that are not None)."""
    values = dataclasses.asdict(record)
    return {k: v for k, v in values.items() if v is not None}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown_name(f"config.{name}", value, known)


# Read again for every record of a large grid, they would take most of its time.
_hints = functools.cache(typing.get_type_hints)


def _config_dict(record: Any) -> ConfigDict:
    hints = _hints(type(record))
    values = ConfigDict()
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if dataclasses.is_dataclass(value):
            values[f.name] = _config_dict(value)
        elif value is None:
            values[f.name] = config_dict.placeholder(_plain_type(hints[f.name]))
        else:
            values[f.name] = value
    return values.lock()


def _plain_type(hint: Any) -> type:
    """`int` for `int | None`."""
    if isinstance(hint, types.UnionType):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _build(cls: type, values: Mapping[str, Any], where: str) -> Any:
    hints = _hints(cls)
    built = {}
    for key, value in values.items():
        if key not in hints:
            raise unknown_name("config key", f"{where}.{key}", _keys(cls, where))
        if dataclasses.is_dataclass(hints[key]):
            built[key] = _build(hints[key], value, f"{where}.{key}")
        else:
            built[key] = _checked(value, hints[key], f"{where}.{key}")
    return cls(**built)


def _keys(cls: type, where: str) -> list[str]:
    return [f"{where}.{f.name}" for f in dataclasses.fields(cls)]


def _checked(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        try:
            return tuple(float(v) for v in value)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{where}={value!r}: must be numbers separated by commas"
            ) from error
    if value is None and isinstance(hint, types.UnionType):
        return None
    wanted = _plain_type(hint)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise InputError(f"{where}={value!r}: must be of type {wanted.__name__}")
    return value
