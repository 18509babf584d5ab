"""Builds what Debian does not bring: the upstream, the load tool, the Rust peers, and Portcullis itself."""
import os
import re
import shutil
import subprocess

from . import places


SYSTEM_ALLOCATOR = "portcullis-system-allocator"
PGO = places.WORK / "target-portcullis" / "pgo"


def build(names=None):
    """Those named (`upstream`, `loadgen`, a peer, or Portcullis without its allocator), or all but that."""
    places.BIN.mkdir(parents=True, exist_ok=True)
    builders = {"upstream": _upstream, "portcullis": _portcullis, SYSTEM_ALLOCATOR: _with_the_systems_allocator}
    for manifest in [places.TOOLS / "loadgen" / "Cargo.toml", *sorted(places.PEERS.glob("*/Cargo.toml"))]:
        builders[manifest.parent.name] = lambda manifest=manifest: _crate(manifest)
    unknown = set(names or ()) - set(builders)
    if unknown:
        raise SystemExit("nothing to build for: " + ", ".join(sorted(unknown)))
    for name in names or [name for name in builders if name != SYSTEM_ALLOCATOR]:
        print("building", name, flush=True)
        builders[name]()


def _upstream():
    source = places.TOOLS / "upstream" / "upstream.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-o", places.BIN / "upstream", source], check=True)


def _portcullis():
    """As it is packaged: the `dist` profile, optimised by a profile of real work."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(PGO.parent)}
    subprocess.run([places.ROOT / "scripts" / "build-dist"], cwd=places.ROOT, env=environment, check=True)
    _install(PGO / "dist" / "portcullis")


def _with_the_systems_allocator():
    """The same, by the profile of the one before: they differ in nothing else."""
    counts = PGO / "counts" / "merged.profdata"
    flags = {"RUSTFLAGS": "-Cprofile-use=%s" % counts} if counts.exists() else {}
    options = ["--profile", "dist", "--bin", "portcullis", "--features", "system-allocator"]
    _cargo(places.ROOT, PGO, *options, environment={**os.environ, **flags})
    _install(PGO / "dist" / "portcullis", SYSTEM_ALLOCATOR)


def _crate(manifest):
    target = places.WORK / ("target-" + manifest.parent.name)
    _cargo(manifest.parent, target, "--release")
    name = re.search(r'^name = "([^"]+)"', manifest.read_text(), re.M).group(1)
    _install(target / "release" / name)


def _cargo(folder, target, *options, environment=None):
    command = ["cargo", "build", "--locked", "--target-dir", target, *options]
    subprocess.run(command, cwd=folder, env=environment, check=True)


def _install(binary, name=None):
    """Under a new inode, so that one that runs is left as it is."""
    name = name or binary.name
    new = places.BIN / (name + ".new")
    shutil.copy(binary, new)
    new.replace(places.BIN / name)
