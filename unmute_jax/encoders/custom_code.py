"""Finds the source files behind a custom encoder, and computes a digest of them."""

from __future__ import annotations

import ast
import hashlib
import pathlib
import sys
import sysconfig
from collections.abc import Iterator

# This package: its own changes are the business of its encoders' versions.
_OURS = __name__.partition(".")[0]


def code_files(module: str) -> list[pathlib.Path]:
    """Returns the file of an imported module and those of the modules it imports.

    Imports are followed, also those inside functions, to files below the folder from
    which the module itself was imported. Installed packages other than the module's
    own are left out, and so is this package.

    Args:
        module: The name of the module, such as "my_package.my_module".

    Returns:
        The files, in the order of the names of their modules; none if the module has no
        source file.
    """
    root = _root(module)
    if root is None:
        return []
    top = module.partition(".")[0]
    is_installed = root in {
        pathlib.Path(path) for path in sysconfig.get_paths().values()
    }
    found: dict[str, pathlib.Path] = {}
    left = [module]
    while left:
        name = left.pop()
        head = name.partition(".")[0]
        if name in found or head == _OURS or (is_installed and head != top):
            continue
        file = _file_of(root, name)
        if file is not None:
            found[name] = file
            left += _imports(name, file)
        # Importing a module runs the packages that contain it.
        left += [name.rpartition(".")[0]] if "." in name else []
    return [found[name] for name in sorted(found)]


def code_digest(module: str) -> str:
    """Returns 16 characters that change with any of the module's `code_files`."""
    files = code_files(module)
    if len(files) == 1:
        return hashlib.sha256(files[0].read_bytes()).hexdigest()[:16]
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16] if files else ""


def _root(module: str) -> pathlib.Path | None:
    """Returns the folder that the whole name of the module starts from."""
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or pathlib.Path(file).suffix != ".py":
        return None
    path = pathlib.Path(file).absolute()
    inner = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return inner.parents[module.count(".")]


def _file_of(root: pathlib.Path, name: str) -> pathlib.Path | None:
    """Returns the source file of a module below `root`; None if there is none."""
    inner = root.joinpath(*name.split("."))
    files = inner / "__init__.py", inner.with_suffix(".py")
    return next((file for file in files if file.is_file()), None)


def _imports(module: str, file: pathlib.Path) -> Iterator[str]:
    """Yields the names that a file imports, whether they are modules or not."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -(node.level - 1) or None]
            parts = [*(above if node.level else []), node.module]
            base = ".".join(part for part in parts if part)
            if base:
                yield base
            prefix = f"{base}." if base else ""
            yield from (f"{prefix}{alias.name}" for alias in node.names)
