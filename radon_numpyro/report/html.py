"""Web pages from elements: the one place where text becomes HTML.

What is not made by :func:`element` is text and is escaped, so nothing that a user's data say can
become markup, wherever it is put. A page needs no network, no script and no other file.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from typing import Any

VOID = ("img", "link", "meta")
# What a file in UTF-8 or an HTML parser cannot keep: control characters and lone surrogates.
_CONTROL = {c: "\N{REPLACEMENT CHARACTER}" for c in (*range(32), *range(127, 160))}
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")
_UNPRINTABLE = _CONTROL | _SURROGATES | {ord("\n"): "\n", ord("\t"): "\t"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Markup as it stands; made by :func:`element`, and by nothing that holds data."""

    __slots__ = ()


STYLE = Html("""
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #56606b; --line: #d3d9df;
  --link: #0a58a8; --tint: #f3f5f7; --good: #e4f3e7; --bad: #fde8e6; --good-edge: #1a7f37;
  --bad-edge: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e6e9ed; --soft: #a9b3bd;
  --line: #3a434d; --link: #8ac0ff; --tint: #1e242b; --good: #12301c; --bad: #421619;
  --good-edge: #4cc26b; --bad-edge: #ff8a80; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 54rem; padding: 0 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 2rem 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p, dl, ul { margin: .6rem 0; max-width: 44rem; }
a { color: var(--link); }
a:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; padding: .5rem 1rem; background: var(--paper); }
.skip:focus { left: .5rem; top: .5rem; z-index: 1; }
.question { font-size: 1.15rem; }
.soft, caption, figcaption, .range { color: var(--soft); }
.verdict { border-left: .4rem solid; border-radius: .3rem; padding: .1rem 1rem; margin: 1.2rem 0; }
.verdict h2 { margin-top: .6rem; }
.good { background: var(--good); border-color: var(--good-edge); }
.bad { background: var(--bad); border-color: var(--bad-edge); }
nav ul { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; list-style: none; padding: .5rem 0;
  max-width: none; border-block: 1px solid var(--line); }
nav a { display: inline-block; padding: .3rem 0; }
.scroll { overflow-x: auto; }
.scroll:has(table) { margin: .8rem 0; }
.wide img { min-width: 36rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .4rem; font-size: .9rem; }
caption > span { position: sticky; left: 0; display: inline-block;
  max-width: min(44rem, calc(100vw - 2rem)); }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; max-width: 18rem; }
bdi { overflow-wrap: anywhere; }
thead th { min-width: 4rem; }
th:first-child, .words { text-align: left; min-width: 7rem; }
tbody th { font-weight: 400; }
td { white-space: nowrap; }
td.words { white-space: normal; min-width: 11rem; }
figure { margin: 1.2rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; padding: .5rem;
  border: 1px solid var(--line); border-radius: .3rem; }
figcaption { font-size: .9rem; max-width: 44rem; padding-top: .3rem; }
.formula { padding: .3rem 0 .3rem 1rem; border-left: 3px solid var(--line); }
code.option { white-space: nowrap; font-size: .9em; }
pre { background: var(--tint); padding: .7rem; border-radius: .3rem; white-space: pre-wrap;
  font-size: .85rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); font-size: .9rem; }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444;
  --line: #bbb; --link: #000; --tint: #fff; --good: #fff; --bad: #fff; }
  nav, .skip { display: none; } body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 8pt; } th, td { padding-right: .4rem; } td { white-space: normal; }
  .scroll { overflow: visible; } figure, .verdict, tr { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; } thead { display: table-header-group; }
  figure img { border: 0; padding: 0; min-width: 0; } }
""")


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element with what it holds; text is escaped.

    Parameters
    ----------
    name
        Name of the tag.
    *children
        Elements, text, numbers, or iterables of these; None is left out.
    **attributes
        ``class_`` is class, ``aria_label`` is aria-label; None is left out.
    """
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    given = "".join(f' {k}="{_text(v)}"' for k, v in named.items() if v is not None)
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{''.join(map(_inner, children))}</{name}>")


def table(
    caption: Any,
    columns: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    label: str,
    words: Collection[int] = (),
) -> Html:
    """A table whose rows begin with their heading, in a region that scrolls on its own.

    Parameters
    ----------
    caption
        What the table shows.
    columns
        Headings of the columns.
    rows
        Cells of each row; the first is its heading.
    label
        Name of the region, for those who cannot see it.
    words
        Which columns hold words, that may break lines, instead of numbers.
    """
    kinds = ["words" if k in words else None for k in range(len(columns))]
    head = (element("th", c, scope="col", class_=k) for c, k in zip(columns, kinds, strict=True))
    body = []
    for first, *others in rows:
        cells = (element("td", c, class_=k) for c, k in zip(others, kinds[1:], strict=True))
        body.append(element("tr", element("th", first, scope="row"), cells))
    whole = element(
        "table",
        # The span stays in view while the columns scroll.
        element("caption", element("span", caption)),
        element("thead", element("tr", head)),
        element("tbody", body),
    )
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0)


def section(key: str, heading: str, *content: Any) -> Html:
    """A section that the navigation can point to.

    Parameters
    ----------
    key
        Its id.
    heading
        Its heading, of the second level.
    *content
        As of :func:`element`.
    """
    title = element("h2", heading, id=f"{key}-heading")
    return element("section", title, *content, id=key, aria_labelledby=f"{key}-heading")


def page(
    title: str, header: Any, sections: dict[str, Html], links: dict[str, str], end: Any
) -> str:
    """A whole page, which needs nothing else.

    Parameters
    ----------
    title
        Title of the window.
    header
        What stands above everything, the only heading of the first level included.
    sections
        Sections by their id, in order.
    links
        Words for the links to sections, by id.
    end
        What stands at the end.
    """
    items = (element("li", element("a", text, href=f"#{key}")) for key, text in links.items())
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        # Without it a browser asks the server for one.
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", STYLE),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#main", class_="skip"),
        element("header", header),
        element("nav", element("ul", items), aria_label="Sections"),
        element("main", sections.values(), id="main"),
        element("footer", end),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _text(value: Any) -> str:
    return html.escape(str(value).translate(_UNPRINTABLE))


def _inner(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, Iterable) and not isinstance(child, str):
        return "".join(map(_inner, child))
    return _text(child)
