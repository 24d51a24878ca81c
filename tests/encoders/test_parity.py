"""Encoders against the reference implementations, with weights of published layouts."""

import json

import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import list_encoders, load_encoder

# Their files do not tell the number of heads.
SILENT = {"asit", "audiomae"}


def cases():
    """Every case whose encoder exists here; at least one."""
    text = (golden.ENCODERS / "cases.json").read_text()
    found = [c for c in json.loads(text)["cases"] if c["encoder"] in list_encoders()]
    if not found:
        raise FileNotFoundError(f"no case for any encoder in {golden.ENCODERS}")
    return [
        pytest.param(case, given, id=f"{case['weights']}-{given['input']}")
        for case in found
        for given in case["inputs"]
    ]


@pytest.mark.parametrize(("case", "given"), cases())
def test_tokens_equal_the_reference(case, given):
    encoder = load_encoder(
        case["encoder"],
        golden.ENCODERS / case["weights"],
        num_heads=case["num_heads"],
    )
    arrays = golden.read(golden.ENCODERS / case["arrays"])
    inputs = golden.read(golden.ENCODERS / case.get("inputs_from", case["arrays"]))
    tokens = encoder.encode(inputs[given["input"]][:, 0], all_layers=True)
    b, t, f, d = tokens.patches.shape
    got = {
        "patches": lambda: tokens.patches.reshape(b, t * f, d),
        "cls": lambda: tokens.cls,
        "pooled": lambda: encoder.pooled(tokens),
        "logits": lambda: encoder.logits(tokens),
    }
    wanted = {what: arrays[given[what]] for what in got if given.get(what)}
    assert wanted
    assert given.keys() <= {"input", "atol", *got}
    for what, values in wanted.items():
        np.testing.assert_allclose(
            got[what](),
            values,
            atol=given.get("atol", case["atol"]),
            rtol=case["rtol"],
            err_msg=what,
        )


@pytest.mark.parametrize(
    ("case", "given"), [c for c in cases() if c.values[0]["encoder"] not in SILENT]
)
def test_the_file_says_how_many_heads(case, given):
    encoder = load_encoder(case["encoder"], golden.ENCODERS / case["weights"])
    assert case["num_heads"] in (None, encoder.details()["num_heads"])
