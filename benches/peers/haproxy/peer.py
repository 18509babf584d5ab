r"""HAProxy (Debian). API keys: `map_str`. JWT: `jwt_verify` + `jwt_payload_query`; it keeps no verified tokens.

`maxconn` is above what the limit on open files allows with two for each connection, as 10,000 idle ones need
one each: so `no strict-limits`, or it would not start."""
NAME = "haproxy"
PROGRAM = "haproxy"
VERSION = ["-v"]
CAN = {"plain", "apikey", "jwt"}
NOTE = {}

SERVICES = ["domains", "vps", "email", "billing"]

MAIN = """global
  nbthread $workers
  maxconn 12000
  no strict-limits
  tune.ssl.default-dh-param 2048
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  tune.ssl.cachesize 0
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-keep-alive
  http-reuse always
  maxconn 12000
frontend fe
  bind 127.0.0.1:$port ssl crt $pem alpn h2,http/1.1 backlog 4096
  $rules
  default_backend be
backend be
  server s1 $upstream pool-max-conn 2048 pool-purge-delay 300s
"""
ANSWER = r'status %d content-type application/json string "{\"error\":\"%s\",\"message\":\"%s\"}"'
UNAUTHORIZED = ANSWER % (401, "unauthorized", "Invalid or missing API key")
FORBIDDEN = ANSWER % (403, "forbidden", "Insufficient permissions for this action")

KEY_RULES = """
http-request set-var(txn.sc) req.hdr(x-api-key),map_str($dir/keys.map)
http-request return $unauthorized unless { var(txn.sc) -m found }
"""
JWT_RULES = """
http-request set-var(txn.b) http_auth_bearer
http-request set-var(txn.alg) var(txn.b),jwt_header_query('$$.alg')
acl rs var(txn.alg) -m str RS256
acl es var(txn.alg) -m str ES256
http-request return $unauthorized unless rs or es
http-request return $unauthorized if rs !{ var(txn.b),jwt_verify(txn.alg,"$creds/rs256.pub.pem") 1 }
http-request return $unauthorized if es !{ var(txn.b),jwt_verify(txn.alg,"$creds/es256.pub.pem") 1 }
http-request set-var(txn.now) date()
http-request set-var(txn.exp) var(txn.b),jwt_payload_query('$$.exp','int')
http-request return $unauthorized unless { var(txn.exp),sub(txn.now) -m int gt 0 }
http-request return $unauthorized unless { var(txn.b),jwt_payload_query('$$.iss') -m str https://auth.bench.test }
http-request return $unauthorized unless { var(txn.b),jwt_payload_query('$$.aud') -m str portcullis-bench }
http-request set-var(txn.sc) var(txn.b),jwt_payload_query('$$.scope')
"""


def render(ctx):
    rules = []
    if ctx.mode != "plain":
        rules += ["acl rd method GET HEAD"]
        rules += ["acl r_%s path_beg /v1/%s" % (service, service) for service in SERVICES]
        rules += ctx.fill(KEY_RULES if ctx.mode == "apikey" else JWT_RULES, unauthorized=UNAUTHORIZED).split("\n")
        rules += scope_rules()
    if ctx.mode == "apikey":
        ctx.write("keys.map", "".join("%s %s\n" % (key, scopes.replace(" ", ",")) for key, scopes in ctx.keys))
    ctx.write("haproxy.cfg", ctx.fill(MAIN, rules="\n  ".join(filter(None, rules))))


def scope_rules():
    for service in SERVICES:
        for reads, right in (("rd", "read"), ("!rd", "write")):
            lacks = "!{ var(txn.sc) -m sub %s:%s }" % (service, right)
            yield "http-request return %s if r_%s %s %s" % (FORBIDDEN, service, reads, lacks)
    yield "http-request deny deny_status 404 unless " + " or ".join("r_" + service for service in SERVICES)


def arguments(ctx):
    return ["-db", "-f", ctx.dir + "/haproxy.cfg"]
