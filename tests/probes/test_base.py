"""The base class: logits of time steps, penalties, and the checks of options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import read
from tests.probes.fakes import draw, draw_small
from tests.probes.golden import (
    cases,
    check_case,
    layers_from,
    protobin_params,
    stem,
    tokens_from,
)
from tests.probes.test_layers import cgp_params, head2toe_params, linear_cgp_params
from tests.probes.test_linear import linear_params
from unmute_jax.errors import InputError
from unmute_jax.probes import make_probe
from unmute_jax.probes.base import steps_as_clips


def prototypes_of(case):
    return len(case["w.prototype_vectors"])


# Per reference: the probe, its options, parameters, inputs, and tokens made of them.
REFERENCES = {
    "bat_cgp_frame": (
        "cgp",
        lambda case: {"middle": "mean", "num_prototypes": prototypes_of(case)},
        cgp_params,
        (["patch_tokens"], layers_from),
    ),
    "bat_h2t_frame": (
        "head2toe",
        lambda case: {"input": "mean"},
        head2toe_params,
        (["patch_tokens"], layers_from),
    ),
    "bat_linear_cgp_frame": (
        "linear_cgp",
        lambda case: {"input": "mean"},
        linear_cgp_params,
        (["patch_tokens"], layers_from),
    ),
    "bat_linear_frame": (
        "linear",
        lambda case: {"input": "mean", "normalise": True},
        linear_params,
        (["patch_tokens"], lambda x: tokens_from(x[-1])),
    ),
    "bat_protobin_frame": (
        "protobin",
        lambda case: {
            "prototypes_per_class": prototypes_of(case) // case["out"].shape[2]
        },
        protobin_params,
        (["tokens"], tokens_from),
    ),
}


@pytest.mark.parametrize("path", cases("bat_*_frame.npz"), ids=stem)
def test_frames_equal_the_reference(path):
    case = read(path)
    name, options, to_params, inputs = REFERENCES[path.stem]
    probe = make_probe(name, num_classes=case["out"].shape[2], **options(case))
    check_case(probe, case, to_params, *inputs, method="frames")


def test_every_step_becomes_a_clip_with_all_that_belongs_to_it():
    x = jax.tree.map(np.asarray, draw().with_inverse_norms())
    clips = jax.tree.map(np.asarray, jax.jit(steps_as_clips)(x))
    b, t, f, d = x.patches.shape
    assert clips.patches.shape == (b * t, 1, f, d)
    for i, step in np.ndindex(b, t):
        k, only = i * t + step, slice(step, step + 1)
        np.testing.assert_array_equal(clips.layers[k], x.layers[i, :, only])
        for name in ("patches", "mask", "inverse_norms"):
            wanted = getattr(x, name)[i, only]
            np.testing.assert_array_equal(getattr(clips, name)[k], wanted)
        for name in ("cls", "layer_cls"):
            np.testing.assert_array_equal(getattr(clips, name)[k], getattr(x, name)[i])


@pytest.mark.parametrize(
    ("name", "has_penalty"),
    [("linear", False), ("protofloat", False), ("proto", True), ("head2toe", True)],
)
def test_only_some_probes_have_a_penalty(name, has_penalty, key):
    x = draw_small()
    x = x.replace(layers=x.patches[:, None], layer_cls=x.cls[:, None])
    probe = make_probe(name, num_classes=2)
    params = jax.jit(probe.init)(key, x)["params"]
    value = probe.penalty(params)
    assert value.shape == ()
    assert (value > 0) == has_penalty
    if has_penalty:
        twice = probe.clone(penalty_weight=2 * probe.penalty_weight)
        np.testing.assert_allclose(twice.penalty(params), 2 * value, rtol=1e-6)


@pytest.mark.parametrize("classes", [0, -1, True])
def test_number_of_classes_must_be_positive(classes):
    with pytest.raises(InputError, match="num_classes"):
        make_probe("linear", num_classes=classes)


def test_masked_tokens_are_zero_whatever_they_hold():
    x = draw_small()
    junk = jnp.where(x.mask[:, :, None, None], x.patches, jnp.inf)
    probe = make_probe("abmilp", num_classes=2)
    variables = jax.jit(probe.init)(jax.random.key(0), x)
    apply = jax.jit(probe.apply)
    np.testing.assert_array_equal(
        apply(variables, x.replace(patches=junk)), apply(variables, x)
    )
