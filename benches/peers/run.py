#!/usr/bin/env python3
"""Runs the peers' harness with Portcullis among the peers.

usage: run.py HARNESS_DIR verify | run … | report …    (the harness's own arguments follow)"""
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    harness = load("bench", os.path.join(sys.argv.pop(1), "bench.py"))
    theirs = harness.load_peers
    ours = load("peer_portcullis", HERE + "/portcullis/peer.py")

    def load_peers(names=None):
        peers = theirs(names)
        if not names or ours.NAME in names:
            peers[ours.NAME] = ours
        return peers

    harness.load_peers = load_peers
    harness.main()


if __name__ == "__main__":
    main()
