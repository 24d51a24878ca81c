"""Finds the cells that a report cannot show: those that failed or are not finished."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from unmute_jax.report import names
from unmute_jax.report.tables import Table
from unmute_jax.results.places import hide_places, without_places
from unmute_jax.results.record_check import check_settings
from unmute_jax.results.typed_json import DamagedFile, read_object

# How a cell of a grid ended stands in its folder; earlier versions wrote it into
# `claims/NAME.json` beside `cells/NAME`.
STATUS, CLAIMS = "status.json", "claims"
# What tells the folder of a run from others that have a file `config.json`, and which
# of its settings are read here.
_PARTS = ("metrics.jsonl", "sources.json", "results", "checkpoints")
_READ = ("dataset", "encoder", "weights", "probes", "probe_options")


@dataclass(frozen=True)
class Missing:
    """A probe of a run without all of its records.

    Attributes:
        dataset: The name of the data set.
        encoder: The title of the encoder.
        probe: The title of the probe.
        state: "failed" or "unfinished".
        reason: Why, in one line.
        is_partial: Whether some of its records exist, such as those of other folds.
    """

    dataset: str
    encoder: str
    probe: str
    state: str
    reason: str
    is_partial: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """The place of the cell in a grid of results."""
        return self.dataset, self.encoder, self.probe


def find_missing(folders: Sequence[pathlib.Path]) -> list[Missing]:
    """Lists the probes of all runs below some folders that failed or have no record.

    Raises:
        InputError: The settings of a run are damaged.
    """
    found = dict[tuple[str, str, str], Missing]()
    for folder in folders:
        for path in sorted(folder.rglob("config.json")):
            if (settings := _settings(path)) is not None:
                for missing in _of_run(path.parent, settings):
                    found.setdefault(missing.key, missing)
    return list(found.values())


def table(
    missing: Iterable[Missing], not_run: Iterable[tuple[str, str, str]]
) -> Table | None:
    """Lists cells with the reason why they have no score; None if there are none.

    Args:
        missing: The cells that failed or are unfinished.
        not_run: Data set, encoder and probe of those of which there is no trace.
    """
    rows = [(m.dataset, m.encoder, m.probe, m.state, m.reason) for m in missing]
    grouped: dict[tuple[str, str], list[str]] = {}
    for dataset, encoder, probe in not_run:
        grouped.setdefault((dataset, encoder), []).append(probe)
    rows += [
        (dataset, encoder, ", ".join(probes), "not run", "no run here has it")
        for (dataset, encoder), probes in grouped.items()
    ]
    if not rows:
        return None
    return Table(
        name="missing",
        title="Cells without a score",
        columns=("data set", "encoder", "probe", "state", "reason"),
        rows=tuple(rows),
        note="Unfinished runs go on with the command that started them.",
    )


def _settings(path: pathlib.Path) -> dict[str, Any] | None:
    """The settings of a run; None if the file belongs to another program."""
    try:
        values = read_object(path, "the settings of a run")
    except DamagedFile:
        if any((path.parent / part).exists() for part in _PARTS):
            raise
        return None
    if any(key not in values for key in _READ):
        return None
    check_settings(values, f"{path}: config", needed=())
    return values


def _of_run(run: pathlib.Path, settings: dict[str, Any]) -> list[Missing]:
    status = _status_of(run)
    failed = status.get("state") == "failed"
    done = {
        read_object(path, "a result record").get("probe")
        for path in run.glob("results/*.json")
    }
    expected = [n.strip() for n in str(settings["probes"]).split(",") if n.strip()]
    reason = "no record yet"
    if failed:
        reason = str(status.get("message") or "for an unknown reason")
    elif status.get("state") == "running":
        reason = f"running on {status.get('host')}, or stopped there"
    reason, settings = hide_places(reason, settings), without_places(settings)
    untrained = settings["weights"] == "untrained"
    return [
        Missing(
            settings["dataset"],
            names.title_of(settings["encoder"], untrained=untrained),
            names.title_of_probe(
                name,
                names.changed_options(name, settings["probe_options"]),
                settings["dataset"],
            ),
            "failed" if failed else "unfinished",
            reason,
            is_partial=name in done,
        )
        for name in expected
        if failed or name not in done
    ]


def _status_of(run: pathlib.Path) -> dict[str, Any]:
    """What the grid of a run says about its cell; empty outside of grids."""
    path = run / STATUS
    if not path.exists():
        path = run.parent.parent / CLAIMS / f"{run.name}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
