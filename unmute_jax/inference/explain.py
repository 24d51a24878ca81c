"""Explains the logits of prototypical probes by maps over time and frequency.

A prototypical probe describes a clip by the best match of each prototype, and applies
an affine map to these: `y_c = b_c + sum_p w_pc max_n s_p(n)`, where `s_p(n)` is the
similarity of prototype p to the token in cell n. `contribution_maps` assigns the
contribution `w_pc max_n s_p(n)` of every prototype to the cells that match it best, so
that the cells of a clip and `b_c` sum to the logit exactly.

The logits of other probes do not depend on one cell at a time, and have no such maps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.errors import InputError
from unmute_jax.probes import Probe
from unmute_jax.probes.base import einsum
from unmute_jax.probes.class_prototypes import (
    EXTRA,
    SHRINK,
    Proto,
    guarded_norms,
    upsampled,
)
from unmute_jax.probes.prototypes import (
    Protobin,
    Protofloat,
    as_sequence,
    sign,
    subtract_cls,
)
from unmute_jax.tokens import Tokens, inverse_norms

PROTOTYPICAL = (Protobin, Protofloat, Proto)
# On mixtures with known events, values from 0.05 to 0.3 assign about the same share of
# a contribution to the events of its class, and more than smaller or larger values.
SPREAD = 0.15
LEAST_WIDTH = 1e-6
Variables = Any


class BestMatches(NamedTuple):
    """The best match of each prototype in each clip.

    A clip without any valid time step has zeros.

    Attributes:
        scores: The similarities, which enter the logits.
        cells: The first cell `n = t * F + f` with this similarity; of a probe with
            layers="all", in the first layer that has it.
    """

    scores: Float[Array, "B P"]
    cells: Int[Array, "B P"]


def is_prototypical(probe: Probe) -> bool:
    """Whether the functions of this module support a probe."""
    return isinstance(probe, PROTOTYPICAL)


def check_prototypical(probe: Probe) -> None:
    """Checks that the functions of this module support a probe.

    Raises:
        InputError: They do not. The message names the probes that they support.
    """
    if not is_prototypical(probe):
        known = ", ".join(p.__name__.lower() for p in PROTOTYPICAL)
        raise InputError(
            f"{type(probe).__name__.lower()} has no maps of the evidence for a class; "
            f"the probes that have them are {known}"
        )


def prototypes(probe: Probe, variables: Variables) -> Float[Array, "P D"]:
    """The prototypes with norm 1, as signs if the probe is binary."""
    check_prototypical(probe)
    vectors = jnp.asarray(variables["params"]["prototypes"])
    if isinstance(probe, Protobin):
        vectors = sign(vectors)
    return vectors * inverse_norms(vectors)[:, None]


def class_weights(
    probe: Probe, variables: Variables
) -> tuple[Float[Array, "P C"], Float[Array, "C"]]:
    """The weights `w_pc` and biases `b_c`.

    A prototype that does not belong to a class has weight zero there.
    """
    check_prototypical(probe)
    params = jax.tree.map(jnp.asarray, variables["params"])
    if "classifier" in params:
        return params["classifier"]["kernel"], params["classifier"]["bias"]
    kernel, bias = params["kernel"], params["bias"]
    if isinstance(probe, Proto) and probe.non_negative:
        kernel = jax.nn.relu(kernel)
    if isinstance(probe, Protofloat | Proto) and probe.classifier == "block":
        c, j = kernel.shape
        own = jnp.repeat(jnp.eye(c), j, axis=0)
        kernel = own * kernel.reshape(c * j, 1) * jnp.ones((1, c))
    return kernel, bias


def best_matches(probe: Probe, variables: Variables, tokens: Tokens) -> BestMatches:
    """Finds the best match of each prototype in each clip.

    Args:
        probe: A prototypical probe.
        variables: The variables of the probe.
        tokens: The tokens as the probe reads them. `proto` with `upsample` doubles the
            map in both directions, which the cells refer to.

    Raises:
        InputError: The probe is not prototypical.
    """
    view = _view_of(probe, variables, tokens)

    def match_clip(clip: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        scores, mask = view.similarities(clip[0], clip[1]), clip[2]
        cells = jnp.where(mask[:, None], scores, -jnp.inf).argmax(0)
        best = jnp.take_along_axis(scores, cells[None], axis=0)[0]
        return jnp.where(mask.any(), best, 0.0), cells

    scores, found = lax.map(match_clip, (view.patches, view.scale, view.mask))
    t, f = view.grid
    return BestMatches(scores, found % (t * f))


def nearest_prototypes(
    probe: Probe, variables: Variables, tokens: Tokens
) -> Int[Array, "B *L T F"]:
    """Finds the prototype that is most similar to each token.

    On ties, the first prototype wins. Masked time steps have -1. The result has an axis
    of layers if the probe reads all of them side by side. The arguments and errors are
    those of `best_matches`.
    """
    # A token that is unlike all prototypes has a nearest one even if the probe sets
    # negative similarities to zero.
    view = _view_of(probe, variables, tokens)._replace(is_rectified=False)

    def match_clip(clip: tuple[Array, Array, Array]) -> Array:
        nearest = view.similarities(clip[0], clip[1]).argmax(1)
        return jnp.where(clip[2], nearest, -1)

    nearest = lax.map(match_clip, (view.patches, view.scale, view.mask))
    layers = (view.layers,) if view.layers > 1 else ()
    return nearest.reshape(len(nearest), *layers, *view.grid)


def contribution_maps(
    probe: Probe, variables: Variables, tokens: Tokens, spread: float = SPREAD
) -> Float[Array, "B C T F"]:
    """Computes what each cell contributes to each logit.

    Prototype p assigns to cell n the share `softmax_n(s_p(n) / (spread * sd_n s_p))` of
    its contribution `w_pc max_n s_p(n)`. The maps of a class and its bias sum to the
    logit. Where a probe reads all layers side by side, the maps of the layers are
    summed. One clip is processed at a time to save memory.

    Args:
        probe: A prototypical probe.
        variables: The variables of the probe.
        tokens: The tokens as the probe reads them.
        spread: How far below the best similarity, in standard deviations of the
            prototype's map, other cells still receive a share. As it approaches 0 the
            best cell receives everything.

    Returns:
        The maps, with NaN in masked time steps.

    Raises:
        InputError: The probe is not prototypical.
    """
    view = _view_of(probe, variables, tokens)
    kernel, _ = class_weights(probe, variables)

    def explain_clip(clip: tuple[Array, Array, Array]) -> Array:
        scores, mask = view.similarities(clip[0], clip[1]), clip[2][:, None]
        best = jnp.where(mask, scores, -jnp.inf).max(0)
        shares = jax.nn.softmax(scores / _widths(scores, mask, spread), 0, where=mask)
        contributions = einsum("np,pc->nc", shares * best[None], kernel)
        return jnp.where(mask, contributions, jnp.nan).T

    maps = lax.map(explain_clip, (view.patches, view.scale, view.mask))
    return maps.reshape(*maps.shape[:2], view.layers, *view.grid).sum(2)


def _widths(
    scores: Float[Array, "N P"], mask: Bool[Array, "N 1"], spread: float
) -> Float[Array, "1 P"]:
    """`spread` standard deviations of each prototype's similarities to valid cells."""
    deviation = jnp.std(scores, axis=0, where=mask, keepdims=True)
    # The contribution of a constant map is divided evenly.
    return jnp.maximum(spread * jnp.nan_to_num(deviation), LEAST_WIDTH)


class _View(NamedTuple):
    """Tokens and prototypes such that `scale_n * patches_n . bank_p` is `s_p(n)`.

    Attributes:
        patches: The tokens as a sequence `[B, N, D]` with frequency changing fastest.
        scale: The factor of each token.
        mask: Whether a token is valid.
        bank: The prototypes.
        grid: The numbers (T, F) of time steps and frequency patches.
        is_rectified: Whether the probe sets negative similarities to zero.
        layers: The number of layers whose tokens stand one after the other.
    """

    patches: Array
    scale: Float[Array, "B N"]
    mask: Bool[Array, "B N"]
    bank: Float[Array, "P D"]
    grid: tuple[int, int]
    is_rectified: bool
    layers: int = 1

    def similarities(self, patches: Array, scale: Array) -> Float[Array, "N P"]:
        """The similarities of one clip."""
        products = einsum("nd,pd->np", patches.astype(jnp.float32), self.bank)
        products = products * scale[:, None]
        return jax.nn.relu(products) if self.is_rectified else products


def _view_of(probe: Probe, variables: Variables, tokens: Tokens) -> _View:
    check_prototypical(probe)
    _, t, f, _ = tokens.patches.shape
    if isinstance(probe, Protobin):
        gates = variables["params"].get("gates")
        gates = None if gates is None else jnp.asarray(gates)
        tokens = probe.tokens_of(tokens, gates)
    else:
        tokens = tokens.with_inverse_norms()
    layers = tokens.patches.shape[1] // t
    if isinstance(probe, Protofloat | Proto) and probe.focal:
        tokens = subtract_cls(tokens)
    if isinstance(probe, Proto) and probe.upsample:
        tokens = upsampled(tokens)
    patches, scale, mask = as_sequence(tokens)
    if isinstance(probe, Proto):
        _, t, f, _ = tokens.patches.shape
        vectors = jnp.asarray(variables["params"]["prototypes"])
        bank = vectors / (SHRINK * guarded_norms(vectors, EXTRA))[:, None]
        scale = scale / jnp.sqrt(1.0 + EXTRA * jnp.square(scale))
    else:
        bank = prototypes(probe, variables)
    rectified = isinstance(probe, Proto)
    return _View(patches, scale, mask, bank, (t, f), rectified, layers)
