"""Lists the probes, or describes one with its options.

unmute probes
unmute probes protobin

The numbers of parameters are those for 10 classes and tokens with 768 features, 8
frequency bands and 12 layers.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unmute_jax import bounds
from unmute_jax.cli.ending import explained
from unmute_jax.cli.help_text import columns, described, options_text, wrapped
from unmute_jax.cli.options import Option, settings_of, typed
from unmute_jax.cli.parser import Parser
from unmute_jax.config import ProbeOptions

if TYPE_CHECKING:
    from unmute_jax.probes import Probe

CLASSES, FEATURES, STEPS, BANDS, LAYERS = 10, 768, 64, 8, 12
READS = {
    "tokens": "the tokens of a clip",
    "layers": "the tokens of all layers of a clip",
    "summary": "a summary of the tokens of a clip",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command with these arguments, by default those of this process."""
    with explained():
        given = parser().parse_args(arguments)
        print(page(given.name) if given.name else overview())


def parser() -> Parser:
    """The parser of the arguments."""
    made = Parser("probes", __doc__, "[PROBE]")
    made.add_argument("name", nargs="?", metavar="PROBE")
    return made


def overview() -> str:
    """A line for each probe: name, name in tables, parameters, and what it is."""
    from unmute_jax.probes import list_probes, make_probe

    rows = []
    for name in list_probes():
        probe = make_probe(name, num_classes=CLASSES)
        count = num_parameters(probe)
        shown = "none" if count is None else f"{count:,}"
        rows.append([name, in_tables(name), shown, sentence(probe)])
    heads = ["name", "in tables", "parameters", "what it is"]
    about = (
        "Parameters are those for 10 classes and 768 features. Sections are those of "
        "the paper. `unmute probes NAME` describes a probe and its options."
    )
    return "\n".join([*columns([heads, *rows], right=(2,)), "", *wrapped(about)])


def page(name: str) -> str:
    """The description of a probe: what it does and reads, its size and its options.

    Raises:
        InputError: There is no such probe.
    """
    from unmute_jax.probes import make_probe

    probe = make_probe(name, num_classes=CLASSES)
    about, _, _ = inspect.cleandoc(type(probe).__doc__ or "").partition("Attributes:\n")
    count = num_parameters(probe)
    size = (
        "It is fitted in one step and has no parameters that are trained."
        if count is None
        else f"It has {count:,} parameters for {CLASSES} classes and {FEATURES} "
        "features."
    )
    facts = (
        f"It reads {READS[probe.reads().kind]}. {size} Tables call it "
        f"{in_tables(name)}."
    )
    lines = [name, "", *described(about.rstrip()), "", *wrapped(facts)]
    if options := options_of(name, probe):
        lines += options_text("Options behind --config", options)
        *_, field = options[0].name.split(".")
        value = options[0].choices[0] if options[0].choices else "..."
        lines += ["", *wrapped(
            "In a grid, an option follows the name of the probe: "
            f"--config.probes=linear,{name}@{field}={value}"
        )]  # fmt: skip
    else:
        lines += ["", "It has no options."]
    return "\n".join(lines)


def options_of(name: str, probe: Probe) -> list[Option]:
    """The options of a probe, with the values and the default that it has.

    Args:
        name: Name of the probe.
        probe: The probe with default options.
    """
    hints = typing.get_type_hints(type(probe))
    found = list[Option]()
    for key, setting in settings_of(ProbeOptions, "config.probe_options").items():
        field = key.rpartition(".")[2]
        if (option := setting.known_to(name)) is None:
            continue
        if (default := getattr(probe, field)) is not None:
            parts = [dataclasses.replace(part, default="") for part in option.parts]
            option = dataclasses.replace(
                option, parts=tuple(parts), default=typed(default)
            )
        if bounds.is_choice(hints[field]):
            choices = typing.get_args(bounds.required(hints[field]))
            option = option.with_choices(choices)
        found.append(option)
    return found


def sentence(probe: Probe) -> str:
    """The first line of the docstring of a probe."""
    return (type(probe).__doc__ or "").strip().splitlines()[0]


def in_tables(name: str) -> str:
    """The name of a probe in reports: that of the paper, if the paper has it."""
    from unmute_jax.report.names import PROBE_TITLES

    return PROBE_TITLES.get(name, name)


def num_parameters(probe: Probe) -> int | None:
    """The number of trained parameters; None if the probe is fitted in one step."""
    import jax
    import jax.numpy as jnp

    from unmute_jax.tokens import Tokens

    if probe.is_fitted:
        return None

    def init() -> Any:
        of_layers = probe.reads().needs_layers
        shape = (STEPS, BANDS, FEATURES)
        tokens = Tokens(
            patches=jnp.zeros((1, *shape)),
            cls=jnp.zeros((1, FEATURES)),
            mask=jnp.ones((1, STEPS), jnp.bool_),
            layers=jnp.zeros((1, LAYERS, *shape)) if of_layers else None,
            layer_cls=jnp.zeros((1, LAYERS, FEATURES)) if of_layers else None,
        )
        return probe.init(jax.random.key(0), tokens)

    made = jax.eval_shape(init)
    return sum(x.size for x in jax.tree.leaves(made["params"]))


def run() -> None:
    """Runs the command with the arguments of this process."""
    main()
