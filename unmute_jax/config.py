"""Settings of an experiment: frozen records, built from a config file.

A config file (`configs/*.py`) returns `default_config()` with a few values changed, and
the command line changes more. `Experiment.from_dict` turns the result into records that
cannot change, and refuses unknown keys. Where an option may be None, None stands for
the default of the encoder, the probe or the data set that the option belongs to.

The type of every field states which values it may have (see `bounds`), and an
`Experiment` checks all of them as soon as it is made. Upper ends are far beyond what
makes sense, and catch mistypings before they take hours or all memory.

The comment above every field is what `--help` and the site say about it
(`cli/options.py`): a sentence or two, then "None: ..." with the default if the option
may be None. Where only some probes, encoders or data sets know an option, their names
and a colon come first, and options that mean different things have several such parts.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ml_collections import ConfigDict, config_dict

from unmute_jax import bounds
from unmute_jax.bounds import Matching, Within
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
    "probe_options.layers": None,
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

# Ranges that several fields have. A learning rate, decay or temperature below 1e-12
# would change nothing, and float32 has no numbers below 1e-38.
Rate = Annotated[float, Within(1e-12, 1000)]
Share = Annotated[float, Within(0, 1)]
ShareBelowOne = Annotated[float, Within(0, 1, below=True)]
Seconds = Annotated[float, Within(0, 3600)]
# The seeds of further trainings follow the first one, and fit into 32 bits as well.
Seed = Annotated[int, Within(0, 2**31 - 1)]
# Clips to make: 100,000 mixtures take 90 GB.
MadeClips = Annotated[int, Within(1, 100_000)]
# Heads, layers and other parts of a network.
Parts = Annotated[int, Within(1, 1000)]
Temperature = Annotated[float, Within(1e-6, 1000)]
Layers = Annotated[
    str,
    Matching(
        r"last|all|learned|-?[0-9]{1,3}",
        "last, all, learned, or the number of a layer, such as 0 or -1",
    ),
]
Neighbours = Annotated[float, Within(1, 1_000_000, whole=True)]
Folds = Annotated[
    str,
    Matching(
        r"groups|archives|[3-9]|[1-9]\d|100",
        "groups, archives or a whole number from 3 to 100",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Audio:
    """How recordings are read."""

    # What to do with a file that cannot be read: "fail" stops, "skip" leaves the file
    # out and counts it.
    on_bad: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Options of data sets. A data set refuses those that it does not know."""

    # Data sets with folds: number of the fold that is the test split, from 1, or 0 to
    # test on each in turn. None: the first, or each in turn where `folds` makes them.
    test_fold: Annotated[int, Within(0, 100)] | None = None
    # annotations, csv, folder, hf, wds: folds to make, "groups" for one fold per group
    # (leave one group out), "archives" for one per tar archive, or a number of folds
    # that groups, or clips without groups, are spread over. None: no folds, but one
    # training, one validation and one test split.
    folds: Folds | None = None
    # annotations, csv, folder: regular expression whose first part in parentheses is
    # the group of a clip. It is searched in the name of the file, or in its path if it
    # contains a slash. None: only a column of a table tells groups.
    group_pattern: str | None = None
    # esc_mix: number of training clips to mix. None: 1000.
    train_clips: MadeClips | None = None
    # esc_mix: number of validation clips to mix. None: 400.
    validation_clips: MadeClips | None = None
    # esc_mix: number of test clips to mix. None: 400.
    test_clips: MadeClips | None = None
    # esc_mix: seed of the mixtures. None: 0. hsn, nbp, nes, per, pow, sne, uhh: seed of
    # the few shots that are drawn. None: 1.
    seed: Seed | None = None
    # hsn, nbp, nes, per, pow, sne, uhh: number of training clips per class. None: the
    # number in the name of the data set, or all clips.
    shots: Annotated[int, Within(0, 10_000)] | None = None
    # hsn, nbp, nes, per, pow, sne, uhh: whether few-shot clips come only from
    # recordings of at most five seconds. None: no.
    strict: bool | None = None
    # hsn, nbp, nes, per, pow, sne, uhh: whether other recordings complete classes that
    # have too few clips. None: no.
    fill_up: bool | None = None
    # hsn, nbp, nes, per, pow, sne, uhh: number of mixed copies of each training clip.
    # None: 0.
    mixup: Annotated[int, Within(0, 100)] | None = None
    # annotations: length of a window in seconds. None: 5.
    window: Annotated[float, Within(0.01, 3600)] | None = None
    # annotations: seconds from the beginning of one window to that of the next. None:
    # the length of a window.
    hop: Annotated[float, Within(0.01, 3600)] | None = None
    # annotations: seconds of an event that a window must contain for its label to
    # count; half of the event or of the window if that is less. None: 0.25.
    min_overlap: Seconds | None = None
    # annotations: number of windows without any label that are used for each labelled
    # window; 0 leaves all of them out. None: all are used.
    background: Annotated[float, Within(0, 1_000_000)] | None = None
    # annotations, hf, wds: name of the column with the labels, in selection tables, in
    # tables of Hugging Face or in the json of WebDataset archives. None: the one that
    # the files declare, or that has a usual name.
    label_column: str | None = None
    # annotations: csv with the columns name and class, which maps the labels of
    # annotators to classes; names without a class are left out. None: labels are
    # classes.
    species_list: str | None = None
    # annotations: what to do with events without a label and with those whose label is
    # not in the species list: "fail", or "skip" to leave them out and count them. None:
    # "fail".
    unlisted: Literal["fail", "skip"] | None = None
    # annotations: what to do with recordings without annotations: "fail", "skip", or
    # "background" if they are known to contain no event. None: "fail".
    unannotated: Literal["fail", "skip", "background"] | None = None
    # hf: name of the column with the audio. None: the one that the files declare, or
    # that holds bytes.
    audio_column: str | None = None
    # hf, wds: name of the column whose equal values keep clips in one split, such as a
    # recording, a site, or the number of a published fold. None: each clip is a group
    # of its own.
    group_column: str | None = None
    # hf, wds: text that separates several labels in one text, empty if none does. None:
    # ";", and texts that seem to be separated otherwise are refused.
    label_separator: str | None = None
    # hf: splits of the data set to train on, separated by commas. None: those whose
    # names say so. wds: patterns of the names of the archives to train on, separated by
    # commas. None: those whose names say so.
    train_from: str | None = None
    # hf, wds: splits or archives for selection, as in train_from. None: those whose
    # names say so.
    validation_from: str | None = None
    # hf, wds: splits or archives for the test, as in train_from. None: those whose
    # names say so.
    test_from: str | None = None
    # hf: branch, tag or commit on the hub. None: "main", or the hub's own conversion to
    # parquet files.
    revision: str | None = None

    @property
    def fold_to_test(self) -> int | None:
        """The number of the fold to test on; 0 for all, None for the first."""
        return 0 if self.test_fold is None and self.folds else self.test_fold


@dataclass(frozen=True, kw_only=True)
class Frontend:
    """Options of an encoder's front end and of the lengths of its inputs."""

    # asit, ast, audiomae, aves2_beats, aves2_eat, bat, eat, sslam: name of a set of
    # constants of the encoder's authors, such as "audioset" for those of the
    # pre-training or "esc50" for those of the fine-tuning on ESC-50. None: those of the
    # pre-training, or of the weights.
    recipe: str | None = None
    # How clips of different lengths become inputs of one length. "pad": shorter clips
    # are padded, longer ones cut off; "repeat": shorter clips are repeated; "crop": as
    # "pad", but no longer than the longest clip; "window": longer clips are encoded in
    # windows. None: "pad".
    length_policy: Literal["pad", "repeat", "crop", "window"] | None = None
    # all but bird_mae: length of an input in frames. None: that of the recipe, or of
    # the longest clip.
    target_frames: Annotated[int, Within(1, 360_000)] | None = None
    # asit, ast, audiomae, aves2_eat, bird_mae, eat, sslam: mean of the spectrogram,
    # which is subtracted. None: that of the recipe.
    mean: Annotated[float, Within(-1000, 1000)] | None = None
    # asit, ast, audiomae, aves2_eat, bird_mae, eat, sslam: standard deviation of the
    # spectrogram, by which it is divided. None: that of the recipe.
    std: Annotated[float, Within(1e-6, 1000)] | None = None
    # asit: how its positions are fitted to other lengths. "bicubic" is the authors'
    # way; "swapped" and "ast" are those of other people's code. None: "bicubic".
    positions: Literal["bicubic", "swapped", "ast"] | None = None
    # Whether padded time steps are masked, so that a probe does not see them. None: no,
    # as in the paper, but yes for whisper.
    mask_padding: bool | None = None
    # aves2_beats, beats, dasheng, openbeats: whether padding is masked in the attention
    # too, as their authors' code can do. None: no.
    attention_mask: bool | None = None


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Options of an encoder's network."""

    # all but logmel: precision of the matrix products: "float32", or "bfloat16", which
    # is faster and less exact. None: "float32".
    precision: Literal["float32", "bfloat16"] | None = None
    # all but logmel: number of attention heads, which a weight file may not say. None:
    # the number in the file, or the published one.
    num_heads: Parts | None = None
    # all but logmel: width of the tokens, for weights="untrained" only. None: 768.
    width: Annotated[int, Within(1, 16_384)] | None = None
    # all but logmel: number of blocks, for weights="untrained" only. None: 12.
    depth: Parts | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of probes. Each probe takes those that it knows."""

    # proto, protofloat, protobin: number of prototypes for each class. None: 20.
    prototypes_per_class: Annotated[int, Within(1, 10_000)] | None = None
    # head2toe, knn, linear, linear_cgp, mlp: the vector that is read, the class token
    # ("cls") or the mean of the tokens ("mean"). None: "cls". linearc: the vectors that
    # are read, class token and mean ("cls_mean"), or the mean over time of each
    # frequency band ("bands"). None: "cls_mean".
    input: Literal["cls", "mean", "cls_mean", "bands"] | None = None
    # linear: whether a LayerNorm comes before the affine map. None: no.
    normalise: bool | None = None
    # linear, mhca, protobin, stats: layers of the encoder that are read. "last": its
    # output; a number: the output of one block, 0 for the first or -1 for the last;
    # "learned": the mean of all blocks, with learned weights; "all": all blocks side by
    # side. None: "last".
    layers: Layers | None = None
    # stats: whether the frequency bands are kept apart. None: no.
    per_band: bool | None = None
    # mlp: number of hidden layers. None: 1.
    hidden_layers: Annotated[int, Within(1, 100)] | None = None
    # mlp: width of the hidden layers, 0 for that of the tokens. None: 0. conv: number
    # of channels after the convolution. None: 256.
    width: Annotated[int, Within(0, 65_536)] | None = None
    # mlp: activation of the hidden layers. None: "relu". abmilp: activation in the
    # score, "tanh" or "relu". None: "tanh".
    activation: Literal["relu", "gelu", "tanh"] | None = None
    # knn: number of neighbours. None: the validation split chooses one of
    # sweep.neighbours.
    neighbours: Annotated[int, Within(1, 1_000_000)] | None = None
    # knn: temperature of the neighbours' weights. None: the validation split chooses
    # one of sweep.temperatures.
    temperature: Temperature | None = None
    # conv: size of the kernel in time and in frequency. None: 3.
    kernel_size: Annotated[int, Within(1, 100)] | None = None
    # conv: "mean" or "max" over the positions. None: "mean".
    pooling: Literal["mean", "max"] | None = None
    # linpre: the reading of the paper: the largest logit of any token ("token_max"), or
    # the bands side by side ("bands"). None: "token_max". simpool: the reading of the
    # paper: "projected", or "unprojected", where only LayerNorm and classifier have
    # parameters; that one is second-hand: it follows other people's code as it was
    # described to us. None: "projected". proto: the reading of the paper: "per_class",
    # or "shared", where prototypes belong to no class, which sets classifier,
    # non_negative, initialisation and penalty_weight; that one is second-hand: it
    # follows other people's code as it was described to us. None: "per_class".
    reading: (
        Literal["token_max", "bands", "projected", "unprojected", "per_class", "shared"]
        | None
    ) = None
    # cae, cait, coca, esimpool, jepa, mhca, siglip: number of heads. None: 12.
    num_heads: Parts | None = None
    # mhca: number of queries. None: 1. ep: number of queries. None: 32.
    num_queries: Parts | None = None
    # ep: how many times narrower than the tokens the values are. None: 1.
    reduction: Parts | None = None
    # simpool: where the query comes from, "mean" or "cls". None: "mean".
    query: Literal["mean", "cls"] | None = None
    # abmilp: number of affine maps in the score. None: 2.
    depth: Annotated[int, Within(1, 100)] | None = None
    # abmilp: where self-attention over the tokens comes first, "none", "scores" or
    # "both". None: "none".
    self_attention: Literal["none", "scores", "both"] | None = None
    # proto: whether a class reads all prototypes ("dense") or its own only ("block").
    # None: "block". protofloat: whether a class reads all prototypes ("dense") or its
    # own only ("block"). None: "dense".
    classifier: Literal["dense", "block"] | None = None
    # proto, protofloat: whether the class token is subtracted from the tokens. None:
    # no.
    focal: bool | None = None
    # proto, protofloat: number of largest similarities whose mean replaces the maximum
    # in training. None: 1.
    top_k: Parts | None = None
    # proto: whether negative weights of the classifier count as zero. None: yes.
    non_negative: bool | None = None
    # proto: whether the token map is first enlarged to twice its size. None: no.
    upsample: bool | None = None
    # proto: where the training begins, "uniform" as in the reference, or "normal".
    # None: "uniform".
    initialisation: Literal["uniform", "normal"] | None = None
    # proto: weight of the penalty on prototypes of one class that resemble each other.
    # None: 1. head2toe: weight of the group lasso. None: 1e-4.
    penalty_weight: Annotated[float, Within(0, 1_000_000)] | None = None


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW with a cosine schedule (paper section 5)."""

    # Peak learning rates. With search="rates" all are trained side by side, and the
    # validation split chooses one. They span the range of the sweep, because the best
    # rates of probes and encoders lie orders of magnitude apart.
    learning_rates: tuple[Rate, ...] = (
        *(1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
    )
    # Factor of the decoupled weight decay, which the learning rate multiplies.
    weight_decay: Annotated[float, Within(0, 1000)] = 1e-4
    # Decay rate of the moving mean of the gradients.
    b1: ShareBelowOne = 0.9
    # Decay rate of the moving mean of the squared gradients.
    b2: ShareBelowOne = 0.999
    # Constant that is added to the root of the squared gradients' mean.
    eps: Share = 1e-8
    # Share of all steps in which the rate first rises from zero to its peak.
    warmup: ShareBelowOne = 0.0
    # Share of all steps in which the rate then stays at its peak.
    hold: ShareBelowOne = 0.0
    # Learning rate at the end of the schedule.
    floor: Annotated[float, Within(0, 1000)] = 0.0
    # Whether the cosine falls to zero but no rate is below the floor; otherwise the
    # cosine itself ends at the floor.
    floor_cuts: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The search of search="sweep" (paper section 5: 50 trials, half of each kind)."""

    # Number of trials of a Sobol sequence, with which the search begins.
    sobol: Annotated[int, Within(1, 10_000)] = 25
    # Number of trials that TPE then proposes.
    tpe: Annotated[int, Within(0, 10_000)] = 25
    # Number of trials that TPE proposes together, before it learns how they went.
    tpe_at_once: Annotated[int, Within(1, 1000)] = 5
    # Learning rates that are searched. "common": 1e-5 to 0.3 for every probe. "paper":
    # its two ranges, 2e-3 to 8e-2 for prototypes (proto, protofloat, protobin) and 1e-4
    # to 7e-3 for all other probes; that these probes have these ranges is our guess.
    ranges: Literal["common", "paper"] = "common"
    # Lowest learning rate of every probe. None: that of `ranges`.
    lowest_rate: Rate | None = None
    # Highest learning rate of every probe. None: that of `ranges`.
    highest_rate: Rate | None = None
    # Lowest weight decay that is searched.
    lowest_decay: Rate = 1e-5
    # Highest weight decay that is searched.
    highest_decay: Rate = 5e-4
    # Number of times that the worse trials are stopped early (successive halving): with
    # 2, after 1/9 and 1/3 of the epochs. The paper does not state its number; 0 trains
    # every trial to its end.
    halvings: Annotated[int, Within(0, 20)] = 2
    # Number of trials of which each halving continues one, the best.
    reduction: Annotated[int, Within(2, 1000)] = 3
    # knn: numbers of neighbours that are tried, each with each temperature, where
    # probe_options sets none. This is so in both kinds of search.
    neighbours: tuple[Neighbours, ...] = (1.0, 5.0, 20.0, 50.0, 200.0)
    # knn: temperatures that are tried, where probe_options sets none.
    temperatures: tuple[Temperature, ...] = (0.02, 0.07, 0.2)
    # Number of the best trials that are trained with all seeds before validation
    # chooses among them.
    top: Annotated[int, Within(1, 1000)] = 1

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
    name: Literal["asymmetric", "bce", "cross_entropy"] = "asymmetric"
    # asymmetric: focusing exponent of the negatives. None: 4.
    gamma_negative: Annotated[float, Within(0, 100)] | None = None
    # asymmetric: focusing exponent of the positives. None: 1.
    gamma_positive: Annotated[float, Within(0, 100)] | None = None
    # asymmetric: shift of the negatives' probability. None: 0.05.
    clip: Share | None = None
    # asymmetric: whether the gradient includes the derivative of the focusing factor.
    # None: yes.
    differentiate_weights: bool | None = None


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """How tokens are computed and stored."""

    # Type of the stored tokens: "bfloat16", "float32", or "int8" with a scale for each
    # token, which takes half the bytes of bfloat16.
    dtype: Literal["bfloat16", "float32", "int8"] = "bfloat16"
    # Clips per step of the encoder. None: few on a CPU, many on an accelerator.
    batch_size: Annotated[int, Within(1, 4096)] | None = None
    # Number of lengths that inputs may have: that of the longest clip, half of it, and
    # so on. With 1 all clips are padded to the longest; with more, short clips cost
    # less, and time steps behind the input of a clip are masked.
    lengths: Annotated[int, Within(1, 20)] = 1


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Labels of time steps and scores of events, for labels="frames" only."""

    # When a time step has a class: "half" if events cover at least half of the step,
    # "any" if they touch it.
    rule: Literal["half", "any"] = "half"
    # Probability from which a class counts as present. None: for each class the value
    # with the best F1 on the time steps of the validation split.
    threshold: Share | None = None
    # Length in seconds of the median filter over the scores; 0 for none. The default is
    # that of the usual baselines of sound event detection, seven frames of 64 ms.
    median_seconds: Seconds = 0.45
    # Event-based F1: seconds by which an onset or offset may be wrong.
    collar: Seconds = 0.2
    # Event-based F1: share of an event's length by which its offset may be wrong, where
    # that is more than the collar; -1 compares onsets only.
    offset_share: Annotated[float, Within(0, 1, also=(-1,))] = 0.2


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run depends on."""

    # Name of the data set; see `unmute datasets`.
    dataset: str = "esc_mix"
    # Folder or archive with your copy of the data set. Empty: the cache, or a download.
    data_dir: str = ""
    # Name of the encoder; see `unmute encoders`. "MODULE:CLASS": your own.
    # "hear:MODULE[:WEIGHTS]", "xares:MODULE:CLASS[:WEIGHTS]": those of HEAR and X-ARES.
    # "tokens:PATH": tokens that other code has exported.
    encoder: str = "logmel"
    # Weight file, "untrained", or empty for the encoder's published default.
    weights: str = ""
    # Name of the probe, or several separated by commas; see `unmute probes`.
    probes: str = "protobin"
    # What a probe learns and is scored on: "clip", the classes of a clip, or "frames",
    # the classes of each time step, which need onsets and offsets.
    labels: Literal["clip", "frames"] = "clip"
    # Number of training epochs.
    epochs: Annotated[int, Within(1, 100_000)] = 30
    # Least number of optimiser steps: training sets that take fewer in `epochs` epochs
    # get as many more epochs as they need. 0: `epochs` epochs, however few their steps.
    steps: Annotated[int, Within(0, 10_000_000)] = 0
    # Number of clips in a training batch.
    batch_size: Annotated[int, Within(1, 1_000_000)] = 128
    # How the hyper-parameters are found: "rates" trains all of
    # optimizer.learning_rates; "sweep" also searches the weight decay.
    search: Literal["rates", "sweep"] = "rates"
    # Number of final trainings of each probe, whose scores are averaged.
    seeds: Annotated[int, Within(1, 1000)] = 5
    # First seed of the trainings; it also orders the clips.
    seed: Seed = 0
    # Number of epochs between two evaluations on the validation split.
    eval_every: Annotated[int, Within(1, 100_000)] = 1
    # Epoch whose parameters are reported: "last", or "best" on the validation split.
    report_epoch: Literal["last", "best"] = "last"
    # Whether the final trainings use the training and the validation split together.
    refit: bool = False
    # Whether a probe's input is standardised with statistics of the training split.
    standardise: bool = False
    # Number of devices to use; 0 for all.
    devices: Annotated[int, Within(0, 100_000)] = 0
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
        for key, hint, value in _values(self):
            bounds.check(value, hint, f"config.{key}")
        _check_sweep(self.sweep)
        if self.labels == "frames" and self.loss.name == "cross_entropy":
            raise InputError(
                "config.loss.name=cross_entropy is for clips of one class each: with "
                "config.labels=frames use asymmetric or bce"
            )
        rise, hold = self.optimizer.warmup, self.optimizer.hold
        if rise + hold >= 1:
            raise InputError(
                f"config.optimizer.warmup={rise:g} and hold={hold:g}: must be shares "
                "of all steps, together below 1"
            )
        if (floor := self.optimizer.floor) > max(self.optimizer.learning_rates):
            raise InputError(
                f"config.optimizer.floor={floor:g}: must not be above the highest of "
                "config.optimizer.learning_rates"
            )
        names = self.probe_names
        if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise InputError(f"config.probes={self.probes}: names {repeated[0]} twice")
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
    for name in ("rate", "decay"):
        low, high = (getattr(sweep, f"{end}_{name}") for end in ("lowest", "highest"))
        if None not in (low, high) and low >= high:
            raise InputError(
                f"config.sweep.lowest_{name}={low:g} and highest_{name}={high:g}: the "
                "lowest must be below the highest"
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


def allowed(key: str) -> str:
    """Says which values a setting may have, such as "a whole number from 1 to 1,000".

    Args:
        key: The name of the setting, such as "config.optimizer.b1".

    Returns:
        The words; empty for a name that is no setting of an experiment.
    """
    hints = {f"config.{name}": hint for name, hint, _ in _values(Experiment())}
    return bounds.described(hints[key]) if key in hints else ""


def check_options(record: type, options: Mapping[str, Any], where: str) -> None:
    """Checks values that are to become options of a record, before the record is made.

    Args:
        record: The class of a record, such as `ProbeOptions`.
        options: The values by name. Names that the record does not have are left out.
        where: What stands before the name of an option in the message.

    Raises:
        InputError: A value is not allowed.
    """
    hints = _hints(record)
    for name in options.keys() & hints.keys():
        bounds.check(options[name], hints[name], f"{where}{name}")


# Cached, because reading them for every record of a large grid takes long.
@functools.cache
def _hints(record: type) -> dict[str, Any]:
    """The types of the fields of a record, with their ranges."""
    return typing.get_type_hints(record, include_extras=True)


def _values(record: Any, before: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields name, type and value of every setting, such as "optimizer.b1"."""
    for name, hint in _hints(type(record)).items():
        value = getattr(record, name)
        if dataclasses.is_dataclass(hint):
            yield from _values(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", hint, value


def _config_dict(record: Any) -> ConfigDict:
    hints = _hints(type(record))
    values = ConfigDict()
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if dataclasses.is_dataclass(value):
            values[f.name] = _config_dict(value)
        elif value is None:
            kind = bounds.plain_type(hints[f.name])
            values[f.name] = config_dict.placeholder(kind)
        else:
            values[f.name] = value
    return values.lock()


def _build(cls: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"{where}={bounds.shown(values)}: must be options by name")
    hints = _hints(cls)
    built = {}
    for key, value in values.items():
        if key not in hints:
            raise unknown_name("config key", f"{where}.{key}", _keys(cls, where))
        if dataclasses.is_dataclass(hints[key]):
            built[key] = _build(hints[key], value, f"{where}.{key}")
        else:
            built[key] = bounds.check(value, hints[key], f"{where}.{key}")
    return cls(**built)


def _keys(cls: type, where: str) -> list[str]:
    return [f"{where}.{f.name}" for f in dataclasses.fields(cls)]
