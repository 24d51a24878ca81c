"""Checks what lies inside the fields of a record that was read from a file."""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from unmute_jax.config import Experiment
from unmute_jax.errors import one_line
from unmute_jax.results.typed_json import DamagedFile, as_type

# Types of the facts that are read again. There may be others.
_FACTS: dict[str, Any] = {
    "splits": dict[str, list[str]],
    "clips": dict[str, int],
    "encoder": dict[str, Any],
    "fingerprints": dict[str, str],
    "devices": str,
    "versions": dict[str, str],
}
_IDENTITY: dict[str, Any] = {"name": str, "weights": str, "input": dict[str, Any]}
# Types of what is known of a trial of a search, besides its options.
_TRIAL: dict[str, Any] = {
    "learning_rate": float,
    "weight_decay": float,
    "validation": float | None,
    "epochs": int,
    "status": str,
    "never_started": bool,
}
# Settings that every version has written, and that tables show.
_SETTINGS = ("epochs", "batch_size", "loss", "report_epoch", "refit")
# By how much a score may be above 1 or below 0, as sums of floats are.
_ROUNDING = 1e-6
_hints = functools.cache(typing.get_type_hints)


def check_settings(
    settings: Mapping[str, Any], where: str, needed: Sequence[str] = _SETTINGS
) -> None:
    """Checks the types of the settings of an experiment.

    Settings that an older version did not have may be missing, and there may be
    settings that this version does not have.

    Args:
        settings: The settings.
        where: The file and the field, for the message.
        needed: The settings that must be there.

    Raises:
        DamagedFile: A setting is missing or has another type.
    """
    for key in needed:
        if key not in settings:
            raise DamagedFile(f"{where}: has no {key}")
    _check_section(settings, Experiment, where)


def check_facts(facts: Mapping[str, Any], where: str) -> None:
    """Checks the types of the facts that scores depend on besides the settings.

    Args:
        facts: The facts.
        where: The file and the field, for the message.

    Raises:
        DamagedFile: A fact has another type, or the clips of a split are not counted.
    """
    _check_items(facts, _FACTS, where)
    _check_items(facts.get("encoder", {}), _IDENTITY, f"{where}.encoder")
    for splits in facts.get("splits", {}).values():
        for split in splits:
            if split not in facts.get("clips", {}):
                raise DamagedFile(f"{where}.clips: has no {one_line(split, 80)}")


def check_trials(trials: Sequence[Mapping[str, Any]], where: str) -> None:
    """Checks the types of what a record holds of the trials of its search.

    Args:
        trials: The trials.
        where: The file and the field, for the message.

    Raises:
        DamagedFile: A value has another type, or a score is none.
    """
    for i, trial in enumerate(trials):
        _check_items(trial, _TRIAL, f"{where}[{i}]")
        check_shares(trial.get("validation"), f"{where}[{i}].validation")


def check_shares(values: Any, where: str) -> None:
    """Checks that scores and shares lie between 0 and 1.

    Args:
        values: A number, or numbers by their names. Those that are None or NaN pass.
        where: The file and the field, for the message.

    Raises:
        DamagedFile: A number lies elsewhere.
    """
    if isinstance(values, Mapping):
        for name, value in values.items():
            check_shares(value, f"{where}.{one_line(name, 80)}")
    elif values is not None and not math.isnan(values):
        if not -_ROUNDING <= values <= 1 + _ROUNDING:
            raise DamagedFile(f"{where} is {values:g}, must lie between 0 and 1")


def _check_items(
    values: Mapping[str, Any], types: Mapping[str, Any], where: str
) -> None:
    for key, hint in types.items():
        if key in values:
            as_type(values[key], hint, f"{where}.{key}")


def _check_section(values: Mapping[str, Any], cls: type, where: str) -> None:
    for key, hint in _hints(cls).items():
        if key not in values:
            continue
        value, place = values[key], f"{where}.{key}"
        if dataclasses.is_dataclass(hint):
            as_type(value, dict, place)
            _check_section(value, typing.cast(type, hint), place)
        else:
            as_type(value, hint, place)
