import pytest

from unmute_jax.datasets import Protocol
from unmute_jax.errors import InputError


def test_a_protocol_never_uses_a_split_twice():
    with pytest.raises(InputError, match="uses b more than once"):
        Protocol(name="leak", train=("a", "b"), validation=("b",), test=("c",))
    with pytest.raises(InputError, match="uses a more than once"):
        Protocol(name="leak", train=("a", "a"), validation=("b",), test=("c",))


def test_an_unknown_split_is_named(loaded):
    dataset = loaded("fsdd")
    for use in (dataset.fingerprint, dataset.source_of, dataset.ids):
        with pytest.raises(InputError, match="did you mean 'train'"):
            use("trian")


def test_ids_are_those_of_the_clips(loaded):
    dataset = loaded("urban")
    assert dataset.ids("test") == [clip.id for clip in dataset.source_of("test")]


def test_a_data_set_without_events_refuses_to_give_them(loaded):
    with pytest.raises(InputError, match="no onsets and offsets"):
        loaded("fsdd").events("test", 0)


def test_a_fixed_split_has_one_protocol_and_no_folds(loaded):
    dataset = loaded("fsdd")
    assert dataset.protocols() == dataset.protocols(0) == dataset.all_protocols
    with pytest.raises(InputError, match="no folds"):
        dataset.protocols(2)
