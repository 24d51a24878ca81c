import jax
import numpy as np
import pytest
from flax import traverse_util

from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.results import trained_check
from unmute_jax.tokens import Tokens, summarise

# D is a multiple of the numbers of heads and queries.
B, T, F, D, L, C = 7, 5, 2, 96, 3, 4


def tokens(probe, d=D):
    """What the probe reads."""
    layers = {
        "layers": np.zeros((B, L, T, F, d), np.float32),
        "layer_cls": np.zeros((B, L, d), np.float32),
    }
    return Tokens(
        patches=np.zeros((B, T, F, d), np.float32),
        cls=np.zeros((B, d), np.float32),
        mask=np.ones((B, T), bool),
        **(layers if probe.reads().needs_layers else {}),
    )


def flat_params(name, **options):
    """The probe, and parameters of zeros by their paths."""
    probe = make_probe(name, num_classes=C, **options)
    x = tokens(probe)
    if probe.is_fitted:
        params = probe.fit(summarise(x), np.zeros((B, C), np.float32))["params"]
    else:
        params = jax.eval_shape(probe.init, jax.random.key(0), x)["params"]
    flat = traverse_util.flatten_dict(params, sep="/")
    return probe, {k: np.zeros(v.shape, np.float32) for k, v in flat.items()}


def check(probe, params, features=None):
    trained_check.check_params(probe, params, F, features, "p: the probe")


@pytest.mark.parametrize("name", list_probes())
def test_tensors_fit_their_probe_or_are_named(name):
    probe, params = flat_params(name)
    check(probe, params)
    check(probe, params, D)
    first, *_ = params
    for changed, message in (
        ({first: params[first][None]}, rf"the tensor {first} of shape .* must be "),
        ({first: params[first].astype(np.float16)}, "of type float16, which must be"),
        ({"surprise": np.zeros(D, np.float32)}, "cannot have a tensor 'surprise'"),
    ):
        with pytest.raises(InputError, match=f"^p: the probe .*{message}"):
            check(probe, params | changed)
    without = {name: x for name, x in params.items() if name != first}
    with pytest.raises(InputError, match=r"lacks its tensor|cannot have these"):
        check(probe, without)
    with pytest.raises(InputError, match=r"which must be|cannot have these"):
        check(probe, params, D + 12)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linearc", {"input": "bands"}),
        ("stats", {"per_band": True}),
        ("mlp", {"hidden_layers": 3, "width": 10}),
        ("abmilp", {"depth": 4}),
        ("simpool", {"reading": "unprojected"}),
        ("proto", {"reading": "shared"}),
        ("proto", {"upsample": True}),
        *(
            (name, {"layers": layers})
            for name in ("linear", "mhca", "protobin", "stats")
            for layers in ("all", "learned", "-2")
        ),
    ],
)
def test_options_that_change_the_shapes_are_known(name, options):
    probe, params = flat_params(name, **options)
    check(probe, params)
    check(probe, params, D)


@pytest.mark.parametrize("name", list_probes())
def test_tokens_of_another_shape_are_refused(name):
    probe, params = flat_params(name)
    trained_check.check_tokens(probe, params, tokens(probe), "the probe")
    with pytest.raises(InputError, match="have 84 features in each of 2 frequency ba"):
        trained_check.check_tokens(probe, params, tokens(probe, 84), "the probe")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mlp", {"hidden_layers": 10**9}),
        ("abmilp", {"depth": 10**9}),
        ("conv", {"kernel_size": 10**9}),
        ("mhca", {"num_heads": 10**9}),
        ("protobin", {"prototypes_per_class": 10**18}),
    ],
)
def test_huge_options_are_refused_at_once(name, options):
    _, params = flat_params(name)
    with pytest.raises(InputError, match=r"must be|cannot have these|lacks its tensor"):
        check(make_probe(name, num_classes=C, **options), params)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "linear",
            {"normalise": "yes"},
            "option normalise cannot be",
        ),
        ("linear", {"input": ["cls"]}, r"option input cannot be \['cls'\]"),
        ("linear", {"input": "clss"}, "did you mean 'cls'"),
        ("linear", {"inputs": "cls"}, "unknown option of probe 'linear' 'inputs'"),
        ("linea", {}, "did you mean 'linear'"),
        ("protobin", {"prototypes_per_class": True}, "cannot be True"),
        ("protobin", {"prototypes_per_class": 20.0}, "cannot be 20.0"),
        ("protobin", {"prototypes_per_class": 0}, "must be a whole number from 1"),
        ("protofloat", {"classifier": {}}, "cannot be {}"),
        ("simpool", {"gamma": "1"}, "cannot be '1'"),
        ("simpool", {"gamma": 10**400}, "cannot be 1000"),
    ],
)
def test_options_of_other_types_and_values_are_refused(name, options, message):
    with pytest.raises(InputError, match=rf"^p: .*{message}"):
        trained_check.check_options(name, C, options, "p")


def test_options_that_may_be_numbers_or_missing_are_accepted():
    for name, options in (
        ("simpool", {"gamma": 2}),
        ("knn", {"neighbours": None, "temperature": 1}),
        ("proto", {"classifier": "dense", "top_k": 3, "penalty_weight": 0}),
    ):
        probe = trained_check.check_options(name, C, options, "p")
        assert {o: getattr(probe, o) for o in options} == options
