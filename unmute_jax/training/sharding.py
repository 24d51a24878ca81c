"""Says which axis of a training is split over the devices: the clips or the trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import distributed


@dataclass(frozen=True)
class Sharding:
    """How the devices of a mesh share the training of a stack of trials.

    With "clips", each device trains all trials on its part of every batch, and sums
    run over all devices. With "trials", each device trains its own trials on whole
    batches, and the devices exchange nothing.

    Attributes:
        mesh: The devices.
        split: The axis that is split over them.
    """

    mesh: Mesh
    split: Literal["clips", "trials"] = "clips"

    @classmethod
    def for_trials(cls, mesh: Mesh, count: int) -> Sharding:
        """Splits `count` trials if there are several devices and a trial for each."""
        return cls(mesh, "trials" if 1 < mesh.size <= count else "clips")

    @property
    def splits_trials(self) -> bool:
        """Whether each device trains its own trials."""
        return self.split == "trials"

    @property
    def state_axis(self) -> int | None:
        """The axis of a state that is split over the devices, as for `pmapped`."""
        return 0 if self.splits_trials else None

    @property
    def batch_axis(self) -> int | None:
        """The axis of a batch that is split over the devices, as for `pmapped`."""
        return None if self.splits_trials else 0

    def padded_batch_size(self, batch_size: int) -> int:
        """The batch size, rounded up to a multiple of the number of devices."""
        return -(-batch_size // self.mesh.size) * self.mesh.size

    def pad_trials(self, tree: Any) -> Any:
        """Repeats the last trial until every device has equally many.

        Args:
            tree: Arrays with a leading axis of trials.
        """
        count = len(jax.tree.leaves(tree)[0])
        missing = -count % self.mesh.size if self.splits_trials else 0
        if not missing:
            return tree
        return jax.tree.map(
            lambda x: np.concatenate([x, np.repeat(x[-1:], missing, 0)]), tree
        )

    def place_state(self, tree: Any) -> Any:
        """Copies arrays with a leading axis of trials to the devices."""
        if self.splits_trials:
            return distributed.split_over_devices(tree, self.mesh)
        return distributed.replicate(tree, self.mesh)

    def local_rows(self, tree: Any) -> Any:
        """The rows of whole host arrays that this process has to read and place."""
        return tree if self.splits_trials else distributed.local_rows(tree)

    def place_batch(self, tree: Any) -> Any:
        """Copies this process's rows of a batch (`local_rows`) to the devices."""
        if self.splits_trials:
            return distributed.replicate_read_only(tree, self.mesh)
        return distributed.shard(tree, self.mesh)

    def sum_over_devices(self, tree: Any) -> Any:
        """Inside a mapped function: sums over all clips of the batch."""
        if self.splits_trials:
            return tree
        return jax.lax.psum(tree, distributed.BATCH)
