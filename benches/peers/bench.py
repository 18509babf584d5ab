#!/usr/bin/env python3
"""Portcullis beside other proxies at the same work. benches/README.md tells how to set it up and read it.

    bench.py build [WHAT…]                  the tools, the Rust peers and Portcullis
    bench.py verify                         every peer, every mode: 200, 401 and 403 as they must be
    bench.py run [JOB…] [--rounds 3] [--secs 6] [--rate R]   measures; no job named: all but allocators-…
    bench.py smoke                          a short run of each kind, to see that the harness works
    bench.py floors                         what the load tool and the kernel cost without any proxy
    bench.py report [--plots DIR]           markdown tables, and SVG plots
    bench.py jobs                           the jobs

    --peers a,b   only these        --out FILE   the results (target/peers/results.json)"""
import argparse
import os
import resource
import sys
from pathlib import Path

from harness import build, floors, peers, places, plots, report, rounds
from harness.jobs import EVERYDAY, JOBS
from harness.results import Results


def main():
    options = _options()
    return COMMANDS[options.command](options)


def _options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peers", type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=6)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plots", type=Path)
    return parser.parse_args()


def _build(options):
    build.build(options.names)


def _jobs(_options):
    for job in JOBS.values():
        print("%-15s %s" % (job.name, job.what))


def _verify(options):
    return 0 if rounds.verify_all(_ready(options)) else 1


def _run(options):
    unknown = set(options.names) - set(JOBS)
    if unknown:
        raise SystemExit("no such job: " + ", ".join(sorted(unknown)))
    run = rounds.Run(_ready(options), _results(options), options.rounds, options.secs, options.rate)
    return 0 if run.do([JOBS[name] for name in options.names] or EVERYDAY) else 1


def _smoke(options):
    path = options.out or places.WORK / "smoke.json"
    path.unlink(missing_ok=True)
    results = Results(path)
    good = rounds.smoke(_ready(options), results)
    report.write(results.data, sys.stdout)
    return 0 if good else 1


def _floors(options):
    _ready(options)
    floors.measure(_results(options), options.rounds, options.secs)


def _report(options):
    results = _results(options)
    if not results.path.exists():
        raise SystemExit("no results in %s" % results.path)
    report.write(results.data, sys.stdout)
    if options.plots:
        print("wrote", *plots.write(results.data, options.plots), file=sys.stderr)


def _results(options):
    return Results(options.out or places.WORK / "results.json")


def _ready(options):
    """Takes the machine, and gives the peers that are there."""
    _take_the_machine()
    return peers.installed(peers.load(options.peers))


def _take_the_machine():
    """As many open files as are allowed, and this program itself away from the proxy's core."""
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has the proxies, and no user's PATH has it
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not {places.LOAD_CORE, places.PROXY_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("two cores are needed")
    os.sched_setaffinity(0, {places.LOAD_CORE})


COMMANDS = {
    "build": _build,
    "verify": _verify,
    "run": _run,
    "smoke": _smoke,
    "floors": _floors,
    "report": _report,
    "jobs": _jobs,
}

if __name__ == "__main__":
    sys.exit(main())
