"""Sections of a report, and the HTML page that shows them and needs no other file.

The page of a report and the page of a diagnosis share the template `page.html.jinja`.
Jinja escapes every text, so that names of classes or files cannot contain markup.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import pathlib
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from unmute_jax.report.tables import Table, shown, visible

# Tables with more rows are folded. They are open on paper.
FOLDED_ROWS = 14


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG picture.

    Attributes:
        name: The name of its file, without the suffix.
        alt: A description for readers who cannot see the picture.
        png: The content of the file.
    """

    name: str
    alt: str
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A part of a recording that can be heard and seen.

    Attributes:
        caption: The text below it.
        alt: A description of the picture for readers who cannot see it.
        webp: A picture of the sound, the content of a WebP file. Of spectrograms these
            are a sixth of PNG files.
        ogg: The sound, the content of an Ogg file.
    """

    caption: str
    alt: str
    webp: bytes
    ogg: bytes


@dataclass(frozen=True, kw_only=True)
class ExcerptGroup:
    """Excerpts that belong together.

    Attributes:
        title: The heading of the group.
        excerpts: The excerpts, shown side by side.
    """

    title: str
    excerpts: tuple[Excerpt, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a report.

    Attributes:
        name: The target of links to the section.
        title: The heading.
        paragraphs: Text that explains how the numbers are defined.
        pictures: Pictures, shown before the tables.
        tables: Tables. A page folds long ones.
        excerpts: Groups of excerpts, shown behind the tables on pages only.
    """

    name: str
    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    excerpts: tuple[ExcerptGroup, ...] = ()


def visible_section(section: Section) -> Section:
    """The section with texts as readers see them (see `tables.visible`)."""
    return dataclasses.replace(
        section,
        title=visible(section.title),
        paragraphs=tuple(map(visible, section.paragraphs)),
        pictures=tuple(
            dataclasses.replace(p, alt=visible(p.alt)) for p in section.pictures
        ),
        tables=tuple(map(shown, section.tables)),
        excerpts=tuple(map(_visible_group, section.excerpts)),
    )


def _visible_group(group: ExcerptGroup) -> ExcerptGroup:
    excerpts = tuple(
        dataclasses.replace(e, caption=visible(e.caption), alt=visible(e.alt))
        for e in group.excerpts
    )
    return ExcerptGroup(title=visible(group.title), excerpts=excerpts)


def html_page(
    title: str,
    summary: str,
    sections: Sequence[Section],
    *,
    most_rows: int = FOLDED_ROWS,
) -> str:
    """Renders a page.

    Args:
        title: The title of the page.
        summary: The text below the title.
        sections: The sections of the page, whose pictures and sounds are embedded.
        most_rows: The largest number of rows of a table that is not folded.
    """
    return _template().render(
        title=title,
        summary=visible(summary),
        sections=list(map(visible_section, sections)),
        most_rows=most_rows,
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unmute_jax.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = _encode_base64
    return environment.get_template("page.html.jinja")


def _encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def open_page(page: pathlib.Path) -> str:
    """Opens a page in the browser of this machine, and says whether there is one."""
    if webbrowser.open(page.absolute().as_uri()):
        return f"opened {page}"
    return f"no browser can be opened here: open {page} elsewhere"
