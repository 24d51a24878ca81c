"""Encoders against the reference implementations, with files of published layouts."""

import json
import re

import jax
import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import list_encoders, load_encoder

# The lists of cases, each of which lies beside its files.
INDEXES = (
    golden.ENCODERS / "cases.json",
    *sorted(golden.MORE_ENCODERS.glob("cases_*.json")),
)
# Entries of a case that do not name an array to compare with.
INPUTS = {"input", "spectrogram", "waveform", "atol"}
# Filter banks in float32 differ in almost empty cells.
WAVEFORM_ATOL = {"beats": 1e-2, "dasheng": 1e-3, "whisper": 1e-3, "ast": 1e-3}
# Encoders that leave tokens of padding out by default: the reference gives them.
WITH_PADDING = {"whisper": {"mask_padding": False}}

# Encoders and files that do not state the number of heads.
WITHOUT_HEADS = {
    "asit",
    "ast",
    "audiomae",
    "aves2_eat",
    "bird_mae",
    "bat_drive_tiny.pt",
}


def cases(having):
    """Every input of every golden case that has one of the keys `having`."""
    found = [
        {**case, "folder": index.parent}
        for index in INDEXES
        for case in json.loads(index.read_text())["cases"]
        if case["encoder"] in list_encoders()
    ]
    if not found:
        raise FileNotFoundError(f"no case for any encoder in {golden.FOLDER}")
    return [
        pytest.param(case, given, id=f"{case['weights']}-{given[keys[0]]}")
        for case in found
        for given in case["inputs"]
        if (keys := [key for key in having if given.get(key)])
    ]


def spectrogram_of(case, given):
    """The golden input of the network, `[B, frames, mels]`."""
    inputs = golden.read(case["folder"] / case.get("inputs_from", case["arrays"]))
    spectrogram = inputs[given.get("input") or given["spectrogram"]]
    if spectrogram.ndim == 4:
        return spectrogram[:, 0]
    # Dasheng's are stored with the mel bands first.
    return spectrogram.swapaxes(1, 2) if case["encoder"] == "dasheng" else spectrogram


def load(case, **options):
    return load_encoder(
        case["encoder"],
        case["folder"] / case["weights"],
        num_heads=case["num_heads"],
        **WITH_PADDING.get(case["encoder"], {}),
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
        limits = {"atol": atol, "rtol": case["rtol"]}
        golden.assert_close(values := got[what](), arrays[name], what, **limits)
        if what == "logits" and (name := name.replace(what, "probs")) in arrays:
            probabilities = jax.nn.sigmoid(values)
            golden.assert_close(probabilities, arrays[name], "probs", **limits)


@pytest.mark.parametrize(("case", "given"), cases(["input", "spectrogram"]))
def test_tokens_equal_the_reference(case, given):
    arrays = golden.read(case["folder"] / case["arrays"])
    spectrogram = spectrogram_of(case, given)
    encoder = load(case)
    tokens = encoder.encode(spectrogram, all_layers=True)
    check(encoder, tokens, case, given, arrays, given.get("atol", case["atol"]))


@pytest.mark.parametrize(("case", "given"), cases(["waveform"]))
def test_tokens_of_waveforms_equal_the_reference(case, given):
    arrays = golden.read(case["folder"] / case["arrays"])
    encoder = load(case)
    tokens = encoder(np.atleast_2d(arrays[given["waveform"]]))
    atol = case.get("waveform_atol") or WAVEFORM_ATOL[case["encoder"]]
    check(encoder, tokens, case, given, arrays, atol)


# Sizes in the configurations of the references, and what they are called here.
SIZES = {
    "width": "width",
    "encoder_embed_dim": "width",
    "depth": "depth",
    "encoder_layers": "depth",
    "encoder_ffn_embed_dim": "hidden",
    "conv_pos": "kernel",
    "conv_pos_groups": "groups",
    "num_buckets": "buckets",
    "max_distance": "max_distance",
    "n_mels": "mels",
    "n_audio_ctx": "positions",
    "time_stride": "stride",
    "frequency_stride": "stride",
}
HEADS = {"heads", "num_heads", "encoder_attention_heads"}


def configuration(arrays):
    """What the reference's configuration, stored beside the arrays, says."""
    stated = {
        match[1]: arrays[name].tolist()
        for name in arrays
        if (match := re.fullmatch(r"cfg_(\w+)", name)) and match[1] != "json"
    }
    for name in {"cfg_json", "config_json"} & arrays.keys():
        stated |= json.loads(str(arrays[name]))
    return stated


def test_sizes_are_those_of_the_reference():
    found = {
        p.values[0]["arrays"]: p.values[0] for p in cases(["input", "spectrogram"])
    }
    compared = set()
    for file, case in found.items():
        arrays = golden.read(case["folder"] / file)
        encoder, stated = load(case), configuration(arrays)
        sizes = encoder.network.sizes
        ours = {name: getattr(sizes, SIZES[name]) for name in SIZES.keys() & stated}
        ours |= dict.fromkeys(HEADS & stated.keys(), encoder.details()["num_heads"])
        if "embed_dim" in stated:
            ours["embed_dim"] = getattr(sizes, "patch_width", sizes.width)
        if "max_length" in stated:
            ours["max_length"] = sizes.positions // 8
        if "target_length" in stated:
            ours["target_length"] = sizes.positions * 4
        if "lengths" in stated:
            frames = [re.fullmatch(r"input_(\d+)", name) for name in arrays]
            ours["lengths"] = [int(match[1]) for match in frames if match]
        assert ours == {name: stated[name] for name in ours}, file
        compared |= ours.keys()
    assert {"width", "depth", "encoder_layers", "num_heads", "heads"} <= compared


def test_files_state_the_number_of_heads():
    found = cases(["input", "spectrogram", "waveform"])
    files = {p.values[0]["weights"]: p.values[0] for p in found}
    for case in files.values():
        if not {case["encoder"], case["weights"]} & WITHOUT_HEADS:
            encoder = load_encoder(case["encoder"], case["folder"] / case["weights"])
            assert case["num_heads"] in (None, encoder.details()["num_heads"])
