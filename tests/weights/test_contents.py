"""Finding the tensors of an encoder among what a file holds."""

import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.weights.contents import (
    EncoderTensors,
    count_blocks,
    first_few,
    select,
    short,
    size_of,
    state_dict,
    stated_int,
)
from unmute_jax.weights.inert import InertObject

ONE = np.ones(1, np.float32)


def found(**tensors):
    return EncoderTensors(
        content={}, source="file.pt", layout="", tensors=tensors, ignored={}
    )


def test_a_state_dict_is_an_entry_or_the_whole_file():
    nested = state_dict({"model": {"a": ONE}, "epoch": 3, "other": "x"}, "file.pt")
    assert not nested.is_flat
    assert nested.tensors == {"a": ONE}
    assert nested.beside == {"epoch": "state of the training", "other": "no tensor"}
    flat = state_dict({"a": ONE, "epoch": 3}, "file.pt")
    assert flat.is_flat
    assert flat.tensors == {"a": ONE}
    assert flat.beside == {"epoch": "state of the training"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds no weights but a list"),
        ({}, "no weights under 'model'; it holds nothing"),
        ({"weights": 3}, "no weights under 'model'; it holds 'weights'"),
        ({"model": {3: ONE}}, "not all have names"),
        ({"model": {}, "ema": [{"a": (ONE,)}]}, "beside its 'model' .*: 'ema'"),
    ],
)
def test_files_without_a_clear_state_dict_are_refused(content, message):
    with pytest.raises(InputError, match=message):
        state_dict(content, "file.pt")


def test_tensors_inside_inert_objects_are_seen():
    hidden = InertObject({"deep": [ONE]})
    with pytest.raises(InputError, match="not known: 'ema'"):
        state_dict({"model": {}, "ema": hidden}, "file.pt")


def test_what_is_selected_is_renamed_and_the_rest_has_a_reason():
    state = state_dict({"x.a": ONE, "x.decoder": ONE, "x.note": "text"}, "file.pt")
    chosen = select(
        state,
        layout="somebody's",
        ignored={"decoder": "not needed"},
        rename=lambda name: name.removeprefix("x."),
    )
    assert chosen.tensors == {"a": ONE}
    assert chosen.ignored == {"x.decoder": "not needed", "x.note": "no tensor"}
    assert chosen.layout == "somebody's, not in a dict of its own"
    state = state_dict({"x.a": ONE, "a": ONE}, "file.pt")
    with pytest.raises(InputError, match="holds a twice, once as a"):
        select(state, layout="", ignored={}, rename=lambda name: name[-1])


def test_blocks_are_counted_and_none_may_be_missing():
    pattern = r"blocks\.(\d+)\."
    assert count_blocks(found(**{"blocks.0.a": ONE, "blocks.1.a": ONE}), pattern) == 2
    assert count_blocks(found(other=ONE), pattern) == 0
    with pytest.raises(InputError, match="up to 2, but block 1 is missing"):
        count_blocks(found(**{"blocks.0.a": ONE, "blocks.2.a": ONE}), pattern)


def test_sizes_are_read_off_the_shapes():
    assert size_of(found(a=np.ones((2, 3))), "a", 1) == 3
    for name, axis in (("a", 2), ("b", 0)):
        with pytest.raises(InputError, match=f"tensor {name} is missing or misshapen"):
            size_of(found(a=np.ones((2, 3))), name, axis)


def test_numbers_that_a_file_states_may_be_anything():
    paths = [("cfg", "heads"), ("config", "heads")]
    assert stated_int({"config": {"heads": 4}}, paths) == 4
    for nonsense in (0, -1, True, 2**40, "4", None, [4]):
        content = {"cfg": {"heads": nonsense}, "config": {"heads": 5}}
        assert stated_int(content, paths) == 5
    assert stated_int(None, paths) is None


def test_descriptions_stay_short():
    assert short("x" * 100) == repr("x" * 60)
    assert short(10**30) == "a huge number"
    assert short({}) == "a dict"
    assert short((1, 2)) == "a tuple"
    assert first_few(map(str, range(10)), 3) == "0, 1, 2 and 7 more"
    assert first_few(["a", "b"]) == "a, b"


def test_lists_of_names_stay_short():
    names = [f"{i}\n" + "x" * 70_000 for i in range(1000)]
    assert len(first_few(names)) < 400
    assert first_few(names).isprintable()
    assert first_few(names).endswith(" and 996 more")
