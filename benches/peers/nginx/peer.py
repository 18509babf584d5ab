"""nginx (Debian). API keys: `map`. JWT: the free build has none, so lua + luaossl, as gateways made of nginx do.

`jwt` verifies each time; `jwtcache` keeps verified tokens in each worker."""
import os

NAME = "nginx"
PROGRAM = "nginx"
VERSION = ["-v"]
CAN = {"plain", "apikey", "jwt", "jwtcache"}
NOTE = {"jwt": "lua + luaossl (no native JWT in the free build)", "jwtcache": "lua + luaossl + lrucache"}

SERVICES = ["domains", "vps", "email", "billing"]

MAIN = """daemon off; master_process on; worker_processes $workers; $user
error_log $dir/error.log error; pid $dir/nginx.pid;
load_module /usr/lib/nginx/modules/ndk_http_module.so; load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
events { worker_connections 15000; multi_accept on; }
http {
  access_log off; tcp_nodelay on; sendfile on; keepalive_timeout 300s; keepalive_requests 100000000; server_tokens off;
  client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u;
  scgi_temp_path $dir/s;
  client_max_body_size 64m; http2_max_concurrent_streams 256;
  upstream up { server $upstream; keepalive 2048; keepalive_requests 100000000; keepalive_timeout 300s; }
  $http
  server {
    listen 127.0.0.1:$port ssl http2 reuseport backlog=4096;
    ssl_certificate $cert; ssl_certificate_key $key; ssl_protocols TLSv1.3; ssl_session_tickets off;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $$host;
    proxy_buffering on; proxy_request_buffering off; proxy_buffers 16 16k; proxy_buffer_size 8k;
    $server
  }
}
"""
FORWARD = "location / { proxy_pass http://up; }"
NOT_FOUND = "    location / { return 404; }"
DENY = """
    error_page 401 @e401; error_page 403 @e403;
    location @e401 { internal; default_type application/json; return 401 '%s'; }
    location @e403 { internal; default_type application/json; return 403 '%s'; }
""" % (
    '{"error":"unauthorized","message":"Invalid or missing API key"}',
    '{"error":"forbidden","message":"Insufficient permissions for this action"}',
)

KEYS = """map_hash_max_size 65536; map_hash_bucket_size 256;
  map $$http_x_api_key $$key_scopes { default ''; include $dir/keys.map; }
"""
KEY_MAP = """  map "$request_method $key_scopes" $SERVICE_ok {
    default 0; "~^(GET|HEAD) .*SERVICE:read" 1; "~^(POST|PUT|PATCH|DELETE) .*SERVICE:write" 1;
  }
"""
KEY_LOCATION = """    location /v1/SERVICE {
      if ($key_scopes = '') { return 401; } if ($SERVICE_ok = 0) { return 403; } proxy_pass http://up;
    }
"""
LUA_LOAD = """lua_package_path '$dir/?.lua;/usr/share/lua/5.1/?.lua;;';
  init_by_lua_block { require 'resty.core'; require 'jwtauth' }"""
LUA_LOCATION = """    location /v1/SERVICE {
      access_by_lua_block { require('jwtauth').check('SERVICE') } proxy_pass http://up;
    }
"""
LUA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jwtauth.lua")


def render(ctx):
    http, server = {"plain": forward, "apikey": api_keys}.get(ctx.mode, tokens)(ctx)
    # The workers write large bodies beside the configuration, which only we may read.
    user = "user root;" if os.geteuid() == 0 else ""
    ctx.write("nginx.conf", ctx.fill(MAIN, http=http, server=server, user=user))


def forward(_ctx):
    return "", FORWARD


def api_keys(ctx):
    ctx.write("keys.map", "\n".join('"%s" "%s";' % (key, scopes.replace(" ", ",")) for key, scopes in ctx.keys))
    return ctx.fill(KEYS) + for_each_service(KEY_MAP), DENY + for_each_service(KEY_LOCATION) + NOT_FOUND


def tokens(ctx):
    with open(LUA) as source:
        ctx.write("jwtauth.lua", ctx.fill(source.read(), cached="true" if ctx.mode == "jwtcache" else "false"))
    return ctx.fill(LUA_LOAD), DENY + for_each_service(LUA_LOCATION) + NOT_FOUND


def for_each_service(template):
    return "".join(template.replace("SERVICE", service) for service in SERVICES)


def arguments(ctx):
    return ["-p", ctx.dir, "-c", ctx.dir + "/nginx.conf"]
