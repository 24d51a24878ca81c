"""AVES2 with an EAT: the constants of its front end, and its classifier."""

import re

import numpy as np

from tests import golden
from tests.encoders.stages import block_outputs, check_front_end, lengths
from unmute_jax.encoders import load_encoder

FILE = golden.MORE_ENCODERS / "aves2_eat_tiny.safetensors"
TINY = {"width": 32, "depth": 1, "num_heads": 2}


def untrained(frames):
    return load_encoder("aves2_eat", weights="untrained", target_frames=frames, **TINY)


def check_input(wave, want, what):
    got = untrained(len(want)).frontend(wave[None])[0]
    check_front_end(got, want, what, atol=1e-3, mean=1e-5)
    return np.asarray(got)


def test_eat_has_its_own_constants():
    front_end = golden.read(golden.MORE_ENCODERS / "frontend_aves2.npz")
    names = [re.fullmatch(r"eat_input_(\w+)_(\d+)", name) for name in front_end]
    found = [match for match in names if match]
    assert found
    for name in found:
        got = check_input(front_end[f"wav_{name[1]}"], front_end[name[0]], name[0])
        np.testing.assert_allclose(got[-1], 5.553 / 9.212, atol=1e-6)
    assert load_encoder("aves2_eat", FILE, num_heads=4).framing.target_frames == 1024


def test_inputs_and_first_blocks_equal_the_reference():
    encoder = load_encoder("aves2_eat", FILE, num_heads=4)
    arrays = golden.read(golden.MORE_ENCODERS / "aves2_eat_tiny.npz")
    found = lengths(arrays, "input")
    for length in found:
        x = arrays[f"input_{length}"][:, 0]
        if f"wave_{length}" in arrays:
            check_input(arrays[f"wave_{length}"], x[0], f"input_{length}")
        first, name = block_outputs(encoder, x)[0], f"block0_{length}"
        golden.assert_close(first, arrays[name], name, atol=2e-4, rtol=1e-4)


def test_the_classifier_of_eat_reads_the_class_token_without_a_norm():
    encoder = load_encoder("aves2_eat", FILE, num_heads=4)
    arrays = golden.read(golden.MORE_ENCODERS / "aves2_eat_tiny.npz")
    tokens = encoder.encode(arrays["input_160"][:, 0])
    golden.assert_close(
        encoder.logits(tokens), arrays["logits_160"], "logits", atol=2e-4
    )
