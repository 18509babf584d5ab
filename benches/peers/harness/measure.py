"""One round: start a proxy, warm it up, put the load on it, read what it used.

Knows nothing of other proxies; rounds.py says whose turn it is."""
import contextlib
import subprocess
import time

from . import load, places
from .jobs import JOBS, OBSERVED
from .peers import running
from .processes import CoreTime, cpu_seconds, memory_kib

WARM_UP = 1


def measure(job, subject, upstream, seconds, rate=None):
    """The figures of one round, as they go into the results."""
    with running(subject, upstream) as peer:
        if job.load == "idle":
            return _idle(job, peer)
        _run(load.command(job, peer.port, WARM_UP, rate), WARM_UP)
        scraper = load.Scraper(peer.metrics_port) if subject.variant == OBSERVED else None
        with scraper or contextlib.nullcontext():
            figures = _loaded(job, peer, seconds, rate)
        if scraper:
            figures["scrapes"] = scraper.count
        return figures


def _loaded(job, peer, seconds, rate):
    before = Reading(peer)
    output = _run(load.command(job, peer.port, seconds, rate), seconds)
    after = Reading(peer)
    figures = load.result(job, output, seconds)
    if not figures["ok"]:
        raise RuntimeError("no request succeeded")
    used, requests = after.cpu - before.cpu, figures["ok"]
    figures.update(rps=requests / figures["secs"], cpu_s=used, cpu_us=used * 1e6 / requests)
    figures.update(util=used / (after.time - before.time))
    figures.update(core_util=after.proxy_core.share_since(before.proxy_core))
    figures.update(lg_util=after.load_core.share_since(before.load_core))
    figures.update(peak_rss_kb=memory_kib(peer.pid, "VmHWM"))
    if peer.store_pid:
        figures.update(store_cpu_us=(after.store_cpu - before.store_cpu) * 1e6 / requests)
    if job.load == "bulk":
        gib = figures["bytes"] / 2**30
        figures.update(gib=gib, cpu_s_per_gib=used / gib, gib_s=gib / figures["secs"])
    return figures


class Reading:
    """What the proxy and the two cores have used so far."""

    def __init__(self, peer):
        self.cpu = cpu_seconds(peer.pid)
        self.store_cpu = cpu_seconds(peer.store_pid) if peer.store_pid else 0
        self.proxy_core = CoreTime.read(places.PROXY_CORE)
        self.load_core = CoreTime.read(places.LOAD_CORE)
        self.time = time.monotonic()


def _idle(job, peer):
    """Memory before and after the connections were opened; each has made one request."""
    _run(load.command(JOBS["J0"], peer.port, WARM_UP), WARM_UP)
    time.sleep(0.5)
    before = memory_kib(peer.pid)
    holder = subprocess.Popen(load.command(job, peer.port, 4), stdout=subprocess.PIPE, text=True)
    try:
        holder.stdout.readline()  # "ready": all are open
        time.sleep(1.5)
        after = memory_kib(peer.pid)
        figures = load.result(job, holder.stdout.read(), 4)
    finally:
        holder.kill()
        holder.wait()
    figures = {"ok": figures["ok"], "err": figures["err"], "rss_before_kb": before, "rss_after_kb": after}
    figures["kb_per_conn"] = (after - before) / max(1, figures["ok"])
    return figures


def _run(command, seconds):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise RuntimeError("%s: %s" % (command[3], done.stderr.strip()[-300:]))
    return done.stdout
