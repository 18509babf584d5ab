"""Where things lie, which core does what, and which ports are free. Nothing here runs anything."""
import os
import random
import socket
from pathlib import Path

PEERS = Path(__file__).resolve().parent.parent
TOOLS = PEERS / "tools"
ROOT = PEERS.parent.parent

# Everything that is built, rendered or logged; nothing is written beside the sources.
WORK = Path(os.environ.get("BENCH_TMP") or ROOT / "target" / "peers").resolve()
BIN = WORK / "bin"
RUN = WORK / "run"
CREDENTIALS = RUN / "credentials"

# The proxy alone on one core; the load, the upstream, Redis and this program on the other.
LOAD_CORE = 0
PROXY_CORE = 1

# Below the range from which Linux takes the ports of outgoing connections (32768 and up).
PORTS = range(20000, 32000)
_given = set()


def free_port():
    """A port of 127.0.0.1 that nobody listens on; each call gives another one."""
    start = random.randrange(len(PORTS))
    for port in [*PORTS[start:], *PORTS[:start]]:
        if port not in _given and _can_listen(port):
            _given.add(port)
            return port
    raise RuntimeError("no free port")


def _can_listen(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
