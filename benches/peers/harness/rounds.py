"""Whose turn it is: every subject once in each round, every second round in reverse order.

So a machine that grows slower while a run lasts does not favour whoever came first."""
import contextlib
import dataclasses
import resource
import subprocess

from . import credentials, peers, processes
from .figures import OURS, median
from .jobs import JOBS
from .measure import measure
from .verify import faults, verify

SHOWN = ("failed", "rps", "p50", "p99", "err", "cpu_us", "util", "core_util", "lg_util", "kb_per_conn", "cpu_s_per_gib")
SPARE_FILES = 500  # what a proxy or load tool may open besides its connections
# What one round may end with; anything else is a fault of the harness and ends the run.
FAILURES = (OSError, RuntimeError, AttributeError, ValueError, subprocess.SubprocessError)


def verify_all(chosen):
    """Verifies every mode of the peers; returns whether all was well."""
    with _upstream() as upstream:
        outcomes = [_verified(subject, upstream) for subject in peers.every_subject(chosen)]
    return not any(map(faults, outcomes))


def smoke(chosen, results):
    """J1 of every peer and one short round of each other kind of load: whether all of it works, not how fast."""
    kinds = [JOBS[name] for name in ("J2-es256-1000", "J3", "J4", "J6-down", "safety-J1", "JL")]
    few_idle = dataclasses.replace(JOBS["J5"], connections=500)
    ours = {name: peer for name, peer in chosen.items() if name == OURS}
    everybody = Run(chosen, results, rounds=1, seconds=1).do([JOBS["J1"]])
    return Run(ours, results, rounds=1, seconds=1).do([*kinds, few_idle]) and everybody


class Run:
    """Jobs done by peers, into results."""

    def __init__(self, chosen, results, rounds, seconds, rate=None):
        self.peers, self.results = chosen, results
        self.rounds, self.seconds, self.rate = rounds, seconds, rate
        self.upstream = None

    def do(self, jobs):
        """Does them one after the other; returns whether every round of every subject succeeded."""
        with _upstream() as self.upstream:
            return all([self._do(job) for job in jobs if _enough_files(job)])

    def _do(self, job):
        subjects = [subject for subject in peers.subjects(job, self.peers) if self._is_verified(subject)]
        rate = self._rate_of(job, subjects) if job.load == "open" else None
        self.results.begin(job, [subject.label for subject in subjects])
        good = bool(subjects)
        for number in range(self.rounds):
            for subject in subjects if number % 2 == 0 else subjects[::-1]:
                figures = self._measured(job, subject, rate)
                good &= "failed" not in figures
                self.results.add(job, subject.label, figures)
                print(job.name, number + 1, subject.label, _short(figures), flush=True)
            self.results.save()
        return good

    def _measured(self, job, subject, rate):
        try:
            return measure(job, subject, self.upstream, self.seconds, rate)
        except FAILURES as error:
            return {"failed": repr(error)[:300]}

    def _is_verified(self, subject):
        """Verifies a subject once for all jobs; what does not answer as it must is left out."""
        data, name = self.results.data, subject.peer.NAME
        if subject.key not in data["verify"]:
            data["verify"][subject.key] = _verified(subject, self.upstream)
            data["versions"][name] = peers.version(subject.peer)
            if subject.mode in subject.peer.NOTE:
                data["notes"]["%s/%s" % (name, subject.mode)] = subject.peer.NOTE[subject.mode]
        return not faults(data["verify"][subject.key])

    def _rate_of(self, job, subjects):
        rate = self.rate or half_of_the_slowest(subjects, self.results.jobs.get("J1", {}))
        self.results.data["rates"][job.name] = rate
        return rate


def half_of_the_slowest(subjects, measured):
    """Half the requests/s that the slowest reached in J1, so that none is overloaded."""
    reached = [median(measured.get(subject.label, []), "rps") for subject in subjects]
    reached = [rate for rate in reached if rate]
    if not reached:
        raise SystemExit("the open loop needs --rate, or J1 in the same results before it")
    return max(100, round(min(reached) / 2, -2))


@contextlib.contextmanager
def _upstream():
    credentials.make()
    process, address = processes.start_upstream()
    try:
        yield address
    finally:
        processes.stop(process)


def _verified(subject, upstream):
    try:
        outcome = verify(subject, upstream)
    except FAILURES as error:
        outcome = {"failed": repr(error)[:300]}
    cases = sum(name != "tls" for name in outcome)
    print("verify", subject.key, outcome.get("tls", ""), faults(outcome) or "all %d ok" % cases, flush=True)
    return outcome


def _enough_files(job):
    enough = job.connections + SPARE_FILES <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if not enough:
        print(job.name, "left out: the limit on open files is too low", flush=True)
    return enough


def _short(figures):
    shown = {name: figures[name] for name in SHOWN if figures.get(name) is not None}
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in shown.items()}
