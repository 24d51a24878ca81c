import dataclasses
import json
import math
import re
import typing
from typing import Annotated, get_origin, get_type_hints

import numpy as np
import pytest

from unmute_jax import bounds
from unmute_jax.bounds import Within
from unmute_jax.config import (
    Experiment,
    Optimizer,
    Sweep,
    allowed,
    default_config,
    options_of,
    what_counts,
)
from unmute_jax.errors import InputError


def changed(**values):
    config = default_config()
    for key, value in values.items():
        config[key] = value
    return Experiment.from_dict(config.to_dict())


def test_the_default_config_is_the_default_experiment():
    assert Experiment.from_dict(default_config().to_dict()) == Experiment()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "did you mean 'config.epochs'"),
        ({"optimizer": {"lr": 1.0}}, "config.optimizer.lr"),
        ({"epochs": 2.5}, "config.epochs=2.5: must be a whole number from 1"),
        ({"refit": 1}, "config.refit=1: must be True or False"),
        ({"report_epoch": "lust"}, "config.report_epoch='lust': must be last or best"),
        ({"optimizer": 3}, "config.optimizer=3: must be options by name"),
        ({"optimizer": {"floor": 0.5}}, "floor=0.5: must not be above the highest"),
        ({"optimizer": {"warmup": 0.5, "hold": 0.5}}, "together below 1"),
        ({"probes": "knn,linear,knn"}, "config.probes=knn,linear,knn: names knn twice"),
        ({"refit": True, "report_epoch": "best"}, "no validation split"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(values, message):
    with pytest.raises(InputError, match=message) as caught:
        Experiment.from_dict(values)
    assert "\n" not in str(caught.value)


# Texts that have the form of a setting and others that do not, by a word of the form.
FORMS = {
    "groups": (["groups", "archives", "3", "100"], ["2", "101", "groups5", ""]),
    "learned": (["last", "all", "learned", "0", "-1"], ["first", "1.5", "--1", ""]),
}


def settings_of(record, before=""):
    """Every setting of an experiment: section and name, and its type."""
    for name, hint in get_type_hints(type(record), include_extras=True).items():
        value = getattr(record, name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, name)
        else:
            yield before, name, hint


SETTINGS = {f"{s}.{n}".strip("."): (s, n, h) for s, n, h in settings_of(Experiment())}
# What no setting may be.
NOTHING = (math.nan, math.inf, -math.inf, 10**18, -(10**18), 1e300, b"1", {}, [], ())


def limits_of(hint):
    """The range of a number, or of the numbers of a list; None for other settings."""
    if "Within" not in str(hint):
        return None
    while not isinstance(hint, Within):
        hint = typing.get_args(hint)[get_origin(hint) is Annotated]
    return hint


def examples(hint):
    """Values inside the range of a setting and outside of it, drawn at random."""
    draw = np.random.default_rng(0)
    kind, is_list = bounds.plain_type(hint), bounds.plain_type(hint) is tuple
    inside, outside = [], [*NOTHING, *([] if bounds.is_optional(hint) else [None])]
    if limit := limits_of(hint):
        least, most = limit.least, limit.most
        is_whole = kind is int or limit.whole
        edge = 1 if is_whole else 1e-9 * (most - least)
        shares = [0.0, *draw.uniform(size=20), *([] if limit.below else [1.0])]
        inside += [least + share * (most - least) for share in shares]
        inside = [float(round(x)) if is_whole else x for x in inside]
        beyond = [least - edge, most + edge, *(least - draw.exponential(1e3, 9) - edge)]
        beyond += [*(most + draw.exponential(1e3, 9) + edge), *([most] * limit.below)]
        beyond += [least + 0.5] * is_whole
        inside = [*map(int, inside)] if kind is int else [*inside, *limit.also]
        beyond = [x for x in map(float, beyond) if x not in limit.also]
        if is_list:
            outside += [(inside[0], x) for x in [*beyond, *NOTHING, None, "1", True]]
            outside += [(inside[0],) * 2, tuple(map(float, range(1, 102)))]
            inside = [(x,) for x in inside] + [tuple(dict.fromkeys(inside))]
        else:
            outside += beyond
        outside += ["1", "", True, False]
    elif kind is bool:
        inside, outside = [True, False], [*outside, 0, 1, "True"]
    elif bounds.is_choice(hint):
        names = re.findall(r"'(\w+)'", str(hint))
        inside, outside = names, [*outside, "", f"{names[0]} ", names[0].upper(), True]
    else:
        outside += [5, True, "\0", "x" * 5000]
        free = ["a b", ""], []
        inside, wrong = next((x for k, x in FORMS.items() if k in str(hint)), free)
        outside += wrong
    return inside, outside


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_a_range_that_is_checked_at_once(setting):
    section, name, hint = SETTINGS[setting]
    assert limits_of(hint) or bounds.plain_type(hint) in (bool, str)
    inside, outside = examples(hint)
    for value in inside:
        bounds.check(value, hint, name)
    for value in outside:
        given = {section: {name: value}} if section else {name: value}
        with pytest.raises(InputError) as caught:
            Experiment.from_dict(given)
        message = str(caught.value)
        assert message.startswith(f"config.{setting}="), value
        assert message.endswith(f": must be {allowed(f'config.{setting}')}"), value
        assert "\n" not in message
        assert len(message) < 400


# The other settings of these would not fit to any value but the default.
TOGETHER = ("lowest_rate", "highest_rate", "lowest_decay", "highest_decay", "floor")


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_experiment_takes_every_value_in_a_range(setting):
    section, name, hint = SETTINGS[setting]
    inside, _ = examples(hint)
    for value in inside if name not in TOGETHER else ():
        given = {section: {name: value}} if section else {name: value}
        record = Experiment.from_dict(given)
        stored = getattr(getattr(record, section) if section else record, name)
        assert stored == value
        assert type(stored) is bounds.plain_type(hint)
        assert Experiment.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_records_that_are_put_together_are_checked_as_well():
    with pytest.raises(InputError, match=r"^config\.optimizer\.b1=1\.0: must be a num"):
        Experiment(optimizer=Optimizer(b1=1.0))
    with pytest.raises(InputError, match=r"^config\.epochs=0: must be a whole number"):
        dataclasses.replace(Experiment(), epochs=0)


def test_a_number_of_thousands_of_digits_is_one_line_as_well():
    with pytest.raises(InputError, match="seed=a number of thousands of digits: must"):
        Experiment.from_dict({"seed": 10**5000})


def test_the_folder_of_a_run_is_named_by_what_changes_its_numbers():
    assert changed(devices=3).default_workdir() == changed().default_workdir()
    folders = {changed(seed=s).default_workdir() for s in range(3)}
    assert len(folders) == 3
    assert changed().default_workdir().startswith("runs/esc_mix-logmel-protobin-")
    deep = {changed(dataset=f"folder:/{200 * 'a'}/{200 * b}") for b in "bc"}
    runs = {settings.default_workdir() for settings in deep}
    assert len(runs) == 2
    assert max(len(run.removeprefix("runs/")) for run in runs) < 255


def test_a_setting_that_was_added_later_leaves_old_names_alone():
    # The digest of the default experiment before `differentiate_weights` existed, when
    # seven rates were tried.
    config = default_config()
    config.optimizer.learning_rates = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)

    def digest():
        return Experiment.from_dict(config.to_dict()).digest()

    assert digest() == "45c19e8c"
    config.loss.differentiate_weights = False
    assert digest() != "45c19e8c"
    config.loss.differentiate_weights = None
    config.steps = 1
    assert digest() != "45c19e8c"


def test_a_search_has_the_name_of_the_ranges_that_it_searches():
    def digest(**values):
        sweep = values.pop("sweep", {})
        return Experiment.from_dict({**values, "sweep": sweep}).digest()

    # The digest of a sweep before there were other ranges than the paper's.
    before = "0a31f381"
    rates = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    sweep = {"search": "sweep", "optimizer": {"learning_rates": rates}}
    assert digest(**sweep, sweep={"ranges": "paper"}) == before
    assert digest(**sweep) != before
    # A list of rates has no ranges, and only knn has neighbours.
    assert digest(sweep={"ranges": "paper", "neighbours": (3,)}) == digest()
    assert digest(probes="knn", sweep={"neighbours": (3,)}) != digest(probes="knn")


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"lowest_decay": 0.1}, r"lowest_decay=0.1 and highest_decay=0.0005: the low"),
        ({"lowest_rate": 0.5}, r"linear would be searched from 0\.5 to 0\.3"),
        ({"ranges": "paper", "highest_rate": 1e-3}, "protobin would be searched"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(sweep, message):
    with pytest.raises(InputError, match=message):
        Experiment.from_dict({"sweep": sweep})


def test_an_older_run_is_compared_by_what_it_did():
    ours = Experiment(search="sweep").to_dict()
    older = {k: v for k, v in ours.items() if k not in ("steps", "devices")}
    new = ("ranges", "neighbours", "temperatures")
    older["sweep"] = {k: v for k, v in ours["sweep"].items() if k not in new}
    theirs = what_counts(older)
    assert (theirs["steps"], theirs["sweep"]["ranges"]) == (0, "paper")
    assert theirs != what_counts(ours)
    paper = Experiment(search="sweep", sweep=Sweep(ranges="paper")).to_dict()
    assert theirs == what_counts(paper)


def test_options_that_nobody_set_are_left_to_their_owner():
    assert options_of(Experiment().frontend) == {}
    config = default_config()
    config.frontend.target_frames = 512
    settings = Experiment.from_dict(config.to_dict())
    assert options_of(settings.frontend) == {"target_frames": 512}


def test_several_probes_are_separated_by_commas():
    assert changed(probes="linear, protobin,").probe_names == ("linear", "protobin")


@pytest.mark.parametrize(
    ("given", "fold"),
    [
        ({}, None),
        ({"folds": "groups"}, 0),
        ({"folds": "5"}, 0),
        ({"folds": "5", "test_fold": 3}, 3),
        ({"test_fold": 0}, 0),
    ],
)
def test_who_asks_for_folds_tests_on_all_of_them(given, fold):
    settings = Experiment.from_dict({"dataset_options": given})
    assert settings.dataset_options.fold_to_test == fold
