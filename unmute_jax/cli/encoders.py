"""Lists the encoders, or describes one with its options and published weights.

unmute encoders
unmute encoders whisper

Tokens are those of a clip of 10 s and of the base size of an encoder: time steps x
frequency bands, and the width of a token. Names with a "+" are supervised variants.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unmute_jax.cli.ending import explained
from unmute_jax.cli.help_text import columns, described, options_text, wrapped
from unmute_jax.cli.options import Option, settings_of, typed
from unmute_jax.cli.parser import Parser
from unmute_jax.config import EncoderOptions, Frontend

if TYPE_CHECKING:
    from unmute_jax.encoders import Encoder

# Lengths of clips, in seconds, for which the length of the input is shown.
LENGTHS = (1, 5, 10, 30)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command with these arguments, by default those of this process."""
    with explained():
        given = parser().parse_args(arguments)
        print(page(given.name) if given.name else overview())


def parser() -> Parser:
    """The parser of the arguments."""
    made = Parser("encoders", __doc__, "[ENCODER]")
    made.add_argument("name", nargs="?", metavar="ENCODER")
    return made


def overview() -> str:
    """A line for each encoder: rate, tokens, length of a time step, licence."""
    from unmute_jax.encoders import list_encoders

    heads = ["name", "kHz", "tokens of 10 s", "step, ms", "licence of the weights"]
    rows = [[name, *facts(name)] for name in list_encoders()]
    about = (
        "`unmute encoders NAME` describes an encoder, its options and its published "
        "weights. Encoders of your own are named MODULE:CLASS, those of HEAR and "
        "X-ARES hear:MODULE and xares:MODULE:CLASS, and exported tokens tokens:PATH."
    )
    return "\n".join([*columns([heads, *rows], right=(1, 3)), "", *wrapped(about)])


def facts(name: str) -> list[str]:
    """Rate in kHz, tokens of 10 s, length of a time step in ms, and licence."""
    encoder = untrained(name)
    steps, bands = encoder.grid(10.0)
    ms = 1000 * encoder.geometry.seconds_per_step
    tokens = f"{steps} x {bands} of {encoder.num_features}"
    licence = encoder.licence if name == "logmel" else _origin(name).licence
    return [f"{encoder.sample_rate / 1000:g}", tokens, f"{ms:g}", licence]


def page(name: str) -> str:
    """The description of an encoder: source, tokens, options and published weights.

    Raises:
        InputError: There is no such encoder.
    """
    encoder = untrained(name)
    rate, tokens, ms, licence = facts(name)
    about = inspect.cleandoc(type(encoder).__doc__ or "").partition("Attributes:\n")[0]
    lines = [name, "", *described(about.rstrip())]
    if name != "logmel":
        origin = _origin(name)
        sizes = [f"{n} ({w} x {d})" for (w, d), (n, _) in origin.published.items()]
        lines += ["", *wrapped(f"Source: {origin.citation}; {origin.code}.")]
        lines += wrapped(f"Sizes (width x blocks): {', '.join(sizes)}.")
    inputs = [
        f"{encoder.input_samples(float(s)) / encoder.sample_rate:.4g} s for {s} s"
        for s in LENGTHS
    ]
    lines += [
        *wrapped(f"Rate: {rate} kHz. Tokens of 10 s: {tokens}. Time step: {ms} ms."),
        *wrapped(f"Licence of the weights: {licence}."),
        *wrapped(f"Input by default, by the longest clip: {', '.join(inputs)}."),
        *options_text("Options behind --config", options_of(name)),
    ]
    if name != "logmel":
        from unmute_jax.weights.published import listing

        lines += ["", "Published weights:", *listing(_origin(name).name)]
    return "\n".join(lines)


def options_of(name: str) -> list[Option]:
    """The options that an encoder knows, with its defaults."""
    keywords = inspect.signature(_module(name).build).parameters
    found = list[Option]()
    for record, before in ((Frontend, "frontend"), (EncoderOptions, "encoder_options")):
        for key, setting in settings_of(record, f"config.{before}").items():
            field = key.rpartition(".")[2]
            if (option := setting.known_to(name)) is None:
                continue
            default = keywords[field].default if field in keywords else None
            if default is not None:
                parts = [dataclasses.replace(part, default="") for part in option.parts]
                option = dataclasses.replace(
                    option, parts=tuple(parts), default=typed(default)
                )
            if field == "recipe":
                option = option.with_choices(_recipes(name))
            found.append(option)
    return found


def untrained(name: str) -> Encoder:
    """The encoder with a block of random weights: it has the facts of all sizes."""
    from unmute_jax.encoders import load_encoder

    if name == "logmel":
        return load_encoder(name)
    return load_encoder(name, weights="untrained", depth=1)


def _recipes(name: str) -> tuple[str, ...]:
    """The values of the option `recipe`, as the class or the module lists them."""
    module = _module(name)
    owner = getattr(module.build, "__self__", module)
    return tuple(getattr(owner, "recipes", None) or module.RECIPES)


def _origin(name: str) -> Any:
    from unmute_jax.encoders import with_weights

    return with_weights(name).ORIGIN


def _module(name: str) -> types.ModuleType:
    """The module of an encoder, which has its function `build`."""
    build = type(untrained(name)).__module__
    return importlib.import_module(build)


def run() -> None:
    """Runs the command with the arguments of this process."""
    main()
