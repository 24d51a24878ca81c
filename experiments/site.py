"""Hooks of `mkdocs.yml`: the pages of the site that are not files in `docs/`.

    pip install -c constraints.txt -e '.[docs]'
    mkdocs serve
    mkdocs build --strict

The reference is made from the code with every build. The changelog, the notebooks and
other files beside `docs/` become pages, and links between these places are adapted, so
that they lead somewhere on the site as well as in the repository.
"""

from __future__ import annotations

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

from experiments import reference

ROOT = pathlib.Path(__file__).parents[1]
# The addresses of pages whose files lie beside `docs/`.
BESIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "notebooks/quickstart.ipynb": "notebooks/quickstart.md",
    "notebooks/explore_a_trained_probe.ipynb": "notebooks/explore_a_trained_probe.md",
}

# A folder beside `docs/` whose files pages link as they are.
COPIED = "deploy"


# Before the plugins see the files.
@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not files in `docs/`."""
    for address, write in reference.PAGES.items():
        files.append(File.generated(config, address, content=write()))
    for name, address in BESIDE.items():
        if name.endswith(".ipynb"):
            _add_notebook(files, config, ROOT / name, address)
        else:
            text = (ROOT / name).read_text()
            files.append(File.generated(config, address, content=text))
    for path in sorted((ROOT / COPIED).rglob("*")):
        if path.is_file():
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Adapts the links of a page."""
    return adapted_links(markdown, page.file.src_uri)


def adapted_links(markdown: str, page: str) -> str:
    """Adapts links between `docs/` and the files beside it to the site.

    Args:
        markdown: The text of a page, whose links are those of its file.
        page: The address of the page, such as "tutorials/one_bit.md".
    """
    sources = {address: name for name, address in BESIDE.items()}
    folder = posixpath.dirname(sources.get(page, f"docs/{page}"))

    def adapted(match: re.Match[str]) -> str:
        target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if path not in BESIDE and not path.startswith(("docs/", f"{COPIED}/")):
            return match[0]
        address = BESIDE.get(path) or path.removeprefix("docs/")
        return f"]({posixpath.relpath(address, posixpath.dirname(page))}{anchor})"

    return re.sub(r"\]\((?![a-z]+:)([^)#\s]+)((?:#[^)\s]*)?)\)", adapted, markdown)


def _add_notebook(
    files: Files, config: MkDocsConfig, notebook: pathlib.Path, address: str
) -> None:
    """Adds the page of a notebook and the pictures that its cells have drawn."""
    text, resources = MarkdownExporter().from_filename(str(notebook))
    folder = posixpath.dirname(address)
    for name, picture in resources["outputs"].items():
        unique = f"{notebook.stem}_{name}"
        text = text.replace(f"({name})", f"({unique})")
        files.append(File.generated(config, f"{folder}/{unique}", content=picture))
    files.append(File.generated(config, address, content=text))
