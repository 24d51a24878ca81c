"""The promises of every registered encoder."""

import json

import jax
import numpy as np
import pytest

from tests.encoders.versions import VERSIONS
from unmute_jax.encoders import list_encoders, load_encoder
from unmute_jax.errors import InputError
from unmute_jax.ops.flops import _inner_jaxprs

# Small networks, where the default is a full-size one.
_TINY_VIT = {"width": 16, "depth": 2, "num_heads": 2, "target_frames": 208}
_TINY_BEATS = {"width": 32, "depth": 2, "num_heads": 2}
_TINY_DASHENG = {"width": 16, "depth": 2, "num_heads": 2}
_VITS = [
    "asit",
    "audiomae",
    "audiomae+",
    "aves2_eat",
    "bat",
    "eat",
    "eat+",
    "sslam",
    "sslam+",
]
TINY = dict.fromkeys(_VITS, _TINY_VIT)
TINY |= dict.fromkeys(["aves2_beats", "beats", "beats+", "openbeats"], _TINY_BEATS)
TINY |= dict.fromkeys(["bird_mae", "dasheng", "dasheng+"], _TINY_DASHENG)
TINY |= dict.fromkeys(["ast", "whisper"], _TINY_VIT)
# Untrained networks of a "+" are those of the same name without it.
NETWORKS = [name for name in list_encoders() if not name.endswith("+")]
SECONDS, RATE = 2.0, 16000


def tiny(name, **options):
    return load_encoder(name, weights="untrained", **TINY.get(name, {}), **options)


@pytest.fixture(params=NETWORKS, scope="module")
def encoder(request):
    """Every encoder, with all tokens, as the paper uses them."""
    return tiny(request.param, mask_padding=False)


@pytest.fixture(scope="module")
def clips(encoder):
    """Three inputs of up to 2 s, as the pipeline prepares them, and their lengths."""
    samples = encoder.input_samples(SECONDS)
    rate = encoder.sample_rate
    lengths = np.array([2 * rate, rate, rate * 17 // 80], np.int32)
    noise = np.random.default_rng(0).standard_normal((3, samples), np.float32) / 10
    return np.where(np.arange(samples) < lengths[:, None], noise, 0), lengths


@pytest.fixture(scope="module")
def tokens(encoder, clips):
    return encoder(*clips)


def close(got, want, atol=1e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def equal(got, want):
    close(got, want, atol=0)


def test_tokens_have_the_stated_shapes(encoder, tokens):
    t, f = encoder.grid(SECONDS)
    d = encoder.num_features
    assert tokens.patches.shape == (3, t, f, d)
    assert tokens.cls.shape == (3, d)
    assert tokens.mask.shape == (3, t)
    assert tokens.patches.dtype == tokens.cls.dtype == np.float32
    assert np.asarray(tokens.mask).all()
    assert tokens.layers is None
    assert tokens.layer_cls is None
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tokens))


def test_geometry_covers_the_grid(encoder):
    t, f = encoder.grid(SECONDS)
    edges = encoder.geometry.frequency_edges_hz
    assert len(edges) == f
    assert all(0 <= low < high <= encoder.sample_rate / 2 for low, high in edges)
    assert sorted(edges) == list(edges)
    covered = t * encoder.geometry.seconds_per_step
    delivered = encoder.input_samples(SECONDS) / encoder.sample_rate
    # Bird-MAE adds rows to the spectrogram of 5 s, and frames of BAT are centred.
    delivered += {"bird_mae": 0.121, "bat": 0.011}.get(encoder.name, 0.0)
    assert delivered - 2 * encoder.geometry.seconds_per_step < covered <= delivered


def test_layers_and_separate_steps_do_not_change_the_tokens(encoder, clips, tokens):
    got = encoder.encode(encoder.frontend(*clips), all_layers=True)
    b, l, *rest = got.layers.shape
    assert l == encoder.num_layers
    assert (b, *rest) == got.patches.shape
    assert got.layer_cls.shape == (b, l, encoder.num_features)
    close(got.replace(layers=None, layer_cls=None), tokens)
    for layers in (got.layers, got.layer_cls):
        assert np.isfinite(layers).all()


def test_batched_equals_single(encoder, clips, tokens):
    waveform, lengths = clips
    singles = [encoder(waveform[i : i + 1], lengths[i : i + 1]) for i in range(3)]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *singles)
    close(tokens, together)


def test_samples_behind_a_clip_do_not_matter(encoder, clips, tokens):
    waveform, lengths = clips
    behind = np.arange(waveform.shape[1]) >= lengths[:, None]
    equal(encoder(np.where(behind, 0.5, waveform), lengths), tokens)


def test_a_clip_alone_equals_the_clip_padded(encoder, clips):
    waveform, lengths = clips
    alone = encoder(waveform[:1, : lengths[0]]).patches
    padded = encoder(waveform[:1], lengths[:1]).patches
    close(alone, padded[:, : alone.shape[1]], atol=1e-6)


def test_masks_hold_the_steps_of_the_clip_on_two_devices(
    encoder, clips, tokens, two_devices
):
    masking = tiny(encoder.name, mask_padding=True)
    rows = np.array([0, 1, 2, 0])
    encode = masking.on(two_devices)
    got = encode(*(x[rows] for x in clips))
    assert len(got.patches.sharding.device_set) == 2
    step = encoder.geometry.seconds_per_step
    for length, mask in zip(clips[1][rows], np.asarray(got.mask), strict=True):
        steps = mask.sum()
        assert mask[:steps].all()
        assert abs(steps * step - length / encoder.sample_rate) <= step
    close(got.patches, np.asarray(tokens.patches)[rows])
    assert masking.identity() != encoder.identity()


def test_the_identity_distinguishes_encoders(encoder):
    identity = json.loads(json.dumps(encoder.identity()))
    again = tiny(encoder.name, mask_padding=False)
    assert identity == json.loads(json.dumps(again.identity()))
    assert identity["name"] == encoder.name
    assert identity["version"] == encoder.version
    assert encoder.licence
    assert encoder.description
    if encoder.params:
        other = load_encoder(
            encoder.name, weights="untrained", seed=1, **TINY[encoder.name]
        )
        assert identity != other.identity()
        assert "untrained (seed 1)" in other.description


def test_the_same_seed_gives_the_same_weights(encoder):
    equal(encoder.params, tiny(encoder.name).params)


@pytest.mark.parametrize("name", [n for n in list_encoders() if n.endswith("+")])
def test_supervised_variants_differ_in_published_weights_alone(name):
    variant, base = tiny(name), tiny(name.removesuffix("+"))
    assert type(variant) is type(base)
    assert variant.network == base.network
    equal(variant.params, base.params)
    assert VERSIONS[name] == VERSIONS[base.name]
    changes = {"name": name, "weights": variant.weights}
    assert variant.identity() == base.identity() | changes


def test_numbers_of_this_version_are_the_stored_ones(encoder):
    samples = encoder.input_samples(SECONDS)
    time = np.arange(samples) / encoder.sample_rate
    sweep = np.sin(2 * np.pi * (200 + 1500 * time) * time) * np.exp(-time)
    tokens = encoder(sweep[None].astype(np.float32) / 4, [2 * encoder.sample_rate])
    patches = np.asarray(tokens.patches)
    got = [*patches[0, :, :, 7].mean(0), patches.std()]
    version, want = VERSIONS[encoder.name]
    hint = f"{encoder.name} gives other tokens than before: bump its version"
    assert version == encoder.version, "store the numbers of the new version"
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-4, err_msg=hint)


def test_unknown_names_and_options_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'logmel'"):
        load_encoder("log-mel")
    with pytest.raises(InputError, match="did you mean 'mask_padding'"):
        load_encoder("eat", weights="untrained", mask_paddings=True)
    with pytest.raises(InputError, match="not both"):
        load_encoder("eat", "file.pt", weights="untrained")
    with pytest.raises(InputError, match="'random' is not known"):
        load_encoder("eat", weights="random")


def products(jaxpr):
    """All matrix products and convolutions of a computation."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation
        for inner in _inner_jaxprs(equation.params):
            yield from products(inner)


def test_float32_products_ask_for_full_precision(encoder, clips):
    # A CPU multiplies all digits anyway. GPUs and TPUs round first unless they are told
    # not to, and no test on a CPU would notice.
    with jax.default_matmul_precision("default"):
        traced = jax.make_jaxpr(encoder.apply)(encoder.params, *clips)
    found = list(products(traced.jaxpr))
    assert found
    for product in found:
        assert {x.aval.dtype for x in product.invars[:2]} == {np.dtype("float32")}
        assert product.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2
