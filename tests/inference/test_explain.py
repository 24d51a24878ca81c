"""What a map says must follow from the logit that it explains."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.inference import explain
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.tokens import Tokens

B, T, F, D, C, J = 3, 4, 3, 12, 3, 2

KINDS = {
    "protobin": ("protobin", {}),
    "protofloat": ("protofloat", {}),
    "protofloat focal": ("protofloat", {"focal": True}),
    "protofloat block": ("protofloat", {"classifier": "block"}),
    "proto": ("proto", {}),
    "proto focal": ("proto", {"focal": True}),
    "proto upsampled": ("proto", {"upsample": True}),
    "proto dense": ("proto", {"classifier": "dense", "non_negative": False}),
}
MAPS = ("similarity_maps", "evidence_maps", "share_maps")
every_kind = pytest.mark.parametrize("kind", KINDS)


def draw(steps=(T, 2, 3)):
    keys = jax.random.split(jax.random.key(0), 2)
    return Tokens(
        patches=jax.random.normal(keys[0], (len(steps), T, F, D)),
        cls=0.3 * jax.random.normal(keys[1], (len(steps), D)),
        mask=jnp.arange(T)[None] < jnp.array(steps)[:, None],
    )


@functools.cache
def made(kind):
    """A probe with weights of either sign, and all that is said of it, compiled."""
    name, options = KINDS[kind]
    probe = make_probe(name, num_classes=C, prototypes_per_class=J, **options)
    shapes = jax.eval_shape(probe.init, jax.random.key(1), draw())
    rng = np.random.default_rng(2)
    variables = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)

    @jax.jit
    def told(variables, tokens):
        names = (*MAPS, "matches", "winners")
        every = {n: getattr(explain, n)(probe, variables, tokens) for n in names}
        every["sharp"] = explain.share_maps(probe, variables, tokens, spread=0.0)
        every["kernel"], every["bias"] = explain.class_weights(probe, variables)
        return every | {"logits": probe.apply(variables, tokens)}

    def host(tokens):
        return jax.tree.map(np.asarray, told(variables, tokens))

    return probe, variables, host


@functools.cache
def told(kind):
    """Everything about the usual clips."""
    return made(kind)[2](draw())


@every_kind
def test_the_best_of_each_map_is_the_score_that_enters_the_logit(kind):
    x = told(kind)
    maps, found = x["similarity_maps"], x["matches"]
    np.testing.assert_allclose(np.nanmax(maps, (2, 3)), found.scores, atol=1e-6)
    flat = np.nan_to_num(maps.reshape(*maps.shape[:2], -1), nan=-9.0)
    np.testing.assert_array_equal(flat.argmax(-1), found.cells)
    logits = found.scores @ x["kernel"] + x["bias"]
    np.testing.assert_allclose(logits, x["logits"], atol=2e-5)


@every_kind
def test_the_shares_of_the_cells_sum_to_the_logit(kind):
    x = told(kind)
    for maps in (x["share_maps"], x["sharp"]):
        summed = np.nansum(maps, (2, 3)) + x["bias"]
        np.testing.assert_allclose(summed, x["logits"], atol=2e-5)


@every_kind
def test_without_spread_the_best_cells_share_alone(kind):
    x = told(kind)
    b, c, t, f = x["sharp"].shape
    wanted = np.zeros((b, t * f, c))
    for clip, (scores, cells) in enumerate(zip(*x["matches"], strict=True)):
        np.add.at(wanted[clip], cells, scores[:, None] * x["kernel"])
    found = np.nan_to_num(x["sharp"]).reshape(b, c, -1)
    np.testing.assert_allclose(found, wanted.swapaxes(1, 2), atol=2e-5)


# Between two tokens, where `upsample` makes cells, there is no token to take alone.
@pytest.mark.parametrize("kind", [k for k in KINDS if "upsampled" not in k])
def test_evidence_is_the_logit_that_a_cell_would_have_alone(kind):
    probe, variables, _ = made(kind)
    x, tokens = told(kind), draw()
    b, t, f = np.array([(0, 0, 0), (0, 3, 2), (1, 1, 1), (2, 2, 0)]).T
    alone = Tokens(
        patches=tokens.patches[b, t, f][:, None, None],
        cls=tokens.cls[b],
        mask=jnp.ones((4, 1), bool),
    )
    logits = jax.jit(probe.apply)(variables, alone)
    evidence = x["evidence_maps"][b, :, t, f] + x["bias"]
    np.testing.assert_allclose(evidence, logits, atol=2e-5)


@every_kind
def test_evidence_is_the_weighted_sum_of_the_maps(kind):
    x = told(kind)
    summed = np.einsum("bptf,pc->bctf", x["similarity_maps"], x["kernel"])
    np.testing.assert_allclose(x["evidence_maps"], summed, atol=2e-5)
    times = 2 if "upsampled" in kind else 1
    assert summed.shape == (B, C, times * T, times * F)


@every_kind
def test_winners_are_the_most_similar_prototypes(kind):
    x = told(kind)
    maps, found = x["similarity_maps"], x["winners"]
    blank = np.isnan(maps).all(1)
    assert (found[blank] == -1).all()
    best = np.take_along_axis(maps, np.maximum(found, 0)[:, None], 1)[:, 0]
    np.testing.assert_array_equal(best[~blank], maps.max(1)[~blank])


def test_tokens_unlike_every_prototype_have_a_winner():
    probe, variables, _ = made("proto")
    least = -jnp.sum(variables["params"]["prototypes"], 0)
    patches = jnp.broadcast_to(least, (1, 1, 1, D))
    tokens = Tokens(patches=patches, cls=patches[:, 0, 0], mask=jnp.ones((1, 1), bool))
    assert not explain.similarity_maps(probe, variables, tokens).any()
    bank = explain.prototypes(probe, variables)
    assert explain.winners(probe, variables, tokens) == (bank @ least).argmax()


@every_kind
def test_masked_steps_are_blank(kind):
    x, mask = told(kind), np.asarray(draw().mask)
    for name in MAPS:
        real = np.repeat(mask, x[name].shape[2] // T, axis=1)
        assert np.isnan(x[name]).all((1, 3)).tolist() == (~real).tolist()
        assert np.isfinite(x[name][0]).all()


def test_a_clip_without_real_steps_has_the_logit_of_the_bias():
    x = made("protobin")[2](draw((0, 2, 3)))
    assert not x["matches"].scores[0].any()
    assert np.isnan(x["share_maps"][0]).all()
    np.testing.assert_allclose(x["logits"][0], x["bias"], atol=1e-6)


def test_chosen_prototypes_give_the_rows_of_all():
    probe, variables, _ = made("protobin")
    some = explain.similarity_maps(probe, variables, draw(), jnp.array([4, 1]))
    whole = told("protobin")["similarity_maps"]
    np.testing.assert_allclose(some, whole[:, [4, 1]], atol=1e-6)


def test_stored_tokens_are_explained_as_they_are():
    tokens = draw()
    stored = tokens.patches.astype(jnp.bfloat16)
    x, y = (
        made("protobin")[2](dataclasses.replace(tokens, patches=patches))
        for patches in (stored, stored.astype(jnp.float32))
    )
    for name in MAPS:
        np.testing.assert_allclose(x[name], y[name], atol=1e-6)


def test_prototypes_are_compared_as_signs_of_length_one():
    probe, variables, _ = made("protobin")
    found = np.asarray(explain.prototypes(probe, variables))
    np.testing.assert_allclose(abs(found), D**-0.5, rtol=1e-6)
    np.testing.assert_array_equal(found > 0, variables["params"]["prototypes"] >= 0)


@pytest.mark.parametrize(
    "name", sorted(set(list_probes()) - {"proto", "protobin", "protofloat"})
)
def test_other_probes_are_refused_with_those_that_can(name):
    probe = make_probe(name, num_classes=C)
    assert not explain.is_prototypical(probe)
    with pytest.raises(InputError, match="protobin, protofloat, proto"):
        explain.evidence_maps(probe, {}, draw())
