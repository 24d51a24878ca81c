"""Saves and restores the state of a training through orbax."""

from __future__ import annotations

import logging
import math
import os
import pathlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from unmute_jax import distributed
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError
from unmute_jax.io import check_room, naming_disk_faults
from unmute_jax.results.record import without_nan
from unmute_jax.results.typed_json import as_type

History = list[dict[str, Any]]

# Bytes that a checkpoint may take beside its arrays.
SPARE = 10**6


@dataclass(frozen=True)
class Saved:
    """What a training goes on from.

    Attributes:
        step: Steps that were taken.
        state: The state of all trials after them.
        best: Parameters of each trial's best epoch; None where they are not kept.
        history: One entry per evaluation, as in `loop.Trained`.
    """

    step: int
    state: Any
    best: Any
    history: History


class Checkpoints:
    """The latest checkpoint of one stack of trials. Use it as a context manager."""

    def __init__(self, folder: str | os.PathLike[str]):
        """Opens the checkpoints in `folder`, which need not exist.

        Raises:
            InputError: They are damaged.
        """
        # Orbax logs its steps and, several times, the errors that it then raises.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            with naming_disk_faults(folder):
                self._manager = ocp.CheckpointManager(
                    pathlib.Path(folder).absolute(),
                    options=ocp.CheckpointManagerOptions(
                        preservation_policy=checkpoint_managers.LatestN(1)
                    ),
                )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise _damaged(f"the checkpoints in {os.fspath(folder)}", error) from error

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with naming_disk_faults(self._manager.directory):
            self._manager.close()
        # One process commits what all have written, so none may end before it has.
        if kind is None or issubclass(kind, signals.Stopped):
            distributed.wait_for_all("checkpoints")

    def save(self, saved: Saved) -> None:
        """Writes a checkpoint in the background, in place of the one before."""
        # A copy: the caller appends to its list while this one is still being written.
        history = {
            "evaluations": without_nan(saved.history),
            "rows": _trials_in(saved.state),
        }
        items: dict[str, Any] = {
            "state": ocp.args.StandardSave(saved.state),
            "history": ocp.args.JsonSave(history),
        }
        if saved.best is not None:
            items["best"] = ocp.args.StandardSave(saved.best)
        # Without enough room, orbax and tensorstore fail in many threads at once.
        size = sum(x.nbytes for x in jax.tree.leaves((saved.state, saved.best)))
        check_room(self._manager.directory, size + SPARE, "the checkpoints")
        with naming_disk_faults(self._manager.directory):
            self._manager.save(saved.step, args=ocp.args.Composite(**items))

    def latest(self, state: Any, best: Any = None) -> Saved | None:
        """The latest checkpoint; None where nothing was written.

        Args:
            state: A state of the same structure, types and placement. It may have more
                or fewer trials that only fill up the devices: they repeat the last one.
            best: The same for the parameters of the best epochs; None if they are not
                wanted.

        Raises:
            InputError: The checkpoint is damaged.
        """
        step = distributed.broadcast_from_writer(self._manager.latest_step)
        if step is None:
            return None
        try:
            history = self._read(step, history=ocp.args.JsonRestore())["history"]
            trials = as_type(history["rows"], int, "rows")
            evaluations = [_evaluation(entry) for entry in history["evaluations"]]
            restored = {
                name: self._restore(step, name, like, trials)
                for name, like in (("state", state), ("best", best))
                if like is not None
            }
        except Exception as error:  # A damaged file may raise anything in its reader.
            place = f"checkpoint {self._manager.directory / str(step)}"
            raise _damaged(place, error) from error
        return Saved(
            step=step,
            state=restored["state"],
            best=restored.get("best"),
            history=evaluations,
        )

    def _restore(self, step: int, name: str, like: Any, trials: int) -> Any:
        """Reads a tree that was saved with so many trials, and places it as `like`."""
        shapes = jax.tree.map(lambda x: _to_restore(x, trials), like)
        tree = self._read(step, **{name: ocp.args.StandardRestore(shapes)})[name]
        if trials != _trials_in(like):
            tree = jax.tree.map(distributed.with_rows_of, tree, like)
        return tree

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))


def _damaged(place: str, error: Exception) -> InputError:
    why = (str(error) or type(error).__name__).splitlines()[0][:200]
    return InputError(
        f"{place} cannot be read ({why}): delete that folder, and this training starts "
        "again"
    )


def _evaluation(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the history as it was before it went through JSON."""
    as_type(entry["epoch"], int, "epoch")
    as_type(entry["loss"], list[float], "loss")
    as_type(entry.get("validation", []), list[float], "validation")
    return {
        key: [math.nan if x is None else x for x in value]
        if isinstance(value, list)
        else value
        for key, value in entry.items()
    }


def _trials_in(tree: Any) -> int:
    """The number of trials, those that only fill up the devices included."""
    return len(jax.tree.leaves(tree)[0])


def _to_restore(x: Any, trials: int) -> Any:
    """Describes how to restore what is now `x` and was saved with `trials` trials."""
    found = ocp.utils.to_shape_dtype_struct(x)
    if trials == len(x):
        return found
    shape, everywhere = (trials, *x.shape[1:]), distributed.replicated(x)
    return jax.ShapeDtypeStruct(shape, x.dtype, sharding=everywhere)
