"""What makes an encoder of ours of an object that follows the protocol of `own`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from unmute_jax import distributed
from unmute_jax.encoders.base import Encoder, Geometry, Params
from unmute_jax.encoders.token_arrays import as_tokens
from unmute_jax.errors import InputError
from unmute_jax.ops.arrays import Arr
from unmute_jax.tokens import Tokens


def takes_params(theirs: Any) -> bool:
    """Whether it is called as `apply(params, waveform, lengths)`."""
    return getattr(theirs, "jittable", True) and hasattr(theirs, "params")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OwnEncoder(Encoder):
    """An encoder of one's own, written in JAX.

    Attributes:
        version: Of what this file makes of the output.
        theirs: The object that does the work.
        said: Its own version and options.
    """

    version: ClassVar[int] = 1
    min_samples: ClassVar[int] = 1

    sample_rate: int
    theirs: Any = dataclasses.field(repr=False)
    said: dict[str, Any]

    @property
    def num_features(self) -> int:
        """As its output has it."""
        known = next(iter(self._shapes.values()), None)
        return (known or self._shape(self.input_samples(1.0)))[2]

    @property
    def geometry(self) -> Geometry:
        """As it says; without `frequency_edges_hz`, one band of all frequencies."""
        edges = getattr(self.theirs, "frequency_edges_hz", None)
        if edges is None:
            edges = ((0.0, self.sample_rate / 2),)
        return Geometry(
            seconds_per_step=float(self.theirs.seconds_per_step),
            frequency_edges_hz=tuple((float(low), float(high)) for low, high in edges),
        )

    def details(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "own": self.said,
            "sample_rate": self.sample_rate,
            "geometry": dataclasses.asdict(self.geometry),
        }

    def input_samples(self, clip_seconds: float) -> int:
        """As it says, by default the samples of the clip."""
        if hasattr(self.theirs, "input_samples"):
            return int(self.theirs.input_samples(clip_seconds))
        return round(clip_seconds * self.sample_rate)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """As its output has it.

        Raises:
            InputError: Its geometry has another number of bands.
        """
        t, f, _ = self._shape(self.input_samples(clip_seconds))
        edges = self.geometry.frequency_edges_hz
        if len(edges) != f:
            raise InputError(
                f"{self.name} gives {f} frequency bands, and frequency_edges_hz "
                f"has (low, high) of {len(edges)}: {list(edges)}"
            )
        return t, f

    def apply(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Tokens:
        """What it gives, as `Tokens`, under full precision of matrix products."""
        with jax.default_matmul_precision("highest"):
            try:
                if takes_params(self.theirs):
                    out = self.theirs.apply(params, waveform, lengths)
                else:
                    out = self.theirs(waveform, lengths)
            except Exception as error:
                hint = "set jittable = False where it is not written in JAX"
                if isinstance(error, jax.errors.JAXTypeError) or "Tracer" in str(error):
                    raise InputError(
                        f"{self.name} cannot be compiled by JAX "
                        f"({str(error).splitlines()[0]:.120}): {hint}"
                    ) from error
                error.add_note(f"{self.name} was being compiled by JAX; {hint}")
                raise
            return as_tokens(self.name, out, len(waveform), jnp)

    @functools.cached_property
    def _shapes(self) -> dict[int, tuple[int, ...]]:
        return {}

    def _shape(self, samples: int) -> tuple[int, ...]:
        """(T, F, D) of a clip with so many samples."""
        if samples not in self._shapes:
            self._shapes[samples] = self._try(samples)
        return self._shapes[samples]

    def _try(self, samples: int) -> tuple[int, ...]:
        waveform = jax.ShapeDtypeStruct((1, samples), jnp.float32)
        lengths = jax.ShapeDtypeStruct((1,), jnp.int32)
        patches = jax.eval_shape(
            lambda *inputs: self.apply(*inputs).patches, self.params, waveform, lengths
        )
        return patches.shape[1:]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HostEncoder(OwnEncoder):
    """One that runs outside of JAX, on NumPy arrays."""

    def identity(self) -> dict[str, Any]:
        """See `Encoder`; its precision is its own affair."""
        return {**super().identity(), "precision": "its own"}

    def on(
        self, mesh: Mesh, *, all_layers: bool = False
    ) -> Callable[[Float[np.ndarray, "B S"], Int[np.ndarray, "B"]], Tokens]:
        """See `Encoder`; it runs where it pleases, and its tokens go to `mesh`."""
        del all_layers  # It has none.

        def run(
            waveform: Float[np.ndarray, "B S"], lengths: Int[np.ndarray, "B"]
        ) -> Tokens:
            return distributed.shard(self._run(waveform, lengths), mesh)

        return run

    def __call__(self, waveform: Any, lengths: Any = None) -> Tokens:
        """See `Encoder`."""
        # PyTorch warns of arrays that cannot be written to: copies can.
        return self._run(*map(np.array, self._checked(waveform, lengths)))

    def apply(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Tokens:
        """Not for it: what is compiled cannot leave JAX.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"{self.name} runs outside of JAX (jittable = False) and cannot be "
            "compiled: call it, or use `encoder.on(mesh)`"
        )

    def _run(
        self, waveform: Float[np.ndarray, "B S"], lengths: Int[np.ndarray, "B"]
    ) -> Tokens:
        tokens = as_tokens(self.name, self.theirs(waveform, lengths), len(waveform), np)
        _, *grid = tokens.patches.shape
        wanted = self._shapes.setdefault(waveform.shape[1], tuple(grid))
        if tuple(grid) != wanted:
            raise InputError(
                f"{self.name} gives a grid {tuple(grid)} for clips of "
                f"{waveform.shape[1]} samples, and gave {wanted} before: it must not "
                "depend on what is in them"
            )
        return tokens

    def _try(self, samples: int) -> tuple[int, ...]:
        # Not silence: what divides by its deviation would complain.
        noise = np.random.default_rng(0).standard_normal((1, samples), np.float32) / 100
        return self._run(noise, np.full(1, samples, np.int32)).patches.shape[1:]
