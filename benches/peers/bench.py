#!/usr/bin/env python3
"""Portcullis beside other proxies at the same work. benches/README.md tells how to set it up and read it.

    bench.py build [WHAT…]                  the tools, the Rust peers and Portcullis
    bench.py verify                         every peer, every mode: 200, 401 and 403 as they must be
    bench.py run [JOB…] [--rounds 3] [--secs 6] [--rate R]   measures; no job named: all
    bench.py smoke                          a short run of each kind, to see that the harness works
    bench.py floors                         what the load tool and the kernel cost without any proxy
    bench.py report [--plots DIR]           markdown tables, and SVG plots
    bench.py jobs                           the jobs

    --peers a,b   only these        --out FILE   the results (target/peers/results.json)"""
import argparse
import os
import resource
import sys

from harness import build, floors, peers, places, plots, report, rounds
from harness.jobs import JOBS
from harness.results import Results


def main():
    options = _options()
    results = options.out or places.WORK / ("smoke.json" if options.command == "smoke" else "results.json")
    commands = {"build": _build, "jobs": _jobs, "report": _report}
    if options.command in commands:
        return commands[options.command](options, results)
    _take_the_machine()
    chosen = peers.installed(peers.load(options.peers.split(",") if options.peers else None))
    return _measure(options, chosen, results)


def _options():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("command", choices=["build", "verify", "run", "smoke", "floors", "report", "jobs"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=6)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--out")
    parser.add_argument("--plots")
    return parser.parse_args()


def _build(options, _results):
    build.build(options.names)


def _jobs(_options, _results):
    for job in JOBS.values():
        print("%-15s %s" % (job.name, job.what))


def _report(options, results):
    data = Results(results).data
    report.write(data, sys.stdout)
    if options.plots:
        print("wrote", *plots.write(data, options.plots), file=sys.stderr)


def _measure(options, chosen, results):
    if options.command == "verify":
        return 0 if rounds.verify_all(chosen) else 1
    if options.command == "smoke":
        if os.path.exists(results):
            os.remove(results)
        kept = Results(results)
        good = rounds.smoke(chosen, kept)
        report.write(kept.data, sys.stdout)
        return 0 if good else 1
    if options.command == "floors":
        return floors.measure(Results(results), options.rounds, options.secs)
    unknown = set(options.names) - set(JOBS)
    if unknown:
        raise SystemExit("no such job: " + ", ".join(sorted(unknown)))
    jobs = [JOBS[name] for name in options.names or JOBS]
    return 0 if rounds.run(jobs, chosen, options.rounds, options.secs, Results(results), options.rate) else 1


def _take_the_machine():
    """As many open files as are allowed, and this program itself away from the proxy's core."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not {places.LOAD_CORE, places.PROXY_CORE} <= os.sched_getaffinity(0):
        raise SystemExit("two cores are needed")
    os.sched_setaffinity(0, {places.LOAD_CORE})


if __name__ == "__main__":
    sys.exit(main())
