"""Where in a clip a class was heard: maps over time and frequency.

A prototypical probe describes a clip by the best match of each prototype and puts an
affine map on top, `y_c = b_c + sum_p w_pc max_n s_p(n)`, with `s_p(n)` the similarity
of prototype p with the token in cell n. Three views of that:

* `similarity_maps`: `s_p(n)` itself. Its maximum over a clip is the score that enters
  the logits.
* `evidence_maps`: `e_c(n) = sum_p w_pc s_p(n)`, the class-weighted sum of those maps.
  `b_c + e_c(n)` is the logit that class c would have if the clip were cell n alone.
  The logit of the whole clip is no sum over this map, as every prototype takes its best
  cell, and the map is much the same for all classes: it shows what stands out at all.
* `share_maps`: what each cell adds to a logit. Every prototype's `w_pc max s_p` is
  dealt out to the cells that match it best; the cells of a clip and `b_c` sum to the
  logit exactly. This map tells classes apart; it is the one to look at.

Other probes have no such maps: their logits are no function of one cell at a time.
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
    less_cls,
    sign,
)
from unmute_jax.tokens import Tokens, inverse_norms

PROTOTYPICAL = (Protobin, Protofloat, Proto)
# On mixtures whose events are known, anything from 0.05 to 0.3 put about as much of a
# class's share into the events of that class, and more than wider or narrower ones.
SPREAD = 0.15
LEAST_WIDTH = 1e-6
Variables = Any


class Matches(NamedTuple):
    """The best match of each prototype in each clip.

    A clip without any real time step has zeros throughout.

    Attributes:
        scores: `[B, P]`, what enters the logits.
        cells: `[B, P]`, the first cell `n = t * F + f` that has this score.
    """

    scores: Float[Array, "B P"]
    cells: Int[Array, "B P"]


def is_prototypical(probe: Probe) -> bool:
    """Whether the functions of this file take the probe."""
    return isinstance(probe, PROTOTYPICAL)


def check_prototypical(probe: Probe) -> None:
    """Refuses probes that the functions of this file do not take.

    Raises:
        InputError: Names those that they take.
    """
    if not is_prototypical(probe):
        known = ", ".join(p.__name__.lower() for p in PROTOTYPICAL)
        raise InputError(
            f"{type(probe).__name__.lower()} has no maps that say where a class was "
            f"heard; probes that have are {known}"
        )


def prototypes(probe: Probe, variables: Variables) -> Float[Array, "P D"]:
    """The prototypes as they are compared, signs where the probe is binary; norm 1."""
    check_prototypical(probe)
    vectors = jnp.asarray(variables["params"]["prototypes"])
    if isinstance(probe, Protobin):
        vectors = sign(vectors)
    return vectors * inverse_norms(vectors)[:, None]


def class_weights(
    probe: Probe, variables: Variables
) -> tuple[Float[Array, "P C"], Float[Array, "C"]]:
    """`w_pc` and `b_c`; a class that does not see a prototype has zero there."""
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


def similarity_maps(
    probe: Probe,
    variables: Variables,
    tokens: Tokens,
    chosen: Int[Array, "X"] | None = None,
) -> Float[Array, "B X T F"]:
    """The similarity of each chosen prototype with every token; section 3.7 to 3.9.

    Args:
        probe: A prototypical one.
        variables: Its parameters.
        tokens: As the probe would get them. `proto` with `upsample` gives maps twice
            as large in both directions.
        chosen: Which prototypes; all by default, that is `[B, P, T, F]` numbers.

    Returns:
        NaN in masked time steps.

    Raises:
        InputError: The probe has no prototypes.
    """
    view = _look(probe, variables, tokens)
    bank = view.bank if chosen is None else view.bank[chosen]
    rows = view.patches.astype(jnp.float32)
    scores = einsum("bnd,xd->bxn", rows, bank) * view.scale[:, None]
    scores = view.bent(scores)
    scores = jnp.where(view.mask[:, None], scores, jnp.nan)
    return scores.reshape(*scores.shape[:2], *view.grid)


def evidence_maps(
    probe: Probe, variables: Variables, tokens: Tokens
) -> Float[Array, "B C T F"]:
    """The class-weighted sum of the prototypes' maps, without the bias.

    One clip at a time: nothing as large as all maps exists. Arguments, NaN and errors
    as for `similarity_maps`.
    """
    view = _look(probe, variables, tokens)
    kernel, _ = class_weights(probe, variables)

    if not view.rectified:
        # A weighted sum of products with one token is one product with the sum.
        view, kernel = view._replace(bank=einsum("pc,pd->cd", kernel, view.bank)), None

    def one(clip: tuple[Array, Array, Array]) -> Array:
        scores, mask = view.scores(clip[0], clip[1]), clip[2]
        evidence = scores if kernel is None else einsum("np,pc->nc", scores, kernel)
        return jnp.where(mask[:, None], evidence, jnp.nan).T

    maps = lax.map(one, (view.patches, view.scale, view.mask))
    return maps.reshape(*maps.shape[:2], *view.grid)


def matches(probe: Probe, variables: Variables, tokens: Tokens) -> Matches:
    """The best match of each prototype, and where it is; arguments as above."""
    view = _look(probe, variables, tokens)

    def one(clip: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        scores, mask = view.scores(clip[0], clip[1]), clip[2]
        cells = jnp.where(mask[:, None], scores, -jnp.inf).argmax(0)
        best = jnp.take_along_axis(scores, cells[None], axis=0)[0]
        return jnp.where(mask.any(), best, 0.0), cells

    return Matches(*lax.map(one, (view.patches, view.scale, view.mask)))


def winners(probe: Probe, variables: Variables, tokens: Tokens) -> Int[Array, "B T F"]:
    """The prototype that is most similar to each token, -1 in masked time steps.

    Of equals the first. Arguments and errors as for `similarity_maps`.
    """
    # Where negative ones count as 0, tokens unlike all prototypes have a nearest, too.
    view = _look(probe, variables, tokens)._replace(rectified=False)

    def one(clip: tuple[Array, Array, Array]) -> Array:
        return jnp.where(clip[2], view.scores(clip[0], clip[1]).argmax(1), -1)

    found = lax.map(one, (view.patches, view.scale, view.mask))
    return found.reshape(len(found), *view.grid)


def share_maps(
    probe: Probe, variables: Variables, tokens: Tokens, spread: float = SPREAD
) -> Float[Array, "B C T F"]:
    """What each cell adds to each logit; with the bias they sum to it. As above.

    Prototype p gives cell n the part `softmax_n(s_p(n) / (spread * sd_n s_p))` of what
    it adds, `w_pc max_n s_p(n)`.

    Args:
        probe: A prototypical one.
        variables: Its parameters.
        tokens: As the probe would get them.
        spread: How much less like a prototype than the best cell another may be, in
            standard deviations of the prototype's map. Towards 0 the best cell gets
            all.
    """
    view = _look(probe, variables, tokens)
    kernel, _ = class_weights(probe, variables)

    def one(clip: tuple[Array, Array, Array]) -> Array:
        scores, mask = view.scores(clip[0], clip[1]), clip[2][:, None]
        best = jnp.where(mask, scores, -jnp.inf).max(0)
        parts = jax.nn.softmax(scores / _widths(scores, mask, spread), 0, where=mask)
        added = einsum("np,pc->nc", parts * best[None], kernel)
        return jnp.where(mask, added, jnp.nan).T

    maps = lax.map(one, (view.patches, view.scale, view.mask))
    return maps.reshape(*maps.shape[:2], *view.grid)


def _widths(
    scores: Float[Array, "N P"], mask: Bool[Array, "N 1"], spread: float
) -> Float[Array, "1 P"]:
    """`spread` standard deviations of each prototype's map over the real cells."""
    deviation = jnp.std(scores, axis=0, where=mask, keepdims=True)
    # A map that is the same everywhere is dealt out evenly.
    return jnp.maximum(spread * jnp.nan_to_num(deviation), LEAST_WIDTH)


class _View(NamedTuple):
    """Tokens and prototypes such that `bent(scale_n * token_n . bank_p)` is `s_p(n)`.

    Tokens are a sequence, frequency fastest; `grid` says of how many (T, F).
    """

    patches: Array
    scale: Float[Array, "B N"]
    mask: Bool[Array, "B N"]
    bank: Float[Array, "P D"]
    grid: tuple[int, int]
    rectified: bool

    def bent(self, scores: Array) -> Array:
        """Negative similarities as the probe takes them."""
        return jax.nn.relu(scores) if self.rectified else scores

    def scores(self, patches: Array, scale: Array) -> Float[Array, "N P"]:
        """`s` of one clip."""
        products = einsum("nd,pd->np", patches.astype(jnp.float32), self.bank)
        return self.bent(products * scale[:, None])


def _look(probe: Probe, variables: Variables, tokens: Tokens) -> _View:
    check_prototypical(probe)
    tokens = tokens.with_inverse_norms()
    if isinstance(probe, Protofloat | Proto) and probe.focal:
        tokens = less_cls(tokens)
    if isinstance(probe, Proto) and probe.upsample:
        tokens = upsampled(tokens)
    patches, scale, mask = as_sequence(tokens)
    _, t, f, _ = tokens.patches.shape
    if isinstance(probe, Proto):
        vectors = jnp.asarray(variables["params"]["prototypes"])
        bank = vectors / (SHRINK * guarded_norms(vectors, EXTRA))[:, None]
        scale = scale / jnp.sqrt(1.0 + EXTRA * jnp.square(scale))
    else:
        bank = prototypes(probe, variables)
    return _View(patches, scale, mask, bank, (t, f), isinstance(probe, Proto))
