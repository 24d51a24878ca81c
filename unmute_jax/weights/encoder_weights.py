"""The weights of an encoder, and where they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.checkpoints import Checkpoints
from unmute_jax.weights.mapping import Leaf, nested


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights of an encoder come from.

    Attributes:
        title: Name of the encoder, as its authors spell it.
        licence: Licence of the published weights.
        citation: Citation of the paper.
        code: Repository that published the files and the network.
        checkpoints: Reader of the files.
        published: (width, depth) of published models -> (name, attention heads).
    """

    title: str
    licence: str
    citation: str
    code: str
    checkpoints: Checkpoints
    published: Mapping[tuple[int, int], tuple[str, int]]

    @property
    def name(self) -> str:
        """Name in the registry of encoders, without the "+" of supervised variants."""
        return self.title.lower().replace("-", "_")

    def title_of(self, sizes: Any) -> str:
        """Title with the size: "EAT-base", or width x depth if that has no name."""
        size = sizes.width, sizes.depth
        name, _ = self.published.get(size, (f"{sizes.width}x{sizes.depth}", None))
        return f"{self.title}-{name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """The sizes of a network, and parameters that fit it.

    Attributes:
        sizes: Sizes of the network, of the type that its checkpoints use.
        num_heads: Number of attention heads.
        classes: Names of the outputs of the head; empty if there is none, or if they
            are unknown.
        leaves: Function that returns an iterator over the parameters, which are views
            of the file where possible.
        description: A description of the weights for people.
        licence: Licence of the weights.
        identity: "sha256:..." of the file, or how the weights were made.
        layout: The program that wrote the file, for people.
        used: Number of tensors of the file that are used.
        ignored: Name of what else the file holds -> why it is not used.
    """

    sizes: Any
    num_heads: int
    classes: tuple[str, ...]
    leaves: Callable[[], Iterator[Leaf]]
    description: str
    licence: str
    identity: str
    layout: str = ""
    used: int = 0
    ignored: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def params(self) -> dict[str, Any]:
        """Nested dict of float32 arrays on the default device.

        They are copied one by one: JAX would use aligned arrays where they lie, which
        is in the mapped file, and an encoder would follow whatever happens to that.

        Raises:
            InputError: A value is not finite, or the file was changed meanwhile.
        """
        return nested(
            (path, jax.device_put(np.array(array, np.float32, order="C")))
            for path, array in self.leaves()
        )


def describe(origin: Origin, sizes: Any, file_name: str) -> str:
    """Says which weights these are: "EAT-base, pre-trained, FILE"."""
    return f"{origin.title_of(sizes)}, {training_of(sizes)}, {file_name}"


def training_of(sizes: Any) -> str:
    """Returns "pre-trained", or "fine-tuned" for weights that have a head."""
    return "pre-trained" if sizes.classes is None else "fine-tuned"


def check_heads(sizes: Any, heads: int) -> int:
    """Returns `heads`.

    Raises:
        InputError: The width cannot be split into so many heads.
    """
    if heads < 1 or sizes.width % heads:
        raise InputError(
            f"width {sizes.width} cannot be split into {heads} heads: give num_heads"
        )
    return heads
