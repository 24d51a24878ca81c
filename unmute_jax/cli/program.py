"""What all programs share: the command line, and errors of one line."""

from __future__ import annotations

import pathlib
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from unmute_jax.config import Experiment, default_config
from unmute_jax.distributed import signals
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import cache_dir

T = TypeVar("T")

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file in configs/.", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "The folder of the run; training names it by the configuration: runs/...",
)


def launch(
    main: Callable[[T], None],
    about: str | None,
    *,
    build: Callable[[Mapping[str, Any]], T] = Experiment.from_dict,
    defaults: Callable[[], ConfigDict] = default_config,
) -> None:
    """Parses the command line, then runs `main`; ends the process.

    Args:
        main: Gets the experiment; other flags are read by whoever defined them.
        about: Text for --help, usually the module's docstring.
        build: Makes what `main` gets from the values of the config.
        defaults: The config with all keys there are.
    """

    def configured(argv: list[str]) -> None:
        if argv[1:]:
            _stop(f"unexpected argument {argv[1]!r}: options are written --name=value")
        main(build(_config().to_dict()))

    _launch(configured, about or "", defaults())


def launch_plain(
    main: Callable[[list[str]], None], about: str | None, *, takes_config: bool = False
) -> None:
    """`launch` for programs that need no config file.

    Args:
        main: Gets the arguments that are no options, which may stand anywhere.
        about: Text for --help.
        takes_config: Whether some of what it does asks for `experiment()`.
    """
    _launch(
        lambda argv: main(argv[1:]),
        about or "",
        default_config() if takes_config else None,
    )


def has_config() -> bool:
    """Whether a config file was named."""
    return bool(flags.FLAGS["config"].present)


def experiment() -> Experiment:
    """The experiment of `--config`, with what the command line changes in it.

    Raises:
        InputError: There is no such file, or something in it is wrong.
    """
    return Experiment.from_dict(_config().to_dict())


def experiment_in(path: str) -> Experiment:
    """The experiment of another config file, as it is.

    Raises:
        InputError: There is no such file, or something in it is wrong.
    """
    _check_file(path)
    found = runpy.run_path(path)
    if "get_config" not in found:
        raise InputError(f"{path} is no config file: it has no get_config")
    return Experiment.from_dict(found["get_config"]().to_dict())


def _launch(
    main: Callable[[list[str]], None], about: str, defaults: ConfigDict | None
) -> None:
    def guarded(argv: list[str]) -> None:
        # Libraries tell every step of their work at INFO.
        logging.set_verbosity(logging.WARNING)
        # Without a minimum the small programs of the probes would not be kept.
        jax.config.update("jax_compilation_cache_dir", str(cache_dir("compiled")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        signals.at_once()
        try:
            main(argv)
        except InputError as error:
            _stop(str(error))
        except signals.Stopped as stop:
            print(stop, file=sys.stderr)
            sys.exit(stop.code)

    def parse(argv: list[str]) -> list[str]:
        return _parse(argv, about, defaults)

    app.run(guarded, flags_parser=parse)


def required(flag: flags.FlagHolder[str | None]) -> str:
    """The value of an option without a default.

    Raises:
        InputError: It was not given.
    """
    if flag.value is None:
        raise InputError(f"--{flag.name} is missing; --help says what it is")
    return flag.value


def options(config: ConfigDict, prefix: str = "config") -> Iterator[tuple[str, Any]]:
    """Every option and its value: `("config.optimizer.b1", 0.9)`."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from options(value, f"{prefix}.{key}")
        else:
            yield f"{prefix}.{key}", value


def _parse(argv: list[str], about: str, defaults: ConfigDict | None) -> list[str]:
    if any(a in ("--help", "-h", "-help") for a in argv):
        _help(argv, about, defaults)
        sys.exit(0)
    known = dict(options(default_config() if defaults is None else defaults))
    _check_keys(argv, known)
    flags.FLAGS.set_gnu_getopt()
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        known = [f"--{name}" for name in flags.FLAGS]
        _stop(str(unknown_name("option", f"--{error.flagname}", known)))
    except flags.IllegalFlagValueError as error:
        _stop(_wrong_value(str(error), known))
    except (flags.Error, AttributeError, TypeError, ValueError) as error:
        _stop(str(error).splitlines()[0])


def _check_keys(argv: list[str], known: Mapping[str, Any]) -> None:
    """A mistyped `--config.key`, or one without a config file, is named here."""
    for argument in argv[1:]:
        key = argument.lstrip("-").split("=", 1)[0]
        if argument.startswith("--config.") and key not in known:
            _stop(str(unknown_name("config key", key, known)))


def _config() -> ConfigDict:
    flag = flags.FLAGS["config"]
    path = config_flags.get_config_filename(flag) if flag.present else None
    if not path:
        files = ", ".join(_listing())
        raise InputError(f"say which experiment: --config FILE; there are {files}")
    _check_file(path.split(":")[0])
    return CONFIG.value


def _check_file(path: str) -> None:
    if not pathlib.Path(path).is_file():
        raise unknown_name("config file", path, _listing())


def _listing() -> list[str]:
    return sorted(map(str, pathlib.Path("configs").glob("[!_]*.py")))


def _wrong_value(message: str, defaults: Mapping[str, Any]) -> str:
    """Absl's message, with the type that was wanted instead of Python's reason."""
    found = re.match(r"flag --(config\.\S+?)=(.*?): ", message, re.DOTALL)
    if not found or found[1] not in defaults:
        return message.splitlines()[0]
    default = defaults[found[1]]
    kind = (
        "a number or word" if default is None else f"of type {type(default).__name__}"
    )
    return f"--{found[1]}={found[2]}: must be {kind} (default: {default})"


def _help(argv: list[str], about: str, defaults: ConfigDict | None) -> None:
    print(about.strip(), end="\n\nOptions:\n")
    module = flags.FLAGS.find_module_defining_flag("workdir")
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        ours = flags.FLAGS.find_module_defining_flag(name)
        if ours == module or str(ours).startswith("unmute_jax.cli"):
            value = flag.default
            if isinstance(value, list):
                value = ",".join(value)
            default = "" if value in (None, False, "") else f" [{value}]"
            if defaults is not None or name != "config":
                print(f"  --{name}{default}\n      {flag.help}")
    if defaults is None:
        return
    print("\nOptions of the experiment, with their defaults (config files change some;")
    print("None: the default of the encoder, probe or data set it belongs to):")
    for name, value in options(defaults):
        print(f"  --{name}={value}")


def _stop(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
