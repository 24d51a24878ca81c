"""The reference of the site has every name, with the numbers that the code has."""

import functools
import re

import pytest

import unmute_jax as uj
from experiments import reference
from unmute_jax.config_files import shipped_configs

encoders = functools.cache(reference.encoders)
probes = functools.cache(reference.probes)


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (encoders, uj.list_encoders()),
        (probes, uj.list_probes()),
        (reference.configs, shipped_configs()),
    ],
    ids=["encoders", "probes", "configs"],
)
def test_every_name_has_a_row(write, names):
    rows = re.findall(r"^\| `([^`]+)`", write(), re.MULTILINE)
    # Published weights follow the encoders.
    assert rows[: len(names)] == names


def test_probes_have_the_numbers_of_parameters_of_the_paper():
    page = probes()
    assert re.search(r"`protobin` .* 155,610 \|", page)
    assert re.search(r"`mhca` .* 1,188,106 \|", page)


def test_encoders_have_the_places_of_their_tokens():
    page = encoders()
    assert re.search(r"`eat` \| 16 \| 64 x 8 of 768 \| 160 \|", page)
    assert re.search(r"`dasheng` \| 16 \| 250 x 1 of 768 \| 40 \|", page)
