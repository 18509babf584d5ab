"""Portcullis as it runs in production: every check on; the access log off, as it is for the peers.

Verified access tokens are always kept, so of the two JWT modes it has only `jwtcache`. Variants: the
credentials in Redis; `observed`: the access log to a file and a metrics listener; with the system's
allocator; and with jemalloc in place of that, preloaded, so that one build shows both."""
import ctypes.util
import json
import os
import secrets
import subprocess

NAME = "portcullis"
PROGRAM = "portcullis"
VERSION = ["--version"]
CAN = {"plain", "apikey", "jwtcache"}
VARIANTS = ("", "redis", "observed", "system-allocator", "jemalloc")
PROGRAMS = dict.fromkeys(("system-allocator", "jemalloc"), "portcullis-system-allocator")
NOTE = {}

SERVICES = ["domains", "vps", "email", "billing"]
RIGHTS = {"read": "GET, HEAD", "write": "POST, PUT, PATCH, DELETE"}

MAIN = """
listen: { https: "127.0.0.1:$port", metrics: $metrics, admin: "off" }
tls: { certificates: [{ cert: $cert, key: $key }] }
store: $store
credentials: { realm: bench, prefix: osir, pepper: { file: pepper } }
access_tokens:
  - issuer: https://auth.bench.test
    jwks: $creds/jwks.json
    audience: portcullis-bench
    algorithms: [RS256, ES256]
    token_type: any
scopes: { $scopes }
upstreams: { bench: { endpoints: ["http://$upstream"] } }
limits: { connections_per_address: 20000 }
access_log: $access_log
workers: $workers
routes:
$routes
"""
PUBLIC = "{ public: bench }"
ROUTE = "  - { name: %s, prefix: %s, methods: [%s], access: %s, upstream: bench }"


def render(ctx):
    pairs = [(service, right) for service in SERVICES for right in RIGHTS]
    observed = ctx.variant == "observed"
    text = ctx.fill(
        MAIN,
        store="{ redis: { url: %s } }" % ctx.redis if ctx.redis else "{ embedded: portcullis.redb }",
        scopes=", ".join('"%s:%s": %s' % (service, right, service) for service, right in pairs),
        routes=PUBLIC_ROUTE if ctx.mode == "plain" else "\n".join(scoped_route(*pair) for pair in pairs),
        metrics='"127.0.0.1:%d"' % ctx.metrics_port if observed else '"off"',
        access_log="{ file: access.jsonl }" if observed else "off",
    )
    ctx.write("gateway.yaml", text)
    ctx.write("pepper", secrets.token_hex(32))
    os.chmod(ctx.dir + "/pepper", 0o600)
    if ctx.mode == "apikey":
        import_keys(ctx)


def scoped_route(service, right):
    access = "{ scopes: [%s:%s] }" % (service, right)
    return ROUTE % ("%s-%s" % (service, right), "/v1/" + service, RIGHTS[right], access)


PUBLIC_ROUTE = ROUTE % ("all", "/", ", ".join(RIGHTS.values()), PUBLIC)


def import_keys(ctx):
    lines = []
    for number, (key, scopes) in enumerate(ctx.keys):
        account = "acct_%d" % (number % 1000)
        lines.append(json.dumps({"key": key, "account": account, "name": "bench", "scopes": scopes.split()}))
    ctx.write("keys.jsonl", "\n".join(lines) + "\n")
    command = [ctx.program, "--config", ctx.dir + "/gateway.yaml", "key", "import", ctx.dir + "/keys.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("key import: " + done.stderr.strip()[-300:])


def arguments(ctx):
    return ["--config", ctx.dir + "/gateway.yaml", "serve"]


def environment(ctx):
    if ctx.variant != "jemalloc":
        return {}
    library = ctypes.util.find_library("jemalloc")
    if not library:
        # The loader would only warn, and the system's allocator would be measured once more.
        raise RuntimeError("there is no jemalloc: apt-get install libjemalloc2")
    return {"LD_PRELOAD": library}
