"""Builds what Debian does not bring: the upstream, the load tool, the Rust peers, and Portcullis itself."""
import os
import re
import shutil
import subprocess

from . import places


def build(names=None):
    """All, or only those named (`upstream`, `loadgen`, or a peer)."""
    places.BIN.mkdir(parents=True, exist_ok=True)
    builders = {"upstream": _upstream, "portcullis": _portcullis}
    for manifest in [places.TOOLS / "loadgen" / "Cargo.toml", *sorted(places.PEERS.glob("*/Cargo.toml"))]:
        builders[manifest.parent.name] = lambda manifest=manifest: _crate(manifest)
    unknown = set(names or ()) - set(builders)
    if unknown:
        raise SystemExit("nothing to build for: " + ", ".join(sorted(unknown)))
    for name in names or builders:
        print("building", name, flush=True)
        builders[name]()


def _upstream():
    source = places.TOOLS / "upstream" / "upstream.c"
    subprocess.run(["gcc", "-O2", "-Wall", "-o", places.BIN / "upstream", source], check=True)


def _portcullis():
    """As it is packaged: the `dist` profile, optimised by a profile of real work."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(places.WORK / "target-portcullis")}
    subprocess.run([places.ROOT / "scripts" / "build-dist"], cwd=places.ROOT, env=environment, check=True)
    _install(places.WORK / "target-portcullis" / "pgo" / "dist" / "portcullis")


def _crate(manifest):
    target = places.WORK / ("target-" + manifest.parent.name)
    _cargo(manifest.parent, target, "--release")
    name = re.search(r'^name = "([^"]+)"', manifest.read_text(), re.M).group(1)
    _install(target / "release" / name)


def _cargo(folder, target, *options):
    subprocess.run(["cargo", "build", "--locked", "--target-dir", target, *options], cwd=folder, check=True)


def _install(binary):
    """Under a new inode, so that one that runs is left as it is."""
    new = places.BIN / (binary.name + ".new")
    shutil.copy(binary, new)
    new.replace(places.BIN / binary.name)
