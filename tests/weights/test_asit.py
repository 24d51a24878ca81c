"""The checkpoints of ASiT, in every layout."""

import pytest

from tests import golden
from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.errors import InputError
from unmute_jax.weights.asit import AsitCheckpoints
from unmute_jax.weights.files import read_weights

CHECKPOINTS = AsitCheckpoints()


def test_a_student_alone_is_no_encoder():
    content = read_weights(golden.ENCODERS / "asit_tiny.pt").content
    del content["teacher"]
    with pytest.raises(InputError, match=r"no weights under 'teacher'; it .*'student'"):
        CHECKPOINTS.find_tensors(content, "file.pt")


def test_the_full_size_layout_fits_with_nothing_left():
    about = manifest("asit_base")
    teacher = without_memory(about["keys"])
    names = [key.removeprefix("backbone.") for key in about["encoder_keys"]]
    copy = {f"model.{k}": teacher[f"backbone.{k}"] for k in names}
    base = CHECKPOINTS.base_sizes(768, 12, 12)
    for content in (
        {"teacher": teacher, "student": {}},
        {"teacher": {f"module.{k}": v for k, v in teacher.items()}},
        copy,
        {f"model.asit.{k}": teacher[f"backbone.{k}"] for k in names},
        {"model": copy, "config": {}},
    ):
        found = CHECKPOINTS.find_tensors(content, "file.pt")
        assert set(found.tensors) == set(names)
        assert check_sizes(CHECKPOINTS, found) == base
    assert set(CHECKPOINTS.layout(base)) == set(names)
