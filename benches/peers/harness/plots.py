"""SVG bar charts of a run: one file for each unit, one panel for each job, one bar for each peer.

Written by hand so that they need nothing and change only where a figure does."""
from pathlib import Path
from xml.sax.saxutils import escape

from .figures import Spread, is_ours
from .jobs import JOBS

SHEETS = {
    "requests": ("CPU microseconds per request", "cpu_us", "%.1f"),
    "bodies": ("CPU seconds per GiB, 10 MiB bodies", "cpu_s_per_gib", "%.2f"),
    "memory": ("KiB per idle TLS connection", "kb_per_conn", "%.1f"),
}
WIDTH, LEFT, RIGHT, BAR, GAP, TITLE = 760, 150, 110, 16, 5, 34
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600; font-size: 14px }
.page { fill: #ffffff } .bar { fill: #9aa5b1 } .ours { fill: #1f6feb } .reach { stroke: #57606a; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .page { fill: #0d1117 } .bar { fill: #6e7681 }
.ours { fill: #58a6ff } .reach { stroke: #b1bac4 } }"""


def write(data, folder):
    """Writes the sheets that the run has figures for, and returns which."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (title, figure, digits) in SHEETS.items():
        panels = list(_panels(data["jobs"], figure))
        if panels:
            file = folder / ("peers-" + name + ".svg")
            file.write_text(_sheet(title, panels, digits))
            written.append(file)
    return written


def _panels(jobs, figure):
    """(job, [(label, spread)]), the lowest first."""
    for name, labelled in jobs.items():
        job = JOBS.get(name)
        if not job or job.figure != figure or job.load == "open" or job.is_pair:
            continue
        bars = [(label, Spread.of(rounds, figure)) for label, rounds in labelled.items()]
        bars = sorted((bar for bar in bars if bar[1]), key=lambda bar: bar[1].median)
        if bars:
            yield job, bars


def _sheet(title, panels, digits):
    parts, top = [_text(12, 24, title, "title")], 36
    for job, bars in panels:
        parts += _panel(top, job, bars, digits)
        top += TITLE + len(bars) * (BAR + GAP)
    height = top + 14
    opening = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d">' % (WIDTH, height, WIDTH)
    page = '<rect class="page" width="%d" height="%d"/>' % (WIDTH, height)
    return "\n".join([opening, "<title>%s</title><style>%s</style>" % (escape(title), STYLE), page, *parts, "</svg>\n"])


def _panel(top, job, bars, digits):
    yield _text(12, top + 22, "%s: %s" % (job.name, job.what), "job")
    # A peer ten times as slow as the middle one would leave the others no room: its bar is cut.
    middle = bars[len(bars) // 2][1].median
    scale = (WIDTH - LEFT - RIGHT) / min(bars[-1][1].high, 5 * middle)
    for number, (label, spread) in enumerate(bars):
        yield from _bar(top + TITLE + number * (BAR + GAP), label, spread, scale, digits)


def _bar(top, label, spread, scale, digits):
    def x(value):
        return min(value * scale, WIDTH - LEFT - RIGHT)

    kind = "ours" if is_ours(label) else "bar"
    middle = top + BAR / 2
    yield _text(LEFT - 8, middle + 4, label, "end", 'text-anchor="end"')
    yield '<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>' % (kind, LEFT, top, x(spread.median), BAR)
    low, high = LEFT + x(spread.low), LEFT + x(spread.high)
    yield '<line class="reach" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>' % (low, high, middle, middle)
    cut = " (bar cut)" if spread.high * scale > WIDTH - LEFT - RIGHT + 1 else ""
    yield _text(high + 6, middle + 4, digits % spread.median + cut, "value")


def _text(x, y, text, kind, more=""):
    return '<text class="%s" x="%.1f" y="%.1f" %s>%s</text>' % (kind, x, y, more, escape(text))
