"""Run state on disk: the latest epoch and the best one, through orbax."""

from __future__ import annotations

import logging
import math
import os
import pathlib
from types import TracebackType
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from unmute_jax import distributed
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError

History = list[dict[str, Any]]


class Checkpoints:
    """The checkpoints of one stack of trials. Use as a context manager.

    Two steps are kept: the latest, to go on from, and the best by validation score.
    With `best_fn` and `max_to_keep` alone orbax would keep the best two, and a stopped
    run would go on from the wrong step; so the policy names both.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        """Opens (or begins) the checkpoints in `folder`."""
        # orbax tells every step of its work at INFO through absl.
        logging.getLogger("absl").setLevel(logging.WARNING)
        policies = checkpoint_managers
        self._manager = ocp.CheckpointManager(
            pathlib.Path(folder).absolute(),
            options=ocp.CheckpointManagerOptions(
                best_fn=_score,
                best_mode="max",
                preservation_policy=policies.AnyPreservationPolicy(
                    [
                        policies.LatestN(1),
                        policies.BestN(get_metric_fn=_score, n=1),
                    ]
                ),
            ),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.close()
        # One process commits what all have written: none may end before.
        if kind is None or issubclass(kind, signals.Stopped):
            distributed.wait_for_all("checkpoints")

    def save(self, step: int, state: Any, history: History, score: float) -> None:
        """Writes step `step` in the background; a score of NaN is never the best."""
        # A copy: the caller appends to its list while this one is still being written.
        written = {"evaluations": list(history), "rows": _rows(state)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                history=ocp.args.JsonSave(written),
            ),
            metrics={"score": -math.inf if math.isnan(score) else score},
        )

    def latest(self, like: Any) -> tuple[int, Any, History] | None:
        """Step, state and history to go on from; None where nothing was written.

        Args:
            like: A state of the same structure, types and placement. It may have more
                trials, or less, to fill up other devices: they repeat the last one.
        """
        return self._restore(
            distributed.broadcast_from_writer(self._manager.latest_step), like
        )

    def best(self, like: Any) -> tuple[int, Any, History] | None:
        """The same for the step with the best validation score."""
        return self._restore(
            distributed.broadcast_from_writer(self._manager.best_step), like
        )

    def _restore(self, step: int | None, like: Any) -> tuple[int, Any, History] | None:
        if step is None:
            return None
        try:
            kept = self._read(step, history=ocp.args.JsonRestore())["history"]
            rows = kept["rows"]
            abstract = jax.tree.map(lambda x: _described(x, rows), like)
            state = self._read(step, state=ocp.args.StandardRestore(abstract))["state"]
        except Exception as error:  # Whatever a damaged file makes its reader say.
            why = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise InputError(
                f"checkpoint {self._manager.directory / str(step)} cannot be read "
                f"({why}): delete that folder, and training goes on from an earlier one"
            ) from error
        if rows != _rows(like):
            state = jax.tree.map(distributed.with_rows_of, state, like)
        return step, state, kept["evaluations"]

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))


def _rows(state: Any) -> int:
    """Trials in `state`, those that fill up the devices included."""
    return len(jax.tree.leaves(state)[0])


def _described(x: Any, rows: int) -> Any:
    """How to restore what now is `x` and had `rows` trials on other devices."""
    found = ocp.utils.to_shape_dtype_struct(x)
    if rows == len(x):
        return found
    shape, everywhere = (rows, *x.shape[1:]), distributed.replicated(x)
    return jax.ShapeDtypeStruct(shape, x.dtype, sharding=everywhere)


def _score(metrics: dict[str, float]) -> float:
    return metrics["score"]
