"""Processes: how they are started, watched and ended, and what they have used.

Reads /proc and nothing else; the figures are of a process with all its descendants."""
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import places

TICK = os.sysconf("SC_CLK_TCK")


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def start(command, core, port, log=None, **options):
    """Starts it on that core and waits until it listens on the port."""
    output = open(log, "wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(pinned(core, command), stdout=output, stderr=output, **options)
    try:
        _wait_until_it_listens(process, port)
    except RuntimeError as error:
        stop(process)
        raise RuntimeError("%s; see %s" % (error, log or process.args)) from None
    return process


def start_upstream():
    """The upstream of all proxies; returns the process and host:port."""
    port = places.free_port()
    return start([places.BIN / "upstream", port], places.LOAD_CORE, port), "127.0.0.1:%d" % port


def start_redis():
    """An empty Redis of our own; returns the process and its URL."""
    port, folder = places.free_port(), places.RUN / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", folder]
    command += ["--save", "", "--appendonly", "no"]
    process = start(command, places.LOAD_CORE, port, log=folder / "out.log")
    return process, "redis://127.0.0.1:%d" % port


def stop(process):
    """Asks it to end, and after three seconds makes it; no descendant is left."""
    family = _family(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid, born in family.items():
        if _birth(pid) == born:
            os.kill(pid, signal.SIGKILL)


def cpu_seconds(pid):
    """User and system time, in steps of 10 ms: under 1 % of a run of some seconds."""
    return sum(int(fields[11]) + int(fields[12]) for fields in map(_stat, _family(pid)) if fields) / TICK


def memory_kib(pid, field="VmRSS"):
    total = 0
    for member in _family(pid):
        try:
            found = re.search(field + r":\s+(\d+)", Path("/proc/%d/status" % member).read_text())
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total


@dataclass(frozen=True)
class CoreTime:
    """How long a core has been busy, and has been at all."""

    busy: int
    total: int

    @classmethod
    def read(cls, core):
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("cpu%d " % core):
                user, nice, system, idle, iowait, *rest = map(int, line.split()[1:9])
                busy = user + nice + system + sum(rest)
                return cls(busy, busy + idle + iowait)
        raise RuntimeError("there is no core %d" % core)

    def share_since(self, earlier):
        return (self.busy - earlier.busy) / max(1, self.total - earlier.total)


def _wait_until_it_listens(process, port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError("%s ended early" % process.args[3])
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("%s does not listen on %d" % (process.args[3], port))


def _family(pid):
    """The process and its descendants: pid -> when it was born, so that no reused pid is taken for it."""
    children = {}
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    family, todo = {}, [pid]
    while todo:
        member = todo.pop()
        family[member] = _birth(member)
        todo += children.get(member, [])
    return {member: born for member, born in family.items() if born is not None}


def _birth(pid):
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else None


def _stat(pid):
    """The fields of /proc/PID/stat from the third on (the second may hold spaces)."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
