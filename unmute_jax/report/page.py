"""The report as one HTML file: nothing beside it, nothing fetched."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from unmute_jax.report.section import Picture, Section
from unmute_jax.report.tables import Field, Table

# Longer tables are folded; on paper they are open.
FOLDED = 14
STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --quiet: #5a5a5a; --back: #fff;
  --line: #d5d5d5; --stripe: #f5f6f8; --link: #0b5cad }
@media (prefers-color-scheme: dark) { :root { --text: #e4e4e4; --quiet: #a3a3a3;
  --back: #16181b; --line: #3a3d42; --stripe: #1f2226; --link: #7db8f0 } }
* { box-sizing: border-box }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--text);
  background: var(--back); margin: 0 auto; max-width: 76rem; padding: 1rem }
h1 { font-size: 1.7rem; line-height: 1.2 } h2 { margin-top: 2.6rem; font-size: 1.3rem;
  border-bottom: 1px solid var(--line) }
p { max-width: 46rem } a { color: var(--link) } small, .note { color: var(--quiet) }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: 1rem 0 }
.wide { overflow-x: auto; margin: .4rem 0 } .note { margin: .2rem 0 1.2rem;
  font-size: .87rem }
table { border-collapse: collapse; font-size: .9rem }
caption, summary { text-align: left; font-weight: 600; padding: .5rem 0 }
summary { cursor: pointer }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--back) }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap }
td small { display: block; font-size: .78rem; white-space: nowrap }
tbody tr:hover td { background: var(--stripe) }
th { font-weight: 600; vertical-align: bottom }
th button { background: none; border: 0; margin: 0; padding: 0; font: inherit;
  color: inherit; text-align: inherit; cursor: pointer }
th button:focus-visible { outline: 2px solid var(--link) }
th[aria-sort=ascending] button::after { content: " ▲" }
th[aria-sort=descending] button::after { content: " ▼" }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px;
  margin: .5rem 0 }
@media (max-width: 45rem) { .wide img { max-width: none; width: 44rem } }
@media print { html { font-size: 11px } body { max-width: none; font-size: 1rem }
  nav, .screen { display: none } .wide { overflow: visible }
  th, td { padding: .15rem .45rem .15rem 0 } td small { white-space: normal }
  th:first-child, td:first-child { position: static }
  img { break-inside: avoid; max-height: 23cm; max-width: 17cm }
  tr { break-inside: avoid } h2, caption, summary { break-after: avoid } }
"""
# Sorts by the value in data-v, or by the text; a second click turns it round.
SCRIPT = """
function sort(th) {
  const before = th.getAttribute('aria-sort');
  // Numbers begin with the highest, names with the first.
  const first = th.className === 'n' ? -1 : 1;
  const up = before ? (before === 'descending' ? 1 : -1) : first;
  const key = r => { const d = r.cells[th.cellIndex];
    return d.dataset.v === undefined ? d.textContent : +d.dataset.v };
  const compare = (p, q) => typeof p === typeof q
    ? up * (typeof p === 'number' ? p - q : p.localeCompare(q))
    : (typeof p === 'number' ? -1 : 1);
  th.parentNode.querySelectorAll('th').forEach(h => h.removeAttribute('aria-sort'));
  th.setAttribute('aria-sort', up > 0 ? 'ascending' : 'descending');
  const body = th.closest('table').tBodies[0];
  [...body.rows].sort((p, q) => compare(key(p), key(q))).forEach(r => body.append(r));
}
document.querySelectorAll('th').forEach(th => {
  const button = document.createElement('button');
  button.append(...th.childNodes);
  button.onclick = () => sort(th);
  th.append(button);
});
addEventListener('beforeprint', () =>
  document.querySelectorAll('details').forEach(d => d.open = true));
"""


def html_page(title: str, summary: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    links = [f'<a href="#{s.name}">{html.escape(s.title)}</a>' for s in sections]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1>",
            f"<p>{html.escape(summary)}. "
            '<span class="screen">A click on the head of a column sorts.</span></p>',
            f"<nav>{''.join(links)}</nav>",
            *map(_section, sections),
            f"<script>{SCRIPT}</script>",
            "</body></html>\n",
        ]
    )


def _section(section: Section) -> str:
    return "\n".join(
        [
            f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>',
            *(f"<p>{html.escape(words)}</p>" for words in section.words),
            *map(_picture, section.pictures),
            *map(_table, section.tables),
            "</section>",
        ]
    )


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    alt = html.escape(picture.alt, quote=True)
    return (
        f'<div class="wide"><img alt="{alt}" src="data:image/png;base64,{data}"></div>'
    )


def _table(table: Table) -> str:
    kinds = [" class=n" * table.is_number(i) for i in range(len(table.columns))]
    head = "".join(
        f"<th{kind}>{html.escape(name)}</th>"
        for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "\n".join(
        f"<tr>{''.join(map(_cell, row, kinds))}</tr>" for row in table.fields()
    )
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    title = html.escape(table.title)
    is_folded = len(table.rows) > FOLDED
    caption = "" if is_folded else f"<caption>{title}</caption>"
    made = (
        f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div>{note}"
    )
    if not is_folded:
        return made
    summary = f"{title} ({len(table.rows)} rows)"
    return f"<details><summary>{summary}</summary>{made}</details>"


def _cell(field: Field, kind: str) -> str:
    value = "" if field.value is None else f' data-v="{field.value!r}"'
    text = html.escape(field.text)
    text = f"<b>{text}</b>" if field.strong else text
    under = f"<small>{html.escape(field.under)}</small>" if field.under else ""
    return f"<td{kind}{value}>{text}{under}</td>"
