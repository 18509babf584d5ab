"""The results of a run: one JSON file that later runs of other jobs may add to."""
import datetime
import json
import os
import platform
import resource
import subprocess
from pathlib import Path

from . import places


class Results:
    """
    {"machine": {…}, "versions": {peer: …}, "notes": {peer/mode: …}, "verify": {peer/mode/variant: {case: …}},
     "rates": {job: requests/s}, "jobs": {job: {label: [round, …]}}}"""

    def __init__(self, path):
        self.path = Path(path)
        empty = {"machine": machine(), "versions": {}, "notes": {}, "verify": {}, "rates": {}, "jobs": {}}
        self.data = {**empty, **json.loads(self.path.read_text())} if self.path.exists() else empty

    @property
    def jobs(self):
        return self.data["jobs"]

    def begin(self, job, labels):
        """Forgets what an earlier run of these said of the job."""
        self.jobs.setdefault(job.name, {}).update({label: [] for label in labels})

    def add(self, job, label, figures):
        self.jobs[job.name][label].append(figures)

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.data, indent=1) + "\n")


def machine():
    """What the figures depend on besides the proxies."""
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "open files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "portcullis": _commit(),
    }


def _cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _commit():
    command = ["git", "-C", places.ROOT, "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""
