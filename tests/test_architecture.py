"""The rooms of the package keep their order, know no circles, and mirror the tests."""

import ast
import graphlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "unmute_jax"
TESTS = pathlib.Path(__file__).parent

# A module imports from its own room and from rooms above it (docs/architecture.md).
ROOMS = (
    (
        "errors",
        "bounds",
        "config",
        "config_files",
        "console",
        "io",
        "locks",
        "zips",
        "downloads",
    ),
    ("ops",),
    ("distributed",),
    ("audio",),
    ("datasets",),
    ("weights",),
    ("tokens",),
    ("encoders",),
    ("store",),
    ("probes",),
    ("metrics",),
    ("results",),
    ("training",),
    ("report",),
    ("inference",),
    ("grid",),
    ("cli",),
)
# What other benchmarks import; the only modules that import PyTorch.
FOR_TORCH = ("unmute_jax.hear", "unmute_jax.xares")
# The public doors: the package itself, `python -m` entries that call a command, and
# what other benchmarks import.
DOORS = ("unmute_jax", "unmute_jax.convert", "unmute_jax.datasets.__main__", *FOR_TORCH)


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module):
    """The project's modules that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= whole & MODULES.keys() or {node.module}
            if not whole <= MODULES.keys():
                found.add(node.module)
    return {name for name in found if name.split(".")[0] == "unmute_jax"} - {module}


def room_of(module):
    head = module.split(".")[1]
    return next(i for i, names in enumerate(ROOMS) if head in names)


def test_only_the_files_of_the_design_lie_at_the_top():
    files = {path.name for path in PACKAGE.glob("*.py")}
    assert files == {
        "__init__.py", "bounds.py", "config.py", "config_files.py", "console.py",
        "convert.py", "downloads.py", "errors.py", "hear.py", "io.py", "locks.py",
        "tokens.py", "xares.py", "zips.py",
    }  # fmt: skip


def test_every_module_belongs_to_a_room():
    heads = {module.split(".")[1] for module in MODULES if module not in DOORS}
    assert heads == {name for names in ROOMS for name in names}


def test_no_room_imports_one_below_it():
    against = [
        f"{module} imports {imported}"
        for module in MODULES
        if module not in DOORS
        for imported in imports_of(module)
        if imported not in DOORS and room_of(imported) > room_of(module)
    ]
    assert not against


def heads_of(module):
    """The first parts of all names that a module imports, wherever in its text."""
    heads = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            heads.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            heads |= {alias.name.split(".")[0] for alias in node.names}
    return heads


def test_nothing_in_the_package_imports_experiments_or_configs():
    for module in MODULES:
        assert not heads_of(module) & {"experiments", "configs", "tests"}, module


def test_only_the_doors_to_other_benchmarks_import_torch():
    frameworks = {"torch", "torchaudio", "tensorflow", "keras"}
    importing = {module for module in MODULES if heads_of(module) & frameworks}
    assert importing == set(FOR_TORCH)


def test_one_module_imports_ray():
    importing = {module for module in MODULES if "ray" in heads_of(module)}
    assert importing == {"unmute_jax.distributed.ray_cluster"}


def test_there_are_no_circular_imports():
    # Importing a module runs the __init__ of its package, which counts as an import.
    graph = {module: imports_of(module) for module in MODULES if module not in DOORS}
    with_parents = {
        module: found | {p for f in found if (p := parent_of(f)) and p != module}
        for module, found in graph.items()
    }
    for module, found in with_parents.items():
        # A package's own modules may not import what its __init__ re-exports.
        found.discard(parent_of(module))
    try:
        list(graphlib.TopologicalSorter(with_parents).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def parent_of(module):
    parent = module.rpartition(".")[0]
    return parent if parent in MODULES and parent != "unmute_jax" else None


# Modules whose behaviour shows only through the tests named beside them.
TESTED_ELSEWHERE: dict[str, str] = {
    "unmute_jax.cli.conversion": "cli/test_convert.py",
    "unmute_jax.cli.embed_options": "cli/test_embed.py",
    "unmute_jax.cli.embedding": "cli/test_embed.py",
    "unmute_jax.cli.predict_options": "cli/test_predict.py",
    "unmute_jax.cli.prediction": "cli/test_predict.py",
}


def test_every_module_has_its_test_file():
    missing = []
    for module, path in MODULES.items():
        if path.name in ("__init__.py", "__main__.py") or module in DOORS:
            continue
        inside = path.relative_to(PACKAGE)
        expected = TESTS / inside.parent / f"test_{inside.name}"
        if not expected.exists() and module not in TESTED_ELSEWHERE:
            missing.append(str(expected.relative_to(TESTS)))
    assert not missing


def test_no_file_is_longer_than_one_can_hold_in_mind():
    long = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert set(long) <= {"config.py"}
