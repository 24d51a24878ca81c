"""The fused maximum of cosines against the plain formula and its autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.ops import argmax_search, max_cosine, max_product, min_mean_max
from unmute_jax.tokens import inverse_norms

B, N, D, P, K = 5, 7, 16, 7, 3

# Bytes of scores that may exist at a time: all of them; those of two clips, so that the
# last chunk is ragged; those of four prototypes, likewise; a single prototype and clip.
CHUNKS = {"whole": 1 << 30, "clips": 2 * 4 * N * P, "bank": 4 * 4 * N, "single": 1}


def draw(seed=0, dtype=np.float32, binary=False, trials=()):
    rng = np.random.default_rng(seed)
    tokens = rng.standard_normal((B, N, D), np.float32).astype(dtype)
    mask = rng.random((B, N)) < 0.7
    mask[:, 2] = True
    bank = rng.standard_normal((*trials, P, D), np.float32)
    if binary:
        bank = np.where(bank >= 0, np.float32(1), np.float32(-1))
    weights = rng.standard_normal((*trials, B, P), np.float32)
    return tokens, mask, bank, weights


def plain(tokens, norms, mask, bank, binary=False):
    """The formula as one writes it, in float32."""
    tokens = tokens.astype(jnp.float32)
    scores = jnp.einsum("bnd,pd->bnp", tokens, bank) * norms[:, :, None]
    scores = scores / jnp.linalg.norm(bank, axis=-1)[None, None]
    return jnp.where(mask[:, :, None], scores, -jnp.inf).max(1)


def weighted(f, tokens, mask, bank, weights, **options):
    best = f(tokens, inverse_norms(tokens), mask, bank, **options)
    return (best * weights).sum(), best


@functools.cache
def graded(f, wanted=2, chunk=None, **options):
    """The weighted sum, what is summed, and the gradient in the arguments `wanted`.

    It is compiled once for all tests with the same options. Argument 0 are the tokens,
    argument 2 the prototypes; `chunk` is one of `CHUNKS`.
    """
    loss = functools.partial(weighted, f, **options)
    return in_chunks(jax.value_and_grad(loss, wanted, has_aux=True), chunk)


def in_chunks(f, chunk):
    """`f` compiled with chunks of that many bytes; None leaves the default."""
    compiled = jax.jit(f)

    def call(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            if chunk is not None:
                size = CHUNKS[chunk]
                patch.setattr(argmax_search, "chunk_bytes", lambda: size)
            return compiled(*arguments)

    return call


def assert_close(actual, expected, tolerance=1e-5):
    def check(a, e):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)

    jax.tree.map(check, actual, expected)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("binary", [False, True])
def test_equals_plain_formula_and_its_autodiff(binary, chunk):
    data = draw(binary=binary)
    (value, best), gradient = graded(max_cosine, (0, 2), chunk, binary=binary)(*data)
    (wanted, wanted_best), wanted_gradient = graded(plain, (0, 2))(*data)
    np.testing.assert_allclose(best, wanted_best, atol=1e-6)
    assert_close((value, gradient), (wanted, wanted_gradient))


@pytest.mark.parametrize("matrix_unit", [False, True])
def test_float32_tokens_that_are_split_lose_nothing(matrix_unit, monkeypatch):
    monkeypatch.setattr("unmute_jax.ops.exact.has_matrix_unit", lambda: matrix_unit)
    tokens, mask, bank, weights = draw(binary=True)
    exact = np.einsum(
        "bnd,pd->bnp", *(np.asarray(a, np.float64) for a in (tokens, bank))
    )
    norms = np.linalg.norm(np.asarray(tokens, np.float64), axis=-1) * D**0.5
    expected = np.where(mask[:, :, None], exact / norms[:, :, None], -np.inf).max(1)
    binary = jax.jit(functools.partial(max_cosine, binary=True))
    actual = binary(tokens, inverse_norms(tokens), mask, bank)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-7)
    gradient = jax.grad(lambda *a: weighted(max_cosine, *a, binary=True)[0], 2)
    jaxpr = jax.make_jaxpr(gradient)(tokens, mask, bank, weights)
    assert ("bf16" in str(jaxpr)) == matrix_unit


def plain_min_mean_max(tokens, norms, mask, bank):
    scores = jnp.einsum("bnd,pd->bnp", tokens, bank) * norms[:, :, None]
    real = mask[:, :, None]
    count = mask.sum(1).astype(jnp.float32)[:, None]
    return (
        jnp.where(real, scores, jnp.inf).min(1),
        jnp.where(real, scores, 0.0).sum(1) / count,
        jnp.where(real, scores, -jnp.inf).max(1),
    )


@functools.cache
def graded_min_mean_max(f, chunk=None):
    def loss(tokens, norms, bank, mask, weights):
        values = f(tokens, norms, mask, bank)
        sizes = jnp.asarray([1.0, 2.0, 3.0])
        total = sum((v * weights).sum() * s for v, s in zip(values, sizes, strict=True))
        return total, tuple(values)

    return in_chunks(jax.value_and_grad(loss, (0, 1, 2), has_aux=True), chunk)


@pytest.mark.parametrize("chunk", ["clips", "bank"])
def test_min_mean_max_equals_the_plain_formula_and_its_autodiff(chunk):
    tokens, mask, bank, weights = draw()
    data = tokens, inverse_norms(tokens), bank, mask, weights
    assert_close(
        graded_min_mean_max(min_mean_max, chunk)(*data),
        graded_min_mean_max(plain_min_mean_max)(*data),
    )


def test_min_mean_max_of_trials_and_of_clips_without_real_positions():
    tokens, mask, bank, _ = draw(trials=(K,))
    mask[1] = False
    norms = inverse_norms(tokens)
    spoilt = np.where(mask[:, :, None], tokens, np.nan)
    stacked = jax.jit(jax.vmap(min_mean_max, (None, None, None, 0)))
    together = stacked(spoilt, norms, mask, bank)
    one = jax.jit(min_mean_max)
    for k in range(K):
        alone = jax.tree.map(np.asarray, one(tokens, norms, mask, bank[k]))
        assert_close(jax.tree.map(lambda x, k=k: x[k], together), alone)
        assert all((x[1] == 0).all() for x in alone)
        assert (alone.smallest <= alone.mean).all()
        assert (alone.mean <= alone.largest).all()


def test_products_with_any_scale_follow_the_plain_formula():
    tokens, mask, bank, _ = draw()
    scale = 1 + np.arange(B * N, dtype=np.float32).reshape(B, N)
    scores = np.einsum("bnd,pd->bnp", tokens, bank) * scale[:, :, None]
    expected = np.where(mask[:, :, None], scores, -np.inf).max(1)
    actual = jax.jit(max_product)(tokens, scale, mask, bank)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_gradients_in_one_argument_only():
    tokens, mask, bank, weights = draw()
    data = tokens, inverse_norms(tokens), bank, mask, weights

    def gradients(*data):
        def loss(f, tokens, norms, bank, mask, weights):
            return (f(tokens, norms, mask, bank) * weights).sum()

        return [
            [jax.grad(functools.partial(loss, f), i)(*data) for i in range(3)]
            for f in (max_cosine, plain)
        ]

    actual, expected = jax.jit(gradients)(*data)
    assert_close(actual, expected)


def test_the_first_of_equal_maxima_takes_the_gradient():
    tokens, mask, bank, weights = draw()
    tokens = np.repeat(tokens[:, :1], N, axis=1)
    mask[:, 0], mask[:, 1] = False, True
    _, (g, _) = graded(max_cosine, (0, 2))(tokens, mask, bank, weights)
    g = np.asarray(g)
    assert (g[:, 1] != 0).any()
    assert (np.delete(g, 1, axis=1) == 0).all()


def test_masked_positions_never_win_whatever_they_hold():
    tokens, mask, bank, weights = draw()
    compute = graded(max_cosine)
    expected = compute(tokens, mask, bank, weights)
    for junk in (1e30, np.nan):
        spoilt = np.where(mask[:, :, None], tokens, np.float32(junk))
        assert_close(compute(spoilt, mask, bank, weights), expected, 0)


def test_a_clip_without_real_positions_scores_zero_and_learns_nothing():
    tokens, mask, bank, weights = draw()
    mask[1] = False
    compute = graded(max_cosine, (0, 2))
    (value, best), (g_tokens, g_bank) = compute(tokens, mask, bank, weights)
    assert (best[1] == 0).all()
    assert (g_tokens[1] == 0).all()
    # The same as if it weighed nothing.
    mask[1], weights[1] = True, 0
    (expected, _), (_, g_expected) = compute(tokens, mask, bank, weights)
    assert_close((value, g_bank), (expected, g_expected))


def test_zero_tokens_and_zero_prototypes_have_the_cosine_zero():
    tokens, mask, bank, weights = draw()
    tokens[0], bank[2] = 0, 0
    results = graded(max_cosine, (0, 2))(tokens, mask, bank, weights)
    (_, best), (_, g_bank) = results
    assert (best[0] == 0).all()
    assert (best[:, 2] == 0).all()
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(results))
    # x / max(|x|, 1e-12): below the guard the norm is a constant.
    first = tokens[np.arange(B), mask.argmax(1)]
    unit = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    wanted = (weights[:, 2, None] * unit).sum(0) * 1e12
    np.testing.assert_allclose(g_bank[2], wanted, rtol=1e-5)


def test_the_gradient_is_the_closed_form_of_the_method():
    # (I - p p^T / D) z / sqrt(D) with z the unit token that matches best.
    tokens, mask, bank, weights = draw(binary=True)
    unit = tokens / np.linalg.norm(tokens, axis=-1, keepdims=True)
    scores = np.where(mask[:, :, None], unit @ bank.T, -np.inf)
    best = np.take_along_axis(unit, scores.argmax(1)[:, :, None], 1)
    radial = (best * bank[None]).sum(-1, keepdims=True) * bank[None] / D
    wanted = (weights[:, :, None] * (best - radial)).sum(0) / D**0.5
    compute = graded(max_cosine, (0, 2), "whole", binary=True)
    _, (_, actual) = compute(tokens, mask, bank, weights)
    np.testing.assert_allclose(actual, wanted, atol=1e-6)
    np.testing.assert_allclose((actual * bank).sum(-1), 0, atol=1e-5)


# XLA computes the maximum of a large array in another way than that of a small one.
@pytest.mark.parametrize("size", [(4, 7, 16, 6), (4, 512, 8, 1100)])
@pytest.mark.parametrize("op", [max_cosine, max_product, min_mean_max])
def test_nan_reaches_its_own_clip_and_prototype_only(op, size):
    b, n, d, p = size
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((b, n, d), np.float32)
    tokens[1, 2, 3] = tokens[2, 0] = np.nan
    mask = np.ones((b, n), bool)
    mask[2, 0] = False
    bank = rng.standard_normal((p, d), np.float32)
    bank[0, 0] = np.nan
    scale = np.ones((b, n), np.float32)
    for best in jax.tree.leaves(jax.jit(op)(tokens, scale, mask, bank)):
        broken = np.zeros((b, p), bool)
        broken[1], broken[:, 0] = True, True
        np.testing.assert_array_equal(np.isnan(best), broken)


@pytest.mark.parametrize("chunk", ["clips", "bank"])
@pytest.mark.parametrize("binary", [False, True])
def test_bfloat16_tokens_lose_nothing(binary, chunk):
    tokens, mask, bank, weights = draw(dtype=jnp.bfloat16, binary=binary)
    compute = graded(max_cosine, 2, chunk, binary=binary)
    (value, best), gradient = compute(tokens, mask, bank, weights)
    assert best.dtype == jnp.float32
    exact = tokens.astype(np.float32)
    wanted = compute(exact, mask, bank, weights)
    assert_close(((value, best), gradient), wanted, 1e-6)


@pytest.mark.parametrize("order", ["vmap of grad", "grad of vmap"])
@pytest.mark.parametrize("own_tokens", [False, True])
def test_trials_by_vmap_equal_one_at_a_time(order, own_tokens):
    tokens, mask, bank, weights = draw(binary=True, trials=(K,))
    if own_tokens:
        tokens = np.stack([tokens, 2 * tokens[::-1], -tokens])
    axes = (0 if own_tokens else None, None, 0, 0)
    alone = graded(max_cosine, (0, 2), "whole", binary=True)
    each = [
        alone(t, mask, bank[k], weights[k])[1]
        for k, t in enumerate(tokens if own_tokens else [tokens] * K)
    ]
    expected = [np.stack(parts) for parts in zip(*each, strict=True)]

    def one(*arguments):
        return weighted(max_cosine, *arguments, binary=True)[0]

    def gradients(*arguments):
        # The gradient in the prototypes alone skips that in the tokens.
        return stacked((0, 2))(*arguments), stacked(2)(*arguments)

    def stacked(wanted):
        if order == "vmap of grad":
            return jax.vmap(jax.grad(one, wanted), axes)
        return jax.grad(lambda *a: jax.vmap(one, axes)(*a).sum(), wanted)

    if order == "grad of vmap" and not own_tokens:
        expected[0] = expected[0].sum(0)  # the trials share the tokens
    both, bank_alone = jax.jit(gradients)(tokens, mask, bank, weights)
    assert_close(both, tuple(expected))
    assert_close(bank_alone, expected[1])


def test_nested_vmap_and_own_masks():
    tokens, mask, bank, _ = draw(trials=(2, K))
    masks = np.stack([mask, mask[::-1]])
    norms = np.asarray(inverse_norms(tokens))
    one = jax.jit(max_cosine)
    inner = jax.vmap(max_cosine, (None, None, None, 0))
    shared = jax.jit(jax.vmap(inner, (None, None, None, 0)))
    own = jax.jit(jax.vmap(inner, (None, None, 0, 0)))
    shared = np.asarray(shared(tokens, norms, mask, bank))
    own = np.asarray(own(tokens, norms, masks, bank))
    for i, k in np.ndindex(2, K):
        assert_close(shared[i, k], one(tokens, norms, mask, bank[i, k]))
        assert_close(own[i, k], one(tokens, norms, masks[i], bank[i, k]))


def test_shared_tokens_take_one_product_for_all_trials():
    tokens, mask, bank, _ = draw(trials=(K,))
    many = jax.vmap(max_cosine, (None, None, None, 0))
    lowered = jax.jit(many).lower(tokens, inverse_norms(tokens), mask, bank)
    products = [
        line
        for line in lowered.as_text().splitlines()
        if "stablehlo.dot_general" in line
    ]
    assert len(products) == 1
    assert f"{K * P}x{D}" in products[0] or f"{D}x{K * P}" in products[0]


def test_mapped_over_devices_equals_one_device(two_devices):
    tokens, mask, bank, weights = draw()
    tokens, mask, weights = tokens[:4], mask[:4], weights[:4]

    def loss(bank, tokens, mask, weights):
        return weighted(max_cosine, tokens, mask, bank, weights)[0]

    def step(*arguments):
        local = jax.value_and_grad(loss)(*arguments)
        return jax.lax.psum(local, distributed.BATCH)

    mapped = distributed.pmapped(
        step, two_devices, in_axes=(None, 0, 0, 0), out_axes=None
    )
    expected = jax.jit(jax.value_and_grad(loss))(bank, tokens, mask, weights)
    assert_close(mapped(bank, tokens, mask, weights), expected)


def temporary_bytes(f, *shapes):
    """Temporary memory of the compiled `f`, with 16 KiB of scores at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argmax_search, "chunk_bytes", lambda: 1 << 14)
        lowered = jax.jit(f).lower(*(jax.ShapeDtypeStruct(*s) for s in shapes))
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("trials", [(), (2,)])
def test_training_never_holds_all_scores(trials):
    b, n, d, p = 64, 128, 16, 64

    def loss(bank, tokens, norms, mask):
        one = functools.partial(max_cosine, tokens, norms, mask)
        return (jax.vmap(one) if trials else one)(bank).sum()

    shapes = (*trials, p, d), (b, n, d), (b, n), (b, n)
    dtypes = jnp.float32, jnp.float32, jnp.float32, bool
    memory = temporary_bytes(jax.grad(loss), *zip(shapes, dtypes, strict=True))
    assert memory < b * n * p  # the scores of one trial would take 4 times as much


@pytest.mark.parametrize("op", [max_cosine, min_mean_max])
def test_memory_does_not_grow_with_the_scores_of_a_large_bank(op):
    b, n, d, p = 4, 256, 8, 8192

    def loss(bank, tokens, norms, mask):
        return sum(x.sum() for x in jax.tree.leaves(op(tokens, norms, mask, bank)))

    shapes = (p, d), (b, n, d), (b, n), (b, n)
    dtypes = jnp.float32, jnp.float32, jnp.float32, bool
    memory = temporary_bytes(jax.grad(loss), *zip(shapes, dtypes, strict=True))
    assert memory < n * p  # a quarter of the scores of a single clip


def test_bfloat16_tokens_are_never_converted_as_a_whole():
    b, n, d, p = 64, 128, 256, 8

    def loss(bank, bits, norms, mask):
        tokens = jax.lax.bitcast_convert_type(bits, jnp.bfloat16)
        return max_cosine(tokens, norms, mask, bank, binary=True).sum()

    shapes = (p, d), (b, n, d), (b, n), (b, n)
    dtypes = jnp.float32, jnp.uint16, jnp.float32, bool
    memory = temporary_bytes(jax.grad(loss), *zip(shapes, dtypes, strict=True))
    assert memory < b * n * d  # half of what the tokens themselves take
