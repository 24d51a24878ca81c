"""Describes the options of commands and of experiments, for `--help` and the site.

What an option means is written once: in the comment above its field in `config.py`, or
where its flag is defined. Which values it may have, its type says.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import re
import sys
import typing
from collections.abc import Container, Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from unmute_jax import bounds
from unmute_jax.config import Experiment
from unmute_jax.grid.axes import Axes

# The settings of an experiment in the order of `--help`: those that are changed most
# often, then everything else. A name is a field of `Experiment`, or a section of it.
GROUPS = {
    "Settings that are changed most often": (
        *("dataset", "data_dir", "encoder", "weights", "probes", "epochs", "seeds"),
    ),
    "Data": ("labels", "audio", "dataset_options"),
    "Encoder and tokens": ("frontend", "encoder_options", "tokens"),
    "Probes": ("probe_options", "standardise"),
    "Training": ("steps", "batch_size", "seed", "refit", "loss", "optimizer"),
    "Search": ("search", "sweep"),
    "Evaluation": ("eval_every", "report_epoch", "frames"),
    "Machines": ("devices",),
}
# A part of a comment that only these names concern: "mlp, conv: ...".
_NAMES = re.compile(r"(?:^|(?<=\. ))((?:all but )?[a-z]\w*(?:, [a-z]\w*)*): ")
# What stands for a value in `--option=VALUE`, by the type of the option.
_PLACEHOLDERS = {int: "N", float: "X", tuple: "A,B,...", str: "TEXT"}
_FLAG_PLACEHOLDERS = {
    **{"config": "CONFIG", "workdir": "FOLDER"},
    **{"int": "N", "float": "X", "comma separated list of strings": "A,B,..."},
}
# The modules whose flags stand first or last.
_RANKS = {
    "unmute_jax.cli.program": 0,
    **dict.fromkeys(("unmute_jax.cli.engine", "unmute_jax.cli.processes"), 2),
}
# Choices are listed in `--option=A|B|C` if that takes at most so many characters.
_SHORT = 40


@dataclasses.dataclass(frozen=True)
class Part:
    """What an option means, for some names or for all.

    Attributes:
        names: Names of the probes, encoders or data sets that know it so; empty for
            all. With `excluded`, those that do not know it.
        text: The meaning.
        default: The default in words; empty where `text` says it, or there is none.
        excluded: Whether `names` are the only ones that do not know the option.
    """

    names: tuple[str, ...]
    text: str
    default: str
    excluded: bool = False

    def concerns(self, name: str) -> bool:
        """Whether a probe, encoder or data set knows the option in this meaning.

        Args:
            name: Its name in the registry; a "+" at its end makes no difference.
        """
        listed = name.removesuffix("+") in self.names
        return not self.names or listed != self.excluded

    def __str__(self) -> str:
        """The names and the meaning: "mlp: number of hidden layers."."""
        if not self.names:
            return self.text
        return f"{'all but ' * self.excluded}{', '.join(self.names)}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Option:
    """An option as a person types it.

    Attributes:
        name: Name without the hyphens before it, such as "config.epochs".
        parts: What it means.
        values: The values that it may have, in words; empty for any text, and where
            `placeholder` lists them.
        default: The default, as it is typed; empty if there is none, or if `parts` say
            it.
        placeholder: What stands for the value; empty for an option without one.
        choices: All values, where there are few.
    """

    name: str
    parts: tuple[Part, ...]
    values: str = ""
    default: str = ""
    placeholder: str = ""
    choices: tuple[str, ...] = ()

    def known_to(self, name: str) -> Option | None:
        """The option as a probe, encoder or data set knows it; None if it does not."""
        parts = [
            dataclasses.replace(part, names=(), text=_capital(part.text))
            for part in self.parts
            if part.concerns(name)
        ]
        return dataclasses.replace(self, parts=tuple(parts)) if parts else None

    def with_choices(self, choices: Sequence[str]) -> Option:
        """The option with these values only."""
        listed = _listed(choices)
        return dataclasses.replace(
            self,
            values="" if listed else " or ".join(choices),
            placeholder=listed or "TEXT",
            choices=tuple(choices),
        )


def comments(record: type) -> dict[str, str]:
    """Reads the comment above every field of a dataclass.

    Args:
        record: The class; its source must be there.

    Returns:
        Name of the field -> comment, on one line.
    """
    found, lines = dict[str, str](), list[str]()
    for line in inspect.getsource(record).splitlines():
        if line.startswith("    # "):
            lines.append(line[6:])
        else:
            if lines and (field := re.match(r"    (\w+): ", line)):
                found[field[1]] = " ".join(lines)
            lines = []
    return found


def parts_of(comment: str) -> tuple[Part, ...]:
    """Splits a comment into what an option means for whom."""
    before, *rest = _NAMES.split(comment)
    pairs = [("", before)] if before else []
    pairs += zip(rest[::2], rest[1::2], strict=True)
    return tuple(_part(names, text) for names, text in pairs)


def _part(names: str, text: str) -> Part:
    excluded = names.startswith("all but ")
    listed = tuple(filter(None, names.removeprefix("all but ").split(", ")))
    meaning, _, default = text.strip().partition("None: ")
    default = default.removesuffix(".")
    is_word = re.fullmatch(r'"\w+"', default)
    return Part(
        listed, meaning.strip(), default.strip('"') if is_word else default, excluded
    )


@functools.cache
def settings_of(record: type, before: str = "config") -> dict[str, Option]:
    """Describes the settings in a record of `config.py`, and in the records inside.

    Args:
        record: The class, such as `Experiment`.
        before: What stands before the names.

    Returns:
        Name, such as "config.optimizer.b1" -> its description.
    """
    texts, hints = comments(record), typing.get_type_hints(record, include_extras=True)
    found = dict[str, Option]()
    for field in dataclasses.fields(record):
        name, hint = f"{before}.{field.name}", hints[field.name]
        if dataclasses.is_dataclass(hint):
            found |= settings_of(typing.cast(type, hint), name)
        else:
            default = field.default
            found[name] = setting(name, texts.get(field.name, ""), hint, default)
    return found


def setting(name: str, comment: str, hint: Any, default: Any) -> Option:
    """Describes one setting.

    Args:
        name: Name of the option.
        comment: The comment above its field.
        hint: Its type, as `bounds` reads it.
        default: Its default.
    """
    kind = bounds.plain_type(hint)
    hint = bounds.required(hint)
    choices = typing.get_args(hint) if bounds.is_choice(hint) else ()
    choices = ("True", "False") if kind is bool else choices
    listed = _listed(choices)
    return Option(
        name,
        parts_of(comment),
        "" if hint is str or listed else bounds.described(hint),
        typed(default),
        listed or _PLACEHOLDERS[kind],
        choices,
    )


def _listed(choices: Sequence[str]) -> str:
    """The choices as a placeholder, or nothing if they are long."""
    listed = "|".join(choices)
    return listed if len(listed) <= _SHORT else ""


def typed(value: Any) -> str:
    """A default as it is typed: "0.1,0.2" for (0.1, 0.2); empty for None."""
    if value is None or value is dataclasses.MISSING:
        return ""
    if isinstance(value, (list, tuple)):
        return ",".join(map(typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"


def grouped(settings: dict[str, Option]) -> Iterator[tuple[str, list[Option]]]:
    """Yields the title and the options of every group that is not empty.

    Args:
        settings: Name -> description; what is in no group of `GROUPS` comes first, in
            the first one.
    """
    group_of = {field: title for title, fields in GROUPS.items() for field in fields}
    first = next(iter(GROUPS))
    for title in GROUPS:
        options = [
            option
            for name, option in settings.items()
            if group_of.get(name.split(".")[1], first) == title
        ]
        if options:
            yield title, options


def of_flag(flag: flags.Flag[Any]) -> Option:
    """Describes a flag of absl."""
    parser = flag.parser
    choices = tuple(getattr(parser, "enum_values", ()))
    placeholder = _FLAG_PLACEHOLDERS.get(flag.name) or _listed(choices)
    placeholder = placeholder or _FLAG_PLACEHOLDERS.get(flag.flag_type(), "TEXT")
    is_number = isinstance(parser, flags.FloatParser | flags.IntegerParser)
    return Option(
        flag.name,
        # Absl adds the choices of an option, and that it may be repeated.
        (
            Part(
                (),
                re.sub(r"^<[^<>]*>: |;\s+repeat this option.*", "", flag.help or ""),
                "",
            ),
        ),
        _numbers(flag) if is_number else "",
        "" if flag.default in (None, False, "", []) else typed(flag.default),
        "" if flag.boolean else placeholder,
        choices,
    )


def _numbers(flag: flags.Flag[Any]) -> str:
    """The values of a flag that is a number."""
    kind = "a whole number" if flag.flag_type() == "int" else "a number"
    least = flag.parser.lower_bound  # pyright: ignore[reportAttributeAccessIssue]
    return kind if least is None else f"{kind} of at least {least:g}"


def of_parser(parser: argparse.ArgumentParser) -> list[Option]:
    """Describes the options of a parser of argparse; `help` must be sentences."""
    return [
        Option(
            action.option_strings[-1].removeprefix("--"),
            (Part((), action.help or "", ""),),
            default="" if action.default in (False, []) else typed(action.default),
            placeholder="" if action.nargs == 0 else str(action.metavar or "TEXT"),
            choices=tuple(map(str, action.choices or ())),
        )
        for action in parser._actions  # pyright: ignore[reportPrivateUsage]
        if action.option_strings and action.dest != "help"
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def own_flags() -> list[flags.Flag[Any]]:
    """The flags of this package and of the program that runs, none of libraries.

    What is needed most comes first, and what says on which machines to run comes last.
    """
    found = list[tuple[int, flags.Flag[Any]]]()
    for name in flags.FLAGS:
        module = str(flags.FLAGS.find_module_defining_flag(name))
        # A module that runs as a program goes by the name of the program.
        if module.startswith("unmute_jax") or module == sys.argv[0]:
            found.append((_RANKS.get(module, 1), flags.FLAGS[name]))
    return [flag for _, flag in sorted(found, key=lambda item: item[0])]


def values_by_name(
    config: ConfigDict, before: str = "config"
) -> Iterator[tuple[str, Any]]:
    """Yields every setting of a config, such as `("config.optimizer.b1", 0.9)`."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from values_by_name(value, f"{before}.{key}")
        else:
            yield f"{before}.{key}", value


def settings_among(names: Container[str]) -> dict[str, Option]:
    """Describes the settings of an experiment or a grid.

    Args:
        names: The settings that the config of the command has.
    """
    axes = settings_of(Axes) if "config.encoders" in names else {}
    every = {**axes, **settings_of(Experiment), **axes}
    return {name: option for name, option in every.items() if name in names}
