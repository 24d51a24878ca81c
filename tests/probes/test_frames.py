"""Logits per time step, against the reference and against clips of one step."""

import jax
import numpy as np
import pytest

from tests.golden import read
from tests.probes.golden import (
    affine,
    cases,
    check_case,
    layers_from,
    norm,
    protobin_params,
    tokens_from,
)
from tests.probes.test_conformance import TRAINED, B, C, T, draw
from tests.probes.test_golden_layers import (
    cgp_params,
    head2toe_params,
    linear_cgp_params,
)
from unmute_jax.errors import InputError
from unmute_jax.probes import make_probe

# What makes a probe leave the class token alone.
OPTIONS = {
    "cgp": {"middle": "mean", "num_prototypes": 6},
    "head2toe": {"input": "mean"},
    "linear": {"input": "mean"},
    "linear_cgp": {"input": "mean"},
    "linearc": {"input": "bands"},
    "mlp": {"input": "mean"},
    "simpool": {"query": "mean"},
}


def linear_params(case, kind):
    return {
        "norm": norm(case, f"{kind}.ln"),
        "classifier": affine(case, f"{kind}.fc"),
    }


REFERENCES = {
    "bat_cgp_frame": ("cgp", cgp_params),
    "bat_h2t_frame": ("head2toe", head2toe_params),
    "bat_linear_cgp_frame": ("linear_cgp", linear_cgp_params),
    "bat_linear_frame": ("linear", linear_params),
    "bat_protobin_frame": ("protobin", protobin_params),
}


@pytest.mark.parametrize("path", cases("bat_*_frame.npz"), ids=lambda p: p.stem)
def test_frames_equal_the_reference(path):
    case = read(path)
    name, to_params = REFERENCES[path.stem]
    options = dict(OPTIONS.get(name, {}))
    classes = case["out"].shape[2]
    if name == "cgp":
        options["num_prototypes"] = len(case["w.prototype_vectors"])
    if name == "protobin":
        options["prototypes_per_class"] = len(case["w.prototype_vectors"]) // classes
    if name == "linear":
        options["normalise"] = True
    probe = make_probe(name, num_classes=classes, **options)
    inputs = {
        "protobin": (["tokens"], tokens_from),
        "linear": (["patch_tokens"], lambda x: tokens_from(x[-1])),
    }.get(name, (["patch_tokens"], layers_from))
    check_case(probe, case, to_params, *inputs, method="frames")


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_is_a_clip_of_its_own_and_masks_hold(name):
    probe = make_probe(name, num_classes=C, **OPTIONS.get(name, {}))
    x = draw()
    variables = probe.init(jax.random.key(1), x)
    frames = jax.jit(lambda v, x: probe.apply(v, x, method="frames"))(variables, x)
    assert frames.shape == (B, T, C)
    assert np.isfinite(frames).all()
    if name == "conv":
        # A step sees its neighbours; their mean is what the clip has.
        real = np.asarray(x.mask)
        means = [f[r].mean(0) for f, r in zip(frames, real, strict=True)]
        np.testing.assert_allclose(means, probe.apply(variables, x), atol=1e-5)
        return
    step = jax.tree.map(lambda a: a[:1], x)
    step = step.replace(
        patches=step.patches[:, 2:3],
        layers=step.layers[:, :, 2:3],
        mask=step.mask[:, 2:3],
    )
    np.testing.assert_allclose(frames[0, 2], probe.apply(variables, step)[0], atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "mlp", "linearc", "cgp", "head2toe"])
def test_the_class_token_has_no_time(name):
    probe = make_probe(name, num_classes=C)
    x = draw()
    variables = probe.init(jax.random.key(1), x)
    with pytest.raises(InputError, match=r"reads the class token .* one per clip"):
        probe.apply(variables, x, method="frames")
