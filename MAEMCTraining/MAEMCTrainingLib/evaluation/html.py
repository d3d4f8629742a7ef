"""What our reports are made of: one self-contained page with its tables and pictures; nothing is loaded for it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

CONTENT_POLICY = (
    "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'\">"
)
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 76em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: .2em; } h2 { font-size: 1.15em; margin-top: 2em; border-top: 1px solid #ddd;
padding-top: 1em; } table { border-collapse: collapse; font-size: 14px; } th { text-align: left; font-weight: 600; }
th, td { padding: .3em 1em .3em 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
td { font-variant-numeric: tabular-nums; } td.short, tr > th:first-child { white-space: nowrap; }
tr.first td { font-weight: 600; }
.notice { background: #fff4d6; border-left: 4px solid #e0a800; padding: .5em .9em; font-weight: 600; }
.leaky { background: #fbe3e0; border-left: 4px solid #c0392b; padding: .5em .9em; font-weight: 600; }
.soft { color: #666; font-size: .9em; } img { max-width: 100%; } img.small { max-height: 22em; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{CONTENT_POLICY}'
        f"<title>{escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], wrapped: bool = False) -> str:
    """A table whose first column names the rows; the row "this model" stands out. No heads: none are shown.

    wrapped: whether the texts may take several lines; those of a table without heads do.
    """
    top = "<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>" if heads else ""
    lines = []
    for first, *others in rows:
        mark = " class='first'" if first == "this model" else ""
        cells = "".join(
            f"<td{' class=short' if heads and not wrapped else ''}>{escape(str(text))}</td>" for text in others
        )
        lines.append(f"<tr{mark}><th>{escape(first)}</th>{cells}</tr>")
    return f"<table>{top}{''.join(lines)}</table>"


def png_of(figure: Any) -> bytes:
    """A matplotlib figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def picture(png: bytes, alternative: str, style: str = "") -> str:
    """A paragraph with a picture that lies in the page itself. alternative: its text for those who do not see it."""
    mark = f" class='{style}'" if style else ""
    source = base64.b64encode(png).decode("ascii")
    return f"<p><img{mark} src='data:image/png;base64,{source}' alt='{escape(alternative, quote=True)}'></p>"
