"""What each Python app has besides its library.

That is: who it is, a user with a browser, a word on each step. Not here: any OAuth. An app is told
who it is by its environment, asks on standard output for a page to be visited, and reads on standard
input where the browser ended up. HTTPS_PROXY and REQUESTS_CA_BUNDLE, which requests knows by itself,
lead to the gateway under test.
"""

import json
import os
import sys
import time
from urllib.parse import parse_qsl, urlsplit

ISSUER = os.environ["ISSUER"]
API = os.environ["API"]
CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ.get("CLIENT_SECRET")
# As RFC 8414 calls it: client_secret_basic, client_secret_post or none.
AUTHENTICATION = os.environ["AUTHENTICATION"]
REDIRECT_URI = os.environ["REDIRECT_URI"]
SCOPE = os.environ["SCOPE"]
# Whoever may introspect every token. A public client cannot ask by itself.
RESOURCE_SERVER = (os.environ["RESOURCE_SERVER_ID"], os.environ["RESOURCE_SERVER_SECRET"])


def visit(url):
    """Has the user visit a page, log in and say yes; returns the address of the callback."""
    print(json.dumps({"visit": url}), flush=True)
    return sys.stdin.readline().strip()


def parameters(url):
    """The query of an address, each parameter once."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    if len(pairs) != len(dict(pairs)):
        raise SystemExit("a parameter is repeated")
    return dict(pairs)


def step(name, **facts):
    """Says that a step was taken, and what has to be true of it. The first lie ends the app."""
    wrong = [fact for fact, holds in facts.items() if not holds]
    print(json.dumps({"step": name, "wrong": wrong}), flush=True)
    if wrong:
        raise SystemExit(1)


def soon(condition):
    """Whether something becomes true before long: a revocation is followed, not awaited."""
    deadline = time.monotonic() + 5
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds
