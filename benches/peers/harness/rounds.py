"""Whose turn it is: every subject once in each round, every second round in reverse order.

So a machine that grows slower while a run lasts does not favour whoever came first."""
import resource
import statistics
import subprocess

from . import credentials, peers, processes
from .jobs import JOBS, NORMAL
from .measure import measure
from .verify import faults, verify

SHOWN = ("rps", "p50", "p99", "err", "cpu_us", "util", "core_util", "lg_util", "kb_per_conn", "cpu_s_per_gib")
SPARE_FILES = 500  # what a proxy or load tool may open besides its connections


def verify_all(chosen):
    """Verifies every mode of the peers; returns whether all was well."""
    credentials.make()
    good = True
    process, upstream = processes.start_upstream()
    try:
        for subject in peers.every_subject(chosen):
            outcome = _verified(subject, upstream)
            good &= not faults(outcome)
    finally:
        processes.stop(process)
    return good


def run(names, chosen, rounds, seconds, results, rate=None):
    """Does the jobs, and returns whether every round of every subject succeeded."""
    credentials.make()
    process, upstream = processes.start_upstream()
    try:
        return all([_run_job(JOBS[name], chosen, rounds, seconds, results, rate, upstream) for name in names])
    finally:
        processes.stop(process)


def _run_job(job, chosen, rounds, seconds, results, rate, upstream):
    if job.connections + SPARE_FILES > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
        print(job.name, "left out: the limit on open files is too low", flush=True)
        return True
    if job.load == "open":
        rate = results.data["rates"][job.name] = rate or _half_of_the_slowest(job, chosen, results)
    subjects = [subject for subject in peers.subjects(job, chosen) if _fit(subject, results, upstream)]
    results.begin(job, [subject.label for subject in subjects])
    good = bool(subjects)
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else subjects[::-1]:
            figures = _round(job, subject, upstream, seconds, rate)
            good &= "failed" not in figures
            results.add(job, subject.label, figures)
            print(job.name, number + 1, subject.label, _short(figures), flush=True)
        results.save()
    return good


def _round(job, subject, upstream, seconds, rate):
    try:
        return measure(job, subject, upstream, seconds, rate)
    except (OSError, RuntimeError, AttributeError, ValueError, subprocess.SubprocessError) as error:
        return {"failed": repr(error)[:300]}


def _fit(subject, results, upstream):
    """Verifies a subject once in a run; what does not answer as it must is left out."""
    data = results.data
    if subject.key not in data["verify"]:
        data["verify"][subject.key] = _verified(subject, upstream)
        data["versions"][subject.peer.NAME] = peers.version(subject.peer)
        if subject.mode in subject.peer.NOTE:
            data["notes"]["%s/%s" % (subject.peer.NAME, subject.mode)] = subject.peer.NOTE[subject.mode]
    return not faults(data["verify"][subject.key])


def _verified(subject, upstream):
    try:
        outcome = verify(subject, upstream)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        outcome = {"failed": repr(error)[:300]}
    wrong = faults(outcome)
    cases = len(outcome) - 1
    print("verify", subject.key, outcome.get("tls", ""), wrong or "all %d ok" % cases, flush=True)
    return outcome


def _half_of_the_slowest(job, chosen, results):
    """Half the rate that the slowest of the subjects reached in J1, so that none is overloaded."""
    reached = []
    for subject in peers.subjects(job, chosen):
        rounds = results.jobs.get("J1", {}).get(subject.label, [])
        reached += [statistics.median(figures["rps"] for figures in rounds if "rps" in figures)] if rounds else []
    if not reached:
        raise SystemExit("%s needs --rate, or J1 in the same results before it" % job.name)
    return round(min(reached) / 2, -2) or 100


def _short(figures):
    shown = {name: figures[name] for name in ("failed", *SHOWN) if figures.get(name) is not None}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in shown.items()}


def ours(chosen):
    return {name: peer for name, peer in chosen.items() if name == "portcullis"}


def smoke(chosen, results):
    """One short round of each kind of load: whether the harness works, not how fast anything is."""
    good = run(["J1"], chosen, 1, 1, results)
    kinds = ["J2-es256-1000", "J3", "J4", "J6-down", "safety-J1", "JL"]
    return run(kinds, ours(chosen), 1, 1, results) and good
