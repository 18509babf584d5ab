"""Figures over rounds: the median, and how far the rounds lie apart."""
import statistics
from dataclasses import dataclass

OURS = "portcullis"
NAIVE = "hyper-naive"


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds, figure):
        """None where no round has the figure."""
        values = [each[figure] for each in rounds if each.get(figure) is not None]
        return cls(statistics.median(values), min(values), max(values)) if values else None

    def text(self, digits=1):
        return "%.*f (%.*f-%.*f)" % (digits, self.median, digits, self.low, digits, self.high)


def median(rounds, figure):
    spread = Spread.of(rounds, figure)
    return spread.median if spread else None


def is_ours(label):
    return label.split("+")[0] == OURS


def best_peer(labelled, figure):
    """(label, median) of the lowest that is neither ours nor naive hyper, which checks nothing."""
    others = [
        (median(rounds, figure), label)
        for label, rounds in labelled.items()
        if not is_ours(label) and label != NAIVE and median(rounds, figure) is not None
    ]
    return min(others)[::-1] if others else None


def pair_ratios(labelled):
    """Observed to not observed, round by round; each pair was measured one after the other."""
    plain, observed = labelled.get(OURS, []), labelled.get(OURS + "+observed", [])
    pairs = zip(plain, observed)
    return [second["cpu_us"] / first["cpu_us"] for first, second in pairs if "cpu_us" in first and "cpu_us" in second]
