"""Where the weights of an encoder come from, and what they are once they are here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.contents import Canonical
from unmute_jax.weights.mapping import Leaf, Shape, nested


@runtime_checkable
class Checkpoints(Protocol):
    """What a module of this folder says of the checkpoints of an encoder.

    Its `Sizes`, a dataclass of whole numbers, have at least `width`, `depth` and
    `classes`, which is None without a classification head.
    """

    Sizes: type[Any]

    def canonical(self, content: Any, source: str, /) -> Canonical:
        """The tensors of the encoder, from the content of a file of any layout."""
        ...

    def read_sizes(
        self, tensors: Mapping[str, np.ndarray], content: Any, source: str, /
    ) -> Any:
        """The `Sizes` that canonical tensors have."""
        ...

    def choose_heads(
        self, sizes: Any, content: Any, given: int | None, source: str, /
    ) -> int:
        """The attention heads of a file; `given` says so where the file does not."""
        ...

    def base_sizes(self, width: int, depth: int, num_heads: int, /) -> Any:
        """`Sizes` in the proportions of the published base model."""
        ...

    def layout(self, sizes: Any, /) -> dict[str, Shape]:
        """Name -> shape of every canonical tensor."""
        ...

    def untrained(self, sizes: Any, seed: int, /) -> dict[str, np.ndarray]:
        """Random canonical tensors."""
        ...

    def leaves(
        self, tensors: Mapping[str, np.ndarray], sizes: Any, source: str, /
    ) -> Iterator[Leaf]:
        """Parameters of the network from canonical tensors, all of them, one by one."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights of an encoder come from.

    Attributes:
        title: Of the encoder, as its authors spell it.
        licence: Of the published weights.
        citation: Of the paper.
        code: The repository that the files and the network are of.
        checkpoints: Reads the files.
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
        """In the registry of encoders, without the "+" of supervised variants."""
        return self.title.lower()

    def title_of(self, sizes: Any) -> str:
        """With the size: "EAT-base", or width x depth where that has no name."""
        size = sizes.width, sizes.depth
        name, _ = self.published.get(size, (f"{sizes.width}x{sizes.depth}", None))
        return f"{self.title}-{name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """The sizes of a network, and parameters that fit it.

    Attributes:
        sizes: The `Sizes` of its checkpoints.
        num_heads: Attention heads.
        classes: Names of the outputs of the head; none without one, or unknown.
        leaves: Gives the parameters one by one, as views of the file where possible.
        description: For people: which weights these are.
        licence: Of the weights.
        identity: "sha256:..." of the file, or how the weights were made.
        layout: What wrote the file, for people.
        used: How many tensors of the file are.
        ignored: What else is in the file -> why it is not used.
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
        """A nested dict of float32 arrays on the default device.

        They go there one by one, so that no second copy of all of them is made.
        """
        return nested(
            (path, jax.device_put(np.ascontiguousarray(array, np.float32)))
            for path, array in self.leaves()
        )


def describe(origin: Origin, sizes: Any, file_name: str) -> str:
    """Which weights these are: "EAT-base, pre-trained, FILE"."""
    return f"{origin.title_of(sizes)}, {training_of(sizes)}, {file_name}"


def training_of(sizes: Any) -> str:
    """Only fine-tuned files hold a head."""
    return "pre-trained" if sizes.classes is None else "fine-tuned"


def check_heads(sizes: Any, heads: int) -> int:
    """`heads` itself.

    Raises:
        InputError: The width cannot be split into so many.
    """
    if heads < 1 or sizes.width % heads:
        raise InputError(
            f"width {sizes.width} cannot be split into {heads} heads: give num_heads"
        )
    return heads
