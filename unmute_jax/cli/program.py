"""Parses the command line of every command and prints errors as one line."""

from __future__ import annotations

import collections
import contextlib
import difflib
import functools
import re
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from operator import getitem
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from unmute_jax.cli import ending
from unmute_jax.cli.help_text import print_help
from unmute_jax.cli.options import own_flags, values_by_name
from unmute_jax.config import Experiment, allowed, default_config
from unmute_jax.config_files import (
    find_config,
    mistake_in_config,
    shipped_configs,
    values_of,
)
from unmute_jax.errors import InputError, one_line, unknown_name

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
    "The folder of the run. By default runs/NAME, where the name says what is run.",
)


@contextlib.contextmanager
def command(
    about: str | None,
    defaults: ConfigDict | None = None,
    usage: str = "[--workdir=FOLDER] [--OPTION=VALUE ...]",
) -> Generator[list[str]]:
    """Parses the command line; an error inside ends the process as `ending` says.

    Args:
        about: The text of `--help`, usually the docstring of the command's module.
        defaults: The config with all keys and their defaults; None if the command takes
            no config.
        usage: What follows the command in its usage line. `--help` describes
            `--workdir` only if it is named there.

    Yields:
        The arguments that are not options.
    """
    with ending.explained():
        arguments = parse(sys.argv, about or "", defaults, usage)
        # At INFO, libraries report every step of their work.
        logging.set_verbosity(logging.WARNING)
        with importing():
            from unmute_jax.distributed import signals
            from unmute_jax.distributed.compiled import keep_compiled_programs
        keep_compiled_programs()
        signals.at_once()
        yield arguments


@contextlib.contextmanager
def importing() -> Generator[None]:
    """Lets Ctrl-C end the process at once while modules are imported.

    An exception in the middle of the import of a compiled module may end in a crash.
    Commands import what takes long only when they run, so that `--help` is quick.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def only_options(arguments: list[str]) -> None:
    """Refuses arguments that are not options.

    Raises:
        InputError: There is such an argument.
    """
    if not arguments:
        return
    first = arguments[0]
    is_config = first.partition(":")[0] in shipped_configs()
    hint = (
        f"write --config={first}" if is_config else "options are written --name=value"
    )
    raise InputError(f"unexpected argument {first!r}: {hint}")


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


def parse(
    argv: list[str], about: str, defaults: ConfigDict | None, usage: str = ""
) -> list[str]:
    """Parses a command line, so that `experiment` knows what it says.

    Args:
        argv: The command and its arguments.
        about: The text of `--help`.
        defaults: The settings and their defaults, see `command`.
        usage: What follows the command in its usage line.

    Returns:
        The arguments that are not options.

    Raises:
        InputError: An option is unknown, or has a wrong value.
    """
    known = dict(values_by_name(default_config() if defaults is None else defaults))
    settings = known if defaults is not None else {}
    if asked := {"--help", "-h", "-help", "--helpfull"}.intersection(argv[1:]):
        print_help(about, settings, usage, everything="--helpfull" in asked)
        sys.exit(0)
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
        if error.flagname.startswith("config.") and not has_config():
            raise _missing_config() from error
        raise _unknown_option(error.flagname, argv, settings) from error
    except flags.IllegalFlagValueError as error:
        message = _raised_by_config(error) or _wrong_value(str(error), known)
        raise InputError(message) from error
    except (flags.Error, AttributeError, TypeError, ValueError) as error:
        raise InputError(str(error).splitlines()[0]) from error
    except Exception as error:
        raise mistake_in_config(error) from error


def _unknown_option(
    name: str, argv: list[str], settings: Mapping[str, Any]
) -> InputError:
    """Names the nearest options, with the value that was given.

    Settings are easily written without what stands before them: `--epochs=2`.
    """
    options = {key.rpartition(".")[2]: key for key in settings}
    options |= {flag.name: flag.name for flag in own_flags()}
    written = next((a for a in argv if a.lstrip("-").partition("=")[0] == name), name)
    _, equals, value = written.partition("=")
    near = difflib.get_close_matches(name[:80], options, 2, 0.7)
    near = [name] if name in options else near
    hint = " or ".join(repr(f"--{options[n]}{equals}{value}") for n in near)
    reason = f"did you mean {hint}?" if hint else "--help describes the options"
    shown = one_line(f"--{name}{equals}{value}", 100)
    return InputError(f"unknown option {shown!r}: {one_line(reason, 300)}")


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
        raise _missing_config()
    return values_of(CONFIG.value)


def _missing_config() -> InputError:
    names = ", ".join(shipped_configs())
    return InputError(f"--config is missing: give a path, or one of the names {names}")


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
