"""Writes the pages of the site's reference from the code (`experiments/site.py`)."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Sequence

import unmute_jax
from experiments.checks.forks import MODULES, ForkServer
from unmute_jax.cli import encoders as encoder_pages
from unmute_jax.cli import probes as probe_pages
from unmute_jax.cli.main import COMMANDS
from unmute_jax.cli.options import grouped, settings_of
from unmute_jax.config import Experiment
from unmute_jax.config_files import find_config, shipped_configs
from unmute_jax.datasets import dataset_infos
from unmute_jax.datasets.info import as_table
from unmute_jax.encoders import list_encoders, with_weights
from unmute_jax.grid.axes import Axes
from unmute_jax.probes import list_probes, make_probe
from unmute_jax.weights.published_list import PUBLISHED


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table.

    Args:
        header: The titles of the columns; one that ends with a colon is aligned right.
        rows: The cells of each row.
    """
    titles = [title.removesuffix(":") for title in header]
    rule = ["---:" if title.endswith(":") else "---" for title in header]
    escaped = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [titles, rule, *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def first_sentence(docstring: str | None) -> str:
    """The first line of a docstring, on one line."""
    return (docstring or "").strip().split("\n\n")[0].replace("\n", " ")


def api() -> str:
    """The page of the Python API: every public name of the package."""
    names = [name for name in unmute_jax.__all__ if not name.startswith("__")]
    # Functions first; most readers come for one of them.
    names.sort(key=lambda name: (name[0].isupper(), name))
    return "\n\n".join(
        [
            "# Python API",
            "All of these names are attributes of `unmute_jax`, by custom imported as "
            "`uj`. [From Python](../python.md) shows how they go together.",
            *(f"::: unmute_jax.{name}" for name in names),
        ]
    )


def details(heading: str, pages: dict[str, str]) -> str:
    """A section with what a command prints about each name."""
    blocks = [f"### {name}\n\n```text\n{page}\n```" for name, page in pages.items()]
    return "\n\n".join([f"## {heading}", *blocks])


def encoders() -> str:
    """The page of all encoders and of the files of their weights."""
    rows = list[list[object]]()
    for name in list_encoders():
        encoder = encoder_pages.untrained(name)
        steps, bands = encoder.grid(10.0)
        milliseconds = 1000 * encoder.geometry.seconds_per_step
        sizes, source = "no weights", "log-mel patches"
        if name != "logmel":
            origin = with_weights(name).ORIGIN
            published = origin.published.items()
            sizes = ", ".join(f"{size} ({w} x {d})" for (w, d), (size, _) in published)
            source = origin.citation
        rows.append(
            [
                f"`{name}`",
                encoder.sample_rate // 1000,
                f"{steps} x {bands} of {encoder.num_features}",
                f"{milliseconds:g}",
                sizes,
                encoder.licence,
                source,
            ]
        )
    header = ["name", "rate, kHz:", "tokens of 10 s", "step, ms:", "sizes", "licence"]
    files = [
        [
            f"`{file.name}`",
            ", ".join(f"`{name}`" for name in file.encoders),
            f"{file.megabytes:,}" if file.megabytes else "",
            file.licence,
            file.hub or file.url or file.page or file.drive_name or "by hand",
        ]
        for file in PUBLISHED
    ]
    return "\n\n".join(
        [
            "# Encoders and their weights",
            "Names with a `+` are supervised variants. Tokens are steps x bands of "
            "the default size; sizes are the width and the number of blocks of the "
            "published models. [Encoders](../encoders.md) says how to use them.",
            table([*header, "source"], rows),
            "## Published weights",
            "`unmute convert --list` prints the same with all addresses.",
            table(["name", "for", "MB:", "licence", "where"], files),
            details(
                "Options", {name: encoder_pages.page(name) for name in list_encoders()}
            ),
        ]
    )


def probes() -> str:
    """The page of all probes, with what they read and their numbers of parameters."""
    kinds = {"tokens": "tokens", "layers": "tokens of all layers"}
    rows = list[list[object]]()
    for name in list_probes():
        probe = make_probe(name, num_classes=probe_pages.CLASSES)
        count = probe_pages.num_parameters(probe)
        rows.append(
            [
                f"`{name}`",
                probe_pages.sentence(probe),
                kinds.get(probe.reads().kind, "a summary of the clip"),
                "none" if count is None else f"{count:,}",
            ]
        )
    return "\n\n".join(
        [
            "# Probes",
            "The numbers of parameters are those of the default options for "
            f"{probe_pages.CLASSES} classes and {probe_pages.FEATURES} features. "
            "`--config.probes` and `uj.make_probe` take the names; [training]"
            "(../training.md#readings-of-probes) describes further readings of some.",
            table(["name", "what it is", "it reads", "parameters:"], rows),
            details(
                "Options", {name: probe_pages.page(name) for name in list_probes()}
            ),
        ]
    )


def datasets() -> str:
    """The page of all data sets."""
    return "\n\n".join(
        [
            "# Data sets",
            "Numbers of clips are the official ones. A layout is verified where the "
            "expected files were compared with the official ones or with code that "
            "reads them. [Data sets](../datasets.md) says how to get and use them, and "
            "how to use your own.",
            as_table(dataset_infos()),
        ]
    )


def configs() -> str:
    """The page of the configs that ship with the package."""
    rows = [
        [f"`{name}`", first_sentence(runpy.run_path(find_config(name))["__doc__"])]
        for name in shipped_configs()
    ]
    return "\n\n".join(
        [
            "# Configs",
            "`--config` takes these names, or the path of a file of your own with a "
            "function `get_config`. Options behind it change what a config says.",
            table(["name", "what it runs"], rows),
        ]
    )


def configuration() -> str:
    """The page of all settings of an experiment and of a grid."""
    settings = {**settings_of(Axes), **settings_of(Experiment)}
    parts = [
        "# Configuration",
        "The settings that a config returns, and that `--config.KEY=VALUE` changes. "
        "Names before a colon are the probes, encoders or data sets that know an "
        "option. Those of a [grid](../training.md#grids-of-experiments) come first.",
    ]
    for title, options in grouped(settings):
        rows = [
            [
                f"`{option.name}`",
                " ".join(map(str, option.parts)),
                option.values or option.placeholder.replace("|", " or "),
                option.default or "; ".join(part.default for part in option.parts),
            ]
            for option in options
        ]
        parts += [
            f"## {title}",
            table(["option", "meaning", "values", "default"], rows),
        ]
    return "\n\n".join(parts)


def command_line() -> str:
    """The page of all commands: what `--help` prints."""
    server = ForkServer({**os.environ, "JAX_PLATFORMS": "cpu"}, MODULES)
    try:
        parts = ["# Command line", "What `unmute COMMAND --help` prints."]
        for command, what in COMMANDS.items():
            variables = {**os.environ, "JAX_PLATFORMS": "cpu"}
            done = server.run(
                "unmute_jax.cli.main", [command, "--help"], variables, os.getcwd()
            )
            if done.returncode:
                raise RuntimeError(f"unmute {command} --help: {done.stderr}")
            text = done.stdout.rstrip()
            parts += [f"## unmute {command}", f"{what}.", f"```text\n{text}\n```"]
    finally:
        server.close()
    return "\n\n".join(parts)


# The pages that are made with every build, by their addresses.
PAGES: dict[str, Callable[[], str]] = {
    "reference/api.md": api,
    "reference/command_line.md": command_line,
    "reference/configs.md": configs,
    "reference/configuration.md": configuration,
    "reference/datasets.md": datasets,
    "reference/encoders.md": encoders,
    "reference/probes.md": probes,
}
