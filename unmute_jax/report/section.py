"""The parts of a report: sections with paragraphs, pictures and tables."""

from __future__ import annotations

from dataclasses import dataclass

from unmute_jax.report.tables import Table


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
class Section:
    """A section of a report.

    Attributes:
        name: The target of links to the section.
        title: The heading.
        paragraphs: Text that explains how the numbers are defined.
        pictures: Pictures, shown before the tables.
        tables: Tables. A page folds long ones.
    """

    name: str
    title: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
