"""A report as one self-contained page: it loads and runs nothing, whatever stands in it.

Jinja2 is imported when a page is made: Slicer's own process makes none.
"""

import base64
from pathlib import Path

from ...machine.terminal import visible
from ..sections import OWN, Mark, Report, cell_text

TEMPLATE = Path(__file__).with_name("page.html.j2")


def render(report: Report) -> str:
    """The whole document; whatever a report says is escaped by the template."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": visible, "base64": lambda png: base64.b64encode(png).decode("ascii")}
    environment.tests |= {"marked": lambda cell: isinstance(cell, Mark)}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=report, cell_text=cell_text, own=OWN, kind=lambda part: type(part).__name__)
