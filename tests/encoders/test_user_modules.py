"""Modules that users name: found in the current folder, or refused in one line."""

import pytest

from unmute_jax import load_encoder
from unmute_jax.encoders.user_modules import import_class, import_module
from unmute_jax.errors import InputError


def test_modules_of_the_current_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "of_this_folder.py").write_text("class Mine: pass\n")
    monkeypatch.chdir(tmp_path)
    module = import_module("of_this_folder")
    assert import_class("of_this_folder:Mine") is module.Mine


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:Mine", "there is no module 'no_such_module', neither in"),
        ("tests.encoders.custom:Jax", "there is no module 'tests.encoders.custom'"),
        ("encoderz:Mine", "did you mean 'encoders'"),
        ("my-module:Mine", "does not name an encoder: a module, a colon"),
    ],
)
def test_a_module_that_is_not_there_is_refused(tmp_path, monkeypatch, name, message):
    (tmp_path / "encoders.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_a_module_that_lacks_a_package_says_which(tmp_path, monkeypatch):
    (tmp_path / "lacking.py").write_text("import a_package_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lacking imports a_package_nobody_has, which"):
        load_encoder("lacking:Mine")
