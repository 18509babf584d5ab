"""The load tools: the command for a job, and what each tool's output says.

wrk and h2load do what they can; `bench-loadgen` (tools/loadgen) does the rest."""
import json
import re
import threading
import time
import urllib.request

from . import credentials, places
from .jobs import PATH
from .processes import pinned


def command(job, port, seconds, rate=None):
    tool = {"wrk": _wrk, "h2load": _h2load}.get(job.load, _loadgen)
    return pinned(places.LOAD_CORE, tool(job, port, seconds, rate))


def result(job, output, seconds):
    """ok, err, secs, bytes, p50 and p99 in microseconds; None for what the tool does not tell."""
    if job.load == "wrk":
        return json.loads(re.search(r"^JSON (.*)", output, re.M).group(1))
    if job.load == "h2load":
        return _h2load_result(output, seconds)
    return json.loads(output.strip().splitlines()[-1])


def _url(port):
    return "https://localhost:%d%s" % (port, PATH)


def _header_file(job):
    return credentials.header_lines(job.headers) if job.headers else "-"


def _wrk(job, port, seconds, _rate):
    options = ["-t1", "-c%d" % job.connections, "-d%gs" % seconds, "--timeout", "10s", "--latency"]
    script = ["-s", places.TOOLS / "headers.lua", _url(port), "--", _header_file(job)]
    return ["wrk", *options, *script]


def _h2load(job, port, seconds, _rate):
    with open(_header_file(job)) as lines:
        header = lines.readline().strip()
    return ["h2load", "-t1", "-c%d" % job.connections, "-m100", "-D%g" % seconds, "-H", header, _url(port)]


def _loadgen(job, port, seconds, rate):
    base = [places.BIN / "bench-loadgen", job.load, "127.0.0.1:%d" % port, job.connections, "%g" % seconds]
    if job.load == "bulk":
        return [*base, job.headers]
    if job.load == "open":
        return [*base, PATH, "%g" % rate, _header_file(job)]
    return [*base, PATH]


def _h2load_result(output, seconds):
    if "Application protocol: h2" not in output:
        raise RuntimeError("no HTTP/2: " + output[-200:])
    counts = re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored", output)
    done, failed, errored = map(int, counts.groups())
    good = int(re.search(r"status codes: (\d+) 2xx", output).group(1))
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+(\S+)", output).group(1)
    errors = failed + errored + max(0, done - good)
    # h2load gives no median: p50 is the mean here.
    return {"ok": good, "err": errors, "secs": seconds, "p50": _microseconds(mean), "p99": None, "bytes": 0}


def _microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return int(float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit])


class Scraper:
    """Reads /metrics once a second for as long as the block lasts, as a Prometheus would."""

    def __init__(self, port):
        self.url = "http://127.0.0.1:%d/metrics" % port
        self.count = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._scrape)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._ended.set()
        self._thread.join()

    def _scrape(self):
        due = time.monotonic()
        while not self._ended.wait(max(0, due - time.monotonic())):
            due += 1
            with urllib.request.urlopen(self.url, timeout=5) as answer:
                answer.read()
            self.count += 1
