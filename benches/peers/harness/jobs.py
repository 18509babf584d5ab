"""The jobs: what work is measured, in which authentication modes and with which kind of load.

A job says nothing about a proxy. The modes, which a peer's `CAN` lists:
    plain     everything is forwarded
    apikey    X-API-Key, one of 10,000 keys; the scope of the route
    jwt       bearer token, verified anew for each request
    jwtcache  bearer token, may be kept once it is verified"""
from dataclasses import dataclass

PATH = "/v1/domains/dom_01hxyz"
JWT = ("jwt", "jwtcache")

# What the peers may have besides their normal set-up; `peer.py` lists its own in VARIANTS.
NORMAL = ""
REDIS = "redis"  # the credentials in a Redis beside it
OBSERVED = "observed"  # access log to a file, metrics scraped each second
# The system's allocator in place of the one that is built in, and jemalloc in place of the system's.
SYSTEM, JEMALLOC = "system-allocator", "jemalloc"


@dataclass(frozen=True)
class Job:
    """One kind of work. `headers` names the file of header lines, or the direction of a body."""

    name: str
    what: str
    modes: tuple
    load: str
    connections: int
    headers: str = ""
    variants: tuple = (NORMAL, REDIS)

    @property
    def figure(self):
        """The key of the figure that is compared."""
        return {"idle": "kb_per_conn", "bulk": "cpu_s_per_gib"}.get(self.load, "cpu_us")

    @property
    def compared(self):
        """The variants in which a peer is compared to itself; who has none of them takes no part."""
        return set(self.variants) - {NORMAL, REDIS}

    @property
    def is_pair(self):
        """Whether a peer is compared to itself, observed and not."""
        return OBSERVED in self.variants


def _every_job():
    # No credential is asked for in `plain`, so the store makes no difference there.
    def plain(name, what, load, connections, headers=""):
        return Job(name, what, ("plain",), load, connections, headers, (NORMAL,))

    def keys(name, what, load, connections):
        return Job(name, what, ("apikey",), load, connections, "keys")

    yield plain("J0", "TLS 1.3 termination and forward, no authentication", "wrk", 64)
    yield keys("J1", "J0 + API key (10,000 valid keys in random order) + scope", "wrk", 64)
    for algorithm in ("rs256", "es256"):
        for count, tokens in (("1", "one token"), ("1000", "1,000 tokens")):
            what = "J0 + %s JWT, %s" % (algorithm.upper(), tokens)
            yield Job("J2-%s-%s" % (algorithm, count), what, JWT, "wrk", 64, "%s-%s" % (algorithm, count))
    yield keys("J3", "J1 over HTTP/2, 4 connections x 100 streams, one key", "h2load", 4)
    yield plain("J4", "full TLS 1.3 handshake + one request for each connection", "handshake", 32)
    yield plain("J5", "memory of 5,000 idle keep-alive TLS connections", "idle", 5000)
    yield plain("J5-10000", "memory of 10,000 idle keep-alive TLS connections", "idle", 10000)
    yield plain("J6-down", "10 MiB responses", "bulk", 4, "down")
    yield plain("J6-up", "10 MiB request bodies", "bulk", 4, "up")
    yield keys("J7", "J1 with 1,000 connections", "wrk", 1000)
    yield keys("JL", "J1 at a fixed arrival rate (open loop)", "open", 64)
    pair = (NORMAL, OBSERVED)
    yield Job("safety-J1", "J1, observed and not", ("apikey",), "wrk", 64, "keys", pair)
    yield Job("safety-J2", "J2-es256-1000, observed and not", ("jwtcache",), "wrk", 64, "es256-1000", pair)
    yield Job("safety-J3", "J3, observed and not", ("apikey",), "h2load", 4, "keys", pair)
    allocators = (NORMAL, SYSTEM, JEMALLOC)
    yield Job("allocators-J1", "J1 with other allocators", ("apikey",), "wrk", 64, "keys", allocators)
    yield Job("allocators-J3", "J3 with other allocators", ("apikey",), "h2load", 4, "keys", allocators)
    yield Job("allocators-J5", "J5-10000 with other allocators", ("plain",), "idle", 10000, "", allocators)


JOBS = {job.name: job for job in _every_job()}
# What a run does that names none: the others need a binary that nothing else does.
EVERYDAY = [job for job in JOBS.values() if SYSTEM not in job.variants]
