"""Shells complete commands, options and names, as bash asks for them."""

import shlex
import subprocess
import sys

import pytest

from unmute_jax import encoders, probes
from unmute_jax.cli import completion
from unmute_jax.cli.main import COMMANDS

LINES = {
    "unmute tr": "train",
    "unmute check": "check-encoder",
    "unmute train --dr": "--dry_run",
    "unmute train --config qui": "quickstart",
    "unmute train --config=qui": "quickstart",
    "unmute train --config=quickstart --config.optimizer.b": (
        "--config.optimizer.b1 --config.optimizer.b2"
    ),
    "unmute train --config=quickstart --config.search=s": "sweep",
    "unmute train --config=quickstart --config.probes=linear,protob": "linear,protobin",
    "unmute train --config=quickstart --config.encoder whi": "whisper",
    "unmute train --config=quickstart --config.dataset=esc_": "esc_mix",
    "unmute grid --config.encoders=eat,whi": "eat,whisper",
    "unmute probes sta": "stats",
    "unmute encoders aud": "audiomae audiomae+",
    "unmute convert --encoder whi": "whisper",
    "unmute embed --export=np": "npy",
    "unmute completion f": "fish",
}
# Asks bash for the completions of each line, as the Tab key does.
SCRIPT = """
ask() {
    COMP_LINE=$1; COMP_POINT=${#1}; COMP_TYPE=9; read -ra COMP_WORDS <<< "$1"
    COMPREPLY=(); _python_argcomplete unmute; echo "${COMPREPLY[@]}"
}
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What bash completes in each of `LINES`, with the command on its path."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "unmute").write_text(
        f"#!{sys.executable}\nfrom unmute_jax.cli.main import main\nmain()\n"
    )
    (folder / "unmute").chmod(0o755)
    script = [
        f"PATH={shlex.quote(str(folder))}:$PATH",
        'eval "$(unmute completion bash)"',
        SCRIPT,
        *(f"ask {shlex.quote(line)}" for line in LINES),
        "complete -p unmute",
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_bash_completes_what_is_typed(answers):
    found = [answer.strip() for answer in answers]
    assert dict(zip(LINES, found, strict=False)) == LINES
    assert "-F _python_argcomplete unmute" in answers[-1]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_has_its_code(shell, capsys):
    completion.main([shell])
    assert "unmute" in capsys.readouterr().out


def test_names_are_those_of_the_registries():
    assert sorted(completion.probes()) == probes.list_probes()
    assert sorted(completion.encoders()) == encoders.list_encoders()
    assert {"untrained", "whisper-base"} <= set(completion.weights())
    assert completion.configs("quick") == ["quickstart"]


@pytest.mark.parametrize("name", ["datasets", "convert", "probes"])
def test_commands_are_described_with_their_own_options_only(name):
    parser = completion.as_argparse(name)
    (commands,) = (a for a in parser._actions if a.choices)
    assert list(commands.choices) == list(COMMANDS)
    described = {c: p for c, p in commands.choices.items() if len(p._actions) > 1}
    assert list(described) == [name]
