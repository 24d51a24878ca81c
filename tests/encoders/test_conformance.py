"""What every encoder promises; run over all that are registered."""

import json

import jax
import numpy as np
import pytest

from tests.encoders.versions import VERSIONS
from unmute_jax import distributed
from unmute_jax.encoders import list_encoders, load_encoder
from unmute_jax.errors import InputError

# Small networks, where the default is a full-size one.
_TINY_VIT = {"width": 16, "depth": 2, "num_heads": 2, "target_frames": 208}
_TINY_BEATS = {"width": 32, "depth": 2, "num_heads": 2}
_TINY_DASHENG = {"width": 16, "depth": 2, "num_heads": 2}
_VITS = ["asit", "audiomae", "audiomae+", "eat", "eat+", "sslam", "sslam+"]
TINY = dict.fromkeys(_VITS, _TINY_VIT)
TINY |= dict.fromkeys(["beats", "beats+"], _TINY_BEATS)
TINY |= dict.fromkeys(["dasheng", "dasheng+"], _TINY_DASHENG)
SECONDS, RATE = 2.0, 16000


def tiny(name, **options):
    return load_encoder(name, weights="untrained", **TINY.get(name, {}), **options)


@pytest.fixture(params=list_encoders(), scope="module")
def encoder(request):
    return tiny(request.param)


@pytest.fixture(scope="module")
def clips(encoder):
    """Three clips of 2 s, as the pipeline delivers them, and their real lengths."""
    samples = encoder.input_samples(SECONDS)
    lengths = np.array([2 * RATE, RATE, 3000], np.int32)
    noise = np.random.default_rng(0).standard_normal((3, samples), np.float32) / 10
    return np.where(np.arange(samples) < lengths[:, None], noise, 0), lengths


def close(got, want, atol=1e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def equal(got, want):
    close(got, want, atol=0)


def test_tokens_have_the_announced_shapes(encoder, clips):
    tokens = encoder(*clips)
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
    assert delivered - 2 * encoder.geometry.seconds_per_step < covered <= delivered


def test_frontend_then_encode_is_the_call(encoder, clips):
    close(encoder.encode(encoder.frontend(*clips)), encoder(*clips))


def test_all_layers_leave_the_tokens_alone(encoder, clips):
    tokens = encoder(*clips, all_layers=True)
    b, l, *rest = tokens.layers.shape
    assert (b, *rest) == tokens.patches.shape
    assert tokens.layer_cls.shape == (b, l, encoder.num_features)
    close(tokens.replace(layers=None, layer_cls=None), encoder(*clips))
    again = encoder.encode(encoder.frontend(*clips), all_layers=True)
    close(again.layers, tokens.layers)


def test_batched_equals_single(encoder, clips):
    waveform, lengths = clips
    singles = [encoder(waveform[i : i + 1], lengths[i : i + 1]) for i in range(3)]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *singles)
    close(encoder(*clips), together)


def test_what_lies_behind_a_clip_does_not_matter(encoder, clips):
    waveform, lengths = clips
    behind = np.arange(waveform.shape[1]) >= lengths[:, None]
    equal(encoder(np.where(behind, 0.5, waveform), lengths), encoder(*clips))


def test_a_clip_alone_equals_the_clip_padded(encoder, clips):
    waveform, lengths = clips
    alone = encoder(waveform[:1, : lengths[0]]).patches
    padded = encoder(waveform[:1], lengths[:1]).patches
    close(alone, padded[:, : alone.shape[1]], atol=1e-6)


def test_masks_hold_the_time_steps_of_the_clip(encoder, clips):
    masking = tiny(encoder.name, mask_padding=True)
    tokens = masking(*clips)
    step = encoder.geometry.seconds_per_step
    for length, mask in zip(clips[1], np.asarray(tokens.mask), strict=True):
        steps = mask.sum()
        assert mask[:steps].all()
        assert abs(steps * step - length / encoder.sample_rate) <= step
    equal(tokens.patches, encoder(*clips).patches)
    assert masking.identity() != encoder.identity()


def test_pure_apply_runs_on_two_devices(encoder, clips):
    waveform, lengths = (np.concatenate([x, x[:1]]) for x in clips)
    mesh = distributed.make_mesh(2)
    params = distributed.replicate(encoder.params, mesh)
    apply = jax.jit(encoder.apply)
    tokens = apply(params, *distributed.shard((waveform, lengths), mesh))
    close(tokens, encoder(waveform, lengths))


def test_one_compilation_serves_all_lengths(encoder):
    fresh = tiny(encoder.name)
    waveform = np.zeros((1, fresh.input_samples(SECONDS)), np.float32)
    for length in (1600, 16000, None):
        fresh(waveform, None if length is None else [length])
    assert fresh._apply._cache_size() == 1


def test_identity_tells_encoders_apart(encoder):
    identity = json.loads(json.dumps(encoder.identity()))
    assert identity == json.loads(json.dumps(tiny(encoder.name).identity()))
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


def test_numbers_of_this_version_are_the_stored_ones(encoder):
    samples = encoder.input_samples(SECONDS)
    time = np.arange(samples) / RATE
    sweep = np.sin(2 * np.pi * (200 + 1500 * time) * time) * np.exp(-time)
    tokens = encoder(sweep[None].astype(np.float32) / 4, [2 * RATE])
    patches = np.asarray(tokens.patches)
    got = [*patches[0, :, :, 7].mean(0), patches.std()]
    version, want = VERSIONS[encoder.name]
    hint = f"{encoder.name} gives other tokens than before: bump its version"
    assert version == encoder.version, "store the numbers of the new version"
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-4, err_msg=hint)


def test_wrong_waveforms_are_refused(encoder):
    with pytest.raises(InputError, match=r"shape \[clips, samples\]"):
        encoder(np.zeros(16000, np.float32))
    with pytest.raises(InputError, match="int16"):
        encoder(np.zeros((1, 16000), np.int16))
    with pytest.raises(InputError, match="numbers up to 16000"):
        encoder(np.zeros((1, 16000), np.float32), [16001])
    with pytest.raises(InputError, match="the shortest here has 10"):
        encoder(np.zeros((2, 16000), np.float32), [16000, 10])
    with pytest.raises(InputError):
        encoder.encode(np.zeros((1, 100, 7), np.float32))


def test_unknown_names_and_options_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'logmel'"):
        load_encoder("log-mel")
    with pytest.raises(InputError, match="did you mean 'mask_padding'"):
        load_encoder("eat", weights="untrained", mask_paddings=True)
    with pytest.raises(InputError, match="not both"):
        load_encoder("eat", "file.pt", weights="untrained")
    with pytest.raises(InputError, match="'random' is not known"):
        load_encoder("eat", weights="random")
