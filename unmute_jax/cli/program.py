"""Parses the command line of every command and prints errors as one line."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from unmute_jax.cli.experiment_files import find_config, shipped_configs
from unmute_jax.config import Experiment, default_config
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import cache_dir

T = TypeVar("T")

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


def launch(
    main: Callable[[T], None],
    about: str | None,
    *,
    build: Callable[[Mapping[str, Any]], T] = Experiment.from_dict,
    defaults: Callable[[], ConfigDict] = default_config,
) -> None:
    """Parses the command line, runs `main` and ends the process.

    Args:
        main: The command, a function of what `build` returns. Each module reads the
            other options that it defined itself.
        about: The text of `--help`, usually the docstring of the command's module.
        build: Turns the values of the config into the argument of `main`.
        defaults: Returns the config with all keys and their defaults.
    """

    def configured(arguments: list[str]) -> None:
        if arguments:
            raise InputError(
                f"unexpected argument {arguments[0]!r}: options are written "
                "--name=value"
            )
        main(build(_config().to_dict()))

    _launch(configured, about or "", defaults())


def launch_plain(
    main: Callable[[list[str]], None], about: str | None, *, takes_config: bool = False
) -> None:
    """Does the same as `launch` for commands that need no config.

    Args:
        main: The command, a function of the arguments that are not options.
        about: The text of `--help`.
        takes_config: Whether the command may call `experiment()`.
    """
    _launch(main, about or "", default_config() if takes_config else None)


def has_config() -> bool:
    """Whether `--config` was given."""
    return bool(flags.FLAGS["config"].present)


def experiment() -> Experiment:
    """The experiment of `--config` with the changes that the command line makes.

    Raises:
        InputError: There is no such config, or one of its values is wrong.
    """
    return Experiment.from_dict(_config().to_dict())


def experiment_in(config: str) -> Experiment:
    """The experiment of another config, without any changes.

    Args:
        config: A path or a name, as of `--config`.

    Raises:
        InputError: There is no such config, or one of its values is wrong.
    """
    path = find_config(config)
    namespace = runpy.run_path(path)
    if "get_config" not in namespace:
        raise InputError(f"{path} is not a config file: it does not define get_config")
    return Experiment.from_dict(namespace["get_config"]().to_dict())


def required(flag: flags.FlagHolder[str | None]) -> str:
    """The value of an option that has no default.

    Raises:
        InputError: The option was not given.
    """
    if flag.value is None:
        raise InputError(f"--{flag.name} is missing; --help describes it")
    return flag.value


def _launch(
    main: Callable[[list[str]], None], about: str, defaults: ConfigDict | None
) -> None:
    def guarded(argv: list[str]) -> None:
        # At INFO, libraries report every step of their work.
        logging.set_verbosity(logging.WARNING)
        _keep_compiled_programs()
        signals.at_once()
        try:
            main(argv[1:])
        except InputError as error:
            _stop(str(error))
        except signals.Stopped as stop:
            print(stop, file=sys.stderr)
            sys.exit(stop.code)

    app.run(guarded, flags_parser=lambda argv: _parse(argv, about, defaults))


def _keep_compiled_programs() -> None:
    # In a folder of its own: the limit counts files that JAX writes only with a limit.
    folder = cache_dir("compiled") / "limited"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # With JAX's minimum of one second the small programs of the probes are not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_compilation_cache_max_size", COMPILED_BYTES)


def _parse(argv: list[str], about: str, defaults: ConfigDict | None) -> list[str]:
    if any(a in ("--help", "-h", "-help") for a in argv):
        _help(about, defaults)
        sys.exit(0)
    known = dict(_options(default_config() if defaults is None else defaults))
    _check_keys(argv, known)
    flags.FLAGS.set_gnu_getopt()
    try:
        return flags.FLAGS(list(_with_config_path(argv)))
    except InputError as error:
        _stop(str(error))
    except flags.UnrecognizedFlagError as error:
        known = [f"--{name}" for name in flags.FLAGS]
        _stop(str(unknown_name("option", f"--{error.flagname}", known)))
    except flags.IllegalFlagValueError as error:
        _stop(_raised_by_config(error) or _wrong_value(str(error), known))
    except (flags.Error, AttributeError, TypeError, ValueError) as error:
        _stop(str(error).splitlines()[0])


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
            _stop(str(unknown_name("config key", key, known)))


def _config() -> ConfigDict:
    if not has_config():
        names = ", ".join(shipped_configs())
        raise InputError(
            f"--config is missing: give a path, or one of the names {names}"
        )
    return CONFIG.value


def _wrong_value(message: str, defaults: Mapping[str, Any]) -> str:
    """Absl's message with the type that is wanted in place of Python's reason."""
    match = re.match(r"flag --(config\.\S+?)=(.*?): ", message, re.DOTALL)
    if not match or match[1] not in defaults:
        return message.splitlines()[0]
    default = defaults[match[1]]
    kind = (
        "a number or word" if default is None else f"of type {type(default).__name__}"
    )
    return f"--{match[1]}={match[2]}: must be {kind} (default: {default})"


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
    print("change. None stands for the default of the encoder, probe or data set:")
    for name, value in _options(defaults):
        print(f"  --{name}={value}")


def _stop(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
