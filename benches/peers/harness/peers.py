"""The peers: which there are, and how one is started for one piece of work.

A peer is a folder with a `peer.py`:

    NAME = "portcullis"
    PROGRAM = "portcullis"     # what must be installed, or built into the harness's bin folder
    VERSION = ["--version"]    # its arguments that print the version; None where it has none
    CAN = {"plain", "apikey", "jwt", "jwtcache"}     # its modes, see jobs.py
    VARIANTS = ("", "redis", "observed")             # optional; see jobs.py
    PROGRAMS = {"jemalloc": "another"}               # optional; by variant, where it is another program
    NOTE = {"jwt": "how it is done"}                 # printed beside the results
    SKIP = {"JL"}                                    # optional; jobs that it is no use in
    DEVIATES = {"wrong audience": 403}               # optional; where it refuses with another status
    def render(context): …                           # optional; writes its configuration
    def arguments(context): return ["-c", …]
    def environment(context): return {}              # optional

What it must do: `X-API-Key`, and `Authorization: Bearer` with a JWT of RS256 or ES256 (issuer, audience,
`exp`, `scope` separated by spaces). `/v1/{domains,vps,email,billing}/…` need SERVICE:read for GET and HEAD,
SERVICE:write for the others; 401 for unknown or bad, 403 where the scope is missing, else forwarded
unchanged. It stays in the foreground and ends on SIGTERM."""
import contextlib
import importlib.util
import os
import re
import shutil
import string
import subprocess
import time
from dataclasses import dataclass
from types import ModuleType

from . import credentials, places, processes
from .jobs import NORMAL, REDIS


def load(names=None):
    """The peers by name: all, or those named; a name that is not there is an error."""
    peers = {}
    for file in sorted(places.PEERS.glob("*/peer.py")):
        peer = _module(file)
        peers[peer.NAME] = peer
    unknown = set(names or ()) - set(peers)
    if unknown:
        raise SystemExit("no such peer: " + ", ".join(sorted(unknown)))
    return {name: peer for name, peer in peers.items() if not names or name in names}


def installed(peers):
    """Those whose program is there; says which are left out."""
    there = {name: peer for name, peer in peers.items() if program(peer)}
    missing = sorted(set(peers) - set(there))
    if missing:
        print("not installed and left out:", ", ".join(missing), flush=True)
    return there


def program(peer, variant=NORMAL):
    name = getattr(peer, "PROGRAMS", {}).get(variant, peer.PROGRAM)
    built = places.BIN / name
    return str(built) if built.exists() else shutil.which(name)


def version(peer):
    if peer.VERSION is None:
        return "built here: " + _crates(places.PEERS / peer.NAME / "Cargo.lock")
    run = subprocess.run([program(peer), *peer.VERSION], capture_output=True, text=True)
    first = (run.stdout + run.stderr).strip().splitlines()[0].strip()
    return re.sub(r"^/\S+/", "", first)


@dataclass(frozen=True)
class Subject:
    """What is measured: a peer in one mode and one variant."""

    peer: ModuleType
    mode: str
    variant: str = NORMAL

    @property
    def label(self):
        """Its name in results: `nginx+cache` where a peer can verify each time or keep what it verified."""
        cached = ["cache"] if self.mode == "jwtcache" and "jwt" in self.peer.CAN else []
        return "+".join([self.peer.NAME, *cached, *filter(None, [self.variant])])

    @property
    def key(self):
        return "/".join(filter(None, [self.peer.NAME, self.mode, self.variant]))


def subjects(job, peers):
    """Everything that the job is to be done by."""
    found = []
    for peer in peers.values():
        variants = [variant for variant in job.variants if variant in _variants(peer)]
        if job.name in getattr(peer, "SKIP", ()) or (job.compared and not job.compared & set(variants)):
            continue
        found += [Subject(peer, mode, variant) for mode in job.modes if mode in peer.CAN for variant in variants]
    return found


def every_subject(peers):
    """Every mode of every peer, once with each store."""
    for peer in peers.values():
        for mode in sorted(peer.CAN):
            for variant in (NORMAL,) if mode == "plain" else (NORMAL, REDIS):
                if variant in _variants(peer):
                    yield Subject(peer, mode, variant)


class Context:
    """What a peer is told of the start that it shall make."""

    def __init__(self, subject, upstream, redis=None, workers=1):
        self.mode, self.variant = subject.mode, subject.variant
        self.program = program(subject.peer, subject.variant)
        if not self.program:
            raise RuntimeError("not built for " + subject.key)
        self.workers = workers
        self.upstream, self.redis = upstream, redis
        self.port, self.metrics_port = places.free_port(), places.free_port()
        self.creds = str(places.CREDENTIALS)
        self.cert, self.key = self.creds + "/server.pem", self.creds + "/server.key"
        self.pem = self.creds + "/both.pem"
        self.keys = credentials.keys()
        self.dir = str(places.RUN / subject.key.replace("/", "-"))
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as file:
            file.write(text)

    def fill(self, template, **more):
        """The template with $port, $upstream, $cert … in their places."""
        known = {name: value for name, value in vars(self).items() if isinstance(value, (str, int))}
        return string.Template(template).safe_substitute({**known, **more})


@dataclass
class Running:
    """A started peer."""

    pid: int
    port: int
    metrics_port: int
    store_pid: int | None


@contextlib.contextmanager
def running(subject, upstream):
    """The peer on its core for as long as the block lasts, and its Redis where it needs one."""
    with contextlib.ExitStack() as ends:
        store, redis = None, None
        if subject.variant == REDIS:
            store, redis = processes.start_redis()
            ends.callback(processes.stop, store)
        context = Context(subject, upstream, redis)
        process = _start(subject.peer, context)
        ends.callback(processes.stop, process)
        time.sleep(0.3)  # what it still does after it listens is not the job's
        yield Running(process.pid, context.port, context.metrics_port, store.pid if store else None)


def _start(peer, context):
    if hasattr(peer, "render"):
        peer.render(context)
    more = peer.environment(context) if hasattr(peer, "environment") else {}
    command = [context.program, *peer.arguments(context)]
    options = {"env": {**os.environ, **more}, "cwd": context.dir}
    return processes.start(command, places.PROXY_CORE, context.port, log=context.dir + "/out.log", **options)


def _variants(peer):
    return getattr(peer, "VARIANTS", (NORMAL,))


def _module(file):
    spec = importlib.util.spec_from_file_location("peer_" + file.parent.name.replace("-", "_"), file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _crates(lock):
    """The crates of a lock file that say what a proxy built here is made of."""
    wanted = "pingora|hyper|hyper-util|rustls|tokio-rustls|jsonwebtoken|boring"
    found = re.findall(r'^name = "(%s)"\nversion = "(.*)"$' % wanted, lock.read_text(), re.M)
    return ", ".join("%s %s" % pair for pair in found)
