"""Probes by name: the registry, parameter counts and mistakes in options."""

import jax
import pytest

from tests.probes.fakes import draw_small, silence
from unmute_jax.errors import InputError
from unmute_jax.probes import list_probes, make_probe, probe_options


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("linear", {}, 7_690),
        ("linear", {"input": "mean"}, 7_690),
        ("mlp", {}, 598_282),
        ("linearc", {}, 15_370),
        ("mhca", {}, 1_188_106),
        ("mhca", {"num_heads": 16, "batch_norm": True}, 1_188_106),
        ("ep", {}, 622_090),
        ("simpool", {}, 1_188_874),
        ("abmilp", {}, 599_051),
        ("linpre", {}, 7_690),
        ("stats", {}, 23_050),
        ("proto", {}, 153_810),
        ("protofloat", {}, 155_610),
        ("protofloat", {"classifier": "block"}, 153_810),
        ("protobin", {}, 155_610),
        ("protobin", {"prototypes_per_class": 1}, 7_790),
    ],
)
def test_parameter_counts_are_the_papers(name, options, count):
    assert parameters(name, silence(768), **options) == count


@pytest.mark.parametrize(
    ("name", "reading", "count"),
    [
        ("simpool", "unprojected", 2 * 768 + 7_690),
        ("proto", "shared", 200 * 768 + 200 * 10 + 10),
    ],
)
def test_parameter_counts_of_second_readings(name, reading, count):
    assert parameters(name, silence(768), reading=reading) == count


def parameters(name, tokens, classes=10, **options):
    """The number of trainable parameters of a probe."""
    probe = make_probe(name, num_classes=classes, **options)
    variables = jax.eval_shape(probe.init, jax.random.key(0), tokens)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("name", ["linpre", "linearc"])
def test_joined_bands_have_the_count_of_eight_bands(name):
    option = {"linpre": "reading", "linearc": "input"}[name]
    assert parameters(name, silence(768, bands=8), **{option: "bands"}) == 61_450


@pytest.mark.parametrize(
    ("name", "options", "classes", "count"),
    [
        ("cgp", {}, 527, 23_490_539),
        ("linear_cgp", {}, 10, 12 + 2 * 768 + 7_690),
        ("head2toe", {}, 10, (2 + 10) * 12 * 768 + 10),
    ],
)
def test_parameter_counts_of_probes_of_layers(name, options, classes, count):
    x = silence(768, layers=12)
    assert parameters(name, x, classes, **options) == count


def test_probes_are_listed_by_name_with_their_options():
    assert list_probes() == sorted(list_probes())
    assert {"linear", "stats", "protobin"} <= set(list_probes())
    assert probe_options("linear") == {"input", "layers", "normalise"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("protobins", {}, "unknown probe 'protobins': did you mean 'protobin'"),
        (
            "protobin",
            {"prototype_per_class": 3},
            "unknown option of probe 'protobin' 'prototype_per_class': did you mean "
            "'prototypes_per_class'?",
        ),
        ("linear", {"input": "clss"}, "did you mean 'cls'?"),
        ("linear", {"name": "x"}, "unknown option"),
        ("linear", {"training": True}, "unknown option"),
        ("mlp", {"activation": "rel"}, "activation of Mlp 'rel': did you mean 'relu'"),
        ("mlp", {"width": -1}, "Mlp: width=-1: must be a whole number from 0 to"),
        ("linearc", {"input": "band"}, "did you mean 'bands'?"),
        ("linpre", {"reading": "token"}, "did you mean 'token_max'?"),
        ("conv", {"pooling": "avg"}, "known: max, mean"),
        ("simpool", {"query": "max"}, "unknown query of SimPool 'max'"),
        ("simpool", {"reading": "project"}, "reading of SimPool 'project': did you"),
        (
            "simpool",
            {"reading": "unprojected", "query": "cls"},
            "SimPool: reading='unprojected' has query='mean' and gamma=1, not "
            "query='cls' and gamma=1.0; leave both out, or choose reading='projected'",
        ),
        ("simpool", {"reading": "unprojected", "gamma": 2.0}, "gamma=2.0"),
        ("proto", {"reading": "class"}, "reading of Proto 'class'"),
        (
            "proto",
            {"reading": "shared", "classifier": "block"},
            "Proto: reading='shared' has classifier='dense', not 'block'; leave "
            "classifier out, or choose reading='per_class'",
        ),
        ("proto", {"reading": "shared", "non_negative": True}, "non_negative=False"),
        ("proto", {"reading": "shared", "penalty_weight": 1.0}, "penalty_weight=0.0"),
        (
            "proto",
            {"reading": "shared", "initialisation": "uniform"},
            "initialisation='normal', not 'uniform'",
        ),
        ("abmilp", {"self_attention": "score"}, "did you mean 'scores'?"),
        ("abmilp", {"activation": "gelu"}, "unknown activation of AbMilp 'gelu'"),
        (
            "proto",
            {"penalty_weight": -1.0},
            "Proto: penalty_weight=-1.0: must be a number",
        ),
        ("proto", {"classifier": "blocks"}, "did you mean 'block'"),
        ("protofloat", {"top_k": 0}, "Protofloat: top_k=0: must be a whole number"),
        ("cgp", {"middle": "max"}, "unknown middle of Cgp 'max'"),
        ("linear_cgp", {"input": "clss"}, "input of LinearCgp 'clss': did you mean"),
        ("head2toe", {"group": "features"}, "did you mean 'feature'"),
        ("conv", {"width": 0}, "Conv: width must be a whole number of at least 1"),
        ("mhca", {"num_heads": 2**31}, "Mhca: num_heads=2147483648: must be a whole"),
        ("ep", {"reduction": True}, "Ep: reduction=True: must be a whole number"),
        ("knn", {"neighbours": 0}, "Knn: neighbours=0: must be a whole number"),
        ("simpool", {"gamma": float("inf")}, "SimPool: gamma=inf: must be a number"),
        ("conv", {"kernel_size": 0}, "Conv: kernel_size=0: must be"),
        (
            "protobin",
            {"prototypes_per_class": 0},
            "Protobin: prototypes_per_class=0: must be a whole number from 1 to 10,000",
        ),
    ],
)
def test_mistakes_are_named(name, options, message):
    with pytest.raises(InputError) as error:
        make_probe(name, num_classes=4, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "mhca",
            {"num_heads": 3},
            "num_heads=3 does not divide the 5 features; 1 does",
        ),
        ("esimpool", {}, "num_heads=12 does not divide the 5 features"),
        ("ep", {"reduction": 2}, "reduction=2 does not divide the 5 features"),
        ("ep", {}, "num_queries=32 does not divide the 5 features of the values"),
    ],
)
def test_numbers_that_do_not_divide_the_features_are_named(key, name, options, message):
    probe = make_probe(name, num_classes=2, **options)
    with pytest.raises(InputError, match=message):
        jax.eval_shape(probe.init, key, draw_small())
