"""Loads encoders written by a user, in any framework: `my_module:MyEncoder`.

The class, or a function that makes such an object, need not import this package:

    class MyEncoder:
        sample_rate = 16000        # rate of the waveforms, in Hz
        version = "epoch 30"       # to be changed whenever the tokens change
        seconds_per_step = 0.16    # from one time step to the next
        jittable = False           # for PyTorch, ONNX or NumPy; leave it out for JAX

        def __call__(self, waveform, lengths):
            ...                    # patches [B, T, F, D], or [B, T, D]

`waveform` is `[B, S]` float32 in [-1, 1] with zeros behind the end of each clip, and
`lengths` `[B]` int32 holds the number of samples of each clip. With `jittable = False`
both are NumPy arrays, and the result must be readable as one; otherwise the call is
compiled. The grid (T, F) must be the same for all clips of one length.

Further attributes are optional:

    frequency_edges_hz    (low, high) of each of the F bands; needed where F > 1
    description, licence  text that is shown to users
    input_samples(s)      length of the input, in samples, for clips of up to `s`
                          seconds; by default that of the clip
    params and            in place of `__call__`, for JAX: the weights become an
    apply(params, ...)    argument of the compiled program and are not copied into it

With a class token, or where some time steps are to be masked, the call returns a dict
of `patches`, `cls` `[B, D]` and `mask` `[B, T]` (true for real time steps), or a
`Tokens`. A weights file (`--config.weights`) and all options that are set reach the
class as keyword arguments. `python -m experiments.check_encoder my_module:MyEncoder`
checks whether results that are computed with the encoder can be trusted.

Name, version, options and the content of the weights file are the key of cached tokens.
Other files that the class reads, and code that it imports, cannot be part of it: so one
clip is embedded again whenever cached tokens are reused (see `store.recheck`).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from unmute_jax import distributed
from unmute_jax.encoders.base import Encoder, Geometry, Params
from unmute_jax.encoders.custom_code import code_digest
from unmute_jax.encoders.token_arrays import as_tokens, check_edges
from unmute_jax.encoders.user_modules import check_options, import_class
from unmute_jax.errors import InputError
from unmute_jax.ops.arrays import Arr
from unmute_jax.tokens import Tokens

REQUIRED = ("sample_rate", "version", "seconds_per_step")
CALL = "__call__(waveform, lengths)"


def load(name: str, **options: Any) -> CustomEncoder:
    """Loads the encoder `module:Class`, also from the current folder.

    Args:
        name: The module, a colon, and the class or function in it.
        **options: Arguments of the class. `weights` may be the path of a file, whose
            content becomes a part of `identity`.

    Raises:
        InputError: There is no such module or class, it does not know an option, or
            its object is not an encoder.
    """
    make = import_class(name)
    check_options(name, make, options)
    return wrap(name, make(**options), module=name.partition(":")[0], options=options)


def wrap(name: str, model: Any, *, module: str, options: Mapping) -> CustomEncoder:
    """Makes an encoder of an object with the attributes of a custom encoder.

    Args:
        name: The name of the encoder.
        model: The object.
        module: The imported module whose code is behind it.
        options: The options it was made with. `weights` may be the path of a file,
            whose content becomes a part of `identity`.

    Raises:
        InputError: The object is not an encoder, or an option is neither a number nor a
            string.
    """
    _check_model(name, model)
    options = dict(options)
    weights = _weights_identity(options.pop("weights", None))
    version = str(model.version)
    kind = CustomEncoder if getattr(model, "jittable", True) else HostEncoder
    return kind(
        name=name,
        description=getattr(model, "description", f"{name}, version {version}"),
        licence=getattr(model, "licence", "not said"),
        code=code_digest(module),
        weights=weights,
        params=model.params if _takes_params(model) else {},
        model=model,
        settings={"version": version, "options": _plain_options(name, options)},
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CustomEncoder(Encoder):
    """A custom encoder that is written in JAX.

    Attributes:
        version: Version of this class; that of the model is in `settings`.
        model: The user's object.
        settings: Version and options of the model.
    """

    version: ClassVar[int] = 1
    is_hashed: ClassVar[bool] = False

    model: Any = dataclasses.field(repr=False)
    settings: dict[str, Any]

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms, in Hz."""
        return int(self.model.sample_rate)

    @property
    def min_samples(self) -> int:
        """One sample: the model decides what it does with short clips."""
        return 1

    @property
    def num_features(self) -> int:
        """D of the model's output."""
        known = next(iter(self._shapes.values()), None)
        return (known or self._output_shape(self.input_samples(1.0)))[2]

    @property
    def geometry(self) -> Geometry:
        """As the model states; one band without `frequency_edges_hz`."""
        edges = getattr(self.model, "frequency_edges_hz", None)
        if edges is None:
            edges = ((0.0, self.sample_rate / 2),)
        return Geometry(
            seconds_per_step=float(self.model.seconds_per_step),
            frequency_edges_hz=tuple((float(low), float(high)) for low, high in edges),
        )

    def details(self) -> dict[str, Any]:
        """What the model states about itself."""
        return {
            "own": self.settings,
            "sample_rate": self.sample_rate,
            "geometry": dataclasses.asdict(self.geometry),
        }

    def input_samples(self, clip_seconds: float) -> int:
        """As the model states; by default the number of samples of the clip."""
        if hasattr(self.model, "input_samples"):
            return int(self.model.input_samples(clip_seconds))
        return round(clip_seconds * self.sample_rate)

    def grid(self, clip_seconds: float) -> tuple[int, int]:
        """(T, F) of the model's output.

        Raises:
            InputError: The model states another number of bands.
        """
        t, f, _ = self._output_shape(self.input_samples(clip_seconds))
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
        """Runs the model with full precision of matrix products."""
        with jax.default_matmul_precision("highest"):
            try:
                if _takes_params(self.model):
                    out = self.model.apply(params, waveform, lengths)
                else:
                    out = self.model(waveform, lengths)
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
        """(T, F, D) of the output by the number of samples, where it is known."""
        return {}

    def _output_shape(self, samples: int) -> tuple[int, ...]:
        """(T, F, D) of the output for a clip of `samples` samples."""
        if samples not in self._shapes:
            self._shapes[samples] = self._measure_shape(samples)
        return self._shapes[samples]

    def _measure_shape(self, samples: int) -> tuple[int, ...]:
        waveform = jax.ShapeDtypeStruct((1, samples), jnp.float32)
        lengths = jax.ShapeDtypeStruct((1,), jnp.int32)
        patches = jax.eval_shape(
            lambda *inputs: self.apply(*inputs).patches, self.params, waveform, lengths
        )
        return patches.shape[1:]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HostEncoder(CustomEncoder):
    """A custom encoder that runs outside of JAX, on NumPy arrays."""

    def identity(self) -> dict[str, Any]:
        """Everything that changes the tokens, except for an unknown precision."""
        return {**super().identity(), "precision": "its own"}

    def on(
        self, mesh: Mesh, *, all_layers: bool = False
    ) -> Callable[[Float[np.ndarray, "B S"], Int[np.ndarray, "B"]], Tokens]:
        """Returns a function that runs the model and moves its tokens to `mesh`.

        The model chooses its own device. It has one layer, whatever `all_layers` is.
        """

        def run(
            waveform: Float[np.ndarray, "B S"], lengths: Int[np.ndarray, "B"]
        ) -> Tokens:
            return distributed.shard(self._run(waveform, lengths), mesh)

        return run

    def __call__(self, waveform: Any, lengths: Any = None) -> Tokens:
        """Encodes a batch of clips, see `Encoder`."""
        # PyTorch warns about arrays that cannot be written to; copies can be.
        return self._run(*map(np.array, self._checked(waveform, lengths)))

    def apply(
        self, params: Params, waveform: Float[Arr, "B S"], lengths: Int[Arr, "B"]
    ) -> Tokens:
        """Refuses to be compiled: a compiled program cannot leave JAX.

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
        tokens = as_tokens(self.name, self.model(waveform, lengths), len(waveform), np)
        _, *shape = tokens.patches.shape
        before = self._shapes.setdefault(waveform.shape[1], tuple(shape))
        if tuple(shape) != before:
            raise InputError(
                f"{self.name} gives a grid {tuple(shape)} for clips of "
                f"{waveform.shape[1]} samples, and gave {before} before: it must not "
                "depend on the sound"
            )
        return tokens

    def _measure_shape(self, samples: int) -> tuple[int, ...]:
        # Not silence: models that divide by a standard deviation would warn.
        noise = np.random.default_rng(0).standard_normal((1, samples), np.float32) / 100
        return self._run(noise, np.full(1, samples, np.int32)).patches.shape[1:]


def _takes_params(model: Any) -> bool:
    """Whether the model is called as `apply(params, waveform, lengths)`."""
    return getattr(model, "jittable", True) and hasattr(model, "params")


def _check_model(name: str, model: Any) -> None:
    """Refuses an object that lacks a required attribute or has a wrong one."""
    facts = {fact: getattr(model, fact, None) for fact in REQUIRED}
    missing = [fact for fact, value in facts.items() if value is None]
    call = "apply(params, waveform, lengths)" if _takes_params(model) else CALL
    if not callable(getattr(model, call.partition("(")[0], None)):
        missing.append(call)
    if missing:
        raise InputError(
            f"{name} has no {', no '.join(missing)}: an encoder needs "
            f"{', '.join(REQUIRED)} and {CALL}"
        )
    for fact in ("sample_rate", "seconds_per_step"):
        value = facts[fact]
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"{fact} of {name} must be a number > 0, not {value!r}")
    if not isinstance(facts["version"], str | int) or facts["version"] == "":
        raise InputError(
            f"version of {name} must be a string or number that changes whenever its "
            f"tokens do, not {facts['version']!r}"
        )
    if getattr(model, "frequency_edges_hz", None) is not None:
        check_edges(name, model.frequency_edges_hz)


def _weights_identity(given: Any) -> str:
    """What identifies the weights: a file's content, or the argument as it is."""
    if given is None:
        return "its own"
    if not pathlib.Path(given).is_file():
        return str(given)
    with pathlib.Path(given).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _plain_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(options))
    except TypeError as error:
        raise InputError(
            f"options of {name} are part of the key of its tokens and must be numbers "
            f"and strings: {error}"
        ) from None
