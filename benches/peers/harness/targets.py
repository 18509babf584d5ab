"""The targets of docs/performance.md, as ratios or bounds, and whether a run meets them.

Nothing is rounded in our favour: a figure above its target by anything is missed."""
import statistics
from dataclasses import dataclass

from .figures import NAIVE, OURS, Spread, best_peer, is_ours, median, pair_ratios
from .jobs import JOBS

OF_BEST = "best peer"
OF_OWN_J1 = "own J1"
BOUND = ""


@dataclass(frozen=True)
class Target:
    """`limit` times what `of` names, or `limit` itself in the unit of the figure."""

    job: str
    limit: float
    of: str
    figure: str = ""

    def text(self):
        return "%.2f x %s" % (self.limit, self.of) if self.of else "%g %s" % (self.limit, self.unit())

    def measured(self):
        return self.figure or JOBS[self.job].figure

    def unit(self):
        units = {"kb_per_conn": "KiB", "cpu_s_per_gib": "s/GiB", "cpu_us": "us", "p50": "us p50", "p99": "us p99"}
        return units[self.measured()]


TARGETS = [
    Target("J0", 0.75, OF_BEST),
    Target("J1", 0.70, OF_BEST),
    Target("J2-rs256-1000", 1.05, OF_OWN_J1),
    Target("J2-es256-1000", 1.05, OF_OWN_J1),
    Target("J3", 0.75, OF_BEST),
    Target("J4", 0.65, OF_BEST),
    Target("J7", 0.65, OF_BEST),
    Target("J5", 12, BOUND),
    Target("J5-10000", 12, BOUND),
    Target("J6-down", 0.60, BOUND),
    Target("J6-up", 0.65, BOUND),
    Target("JL", 1.0, OF_BEST, "p50"),
    Target("JL", 1.0, OF_BEST, "p99"),
]
SAFETY = 1.10


@dataclass(frozen=True)
class Verdict:
    target: str
    job: str
    ours: str
    figure: float
    unit: str
    best: tuple | None
    naive: float | None
    ratio: float
    met: bool


def verdicts(jobs):
    """One for each target and each of our subjects that the run has figures for."""
    for target in TARGETS:
        labelled = jobs.get(target.job, {})
        for label in sorted(filter(is_ours, labelled)):
            verdict = _judge(target, label, labelled, jobs)
            if verdict:
                yield verdict


def _judge(target, label, labelled, jobs):
    figure = target.measured()
    own, best = median(labelled[label], figure), best_peer(labelled, figure)
    base = _base(target, label, best, jobs)
    if own is None or base is None:
        return None
    naive = median(labelled.get(NAIVE, []), figure)
    return Verdict(
        target.text(), target.job, label, own, target.unit(), best, naive, own / base, own <= target.limit * base
    )


def _base(target, label, best, jobs):
    if target.of == OF_BEST:
        return best[1] if best else None
    if target.of == OF_OWN_J1:
        return median(jobs.get("J1", {}).get(label, []), "cpu_us")
    return 1.0


@dataclass(frozen=True)
class Price:
    """What access log and scraping cost: the median of the pairs' ratios."""

    job: str
    plain: Spread
    observed: Spread
    ratio: float
    met: bool


def prices(jobs):
    for name, labelled in jobs.items():
        ratios = pair_ratios(labelled) if name in JOBS and JOBS[name].is_pair else []
        if ratios:
            plain, observed = (Spread.of(labelled[label], "cpu_us") for label in (OURS, OURS + "+observed"))
            ratio = statistics.median(ratios)
            yield Price(name, plain, observed, ratio, ratio <= SAFETY)
