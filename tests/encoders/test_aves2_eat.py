"""AVES2 with an EAT: the constants of its front end, and its classifier."""

import numpy as np

from tests import golden
from unmute_jax.encoders import load_encoder

FILE = golden.MORE_ENCODERS / "aves2_eat_tiny.safetensors"
TINY = {"width": 32, "depth": 1, "num_heads": 2}


def test_eat_has_its_own_constants():
    front_end = golden.read(golden.MORE_ENCODERS / "frontend_aves2.npz")
    encoder = load_encoder("aves2_eat", weights="untrained", target_frames=256, **TINY)
    got = np.asarray(encoder.frontend(front_end["wav_2s"][None])[0])
    error = np.abs(got - front_end["eat_input_2s_256"])
    assert error.max() <= 1e-3
    assert error.mean() <= 1e-5
    np.testing.assert_allclose(got[-1], 5.553 / 9.212, atol=1e-6)
    assert load_encoder("aves2_eat", FILE, num_heads=4).framing.target_frames == 1024


def test_the_classifier_of_eat_reads_the_class_token_without_a_norm():
    encoder = load_encoder("aves2_eat", FILE, num_heads=4)
    arrays = golden.read(golden.MORE_ENCODERS / "aves2_eat_tiny.npz")
    tokens = encoder.encode(arrays["input_160"][:, 0], all_layers=True)
    golden.assert_close(
        encoder.logits(tokens), arrays["logits_160"], "logits", atol=2e-4
    )
    first = np.concatenate(
        [tokens.layer_cls[:, :1], np.asarray(tokens.layers)[:, 0].reshape(1, 80, 48)], 1
    )
    golden.assert_close(first, arrays["block0_160"], "block0", atol=2e-4)
