"""Renders sections as one HTML page that needs no other file.

The page of a report and the page of a diagnosis share the template `page.html.jinja`.
Jinja escapes every text, so that names of classes or files cannot contain markup.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence

import jinja2

from unmute_jax.report.section import Section

# Tables with more rows are folded. They are open on paper.
FOLDED_ROWS = 14


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
        sections: The sections of the page, whose pictures are embedded.
        most_rows: The largest number of rows of a table that is not folded.
    """
    return _template().render(
        title=title, summary=summary, sections=sections, most_rows=most_rows
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
