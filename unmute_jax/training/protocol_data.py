"""The clips of one protocol, from the token stores of its splits."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from unmute_jax.datasets import Protocol
from unmute_jax.token_store import TokenStore
from unmute_jax.training.inputs import Inputs, what_is_read
from unmute_jax.training.standardise import Standardiser


@dataclass(frozen=True)
class ProtocolData:
    """The clips of one protocol, as the probes read them; made when first asked for."""

    protocol: Protocol
    stores: dict[str, TokenStore]
    standardise: bool
    frame_rule: str | None = None

    def development(self, reads: str) -> tuple[Inputs, Inputs]:
        """Training and validation clips."""
        p = self.protocol
        return self._inputs(p.train, reads), self._inputs(p.validation, reads)

    def refit(self, reads: str) -> Inputs:
        """Training and validation clips as one."""
        p = self.protocol
        return self._inputs(p.train + p.validation, reads)

    def held_out(self, reads: str) -> Inputs:
        """The test clips."""
        return self._inputs(self.protocol.test, reads)

    @functools.cached_property
    def standardiser(self) -> Standardiser | None:
        """With statistics of the training clips, where the run standardises."""
        if not self.standardise:
            return None
        return Standardiser.fit([self.stores[s] for s in self.protocol.train])

    @functools.cached_property
    def _held(self) -> dict[tuple[tuple[str, ...], str], Inputs]:
        return {}

    def _inputs(self, splits: tuple[str, ...], reads: str) -> Inputs:
        reads = what_is_read(reads, self.frame_rule)
        if (splits, reads) not in self._held:
            stores = [self.stores[s] for s in splits]
            self._held[splits, reads] = Inputs(
                stores, reads, self.standardiser, frame_rule=self.frame_rule
            )
        return self._held[splits, reads]
