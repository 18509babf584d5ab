"""Caddy (Debian). API keys: the `map` handler. JWT: none without a third party's plugin."""
NAME = "caddy"
PROGRAM = "caddy"
VERSION = ["version"]
CAN = {"plain", "apikey"}
NOTE = {"apikey": "`map` handler of 2.6 compares the inputs one by one"}
# At some 700 requests/s with 10,000 keys: half of that would set the rate of the open loop for all.
SKIP = {"J7", "JL"}

SERVICES = ["domains", "vps", "email", "billing"]
RIGHTS = {"read": "GET HEAD", "write": "POST PUT PATCH DELETE"}

MAIN = """{
 admin off
 auto_https off
 log {
  level ERROR
 }
 servers {
  protocols h1 h2
  timeouts {
   idle 300s
  }
 }
}
https://localhost:$port {
 bind 127.0.0.1
 tls $cert $key {
  protocols tls1.3
 }
 $body
}
"""
PROXY = """reverse_proxy http://$upstream {
 transport http {
 keepalive 300s
 keepalive_idle_conns 2048
 keepalive_idle_conns_per_host 2048
 compression off
 }
 }"""
KEYS = """route {
map {http.request.header.X-API-Key} {known} $flags {
$rows
default 0 $none
}
@unknown vars {known} 0
respond @unknown `{"error":"unauthorized","message":"Invalid or missing API key"}` 401
$denials
$proxy
}"""
DENIAL = """@no_%(service)s_%(right)s {
 path /v1/%(service)s /v1/%(service)s/*
 method %(methods)s
 vars {%(service)s_%(right)s} 0
}
respond @no_%(service)s_%(right)s `{"error":"forbidden","message":"Insufficient permissions for this action"}` 403
"""


def render(ctx):
    proxy = ctx.fill(PROXY)
    ctx.write("Caddyfile", ctx.fill(MAIN, body=api_keys(ctx, proxy) if ctx.mode == "apikey" else proxy))


def api_keys(ctx, proxy):
    pairs = [(service, right) for service in SERVICES for right in RIGHTS]
    flags = " ".join("{%s_%s}" % pair for pair in pairs)
    rows = "\n".join('"%s" 1 %s' % (key, has(scopes.split(), pairs)) for key, scopes in ctx.keys)
    denials = "".join(
        DENIAL % {"service": service, "right": right, "methods": RIGHTS[right]} for service, right in pairs
    )
    return ctx.fill(KEYS, flags=flags, rows=rows, none=has([], pairs), denials=denials, proxy=proxy)


def has(scopes, pairs):
    return " ".join("1" if "%s:%s" % pair in scopes else "0" for pair in pairs)


def environment(ctx):
    return {"GOMAXPROCS": str(ctx.workers), "XDG_DATA_HOME": ctx.dir, "XDG_CONFIG_HOME": ctx.dir, "HOME": ctx.dir}


def arguments(ctx):
    return ["run", "--config", ctx.dir + "/Caddyfile", "--adapter", "caddyfile"]
