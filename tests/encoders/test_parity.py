"""Encoders against the reference implementations, with files of published layouts."""

import json

import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import list_encoders, load_encoder

# Entries of a case that do not name an array to compare with.
INPUTS = {"input", "spectrogram", "waveform", "atol"}
# Filter banks in float32 differ in almost empty cells.
WAVEFORM_ATOL = {"beats": 1e-2, "dasheng": 1e-3}

# Encoders whose files do not state the number of heads.
WITHOUT_HEADS = {"asit", "audiomae"}


def cases(having=()):
    """Every input of every golden case, with the keys `having`."""
    text = (golden.ENCODERS / "cases.json").read_text()
    found = [c for c in json.loads(text)["cases"] if c["encoder"] in list_encoders()]
    if not found:
        raise FileNotFoundError(f"no case for any encoder in {golden.ENCODERS}")
    return [
        pytest.param(case, given, id=f"{case['weights']}-{spectrogram_name(given)}")
        for case in found
        for given in case["inputs"]
        if given.keys() >= set(having)
    ]


def spectrogram_name(given):
    return given["input"] if "input" in given else given["spectrogram"]


def load(case, **options):
    return load_encoder(
        case["encoder"],
        golden.ENCODERS / case["weights"],
        num_heads=case["num_heads"],
        **options,
    )


def check(encoder, tokens, case, given, arrays, atol):
    """Compares every array that the case names with the output of the encoder."""
    b, t, f, d = tokens.patches.shape
    got = {
        "patches": lambda: tokens.patches.reshape(b, t * f, d),
        "cls": lambda: tokens.cls,
        # The mean takes the place of a missing class token.
        "mean": lambda: tokens.cls,
        "pooled": lambda: encoder.network.apply(
            {"params": encoder.params},
            encoder.head_input(tokens),
            method="normalise_head_input",
        ),
        "logits": lambda: encoder.logits(tokens),
    }
    wanted = {key: given[key] for key in given.keys() - INPUTS if given[key]}
    assert wanted
    for what, name in wanted.items():
        golden.assert_close(
            got[what](), arrays[name], what, atol=atol, rtol=case["rtol"]
        )


@pytest.mark.parametrize(("case", "given"), cases())
def test_tokens_equal_the_reference(case, given):
    arrays = golden.read(golden.ENCODERS / case["arrays"])
    inputs = golden.read(golden.ENCODERS / case.get("inputs_from", case["arrays"]))
    spectrogram = inputs[spectrogram_name(given)]
    if spectrogram.ndim == 4:
        spectrogram = spectrogram[:, 0]
    elif case["encoder"] == "dasheng":  # mel bands first
        spectrogram = spectrogram.swapaxes(1, 2)
    encoder = load(case)
    tokens = encoder.encode(spectrogram, all_layers=True)
    check(encoder, tokens, case, given, arrays, given.get("atol", case["atol"]))


@pytest.mark.parametrize(("case", "given"), cases(["waveform"]))
def test_tokens_of_waveforms_equal_the_reference(case, given):
    arrays = golden.read(golden.ENCODERS / case["arrays"])
    encoder = load(case)
    tokens = encoder(np.atleast_2d(arrays[given["waveform"]]))
    check(encoder, tokens, case, given, arrays, WAVEFORM_ATOL[case["encoder"]])


def test_files_state_the_number_of_heads():
    files = {p.values[0]["weights"]: p.values[0] for p in cases()}
    for case in files.values():
        if case["encoder"] not in WITHOUT_HEADS:
            encoder = load_encoder(case["encoder"], golden.ENCODERS / case["weights"])
            assert case["num_heads"] in (None, encoder.details()["num_heads"])
