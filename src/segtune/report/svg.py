"""matplotlib's SVG made at home in a page: colours by the page's variables, ids of its own, no outside names.

matplotlib draws with stand-in colours; `Chart.inline` turns them into the page's CSS variables, so that one drawing
reads in light and dark, and `Chart.standalone` into the light set, for a file that is looked at alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, MUTED, LINE, PAPER = "#010101", "#010102", "#010103", "#010104"
SERIES = ("#010111", "#010112", "#010113", "#010114", "#010115", "#010116")

# Stand-in → (CSS variable of templates/style.css, its light value).
_COLOURS = {
    TEXT: ("--text", "#1c2128"),
    MUTED: ("--muted", "#5f6b7a"),
    LINE: ("--line", "#e2e5ea"),
    PAPER: ("--paper", "#ffffff"),
    SERIES[0]: ("--series-1", "#0072b2"),
    SERIES[1]: ("--series-2", "#d55e00"),
    SERIES[2]: ("--series-3", "#009e73"),
    SERIES[3]: ("--series-4", "#cc79a7"),
    SERIES[4]: ("--series-5", "#b8860b"),
    SERIES[5]: ("--series-6", "#56b4e9"),
}

_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "segtune",  # ids are random otherwise
    "font.size": 12.5,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": TEXT,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "text.color": TEXT,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
}


@dataclass(frozen=True)
class Chart:
    """A drawing as SVG with stand-in colours, and its meaning in words for those who cannot see it."""

    svg: str
    description: str

    def inline(self, key: str) -> str:
        """Return the element for a page; `key` keeps its ids apart from those of other charts."""
        # matplotlib's ids are the same in every drawing, and a page must have each once.
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{key}-", self._coloured(lambda name, _: f"var({name})"))
        # Inside HTML an svg needs no namespaces, and takes its size from the page.
        svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
        svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg)
        svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg)
        return svg.replace("<svg", f'<svg role="img" aria-label="{_attribute(self.description)}"', 1)

    def standalone(self) -> str:
        """Return a whole SVG file in the light colours on white paper."""
        svg = self._coloured(lambda _, light: light).replace("font-family: inherit", "font-family: sans-serif")
        return re.sub(r"(<svg\b[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', svg, count=1)

    def _coloured(self, choose: Callable[[str, str], str]) -> str:
        svg = self.svg
        for stand_in, (variable, light) in _COLOURS.items():
            svg = svg.replace(stand_in, choose(variable, light))
        return svg


def draw(paint: Callable[[Figure], None], size: tuple[float, float], description: str) -> Chart:
    """Let `paint` fill a figure of `size` (width, height in inches of 72 units) and return it as a chart."""
    # Imported here: it takes most of a second, and only a report needs it. No pyplot: it keeps global state.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=144, layout="constrained")  # dpi: of the parts drawn as pixels
        paint(figure)
        file = io.StringIO()
        # Without a date: the same run gives the same bytes.
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Chart(_trim(file.getvalue()), description)


def colour_variable(stand_in: str) -> str:
    """Return the CSS variable that takes the place of a stand-in colour in a page."""
    return _COLOURS[stand_in][0]


def _trim(svg: str) -> str:
    """Drop what only a file needs, and matplotlib's font: the page's own is used."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family:[^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1; font-family: inherit", svg)
    # Numbers as the tables have them: .85, not 0.85.
    svg = re.sub(r">([−-]?)0(\.\d+)<", r">\1\2<", svg)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
