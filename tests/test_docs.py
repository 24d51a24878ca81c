"""The pages name only commands, options, configs and files that exist."""

import importlib.util
import pathlib
import re

import pytest

from unmute_jax.cli.main import COMMANDS
from unmute_jax.config import Experiment
from unmute_jax.config_files import shipped_configs
from unmute_jax.grid.cells import default_grid

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# The start page links pages of the site that are made from the code.
REFERENCE = re.compile(r"(\.\./)*reference/\w+\.md")


def names_of(values, prefix="config"):
    for key, value in values.items():
        yield f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from names_of(value, f"{prefix}.{key}")


OPTIONS = {
    *names_of(Experiment().to_dict()),
    *names_of(default_grid().to_dict()),
}


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request):
    return request.param


def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target and not REFERENCE.fullmatch(target):
            assert (page.parent / target).exists(), target


def test_commands_and_configs_exist(page):
    text = page.read_text()
    for command in re.findall(r"\bunmute ([a-z-]+) (?=-|[A-Z]|\w+\.|\w+:)", text):
        assert command in COMMANDS
    for module in re.findall(r"python -m ((?:experiments|unmute_jax)\.[\w.]+\w)", text):
        if not module.endswith("NAME"):
            assert importlib.util.find_spec(module), module
    for config in re.findall(r"--config[ =]([a-z]\w*)(?![\w./])", text):
        assert config in shipped_configs()
    for path in re.findall(
        r"\b(?:configs|docs|experiments|unmute_jax)/[\w/]+\.\w+", text
    ):
        # Capitals stand for a name of your choice.
        if not re.search("[A-Z]{4}", path):
            assert (ROOT / path).exists(), path


def test_options_exist(page):
    # Capitals stand for an option of your choice.
    for option in re.findall(r"--(config\.[a-z][\w.]*\w)", page.read_text()):
        assert option in OPTIONS


def test_the_python_example_runs():
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    namespace = {}
    exec(code, namespace)
    assert namespace["tokens"].patches.shape == (2, 62, 8, 256)
