"""What of the harness can be wrong without a run showing it: `python3 -m unittest` in this folder."""
import io
import tempfile
import unittest
import xml.dom.minidom
from pathlib import Path
from types import SimpleNamespace

from harness import credentials, figures, load, peers, plots, report, rounds, targets
from harness.jobs import JOBS
from harness.verify import Case, expected


def rounds_of(*values, figure="cpu_us", **more):
    return [{figure: value, "rps": 1000.0, "err": 0, **more} for value in values]


class Keys(unittest.TestCase):
    def test_a_key_ends_with_the_checksum_that_the_gateway_wants(self):
        # The example of the CRC-32 catalogue: "123456789" has 0xCBF43926.
        number = 0
        for digit in credentials.with_checksum("123456789")[9:]:
            number = number * 62 + credentials.BASE62.index(digit)
        self.assertEqual(number, 0xCBF43926)


class Subjects(unittest.TestCase):
    def peer(self, **more):
        return SimpleNamespace(**{"NAME": "p", "CAN": {"plain", "apikey", "jwtcache"}, "NOTE": {}, **more})

    def labels(self, job, peer):
        return [subject.label for subject in peers.subjects(JOBS[job], {"p": peer})]

    def test_cache_is_named_only_beside_a_mode_without(self):
        self.assertEqual(self.labels("J2-rs256-1", self.peer()), ["p"])
        self.assertEqual(self.labels("J2-rs256-1", self.peer(CAN={"jwt", "jwtcache"})), ["p", "p+cache"])

    def test_a_store_makes_a_subject_of_its_own_only_where_credentials_are_asked_for(self):
        peer = self.peer(VARIANTS=("", "redis", "observed"))
        self.assertEqual(self.labels("J0", peer), ["p"])
        self.assertEqual(self.labels("J1", peer), ["p", "p+redis"])

    def test_only_what_can_be_observed_takes_part_in_the_price_of_safety(self):
        self.assertEqual(self.labels("safety-J1", self.peer()), [])
        self.assertEqual(self.labels("safety-J1", self.peer(VARIANTS=("", "observed"))), ["p", "p+observed"])

    def test_only_what_can_have_another_allocator_takes_part_in_their_comparison(self):
        self.assertEqual(self.labels("allocators-J1", self.peer(VARIANTS=("", "redis", "observed"))), [])
        peer = self.peer(VARIANTS=("", "redis", "system-allocator", "jemalloc"))
        self.assertEqual(self.labels("allocators-J1", peer), ["p", "p+system-allocator", "p+jemalloc"])
        self.assertEqual(self.labels("J1", peer), ["p", "p+redis"])

    def test_a_variant_may_be_another_program(self):
        peer = self.peer(PROGRAM="sh", PROGRAMS={"jemalloc": "true"})
        self.assertEqual([Path(peers.program(peer, variant)).name for variant in ("", "jemalloc")], ["sh", "true"])

    def test_a_peer_takes_no_part_in_a_job_that_it_skips(self):
        self.assertEqual(self.labels("JL", self.peer(SKIP={"JL"})), [])
        self.assertEqual(self.labels("J1", self.peer(SKIP={"JL"})), ["p"])

    def test_a_peer_that_lets_something_through_cannot_be_excused(self):
        peer = self.peer(DEVIATES={"valid key": 403, "no key": 403})
        asked = [Case("valid key", 200, {}), Case("no key", 401, {})]
        self.assertEqual([expected(case, peer).status for case in asked], [200, 403])


class Output(unittest.TestCase):
    H2LOAD = """Application protocol: h2
requests: 6 total, 6 started, 5 done, 4 succeeded, 1 failed, 1 errored, 0 timeout
status codes: 3 2xx, 0 3xx, 1 4xx, 0 5xx
time for request:      101us      9.50ms      1.25ms       200us    95.00%
"""

    def test_h2load_counts_only_2xx_as_good(self):
        result = load.result(JOBS["J3"], self.H2LOAD, 2)
        self.assertEqual((result["ok"], result["err"], result["p50"]), (3, 4, 1250))

    def test_h2load_without_http2_is_no_result(self):
        with self.assertRaises(RuntimeError):
            load.result(JOBS["J3"], self.H2LOAD.replace(": h2", ": http/1.1"), 2)


class Targets(unittest.TestCase):
    def verdict(self, jobs, job):
        return next(verdict for verdict in targets.verdicts(jobs) if verdict.job == job)

    def test_the_best_peer_is_neither_ours_nor_the_one_without_checks(self):
        labelled = {"portcullis": rounds_of(1), "hyper-naive": rounds_of(2)}
        labelled.update({"nginx": rounds_of(4), "envoy": rounds_of(9)})
        self.assertEqual(figures.best_peer(labelled, "cpu_us"), ("nginx", 4))

    def test_a_ratio_above_its_target_is_missed_and_one_at_it_is_met(self):
        for ours, met in ((70.0, True), (70.1, False)):
            jobs = {"J1": {"portcullis": rounds_of(ours), "nginx": rounds_of(100)}}
            self.assertEqual(self.verdict(jobs, "J1").met, met)

    def test_tokens_are_compared_to_own_j1_with_the_same_store(self):
        jobs = {
            "J1": {"portcullis": rounds_of(10), "portcullis+redis": rounds_of(20), "nginx": rounds_of(1)},
            "J2-es256-1000": {"portcullis+redis": rounds_of(21)},
        }
        verdict = self.verdict(jobs, "J2-es256-1000")
        self.assertEqual((verdict.ratio, verdict.met, verdict.best), (1.05, True, None))

    def test_the_price_of_safety_is_of_pairs_and_not_of_medians(self):
        pairs = {"portcullis": rounds_of(10, 20, 40), "portcullis+observed": rounds_of(12, 21, 41)}
        (price,) = targets.prices({"safety-J1": pairs})
        self.assertEqual((price.ratio, price.met), (1.05, True))


class Pages(unittest.TestCase):
    LABELLED = {"portcullis": rounds_of(20, 21), "ng<inx": rounds_of(30, 31), "slow": rounds_of(900)}
    JOBS = {
        "J1": {**LABELLED, "dead": [{"failed": "x"}]},
        "J5": {"portcullis": rounds_of(9, figure="kb_per_conn", rss_before_kb=1, rss_after_kb=2)},
    }
    DATA = {"jobs": JOBS, "verify": {"bad/apikey": {"no key": "got 200, wanted 401", "tls": "x"}}}

    def test_the_report_hides_nothing_that_failed(self):
        out = io.StringIO()
        report.write(self.DATA, out)
        self.assertIn("bad/apikey was not measured", out.getvalue())
        self.assertIn("J1: dead failed: x", out.getvalue())
        self.assertIn("| J1 | portcullis | 20.5 us | ng<inx | 30.5 | 0.67 | 0.70 x best peer | met |", out.getvalue())

    def test_plots_are_xml_and_say_where_a_bar_is_cut(self):
        with tempfile.TemporaryDirectory() as folder:
            plots.write(self.DATA, folder)
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), ["peers-memory.svg", "peers-requests.svg"])
            text = Path(folder, "peers-requests.svg").read_text()
        xml.dom.minidom.parseString(text)
        self.assertEqual(text.count("bar cut"), 1)


class Rate(unittest.TestCase):
    def test_the_open_loop_asks_for_half_of_what_the_slowest_reached(self):
        reached = {"p": [{"rps": 9000.0}], "q": [{"rps": 4100.0}], "not asked": [{"rps": 1.0}]}
        subjects = [SimpleNamespace(label=label) for label in ("p", "q", "not measured")]
        self.assertEqual(rounds.half_of_the_slowest(subjects, reached), 2000)


if __name__ == "__main__":
    unittest.main()
