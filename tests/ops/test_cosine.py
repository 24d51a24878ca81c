"""The fused maximum of cosines against the plain formula and its autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.ops import max_cosine, max_product, product_range
from unmute_jax.tokens import inverse_norms

B, N, D, P, K = 5, 7, 16, 7, 3

# Bytes of scores: of everything at once; two clips at a time, so that the last chunk is
# ragged; four prototypes at a time, likewise; one prototype of one clip.
CHUNKS = {"whole": 1 << 30, "clips": 2 * 4 * N * P, "bank": 4 * 4 * N, "single": 1}


@pytest.fixture(params=CHUNKS.values(), ids=CHUNKS)
def chunk(request, monkeypatch):
    monkeypatch.setattr(
        "unmute_jax.ops.argmax_search.chunk_bytes", lambda: request.param
    )


def draw(seed=0, dtype=jnp.float32, binary=False, trials=()):
    keys = jax.random.split(jax.random.key(seed), 4)
    tokens = jax.random.normal(keys[0], (B, N, D)).astype(dtype)
    mask = jax.random.bernoulli(keys[1], 0.7, (B, N)).at[:, 2].set(True)
    bank = jax.random.normal(keys[2], (*trials, P, D))
    if binary:
        bank = jnp.where(bank >= 0, 1.0, -1.0)
    weights = jax.random.normal(keys[3], (*trials, B, P))
    return tokens, mask, bank, weights


def plain(tokens, norms, mask, bank):
    """The formula as one writes it; float32."""
    tokens = tokens.astype(jnp.float32)
    scores = jnp.einsum("bnd,pd->bnp", tokens, bank) * norms[:, :, None]
    scores = scores / jnp.linalg.norm(bank, axis=-1)[None, None]
    return jnp.where(mask[:, :, None], scores, -jnp.inf).max(1)


def weighted(f, tokens, mask, bank, weights, **options):
    return (f(tokens, inverse_norms(tokens), mask, bank, **options) * weights).sum()


def graded(f, wanted=2, **options):
    """The weighted sum and its gradient in the tokens (0) or the prototypes (2)."""
    return jax.jit(
        jax.value_and_grad(functools.partial(weighted, f, **options), wanted)
    )


def assert_close(actual, expected, tolerance=1e-5):
    def check(a, e):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)

    jax.tree.map(check, actual, expected)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("binary", [False, True])
def test_equals_plain_formula_and_its_autodiff(binary):
    tokens, mask, bank, weights = draw(binary=binary)
    norms = inverse_norms(tokens)
    np.testing.assert_allclose(
        max_cosine(tokens, norms, mask, bank, binary=binary),
        plain(tokens, norms, mask, bank),
        atol=1e-6,
    )
    assert_close(
        graded(max_cosine, (0, 2), binary=binary)(tokens, mask, bank, weights),
        graded(plain, (0, 2))(tokens, mask, bank, weights),
    )


@pytest.mark.parametrize("matrix_unit", [False, True])
def test_float32_tokens_lose_nothing_in_parts(matrix_unit, monkeypatch):
    monkeypatch.setattr("unmute_jax.ops.exact.has_matrix_unit", lambda: matrix_unit)
    tokens, mask, bank, weights = draw(binary=True)
    # Numbers of 24 bits, each with a value of its own.
    exact = np.einsum(
        "bnd,pd->bnp", *(np.asarray(a, np.float64) for a in (tokens, bank))
    )
    norms = np.linalg.norm(np.asarray(tokens, np.float64), axis=-1) * D**0.5
    expected = np.where(mask[:, :, None], exact / norms[:, :, None], -np.inf).max(1)
    actual = max_cosine(tokens, inverse_norms(tokens), mask, bank, binary=True)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-7)
    dots = jax.make_jaxpr(graded(max_cosine, binary=True))(tokens, mask, bank, weights)
    assert ("bf16" in str(dots)) == matrix_unit


@pytest.mark.usefixtures("chunk")
def test_the_range_of_products_equals_the_plain_formula_and_its_autodiff():
    tokens, mask, bank, weights = draw()
    norms = inverse_norms(tokens)

    def plain_range(tokens, norms, mask, bank):
        scores = jnp.einsum("bnd,pd->bnp", tokens, bank) * norms[:, :, None]
        real = mask[:, :, None]
        count = mask.sum(1).astype(jnp.float32)[:, None]
        return (
            jnp.where(real, scores, jnp.inf).min(1),
            jnp.where(real, scores, 0.0).sum(1) / count,
            jnp.where(real, scores, -jnp.inf).max(1),
        )

    def graded_range(f):
        def loss(tokens, norms, bank):
            values = f(tokens, norms, mask, bank)
            sizes = jnp.asarray([1.0, 2.0, 3.0])
            weighed = sum(
                (v * weights).sum() * s for v, s in zip(values, sizes, strict=True)
            )
            return weighed, tuple(values)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))

    assert_close(
        graded_range(product_range)(tokens, norms, bank),
        graded_range(plain_range)(tokens, norms, bank),
    )


def test_the_range_of_trials_and_of_clips_without_real_positions():
    tokens, mask, bank, _ = draw(trials=(K,))
    mask = mask.at[1].set(False)
    norms = inverse_norms(tokens)
    spoilt = jnp.where(mask[:, :, None], tokens, jnp.nan)
    together = jax.vmap(product_range, (None, None, None, 0))(spoilt, norms, mask, bank)
    for k in range(K):
        alone = product_range(tokens, norms, mask, bank[k])
        assert_close(jax.tree.map(lambda x, k=k: x[k], together), alone)
        assert all((x[1] == 0).all() for x in alone)
        assert (alone.smallest <= alone.mean).all()
        assert (alone.mean <= alone.largest).all()


def test_products_with_ones_own_scale_follow_the_plain_formula():
    tokens, mask, bank, _ = draw()
    scale = 1 + jnp.arange(B * N, dtype=jnp.float32).reshape(B, N)
    scores = jnp.einsum("bnd,pd->bnp", tokens, bank) * scale[:, :, None]
    expected = jnp.where(mask[:, :, None], scores, -jnp.inf).max(1)
    actual = max_product(tokens, scale, mask, bank)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_gradients_in_one_argument_only():
    tokens, mask, bank, weights = draw()
    norms = inverse_norms(tokens)

    def loss(f, tokens, norms, bank):
        return (f(tokens, norms, mask, bank) * weights).sum()

    for argument in range(3):
        actual, expected = (
            jax.jit(jax.grad(functools.partial(loss, f), argument))(tokens, norms, bank)
            for f in (max_cosine, plain)
        )
        assert_close(actual, expected)


def test_the_first_of_equal_maxima_takes_the_gradient():
    tokens, mask, bank, weights = draw()
    tokens = jnp.broadcast_to(tokens[:, :1], tokens.shape)
    mask = mask.at[:, 0].set(False).at[:, 1].set(True)
    _, g = graded(max_cosine, 0)(tokens, mask, bank, weights)
    assert (g[:, 1] != 0).any()
    assert (g.at[:, 1].set(0.0) == 0).all()


def test_masked_positions_never_win_whatever_they_hold():
    tokens, mask, bank, weights = draw()
    compute = graded(max_cosine)
    expected = compute(tokens, mask, bank, weights)
    for junk in (1e30, jnp.nan):
        spoilt = jnp.where(mask[:, :, None], tokens, junk)
        assert_close(compute(spoilt, mask, bank, weights), expected, 0)


def test_a_clip_without_real_positions_scores_zero_and_learns_nothing():
    tokens, mask, bank, weights = draw()
    mask = mask.at[1].set(False)
    value, (g_tokens, g_bank) = graded(max_cosine, (0, 2))(tokens, mask, bank, weights)
    rest = jnp.array([0, 2, 3, 4])
    expected, g_expected = graded(max_cosine)(
        tokens[rest], mask[rest], bank, weights[rest]
    )
    assert (max_cosine(tokens, inverse_norms(tokens), mask, bank)[1] == 0).all()
    assert (g_tokens[1] == 0).all()
    assert_close((value, g_bank), (expected, g_expected))


def test_zero_tokens_and_zero_prototypes_are_at_right_angles_to_everything():
    tokens, mask, bank, weights = draw()
    tokens, bank = tokens.at[0].set(0.0), bank.at[2].set(0.0)
    best = max_cosine(tokens, inverse_norms(tokens), mask, bank)
    assert (best[0] == 0).all()
    assert (best[:, 2] == 0).all()
    results = graded(max_cosine, (0, 2))(tokens, mask, bank, weights)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(results))
    # x / max(|x|, 1e-12): below the guard the norm is a constant.
    first = tokens[jnp.arange(B), mask.argmax(1)]
    unit = first * inverse_norms(first)[:, None]
    wanted = (weights[:, 2, None] * unit).sum(0) * 1e12
    np.testing.assert_allclose(results[1][1][2], wanted, rtol=1e-5)


def test_the_gradient_is_the_closed_form_of_the_method():
    # (I - p p^T / D) z / sqrt(D), z the unit token that matches best.
    tokens, mask, bank, weights = draw(binary=True)
    unit = tokens * inverse_norms(tokens)[:, :, None]
    scores = jnp.where(mask[:, :, None], unit @ bank.T, -jnp.inf)
    won = jnp.take_along_axis(unit, scores.argmax(1)[:, :, None], 1)
    radial = (won * bank[None]).sum(-1, keepdims=True) * bank[None] / D
    wanted = (weights[:, :, None] * (won - radial)).sum(0) / D**0.5
    _, actual = graded(max_cosine, binary=True)(tokens, mask, bank, weights)
    np.testing.assert_allclose(actual, wanted, atol=1e-6)
    np.testing.assert_allclose((actual * bank).sum(-1), 0, atol=1e-5)


# XLA takes the maximum of a large array by other means than that of a small one.
@pytest.mark.parametrize("size", [(4, 7, 16, 6), (4, 512, 8, 1100)])
@pytest.mark.parametrize("op", [max_cosine, max_product, product_range])
def test_not_a_number_is_passed_on_and_no_further(op, size):
    b, n, d, p = size
    keys = jax.random.split(jax.random.key(0))
    tokens = jax.random.normal(keys[0], (b, n, d)).at[1, 2, 3].set(jnp.nan)
    tokens = tokens.at[2, 0].set(jnp.nan)
    mask = jnp.ones((b, n), bool).at[2, 0].set(False)
    bank = jax.random.normal(keys[1], (p, d)).at[0, 0].set(jnp.nan)
    for best in jax.tree.leaves(jax.jit(op)(tokens, jnp.ones((b, n)), mask, bank)):
        broken = np.zeros((b, p), bool)
        broken[1], broken[:, 0] = True, True
        np.testing.assert_array_equal(np.isnan(best), broken)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("binary", [False, True])
def test_bfloat16_tokens_lose_nothing(binary):
    tokens, mask, bank, weights = draw(dtype=jnp.bfloat16, binary=binary)
    exact = tokens.astype(jnp.float32)
    norms = inverse_norms(tokens)

    def loss(tokens, bank):
        best = max_cosine(tokens, norms, mask, bank, binary=binary)
        assert best.dtype == jnp.float32
        return (best * weights).sum()

    compute = jax.jit(jax.value_and_grad(loss, 1))
    assert_close(compute(tokens, bank), compute(exact, bank), 1e-6)


@pytest.mark.parametrize("order", ["vmap of grad", "grad of vmap"])
@pytest.mark.parametrize("own_tokens", [False, True])
def test_trials_by_vmap_equal_one_at_a_time(order, own_tokens):
    tokens, mask, bank, weights = draw(binary=True, trials=(K,))
    if own_tokens:
        tokens = jnp.stack([tokens, 2 * tokens[::-1], -tokens])
    axes = (0 if own_tokens else None, None, 0, 0)
    one = functools.partial(weighted, max_cosine, binary=True)
    alone = jax.jit(jax.grad(one, (0, 2)))
    each = [
        alone(t, mask, bank[k], weights[k])
        for k, t in enumerate(tokens if own_tokens else [tokens] * K)
    ]
    expected = [jnp.stack(parts) for parts in zip(*each, strict=True)]

    def many(wanted):
        if order == "vmap of grad":
            return jax.jit(jax.vmap(jax.grad(one, wanted), axes))
        return jax.jit(jax.grad(lambda *a: jax.vmap(one, axes)(*a).sum(), wanted))

    if order == "grad of vmap" and not own_tokens:
        expected[0] = expected[0].sum(0)  # all trials meet in the shared tokens
    assert_close(many((0, 2))(tokens, mask, bank, weights), tuple(expected))
    assert_close(many(2)(tokens, mask, bank, weights), expected[1])


def test_nested_vmap_and_own_masks():
    tokens, mask, bank, _ = draw(trials=(2, K))
    masks = jnp.stack([mask, mask[::-1]]).at[:, :, 2].set(True)
    norms = inverse_norms(tokens)
    one = jax.jit(max_cosine)
    inner = jax.vmap(one, (None, None, None, 0))
    shared = jax.vmap(inner, (None, None, None, 0))(tokens, norms, mask, bank)
    own = jax.vmap(inner, (None, None, 0, 0))(tokens, norms, masks, bank)
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


def test_mapped_over_devices_equals_one_device():
    tokens, mask, bank, weights = draw()
    tokens, mask, weights = tokens[:4], mask[:4], weights[:4]

    def step(bank, tokens, mask, weights):
        local = graded(max_cosine)(tokens, mask, bank, weights)
        return jax.lax.psum(local, distributed.BATCH)

    mapped = distributed.pmapped(
        step, distributed.make_mesh(2), in_axes=(None, 0, 0, 0), out_axes=None
    )
    expected = graded(max_cosine)(tokens, mask, bank, weights)
    assert_close(mapped(bank, tokens, mask, weights), expected)


def temporary_bytes(f, *shapes):
    """Of the compiled `f`, which scores 16 KiB at a time; (shape, dtype) each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unmute_jax.ops.argmax_search.chunk_bytes", lambda: 1 << 14)
        lowered = jax.jit(f).lower(*(jax.ShapeDtypeStruct(*s) for s in shapes))
    return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("trials", [(), (2,)])
def test_no_tensor_of_all_scores_in_training(trials):
    b, n, d, p = 64, 128, 16, 64

    def loss(bank, tokens, norms, mask):
        one = functools.partial(max_cosine, tokens, norms, mask)
        return (jax.vmap(one) if trials else one)(bank).sum()

    shapes = (*trials, p, d), (b, n, d), (b, n), (b, n)
    dtypes = jnp.float32, jnp.float32, jnp.float32, bool
    memory = temporary_bytes(jax.grad(loss), *zip(shapes, dtypes, strict=True))
    assert memory < b * n * p  # the scores of one trial would take 4 times as much


@pytest.mark.parametrize("op", [max_cosine, product_range])
def test_memory_does_not_grow_with_the_scores_of_a_large_bank(op):
    b, n, d, p = 4, 256, 8, 8192

    def loss(bank, tokens, norms, mask):
        return sum(x.sum() for x in jax.tree.leaves(op(tokens, norms, mask, bank)))

    shapes = (p, d), (b, n, d), (b, n), (b, n)
    dtypes = jnp.float32, jnp.float32, jnp.float32, bool
    memory = temporary_bytes(jax.grad(loss), *zip(shapes, dtypes, strict=True))
    assert memory < n * p  # a quarter of the scores of a single clip


def test_bfloat16_tokens_are_never_widened_as_a_whole():
    b, n, d, p = 64, 128, 256, 8

    def loss(bank, bits, norms, mask):
        tokens = jax.lax.bitcast_convert_type(bits, jnp.bfloat16)
        return max_cosine(tokens, norms, mask, bank, binary=True).sum()

    shapes = (p, d), (b, n, d), (b, n), (b, n)
    dtypes = jnp.float32, jnp.uint16, jnp.float32, bool
    memory = temporary_bytes(jax.grad(loss), *zip(shapes, dtypes, strict=True))
    assert memory < b * n * d  # half of what the tokens themselves take
