"""Objects of unknown classes, kept as data."""

from unmute_jax.weights.inert import InertObject, fields, lookup


class Namespace(InertObject):
    name = "argparse.Namespace"


def with_state(state):
    value = Namespace()
    value.__setstate__(state)
    return value


def test_an_inert_object_keeps_what_it_is_given():
    value = Namespace(1, "two", three=3)
    value.__setstate__({"x": 1})
    value.append(4)
    value.add(5)
    value["key"] = 6
    assert value.args == (1, "two", {"three": 3})
    assert value.state == {"x": 1}
    assert value.items == [4, 5]
    assert value.mapping == {"key": 6}
    assert repr(value) == "<inert object of argparse.Namespace>"


def test_fields_are_those_of_dicts_objects_and_omegaconf_nodes():
    assert fields({"a": 1}) == {"a": 1}
    assert fields(with_state({"a": 1})) == {"a": 1}
    assert fields(with_state({"_content": {"a": 1}, "_metadata": 0})) == {"a": 1}
    for other in (None, 3, [1], with_state((1, 2)), with_state({"_content": 3})):
        assert fields(other) == {}


def test_a_path_is_followed_through_all_of_them():
    node = with_state({"_val": 16, "_metadata": 0})
    config = {"model": with_state({"_content": {"heads": node, "width": 768}})}
    assert lookup(config, "model", "heads") == 16
    assert lookup(config, "model", "width") == 768
    assert lookup(config, "model", "heads", "more") is None
    assert lookup(config, "nothing", "heads") is None
