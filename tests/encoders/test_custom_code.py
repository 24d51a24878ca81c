"""Which files the code of a custom encoder consists of."""

import importlib
import sys

import pytest

from unmute_jax.encoders.custom_code import code_digest, code_files

PACKAGE = {
    "a_package/__init__.py": "",
    "a_package/models/__init__.py": "from .layers import *\n",
    "a_package/models/mine.py": (
        "import numpy as np, unmute_jax\nfrom ..front import mel\n"
        "def late():\n    import beside\n"
    ),
    "a_package/models/layers.py": "from a_package import front\n",
    "a_package/front/__init__.py": "",
    "a_package/front/mel.py": "import no_such_module\n",
    "a_package/unused.py": "",
    "beside.py": "def broken(:\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    # The modules are never run: only their place is looked at.
    for module in ("a_package.models.mine", "beside", "a_package"):
        path = tmp_path.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        spec = importlib.util.spec_from_file_location(module, file)
        monkeypatch.setitem(sys.modules, module, importlib.util.module_from_spec(spec))
    return tmp_path


def test_imports_are_followed_to_the_files_of_the_user(folder):
    found = code_files("a_package.models.mine")
    assert {str(p.relative_to(folder)) for p in found} == (
        PACKAGE.keys() - {"a_package/unused.py"}
    )
    assert [p.name for p in code_files("beside")] == ["beside.py"]
    assert [p.name for p in code_files("a_package")] == ["__init__.py"]


@pytest.mark.parametrize("name", ["beside.py", "a_package/front/mel.py"])
def test_the_digest_changes_with_each_file_and_no_other(folder, name):
    before = code_digest("a_package.models.mine")
    (folder / "a_package/unused.py").write_text("# changed\n")
    assert code_digest("a_package.models.mine") == before
    (folder / name).write_text("# changed\n")
    assert code_digest("a_package.models.mine") != before


def test_of_an_installed_package_only_its_own_files_count():
    files = code_files("flax.linen.linear")
    assert len(files) > 5
    assert {p.parts[-len(p.parts) + p.parts.index("flax")] for p in files} == {"flax"}


def test_a_module_without_source_has_no_digest():
    assert code_digest("itertools") == ""
