"""The base class of all families of encoders whose checkpoints can be read.

To add a family, write a subclass in a file of its own. It says where in a file the
tensors of the encoder are, which sizes they show, which tensors a network of these
sizes needs, and which parameter each of them becomes.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from unmute_jax.weights.contents import EncoderTensors, stated_int
from unmute_jax.weights.mapping import Leaf, Rule, Shape, check_layout, map_tensors

HEAD_WIDTH = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of a network, as far as the shapes of its tensors show them.

    Attributes:
        width: D.
        depth: Number of blocks.
        hidden: Width inside the MLPs.
        positions: Rows of the position table.
        classes: Number of outputs of the head; None without one.
    """

    width: int
    depth: int
    hidden: int
    positions: int
    classes: int | None = None


class Checkpoints(abc.ABC):
    r"""Reads the checkpoints of one family of encoders.

    Attributes:
        sizes_type: Dataclass of the sizes of a network: whole numbers, among them
            `width`, `depth` and `classes`, which is None without a head.
        base_positions: Rows of the position table of the published base model.
        heads_paths: Places in the content of a file that may hold the number of heads.
        rules: The key map, from canonical names of tensors to paths of parameters.
    """

    sizes_type: ClassVar[type[Any]] = Sizes
    base_positions: ClassVar[int]
    heads_paths: ClassVar[Sequence[tuple[str, ...]]] = ()
    rules: ClassVar[Sequence[Rule]]

    @abc.abstractmethod
    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder in a file of any layout.

        Args:
            content: Content of a `weights.files.WeightsFile`.
            source: Name of the file, for messages.

        Raises:
            InputError: The file holds no state dict of tensors, or another encoder.
        """

    @abc.abstractmethod
    def read_sizes(self, found: EncoderTensors) -> Any:
        """Returns the sizes of the network that these tensors are of.

        Raises:
            InputError: A tensor that shows a size is missing or misshapen.
        """

    @abc.abstractmethod
    def layout(self, sizes: Any) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""

    def base_sizes(self, width: int, depth: int, num_heads: int) -> Any:
        """Returns sizes in the proportions of the published base model.

        Args:
            width: D.
            depth: Number of blocks.
            num_heads: Attention heads, on which tensors of some families depend.
        """
        return self.sizes_type(
            width=width, depth=depth, hidden=4 * width, positions=self.base_positions
        )

    def choose_heads(self, found: EncoderTensors, sizes: Any, given: int | None) -> int:
        """Returns the number of heads: `given`, or as the file states, or as usual.

        Raises:
            InputError: The file contradicts `given`, or nothing tells.
        """
        stated = stated_int(found.content, self.heads_paths)
        return given or stated or sizes.width // HEAD_WIDTH

    def untrained(self, sizes: Any, seed: int) -> dict[str, np.ndarray]:
        """Returns random tensors, the same on every device."""
        rng = np.random.default_rng(seed)
        layout = self.layout(sizes)
        return {name: self.draw(name, shape, rng) for name, shape in layout.items()}

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor, as most references initialise it.

        The patch embedding is Xavier-uniform, LayerNorms are the identity, other biases
        are 0 and everything else is normal with standard deviation 0.02.
        """
        if name.endswith("proj.weight") and len(shape) == 4:
            bound = np.sqrt(6 / (shape[0] + math.prod(shape[1:])))
            return rng.uniform(-bound, bound, shape).astype(np.float32)
        if len(shape) == 1:
            fill = np.zeros if name.endswith(".bias") else np.ones
            return fill(shape, np.float32)
        return np.float32(0.02) * rng.standard_normal(shape, np.float32)

    def leaves(
        self, tensors: Mapping[str, np.ndarray], sizes: Any, source: str
    ) -> Iterator[Leaf]:
        """Returns an iterator over the parameters of the network.

        Args:
            tensors: Canonical name -> tensor.
            sizes: Sizes of the network.
            source: The origin of the tensors, for messages.

        Raises:
            InputError: The tensors are not exactly those of `layout(sizes)`, or, once
                the iterator comes to it, one has a value that is not finite.
        """
        check_layout(tensors, self.layout(sizes), source)
        return map_tensors(tensors, self.rules, source)
