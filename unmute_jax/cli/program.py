"""Parses the command line of every command and prints errors as one line."""

from __future__ import annotations

import collections
import contextlib
import functools
import re
import sys
import warnings
from collections.abc import Generator, Iterator, Mapping
from operator import getitem
from typing import Any

import jax
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from unmute_jax.cli import ending
from unmute_jax.config import Experiment, allowed, default_config
from unmute_jax.config_files import (
    find_config,
    mistake_in_config,
    shipped_configs,
    values_of,
)
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError, one_line, unknown_name
from unmute_jax.io import cache_dir

# Compiled programs are kept between runs, the least recently used of them deleted
# beyond this many bytes.
COMPILED_BYTES = 2 * 2**30

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: a config that ships with the package, such as quickstart, or the "
    "path of a config file.",
    lock_config=True,
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The folder of the run. Training names it after the configuration: runs/...",
)


@contextlib.contextmanager
def command(
    about: str | None, defaults: ConfigDict | None = None
) -> Generator[list[str]]:
    """Parses the command line; an error inside ends the process as `ending` says.

    Args:
        about: The text of `--help`, usually the docstring of the command's module.
        defaults: The config with all keys and their defaults; None if the command takes
            no config.

    Yields:
        The arguments that are not options.
    """
    with ending.explained():
        arguments = parse(sys.argv, about or "", defaults)
        # At INFO, libraries report every step of their work.
        logging.set_verbosity(logging.WARNING)
        _keep_compiled_programs()
        signals.at_once()
        yield arguments


def only_options(arguments: list[str]) -> None:
    """Refuses arguments that are not options.

    Raises:
        InputError: There is such an argument.
    """
    if arguments:
        raise InputError(
            f"unexpected argument {arguments[0]!r}: options are written --name=value"
        )


def has_config() -> bool:
    """Whether `--config` was given."""
    return bool(flags.FLAGS["config"].present)


def experiment() -> Experiment:
    """The experiment of `--config` with the changes that the command line makes.

    Raises:
        InputError: `--config` is missing, or one of its values is wrong.
    """
    return Experiment.from_dict(config_values())


def required(flag: flags.FlagHolder[str | None]) -> str:
    """The value of an option that has no default.

    Raises:
        InputError: The option was not given.
    """
    if flag.value is None:
        raise InputError(f"--{flag.name} is missing; --help describes it")
    return flag.value


def _keep_compiled_programs() -> None:
    # Programs that cannot be kept are compiled again by the next run, that is all.
    about_the_cache = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", about_the_cache)
    # In a folder of its own: the limit counts files that JAX writes only with a limit.
    folder = cache_dir("compiled") / "limited"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # With JAX's minimum of one second the small programs of the probes are not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_compilation_cache_max_size", COMPILED_BYTES)


def parse(argv: list[str], about: str, defaults: ConfigDict | None) -> list[str]:
    """Parses a command line, so that `experiment` knows what it says.

    Args:
        argv: The command and its arguments.
        about: The text of `--help`.
        defaults: The settings and their defaults, see `command`.

    Returns:
        The arguments that are not options.

    Raises:
        InputError: An option is unknown, or has a wrong value.
    """
    if any(a in ("--help", "-h", "-help") for a in argv):
        _help(about, defaults)
        sys.exit(0)
    known = dict(_options(default_config() if defaults is None else defaults))
    _check_keys(argv, known)
    argv, reset = _without_none(argv)
    flags.FLAGS.set_gnu_getopt()
    try:
        arguments = flags.FLAGS(list(_with_config_path(argv)))[1:]
        for key in reset if has_config() else ():
            *sections, name = key.split(".")[1:]
            functools.reduce(getitem, sections, CONFIG.value)[name] = known[key]
        return arguments
    except InputError:
        raise
    except flags.UnrecognizedFlagError as error:
        # Options of the experiment are easily written without what stands before them.
        keys = [key for key in known if key.split(".")[-1] == error.flagname]
        names = (keys if has_config() else []) or list(flags.FLAGS)
        options = [f"--{name}" for name in names]
        raise unknown_name("option", f"--{error.flagname}", options) from error
    except flags.IllegalFlagValueError as error:
        message = _raised_by_config(error) or _wrong_value(str(error), known)
        raise InputError(message) from error
    except (flags.Error, AttributeError, TypeError, ValueError) as error:
        raise InputError(str(error).splitlines()[0]) from error
    except Exception as error:
        raise mistake_in_config(error) from error


def _raised_by_config(error: BaseException | None) -> str | None:
    """The message of the first `InputError` behind a wrong value, if there is one.

    `config_flags` turns an error of a config file into one whose message is a
    traceback, and absl turns that into a wrong value of `--config`.
    """
    message = None
    while error is not None:
        message = str(error) if isinstance(error, InputError) else message
        error = error.__cause__ or error.__context__
    return message


def _without_none(argv: list[str]) -> tuple[list[str], set[str]]:
    """Separates the options that are None, which resets them to their defaults.

    Absl cannot parse None where a config or a default says that there is a number.

    Returns:
        The other arguments, and the keys of the config to reset: those that no later
        argument sets again.
    """
    kept, reset = list[str](), set[str]()
    left = collections.deque(argv)
    while left:
        argument = left.popleft()
        key, equals, value = argument.lstrip("-").partition("=")
        is_option = argument.startswith(("--config.", "-config."))
        if is_option and value == "None":
            reset.add(key)
        elif is_option and not equals and left and left[0] == "None":
            left.popleft()
            reset.add(key)
        else:
            kept.append(argument)
            reset.discard(key)
    return kept, reset


def _with_config_path(argv: list[str]) -> Iterator[str]:
    """The arguments with the name behind `--config` replaced by a path."""
    is_value = False
    for argument in argv:
        option, equals, value = argument.partition("=")
        if is_value:
            yield find_config(argument)
        elif option in ("--config", "-config") and equals:
            yield f"--config={find_config(value)}"
        else:
            yield argument
        is_value = argument in ("--config", "-config")


def _options(config: ConfigDict, prefix: str = "config") -> Iterator[tuple[str, Any]]:
    """Every option with its value, such as `("config.optimizer.b1", 0.9)`."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _options(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _check_keys(argv: list[str], known: Mapping[str, Any]) -> None:
    """Names the nearest keys where one behind `--config.` is mistyped."""
    for argument in argv[1:]:
        key = argument.lstrip("-").split("=", 1)[0]
        if argument.startswith("--config.") and key not in known:
            raise unknown_name("config key", key, known)


def config_values() -> dict[str, Any]:
    """The values of `--config` with the changes that the command line makes.

    Raises:
        InputError: `--config` is missing.
    """
    if not has_config():
        names = ", ".join(shipped_configs())
        raise InputError(
            f"--config is missing: give a path, or one of the names {names}"
        )
    return values_of(CONFIG.value)


def _wrong_value(message: str, defaults: Mapping[str, Any]) -> str:
    """Absl's message with what is allowed in place of Python's reason."""
    match = re.match(r"flag --(config\.\S+?)=(.*?): ", message, re.DOTALL)
    if not match or match[1] not in defaults:
        lines = message.strip().splitlines()
        # Of an error in a config file, the last line of the traceback is the reason.
        text = f"{lines[0]} {lines[-1]}" if "parsing config" in lines[0] else lines[0]
        return one_line(text)
    kind = type(defaults[match[1]]).__name__
    wanted = allowed(match[1]) or f"of type {kind}"
    shown = one_line(match[2], 100)
    return f"--{match[1]}={shown}: must be {wanted} (default: {defaults[match[1]]})"


def _help(about: str, defaults: ConfigDict | None) -> None:
    print(about.strip(), end="\n\nOptions:\n")
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        module = str(flags.FLAGS.find_module_defining_flag(name))
        # Absl and JAX define flags of their own. A module that runs as a program goes
        # by the name of the program.
        if not module.startswith("unmute_jax") and module != sys.argv[0]:
            continue
        if name == "config" and defaults is None:
            continue
        value = flag.default
        if isinstance(value, list):
            value = ",".join(value)
        default = "" if value in (None, False, "") else f" [{value}]"
        print(f"  --{name}{default}\n      {flag.help}")
    if defaults is None:
        return
    print("\nOptions of the experiment with their defaults, some of which configs")
    print("change, and the values that they may have. None stands for the default of")
    print("the encoder, probe or data set, and --config.KEY=None sets any option back")
    print("to the default below:")
    for name, value in _options(defaults):
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
        print(f"  --{name}={shown}")
        if words := allowed(name):
            print(f"      {words}")
