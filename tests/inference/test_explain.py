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
    "proto shared": ("proto", {"reading": "shared"}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
# With `upsample`, cells between two tokens do not belong to a single token.
tokens_only = pytest.mark.parametrize("kind", [k for k in KINDS if "ups" not in k])


def draw(steps=(T, 2, 3)):
    rng = np.random.default_rng(0)
    return Tokens(
        patches=rng.standard_normal((len(steps), T, F, D), np.float32),
        cls=np.float32(0.3) * rng.standard_normal((len(steps), D), np.float32),
        mask=np.arange(T)[None] < np.array(steps)[:, None],
    )


@functools.cache
def made(kind):
    """A probe with weights of both signs, and all of its explanations, compiled."""
    name, options = KINDS[kind]
    probe = make_probe(name, num_classes=C, prototypes_per_class=J, **options)
    shapes = jax.eval_shape(probe.init, jax.random.key(1), draw())
    rng = np.random.default_rng(2)
    variables = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), shapes)

    @jax.jit
    def explanations(variables, tokens):
        names = ("contribution_maps", "best_matches", "nearest_prototypes")
        every = {n: getattr(explain, n)(probe, variables, tokens) for n in names}
        every["sharp"] = explain.contribution_maps(probe, variables, tokens, spread=0.0)
        every["kernel"], every["bias"] = explain.class_weights(probe, variables)
        return every | {"logits": probe.apply(variables, tokens)}

    def on_host(tokens):
        return jax.tree.map(np.asarray, explanations(variables, tokens))

    return probe, variables, on_host


@functools.cache
def explained(kind):
    """All explanations of the default clips."""
    return made(kind)[2](draw())


@functools.cache
def similarities(kind):
    """The similarity of every prototype to every token `[B, P, T, F]`.

    It is that of clips with a single token; NaN in masked steps.
    """
    probe, variables, _ = made(kind)
    tokens = draw()
    cls = np.repeat(tokens.cls, T * F, axis=0)
    alone = Tokens(
        patches=tokens.patches.reshape(-1, 1, 1, D),
        cls=cls,
        mask=np.ones((B * T * F, 1), bool),
    )
    match = jax.jit(functools.partial(explain.best_matches, probe))
    scores = np.asarray(match(variables, alone).scores).reshape(B, T, F, -1)
    scores = np.where(np.asarray(tokens.mask)[:, :, None, None], scores, np.nan)
    return scores.transpose(0, 3, 1, 2)


@every_kind
def test_the_best_matches_give_the_logits(kind):
    x = explained(kind)
    logits = x["best_matches"].scores @ x["kernel"] + x["bias"]
    np.testing.assert_allclose(logits, x["logits"], atol=2e-5)


@tokens_only
def test_the_best_match_is_the_most_similar_token(kind):
    maps, found = similarities(kind), explained(kind)["best_matches"]
    np.testing.assert_allclose(np.nanmax(maps, (2, 3)), found.scores, atol=1e-6)
    flat = np.nan_to_num(maps.reshape(*maps.shape[:2], -1), nan=-9.0)
    np.testing.assert_array_equal(flat.argmax(-1), found.cells)


@every_kind
def test_the_contributions_of_the_cells_sum_to_the_logit(kind):
    x = explained(kind)
    for maps in (x["contribution_maps"], x["sharp"]):
        summed = np.nansum(maps, (2, 3)) + x["bias"]
        np.testing.assert_allclose(summed, x["logits"], atol=2e-5)


@every_kind
def test_without_spread_the_best_cells_receive_everything(kind):
    x = explained(kind)
    b, c, t, f = x["sharp"].shape
    wanted = np.zeros((b, t * f, c))
    for clip, (scores, cells) in enumerate(zip(*x["best_matches"], strict=True)):
        np.add.at(wanted[clip], cells, scores[:, None] * x["kernel"])
    found = np.nan_to_num(x["sharp"]).reshape(b, c, -1)
    np.testing.assert_allclose(found, wanted.swapaxes(1, 2), atol=2e-5)


@tokens_only
def test_the_nearest_prototype_is_the_most_similar_one(kind):
    maps, nearest = similarities(kind), explained(kind)["nearest_prototypes"]
    masked = np.isnan(maps).all(1)
    assert (nearest[masked] == -1).all()
    best = np.take_along_axis(maps, np.maximum(nearest, 0)[:, None], 1)[:, 0]
    np.testing.assert_allclose(best[~masked], maps.max(1)[~masked], atol=1e-6)


def test_a_token_unlike_every_prototype_has_a_nearest_one():
    probe, variables, _ = made("proto")
    least = -np.sum(variables["params"]["prototypes"], 0)
    patches = np.broadcast_to(least, (1, 1, 1, D))
    tokens = Tokens(patches=patches, cls=patches[:, 0, 0], mask=np.ones((1, 1), bool))
    found = made("proto")[2](tokens)
    assert not found["best_matches"].scores.any()
    bank = np.asarray(explain.prototypes(probe, variables))
    assert found["nearest_prototypes"] == (bank @ least).argmax()


@every_kind
def test_masked_steps_have_no_contribution(kind):
    maps, mask = explained(kind)["contribution_maps"], np.asarray(draw().mask)
    times = 2 if "upsampled" in kind else 1
    assert maps.shape == (B, C, times * T, times * F)
    valid = np.repeat(mask, times, axis=1)
    assert np.isnan(maps).all((1, 3)).tolist() == (~valid).tolist()
    assert np.isfinite(maps[0]).all()


def test_a_clip_without_valid_steps_has_the_logit_of_the_bias():
    x = made("protobin")[2](draw((0, 2, 3)))
    assert not x["best_matches"].scores[0].any()
    assert np.isnan(x["contribution_maps"][0]).all()
    np.testing.assert_allclose(x["logits"][0], x["bias"], atol=1e-6)


def test_stored_tokens_are_explained_as_they_are():
    tokens = draw()
    stored = tokens.patches.astype(jnp.bfloat16)
    x, y = (
        made("protobin")[2](dataclasses.replace(tokens, patches=patches))
        for patches in (stored, stored.astype(np.float32))
    )
    np.testing.assert_allclose(
        x["contribution_maps"], y["contribution_maps"], atol=1e-6
    )


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
        explain.contribution_maps(probe, {}, draw())


@pytest.mark.parametrize("layers", ["1", "learned", "all"])
def test_maps_of_other_layers_sum_to_the_logits_too(layers):
    rng = np.random.default_rng(4)
    x = draw()
    x = x.replace(
        layers=rng.standard_normal((B, 2, T, F, D), np.float32),
        layer_cls=rng.standard_normal((B, 2, D), np.float32),
    )
    probe = make_probe("protobin", num_classes=C, prototypes_per_class=J, layers=layers)
    shapes = jax.eval_shape(probe.init, jax.random.key(1), x)
    variables = jax.tree.map(
        lambda s: jnp.asarray(rng.standard_normal(s.shape, np.float32)), shapes
    )
    maps = np.asarray(explain.contribution_maps(probe, variables, x))
    assert maps.shape == (B, C, T, F)
    bias = np.asarray(variables["params"]["classifier"]["bias"])
    logits = probe.apply(variables, x)
    np.testing.assert_allclose(np.nansum(maps, (2, 3)) + bias, logits, atol=1e-5)
    best = explain.best_matches(probe, variables, x)
    assert np.asarray(best.cells).max() < T * F
    nearest = explain.nearest_prototypes(probe, variables, x)
    assert nearest.shape == ((B, 2, T, F) if layers == "all" else (B, T, F))
