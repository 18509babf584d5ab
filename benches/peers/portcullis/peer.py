"""Portcullis in its production configuration: every check on; access log off, as for the peers.

The store is embedded, or Redis where PORTCULLIS_BENCH_REDIS holds a redis:// URL of a database
that may be emptied. Access tokens are always kept once verified, so it has only `jwtcache`."""
import json
import os
import secrets
import subprocess

NAME = os.environ.get("PORTCULLIS_BENCH_NAME", "portcullis")
CAN = {"plain", "apikey", "jwtcache"}
NOTE = {}
VERSION = None

SERVICES = ["domains", "vps", "email", "billing"]

CONFIG = """
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


def routes(auth):
    if auth == "plain":
        return "  - { name: all, prefix: /, methods: [GET, HEAD, POST, PUT, PATCH, DELETE], access: { public: bench }, upstream: bench }"
    lines = []
    for service in SERVICES:
        for right, methods in (("read", "GET, HEAD"), ("write", "POST, PUT, PATCH, DELETE")):
            lines.append(
                "  - { name: %s-%s, prefix: /v1/%s, methods: [%s], access: { scopes: [%s:%s] }, upstream: bench }"
                % (service, right, service, methods, service, right)
            )
    return "\n".join(lines)


def render(ctx):
    redis = os.environ.get("PORTCULLIS_BENCH_REDIS")
    scopes = ", ".join('"%s:%s": %s' % (s, r, s) for s in SERVICES for r in ("read", "write"))
    text = ctx.sub(
        CONFIG,
        store="{ redis: { url: %s } }" % redis if redis else "{ embedded: portcullis.redb }",
        scopes=scopes,
        routes=routes(ctx.auth),
        metrics=os.environ.get("PORTCULLIS_BENCH_METRICS", '"off"'),
        access_log=os.environ.get("PORTCULLIS_BENCH_LOG", "off"),
    )
    ctx.write("gateway.yaml", text)
    ctx.write("pepper", secrets.token_hex(32))
    os.chmod(ctx.dir + "/pepper", 0o600)
    if ctx.auth == "apikey":
        import_keys(ctx)


def import_keys(ctx):
    lines = []
    for number, (key, scopes) in enumerate(ctx.keys):
        line = {"key": key, "account": "acct_%d" % (number % 1000), "name": "bench", "scopes": scopes.split()}
        lines.append(json.dumps(line))
    ctx.write("keys.jsonl", "\n".join(lines) + "\n")
    command = [ctx.bin("portcullis"), "--config", ctx.dir + "/gateway.yaml", "key", "import", ctx.dir + "/keys.jsonl"]
    subprocess.run(command, check=True, capture_output=True)


def argv(ctx):
    return [ctx.bin("portcullis"), "--config", ctx.dir + "/gateway.yaml", "serve"]
