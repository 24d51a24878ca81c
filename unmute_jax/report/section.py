"""What a report is made of: sections with words, tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass

from unmute_jax.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG.

    Attributes:
        name: Of its file.
        alt: What it shows, for those who do not see it.
        png: The bytes.
    """

    name: str
    alt: str
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question and its answer.

    Attributes:
        name: Of its place in the page.
        title: Its heading.
        words: Paragraphs: how its numbers are defined and to be read.
        pictures: Before the tables.
        tables: Long ones are folded in the page.
    """

    name: str
    title: str
    words: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
