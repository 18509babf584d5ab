"""Whose turn it is: every subject once in each round, every second round in reverse order.

So a machine that grows slower while a run lasts does not favour whoever came first."""
import dataclasses
import resource
import subprocess

from . import credentials, peers, processes
from .figures import OURS, median
from .jobs import JOBS
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


def run(jobs, chosen, rounds, seconds, results, rate=None):
    """Does the jobs, and returns whether every round of every subject succeeded."""
    credentials.make()
    process, upstream = processes.start_upstream()
    try:
        return all([_run_job(job, chosen, rounds, seconds, results, rate, upstream) for job in jobs])
    finally:
        processes.stop(process)


def smoke(chosen, results):
    """J1 of every peer and one short round of each other kind of load: whether all of it works, not how fast."""
    good = run([JOBS["J1"]], chosen, 1, 1, results)
    kinds = [JOBS[name] for name in ("J2-es256-1000", "J3", "J4", "J6-down", "safety-J1", "JL")]
    few_idle = dataclasses.replace(JOBS["J5"], connections=500)
    ours = {name: peer for name, peer in chosen.items() if name == OURS}
    return run([*kinds, few_idle], ours, 1, 1, results) and good


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
    measured = results.jobs.get("J1", {})
    reached = [median(measured.get(subject.label, []), "rps") for subject in peers.subjects(job, chosen)]
    reached = [rate for rate in reached if rate]
    if not reached:
        raise SystemExit("%s needs --rate, or J1 in the same results before it" % job.name)
    return max(100, round(min(reached) / 2, -2))


def _short(figures):
    shown = {name: figures[name] for name in ("failed", *SHOWN) if figures.get(name) is not None}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in shown.items()}
