"""Every option has a sentence, and says rightly which probe or encoder knows it."""

import argparse
import dataclasses
import functools
import importlib
import inspect

import pytest
from absl import flags

from unmute_jax import datasets, encoders, probes
from unmute_jax.cli.options import (
    GROUPS,
    Part,
    comments,
    grouped,
    of_flag,
    of_parser,
    parts_of,
    settings_among,
    settings_of,
)
from unmute_jax.config import (
    DatasetOptions,
    EncoderOptions,
    Experiment,
    Frontend,
    ProbeOptions,
    default_config,
)
from unmute_jax.grid.axes import Axes, default_grid

SETTINGS = {**settings_of(Axes), **settings_of(Experiment)}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_sentence_and_says_its_default(name):
    option = SETTINGS[name]
    assert option.parts
    for part in option.parts:
        assert part.text.endswith(".")
        assert len(part.text) > 15
        assert "None:" not in part.text
        assert part.default or option.default
    assert option.placeholder


def test_every_setting_is_described_and_in_one_group():
    fields = [field for names in GROUPS.values() for field in names]
    assert sorted(fields) == sorted(f.name for f in dataclasses.fields(Experiment))
    for config in (default_config(), default_grid()):
        names = dict(named(config.to_dict()))
        described = settings_among(names)
        # What differs between data sets is not set from the command line.
        assert described.keys() == names.keys() - {"config.for_datasets"}
        titles = [option.name for _, group in grouped(described) for option in group]
        assert sorted(titles) == sorted(described)


def named(values, before="config"):
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from named(value, f"{before}.{name}")
        else:
            yield f"{before}.{name}", value


def known_by(record, options_of):
    """Name of each field -> the registry names that know it: said, and true."""
    for name, option in settings_of(record).items():
        field = name.rpartition(".")[2]
        said = {n for n in options_of if any(p.concerns(n) for p in option.parts)}
        yield field, said, {n for n, known in options_of.items() if field in known}


def test_the_options_of_probes_name_the_probes_that_know_them():
    known = {name: probes.probe_options(name) for name in probes.list_probes()}
    for field, said, true in known_by(ProbeOptions, known):
        assert said == true, field
    # Each meaning concerns a probe, once.
    for option in settings_of(ProbeOptions).values():
        for name in probes.list_probes():
            assert sum(part.concerns(name) for part in option.parts) <= 1


@pytest.mark.parametrize("name", probes.list_probes())
def test_the_defaults_of_probes_are_those_that_are_said(name):
    made = probes.make_probe(name, num_classes=10)
    for option_name, option in settings_of(ProbeOptions).items():
        field = option_name.rpartition(".")[2]
        for part in option.parts:
            value = getattr(made, field, None)
            if part.concerns(name) and value is not None:
                words = str(value)
                if isinstance(value, bool):
                    words = "yes" if value else "no"
                is_number = isinstance(value, float)
                assert part.default == words or (
                    is_number and float(part.default) == value
                )


def keywords(make):
    parameters = inspect.signature(make).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_the_options_of_encoders_name_the_encoders_that_know_them():
    known = {}
    for name in encoders.list_encoders():
        file = "logmel" if name == "logmel" else encoders.with_weights(name).__name__
        module = importlib.import_module(f"unmute_jax.encoders.{file.split('.')[-1]}")
        known[name] = set(keywords(module.build))
        if module.ORIGIN is not None:
            known[name] |= {"num_heads", "width", "depth", "precision"}
    for record in (Frontend, EncoderOptions):
        for field, said, true in known_by(record, known):
            # All vision transformers take `positions`, but most know only one way.
            assert said <= true if field == "positions" else said == true, field


def test_the_options_of_data_sets_name_the_data_sets_that_know_them():
    known, defaults = {}, {}
    places = {kind: (*made, "") for kind, made in datasets._PLACES.items()}
    for name, (module, make, *arguments) in {**datasets._BUILDERS, **places}.items():
        code = importlib.import_module(f"unmute_jax.datasets.{module}")
        bound = functools.partial(getattr(code, make), *arguments)
        name = name.split("/")[0]
        known[name], defaults[name] = set(keywords(bound)), keywords(bound)
    for field, said, true in known_by(DatasetOptions, known):
        if field != "test_fold":  # It says which protocols are run.
            assert said == true, field
    for option_name, option in settings_of(DatasetOptions).items():
        field = option_name.rpartition(".")[2]
        for name, default in defaults.items():
            for part in option.parts:
                if part.concerns(name) and default.get(field):
                    said = part.default.split(",")[0].strip('"')
                    words = {"auto": ";", 5.0: "5"}.get(default[field], default[field])
                    assert said == str(words), (field, name)


def test_a_comment_is_split_into_what_an_option_means_for_whom():
    text = 'mlp, knn: the "cls" token: one. None: "cls".'
    first, second = parts_of(f"{text} all but bat: 1 to 3. Two. None: 2.")
    assert first == Part(("mlp", "knn"), 'the "cls" token: one.', "cls")
    assert second == Part(("bat",), "1 to 3. Two.", "2", excluded=True)
    assert (first.concerns("mlp"), first.concerns("bat")) == (True, False)
    assert (second.concerns("eat+"), second.concerns("bat")) == (True, False)
    assert str(second) == "all but bat: 1 to 3. Two."
    assert parts_of("Least: 0: all. None: 3.") == (Part((), "Least: 0: all.", "3"),)


def test_comments_belong_to_the_field_below_them():
    found = comments(Experiment)
    assert found["epochs"] == "Number of training epochs."
    assert found["encoder"].startswith("Name of the encoder; see `unmute encoders`.")
    assert "audio" not in found  # A section, whose fields have sentences of their own.


def test_an_option_is_described_as_one_probe_knows_it():
    width = SETTINGS["config.probe_options.width"]
    conv = width.known_to("conv")
    assert [str(part) for part in conv.parts] == [
        "Number of channels after the convolution."
    ]
    assert conv.parts[0].default == "256"
    assert width.known_to("linear") is None


def test_flags_and_arguments_are_described_alike():
    values = flags.FlagValues()
    flags.DEFINE_float("speed", 0.5, "Fast.", lower_bound=0.1, flag_values=values)
    flags.DEFINE_enum("export", None, ["npy", "pq"], "Form.", flag_values=values)
    flags.DEFINE_bool("plot", False, "Draw.", flag_values=values)
    flags.DEFINE_multi_string("keep", [], "Kept.", flag_values=values)
    flags.DEFINE_list("only", ["a", "b"], "Some.", flag_values=values)
    speed, export, plot, only = (
        of_flag(values[n]) for n in ("speed", "export", "plot", "only")
    )
    assert (speed.placeholder, speed.values) == ("X", "a number of at least 0.1")
    assert speed.default == "0.5"
    assert (export.placeholder, export.choices) == ("npy|pq", ("npy", "pq"))
    assert [str(of_flag(values[n]).parts[0]) for n in ("export", "keep")] == [
        "Form.",
        "Kept.",
    ]
    assert (plot.placeholder, plot.default) == ("", "")
    assert (only.placeholder, only.default) == ("A,B,...", "a,b")
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--heads", metavar="N", type=int, help="Heads.")
    parser.add_argument("--list", action="store_true", help="List.")
    assert [(o.name, o.placeholder) for o in of_parser(parser)] == [
        ("heads", "N"),
        ("list", ""),
    ]
