import numpy as np

from tests.training.fakes import store
from unmute_jax import distributed
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.training.data import ProbeData, pack, unpack


def test_int8_goes_to_the_device_as_it_is_and_is_scaled_there():
    clips = ProbeData([store("validation", dtype="int8")], "tokens")
    packed = pack(clips.read(np.arange(8)))
    assert packed.patches.dtype == np.int8
    made = unpack(packed)
    wanted = clips.read(np.arange(8)).floats()
    np.testing.assert_array_equal(made.patches, wanted.patches)
    assert made.scales is None


def test_splits_are_joined_in_order_and_read_the_same_from_disk(monkeypatch):
    stores = [store("train"), store("validation")]
    cached = ProbeData(stores, "tokens")
    monkeypatch.setattr(distributed, "host_memory", lambda: 0)
    streamed = ProbeData(stores, "tokens")
    assert (cached.is_cached, streamed.is_cached) == (True, False)
    rows = np.asarray([60, 3, 49, 50, 3])
    for name in ("patches", "inverse_norms", "cls", "mask"):
        ours = getattr(streamed.read(rows), name)
        np.testing.assert_array_equal(ours, getattr(cached.read(rows), name))
    np.testing.assert_array_equal(cached.read(rows).cls[0], stores[1].load().cls[10])
    assert cached.ids[60] == stores[1].ids[10]


def test_standardised_inputs_have_mean_zero_and_sd_one_over_real_tokens():
    train = store("train")
    fitted = FeatureNormaliser.fit([train])
    vectors = ProbeData([train], "summary", fitted).read(np.arange(50))
    for name in ("cls", "mean", "max", "std"):
        x = getattr(vectors, name)
        np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(x.std(0), 1, atol=1e-5)
    tokens = ProbeData([train], "tokens", fitted).read(np.arange(50))
    real = np.asarray(tokens.patches, np.float32)[np.asarray(tokens.mask)]
    real = real.reshape(-1, real.shape[-1])
    # The patches are stored in bfloat16, their statistics were taken before.
    np.testing.assert_allclose(real.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(real.std(0), 1, atol=0.01)
    norms = np.linalg.norm(np.asarray(tokens.patches, np.float32), axis=-1)
    np.testing.assert_allclose(tokens.inverse_norms * norms, 1, rtol=1e-5)


def test_standardising_uses_the_training_split_for_every_split():
    fitted = FeatureNormaliser.fit([store("train")])
    theirs = ProbeData([store("test")], "summary", fitted).read(np.arange(22)).mean
    raw = store("test").summary().mean
    wanted = (raw - fitted.summary_mean.mean) / fitted.summary_sd.mean
    np.testing.assert_allclose(theirs, wanted, rtol=1e-6)
