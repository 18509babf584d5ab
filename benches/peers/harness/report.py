"""Markdown of a run: the machine, the targets, the price of safety, and a table for each job.

Everything is computed from the results; nothing here has an opinion."""
from . import targets
from .figures import Spread, median
from .jobs import JOBS


def write(data, out):
    for part in (_machine, _targets, _prices, _jobs, _floors):
        out.writelines(line + "\n" for line in part(data))


def _machine(data):
    yield ", ".join("%s: %s" % pair for pair in data.get("machine", {}).items())
    yield ""
    for name, version in sorted(data.get("versions", {}).items()):
        yield "- %s: %s" % (name, version)
    for subject, note in sorted(data.get("notes", {}).items()):
        yield "- %s: %s" % (subject, note)
    for subject, outcome in data.get("verify", {}).items():
        wrong = {case: said for case, said in outcome.items() if case != "tls" and said != "ok"}
        if wrong:
            yield "- **%s was not measured**: %s" % (subject, wrong)


def _targets(data):
    rows = list(targets.verdicts(data["jobs"]))
    if not rows:
        return
    yield "\n### Targets\n"
    yield from _head("job", "ours", "figure", "best peer", "its figure", "ratio to it", "target", "", "naive hyper")
    for row in rows:
        name, best = row.best or ("", None)
        of_best = _number(row.figure / best, 2) if best else ""
        reached = row.target if targets.OF_OWN_J1 not in row.target else "%s (is %.2f)" % (row.target, row.ratio)
        verdict = "met" if row.met else "**missed**"
        figure = "%s %s" % (_number(row.figure, _digits(row.unit)), row.unit)
        others = [_number(best, _digits(row.unit)), of_best, reached, verdict, _number(row.naive, _digits(row.unit))]
        yield _row(row.job, row.ours, figure, name, *others)


def _prices(data):
    rows = list(targets.prices(data["jobs"]))
    if not rows:
        return
    yield "\n### Price of safety\n"
    yield "CPU us/request with the access log to a file and /metrics scraped each second, to without both.\n"
    yield from _head("job", "without", "with", "ratio of the pairs", "target", "")
    for row in rows:
        ratio, limit = "%.3f" % row.ratio, "%.2f" % targets.SAFETY
        yield _row(row.job, row.plain.text(), row.observed.text(), ratio, limit, "met" if row.met else "**missed**")


def _jobs(data):
    for name, labelled in data["jobs"].items():
        job = JOBS.get(name)
        rows = [(Spread.of(rounds, job.figure), label, rounds) for label, rounds in labelled.items()] if job else []
        done = sorted((row for row in rows if row[0]), key=lambda row: row[0].median)
        rate = data.get("rates", {}).get(name)
        if done:
            yield "\n### %s: %s%s\n" % (name, job.what, " (%g requests/s)" % rate if rate else "")
            yield from {"idle": _idle_table, "bulk": _bulk_table}.get(job.load, _request_table)(done)
        for spread, label, rounds in rows:
            if not spread and rounds:
                yield "\n%s: %s failed: %s" % (name, label, rounds[0].get("failed"))


def _request_table(rows):
    columns = ["CPU us/request (min-max)", "x best", "requests/s (min-max)", "p50 us", "p99 us"]
    columns += ["proxy core used", "load core used", "peak RSS MiB", "errors"]
    has_store = any(median(rounds, "store_cpu_us") is not None for _, _, rounds in rows)
    yield from _head("peer", *columns, *["Redis us/request"] * has_store)
    for spread, label, rounds in rows:
        latency = [_number(median(rounds, name)) for name in ("p50", "p99")]
        used = [_percent(median(rounds, name)) for name in ("util", "lg_util")]
        memory, store = _mebibytes(median(rounds, "peak_rss_kb")), _number(median(rounds, "store_cpu_us"), 2)
        cells = [spread.text(), _times_best(spread, rows), Spread.of(rounds, "rps").text(0), *latency, *used]
        yield _row(label, *cells, memory, _errors(rounds), *[store] * has_store)


def _idle_table(rows):
    yield from _head("peer", "KiB per connection (min-max)", "x best", "RSS before, MiB", "RSS after, MiB", "errors")
    for spread, label, rounds in rows:
        memory = [_mebibytes(median(rounds, name), 1) for name in ("rss_before_kb", "rss_after_kb")]
        yield _row(label, spread.text(), _times_best(spread, rows), *memory, _errors(rounds))


def _bulk_table(rows):
    yield from _head("peer", "CPU s/GiB (min-max)", "x best", "GiB/s", "proxy core used", "peak RSS MiB", "errors")
    for spread, label, rounds in rows:
        speed, used = _number(median(rounds, "gib_s"), 2), _percent(median(rounds, "util"))
        memory = _mebibytes(median(rounds, "peak_rss_kb"))
        yield _row(label, spread.text(2), _times_best(spread, rows), speed, used, memory, _errors(rounds))


def _floors(data):
    floors = data.get("floors")
    if not floors:
        return
    yield "\n### Floors\n"
    yield from _head("what", "CPU us/request (min-max)", "requests/s")
    for name, rounds in floors["requests"].items():
        yield _row(name, Spread.of(rounds, "cpu_us").text(), Spread.of(rounds, "rps").text(0))
    yield "\n```\n%s\n```" % "\n".join(floors["openssl"])


def _head(*columns):
    yield _row(*columns)
    yield _row(*["---"] * len(columns))


def _row(*cells):
    return "| %s |" % " | ".join(map(str, cells))


def _times_best(spread, rows):
    return "%.2f" % (spread.median / rows[0][0].median)


def _errors(rounds):
    return sum(figures.get("err", 0) for figures in rounds) + sum("failed" in figures for figures in rounds)


def _number(value, digits=0):
    return "" if value is None else "%.*f" % (digits, value)


def _percent(value):
    return "" if value is None else "%.0f%%" % (value * 100)


def _mebibytes(kib, digits=0):
    return _number(None if kib is None else kib / 1024, digits)


def _digits(unit):
    return 2 if unit == "s/GiB" else 0 if " p" in unit else 1
