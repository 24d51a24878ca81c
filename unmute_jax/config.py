"""Settings of an experiment: frozen records, built from a config file.

A config file (`configs/*.py`) returns `default_config()` with a few values changed, and
the command line changes more. `Experiment.from_dict` turns the result into records that
cannot change, and refuses unknown keys. Where an option may be None, None stands for
the default of the encoder, the probe or the data set that the option belongs to.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict, config_dict

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import fitting

# Options that may change when a run goes on on another machine.
WHERE = ("devices", "data_dir")

# Settings that did not exist when the first runs were made, with the value that says
# what those runs did. With that value they do not enter the digest, so those runs keep
# their names.
ADDED_LATER: dict[str, Any] = {
    "steps": 0,
    "probe_options.initialisation": None,
    "loss.differentiate_weights": None,
    "dataset_options.folds": None,
    "dataset_options.group_pattern": None,
    "sweep.ranges": "paper",
    "sweep.neighbours": [20.0],
    "sweep.temperatures": [0.07],
    "dataset_options.window": None,
    "dataset_options.hop": None,
    "dataset_options.min_overlap": None,
    "dataset_options.background": None,
    "dataset_options.label_column": None,
    "dataset_options.species_list": None,
    "dataset_options.unlisted": None,
    "dataset_options.unannotated": None,
    "dataset_options.audio_column": None,
    "dataset_options.group_column": None,
    "dataset_options.label_separator": None,
    "dataset_options.train_from": None,
    "dataset_options.validation_from": None,
    "dataset_options.test_from": None,
    "dataset_options.revision": None,
}

# The learning rates that are searched for every probe, and the two ranges of the paper
# (section 5), which names the probes only in part: which probe has which is our guess.
COMMON_RATES = (1e-5, 0.3)
PAPER_RATES = {"prototypes": (2e-3, 8e-2), "others": (1e-4, 7e-3)}


@dataclass(frozen=True, kw_only=True)
class Audio:
    """How recordings are read."""

    # What to do with a file that cannot be read: "fail" stops, "skip" leaves the file
    # out and counts it.
    on_bad: str = "fail"


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Options of data sets. A data set refuses those that it does not know."""

    # Data sets with folds: number of the fold that is the test split, from 1, or 0 to
    # test on each in turn. None: the first, or each in turn where `folds` makes them.
    test_fold: int | None = None
    # Your own clips: folds to make, "groups" for one fold per group (leave one group
    # out), or a number of folds that groups, or clips without groups, are spread over.
    # None: the clips have one training, one validation and one test split.
    folds: str | None = None
    # Your own clips: regular expression whose first part in parentheses is the group of
    # a clip. It is searched in the name of the file, or in its path if it contains a
    # slash. None: only a column of a table tells groups.
    group_pattern: str | None = None
    # Number of training clips of the mixture set. None: 1000.
    train_clips: int | None = None
    # Number of validation clips of the mixture set. None: 400.
    validation_clips: int | None = None
    # Number of test clips of the mixture set. None: 400.
    test_clips: int | None = None
    # Seed of what a data set draws at random, such as mixtures or few shots. None: 0
    # for mixtures, 1 for BirdSet.
    seed: int | None = None
    # BirdSet: number of training clips per class. None: the number in the data set's
    # name, or all clips.
    shots: int | None = None
    # BirdSet: whether few-shot clips come only from recordings of at most five seconds.
    # None: no.
    strict: bool | None = None
    # BirdSet: whether other recordings complete classes that have too few clips.
    # None: no.
    fill_up: bool | None = None
    # BirdSet: number of mixed copies of each training clip. None: 0.
    mixup: int | None = None
    # Annotated recordings: length of a window in seconds. None: 5.
    window: float | None = None
    # Annotated recordings: seconds from the beginning of one window to that of the
    # next. None: the length of a window.
    hop: float | None = None
    # Annotated recordings: seconds of an event that a window must contain for its label
    # to count; half of the event or of the window if that is less. None: 0.25.
    min_overlap: float | None = None
    # Annotated recordings: number of windows without any label that are used for each
    # labelled window; 0 leaves all of them out. None: all are used.
    background: float | None = None
    # Name of the column with the labels: of selection tables of annotated recordings,
    # of tables of Hugging Face, or in the json of WebDataset archives. None: it is
    # found by what the files declare, or by its usual name.
    label_column: str | None = None
    # Annotated recordings: csv with the columns name and class, which maps the labels
    # of annotators to classes; names without a class are left out. None: labels are
    # classes.
    species_list: str | None = None
    # Annotated recordings: what to do with events without a label and with those whose
    # label is not in the species list: "fail", or "skip" to leave them out and count
    # them. None: "fail".
    unlisted: str | None = None
    # Annotated recordings: what to do with recordings without annotations: "fail",
    # "skip", or "background" if they are known to contain no event. None: "fail".
    unannotated: str | None = None
    # Hugging Face: name of the column with the audio. None: the one that the files
    # declare, or that holds bytes.
    audio_column: str | None = None
    # Hugging Face and WebDataset: name of the column whose equal values keep clips in
    # one split, such as a recording, a site, or the number of a published fold. None:
    # each clip is a group of its own.
    group_column: str | None = None
    # Hugging Face and WebDataset: text that separates several labels in one text, empty
    # if none does. None: ";", and texts that seem to be separated otherwise are
    # refused.
    label_separator: str | None = None
    # Hugging Face: splits of the data set to train on, separated by commas. WebDataset:
    # patterns of the names of archives. None: those whose names say so.
    train_from: str | None = None
    # Splits or archives for selection, as in train_from.
    validation_from: str | None = None
    # Splits or archives for the test, as in train_from.
    test_from: str | None = None
    # Hugging Face: branch, tag or commit on the hub. None: "main", or the hub's own
    # conversion to parquet files.
    revision: str | None = None

    @property
    def fold_to_test(self) -> int | None:
        """The number of the fold to test on; 0 for all, None for the first."""
        return 0 if self.test_fold is None and self.folds else self.test_fold


@dataclass(frozen=True, kw_only=True)
class Frontend:
    """Options of an encoder's front end and of the lengths of its inputs."""

    # Name of a set of constants of the encoder's authors: "audioset" as in the
    # pre-training, "esc50" as in the fine-tuning on ESC-50, and so on.
    recipe: str | None = None
    # How clips of different lengths become inputs of one length: "pad", "repeat",
    # "crop" or "window". None: "pad", or what the recipe says.
    length_policy: str | None = None
    # Length of an input in frames. None: that of the recipe, or of the longest clip.
    target_frames: int | None = None
    # Mean of the spectrogram, which is subtracted. None: that of the recipe.
    mean: float | None = None
    # Standard deviation of the spectrogram, by which it is divided. None: that of the
    # recipe.
    std: float | None = None
    # ASiT: how its positions are fitted to other lengths. "bicubic" is the authors'
    # way; "swapped" and "ast" are those of other people's code. None: "bicubic".
    positions: str | None = None
    # Whether padded time steps are masked, so that a probe does not see them. None: no,
    # as in the paper.
    mask_padding: bool | None = None
    # BEATs and Dasheng: whether padding is masked in the attention too, as their
    # authors' code can do. None: no.
    attention_mask: bool | None = None


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Options of an encoder's network."""

    # Precision of the matrix products: "float32", or "bfloat16", which is faster and
    # less exact. None: "float32".
    precision: str | None = None
    # Number of attention heads, which a weight file may not say. None: the number in
    # the file, or the published one.
    num_heads: int | None = None
    # Width of the tokens, for untrained encoders only. None: the published width.
    width: int | None = None
    # Number of blocks, for untrained encoders only. None: the published number.
    depth: int | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of probes. Each probe takes those that it knows."""

    # proto, protofloat, protobin: number of prototypes for each class. None: 20.
    prototypes_per_class: int | None = None
    # linear, mlp, knn, head2toe, linear_cgp: the vector that is read, "cls" or "mean".
    # linearc: the vectors that are read, "cls_mean" or "bands".
    input: str | None = None
    # linear: whether a LayerNorm comes before the affine map. None: no.
    normalise: bool | None = None
    # stats: whether the frequency bands are kept apart. None: no.
    per_band: bool | None = None
    # mlp: number of hidden layers. None: 1.
    hidden_layers: int | None = None
    # mlp: width of the hidden layers (None: that of the tokens). conv: number of
    # channels after the convolution (None: 256).
    width: int | None = None
    # mlp: "relu", "gelu" or "tanh" (None: "relu"). abmilp: "tanh" or "relu" (None:
    # "tanh").
    activation: str | None = None
    # knn: number of neighbours. None: the validation split chooses one of
    # sweep.neighbours.
    neighbours: int | None = None
    # knn: temperature of the neighbours' weights. None: the validation split chooses
    # one of sweep.temperatures.
    temperature: float | None = None
    # conv: size of the kernel in time and in frequency. None: 3.
    kernel_size: int | None = None
    # conv: "mean" or "max" over the positions. None: "mean".
    pooling: str | None = None
    # Which reading of the paper is meant. linpre: "token_max" or "bands" (None:
    # "token_max"). simpool: "projected", or "unprojected", where only LayerNorm and
    # classifier have parameters (None: "projected"). proto: "per_class", or "shared",
    # where prototypes belong to no class, which sets classifier, non_negative,
    # initialisation and penalty_weight (None: "per_class"). "unprojected" and "shared"
    # are second-hand: they follow other people's code as it was described to us.
    reading: str | None = None
    # mhca, esimpool and other poolers with heads: number of heads. None: 12.
    num_heads: int | None = None
    # mhca, ep: number of queries. None: 1 for mhca, 32 for ep.
    num_queries: int | None = None
    # ep: how many times narrower than the tokens the values are. None: 1.
    reduction: int | None = None
    # simpool: where the query comes from, "mean" or "cls". None: "mean".
    query: str | None = None
    # abmilp: number of affine maps in the score. None: 2.
    depth: int | None = None
    # abmilp: where self-attention over the tokens comes first, "none", "scores" or
    # "both". None: "none".
    self_attention: str | None = None
    # proto, protofloat: whether a class reads all prototypes ("dense") or its own only
    # ("block"). None: "block" for proto, "dense" for protofloat.
    classifier: str | None = None
    # proto, protofloat: whether the class token is subtracted from the tokens.
    # None: no.
    focal: bool | None = None
    # proto, protofloat: number of largest similarities whose mean replaces the maximum
    # in training. None: 1.
    top_k: int | None = None
    # proto: whether negative weights of the classifier count as zero. None: yes.
    non_negative: bool | None = None
    # proto: whether the token map is first enlarged to twice its size. None: no.
    upsample: bool | None = None
    # proto: where the training begins, "uniform" as in the reference, or "normal".
    # None: "uniform".
    initialisation: str | None = None
    # proto: weight of the penalty on prototypes of one class that resemble each other.
    # head2toe: weight of the group lasso. None: 1 for proto, 1e-4 for head2toe.
    penalty_weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW with a cosine schedule (paper section 5)."""

    # Peak learning rates. With search="rates" all are trained side by side, and the
    # validation split chooses one. They span the range of the sweep, because the best
    # rates of probes and encoders lie orders of magnitude apart.
    learning_rates: tuple[float, ...] = (
        *(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
    )
    # Factor of the decoupled weight decay, which the learning rate multiplies.
    weight_decay: float = 1e-4
    # Decay rate of the moving mean of the gradients.
    b1: float = 0.9
    # Decay rate of the moving mean of the squared gradients.
    b2: float = 0.999
    # Constant that is added to the root of the squared gradients' mean.
    eps: float = 1e-8
    # Share of all steps in which the rate first rises from zero to its peak.
    warmup: float = 0.0
    # Share of all steps in which the rate then stays at its peak.
    hold: float = 0.0
    # Learning rate at the end of the schedule.
    floor: float = 0.0
    # Whether the cosine falls to zero but no rate is below the floor; otherwise the
    # cosine itself ends at the floor.
    floor_cuts: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The search of search="sweep" (paper section 5: 50 trials, half of each kind)."""

    # Trials of a Sobol sequence, then trials that TPE proposes, a few at a time.
    sobol: int = 25
    tpe: int = 25
    tpe_at_once: int = 5
    # Learning rates that are searched. "common": 1e-5 to 0.3 for every probe. "paper":
    # its two ranges, 2e-3 to 8e-2 for prototypes (proto, protofloat, protobin) and 1e-4
    # to 7e-3 for all other probes; that these probes have these ranges is our guess.
    ranges: str = "common"
    # Lowest and highest learning rate of every probe. None: those of `ranges`.
    lowest_rate: float | None = None
    highest_rate: float | None = None
    lowest_decay: float = 1e-5
    highest_decay: float = 5e-4
    # Successive halving: after 1/9 and 1/3 of the epochs, one trial in 3 is promoted.
    # The paper does not state its numbers; 0 halvings train every trial to its end.
    halvings: int = 2
    reduction: int = 3
    # knn, whichever search trains the other probes: numbers of neighbours and
    # temperatures of which every pair is tried, where probe_options sets none.
    neighbours: tuple[float, ...] = (1.0, 5.0, 20.0, 50.0, 200.0)
    temperatures: tuple[float, ...] = (0.02, 0.07, 0.2)
    # How many of the best trials are trained with all seeds before validation chooses.
    top: int = 1

    @property
    def widest(self) -> int:
        """The most trials that are ever proposed together."""
        return max(self.sobol, min(self.tpe, self.tpe_at_once))

    def rates_for(self, probe: str) -> tuple[float, float]:
        """The lowest and the highest learning rate that are searched for a probe."""
        low, high = COMMON_RATES
        if self.ranges == "paper":
            kind = "prototypes" if probe.startswith("proto") else "others"
            low, high = PAPER_RATES[kind]
        return self.lowest_rate or low, self.highest_rate or high


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The training loss (paper section 4, which does not state its constants)."""

    # Name of the loss: "asymmetric", "bce" or "cross_entropy".
    name: str = "asymmetric"
    # asymmetric: focusing exponent of the negatives. None: 4.
    gamma_negative: float | None = None
    # asymmetric: focusing exponent of the positives. None: 1.
    gamma_positive: float | None = None
    # asymmetric: shift of the negatives' probability. None: 0.05.
    clip: float | None = None
    # asymmetric: whether the gradient includes the derivative of the focusing factor.
    # None: yes.
    differentiate_weights: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """How tokens are computed and stored."""

    # Type of the stored tokens: "bfloat16", "float32", or "int8" with a scale for each
    # token, which takes half the bytes of bfloat16.
    dtype: str = "bfloat16"
    # Clips per step of the encoder. None: few on a CPU, many on an accelerator.
    batch_size: int | None = None
    # Number of lengths that inputs may have: that of the longest clip, half of it, and
    # so on. With 1 all clips are padded to the longest; with more, short clips cost
    # less, and time steps behind the input of a clip are masked.
    lengths: int = 1


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Labels of time steps and scores of events, for labels="frames" only."""

    # When a time step has a class: "half" if events cover at least half of the step,
    # "any" if they touch it.
    rule: str = "half"
    # Probability from which a class counts as present. None: for each class the value
    # with the best F1 on the time steps of the validation split.
    threshold: float | None = None
    # Length in seconds of the median filter over the scores; 0 for none. The default
    # is that of the usual baselines of sound event detection, seven frames of 64 ms.
    median_seconds: float = 0.45
    # Event-based F1: seconds by which an onset or offset may be wrong.
    collar: float = 0.2
    # Event-based F1: share of an event's length by which its offset may be wrong, where
    # that is more than the collar; -1 compares onsets only.
    offset_share: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run depends on."""

    # Name of the data set; see `unmute datasets`.
    dataset: str = "esc_mix"
    # Folder or archive with your copy of the data set. Empty: the cache, or a download.
    data_dir: str = ""
    # Name of the encoder; see `unmute encoders`.
    encoder: str = "logmel"
    # Weight file, "untrained", or empty for the encoder's published default.
    weights: str = ""
    # Name of the probe, or several separated by commas; see `unmute probes`.
    probes: str = "protobin"
    # What a probe learns and is scored on: "clip", the classes of a clip, or "frames",
    # the classes of each time step, which need onsets and offsets.
    labels: str = "clip"
    # Number of training epochs.
    epochs: int = 30
    # Least number of optimiser steps: training sets that take fewer in `epochs` epochs
    # get as many more epochs as they need. 0: `epochs` epochs, however few their steps.
    steps: int = 0
    # Number of clips in a training batch.
    batch_size: int = 128
    # How the hyper-parameters are found: "rates" trains all of
    # optimizer.learning_rates; "sweep" also searches the weight decay.
    search: str = "rates"
    # Number of final trainings of each probe, whose scores are averaged.
    seeds: int = 5
    # First seed of the trainings; it also orders the clips.
    seed: int = 0
    # Number of epochs between two evaluations on the validation split.
    eval_every: int = 1
    # Epoch whose parameters are reported: "last", or "best" on the validation split.
    report_epoch: str = "last"
    # Whether the final trainings use the training and the validation split together.
    refit: bool = False
    # Whether a probe's input is standardised with statistics of the training split.
    standardise: bool = False
    # Number of devices to use; 0 for all.
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
        for name, least in {**positive, "steps": 0}.items():
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
                "config.loss.name=cross_entropy is for clips of one class each: with "
                "config.labels=frames use asymmetric or bce"
            )
        rise, hold = self.optimizer.warmup, self.optimizer.hold
        if min(rise, hold) < 0 or rise + hold >= 1:
            raise InputError(
                f"config.optimizer.warmup={rise} and hold={hold}: must be shares of "
                "all steps, together below 1"
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
        """The rule of `frames` if time steps are labelled, or None if clips are."""
        return self.frames.rule if self.labels == "frames" else None

    @property
    def probe_names(self) -> tuple[str, ...]:
        """The names of the probes."""
        return tuple(n.strip() for n in self.probes.split(",") if n.strip())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Experiment:
        """Builds the records from a nested mapping.

        Args:
            values: Options by name; those of a nested record are a mapping. Missing
                options have their default.

        Raises:
            InputError: A key is unknown or a value is not allowed.
        """
        return _build(cls, values, "config")

    def to_dict(self) -> dict[str, Any]:
        """Returns the options as nested dictionaries of JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def digest(self) -> str:
        """Returns eight characters that identify the experiment.

        The options in `WHERE` do not count: what the files of a data set contain, a run
        checks itself.
        """
        values = what_counts(self.to_dict())
        for key, before in ADDED_LATER.items():
            section, _, name = key.rpartition(".")
            inside = values[section] if section else values
            if inside[name] == before:
                del inside[name]
        canonical = json.dumps(values, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]

    def default_workdir(self) -> str:
        """Returns the folder of the run, named after what the run does."""
        parts = (self.dataset, self.encoder, *self.probe_names, self.digest())
        name = "-".join(part.replace("/", "_") for part in parts)
        return str(fitting(pathlib.Path("runs", name)))


def what_counts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that change what a run computes.

    Two runs are the same if these settings are equal. The options in `WHERE` are left
    out. Options of `ADDED_LATER` have their value of before where they are missing,
    because an older version wrote the settings, and where the run does not use them.

    Args:
        values: The settings as `Experiment.to_dict` returns them.
    """
    counting = {k: v for k, v in values.items() if k not in WHERE}
    for key, before in ADDED_LATER.items():
        section, _, name = key.rpartition(".")
        inside = dict(counting.get(section, {})) if section else counting
        if name not in inside or _is_unused(key, counting):
            inside[name] = before
        if section:
            counting[section] = inside
    return counting


def _is_unused(key: str, values: Mapping[str, Any]) -> bool:
    """Whether an option of `ADDED_LATER` makes no difference to a run."""
    if key == "sweep.ranges":
        return values.get("search") == "rates"
    if key in ("sweep.neighbours", "sweep.temperatures"):
        return "knn" not in str(values.get("probes", ""))
    return False


def _check_sweep(sweep: Sweep) -> None:
    least = {"sobol": 1, "tpe": 0, "tpe_at_once": 1, "halvings": 0, "reduction": 2}
    for name, lowest in {**least, "top": 1}.items():
        if getattr(sweep, name) < lowest:
            raise InputError(
                f"config.sweep.{name}={getattr(sweep, name)}: must be at least {lowest}"
            )
    for name in ("neighbours", "temperatures"):
        values = getattr(sweep, name)
        least = 1 if name == "neighbours" else 0
        if not values or any(v < least or v <= 0 for v in values):
            raise InputError(
                f"config.sweep.{name}={values}: give at least one number, none below "
                f"{least or 'or equal to 0'}"
            )
    _one_of("sweep.ranges", sweep.ranges, ("common", "paper"))
    for name in ("rate", "decay"):
        low, high = (getattr(sweep, f"{end}_{name}") for end in ("lowest", "highest"))
        if (low is not None and low <= 0) or (None not in (low, high) and low >= high):
            raise InputError(
                f"config.sweep.lowest_{name}={low} and highest_{name}={high}: must be "
                "above zero, the lowest below the highest"
            )
    for probe in ("linear", "protobin"):
        low, high = sweep.rates_for(probe)
        if low >= high:
            raise InputError(
                f"config.sweep: the learning rates of {probe} would be searched from "
                f"{low:g} to {high:g}: set both lowest_rate and highest_rate"
            )


def default_config() -> Any:
    """Returns the default experiment as a locked `ConfigDict`, for config files."""
    return _config_dict(Experiment())


def options_of(record: Any) -> dict[str, Any]:
    """Returns the options of a record that are not None.

    Args:
        record: One of the records of this module.
    """
    values = dataclasses.asdict(record)
    return {k: v for k, v in values.items() if v is not None}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown_name(f"config.{name}", value, known)


# Cached, because reading them for every record of a large grid takes long.
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
    """Returns `int` for `int | None`."""
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
