"""What no proxy can go below here: the upstream asked directly, TLS alone, and OpenSSL's own speeds."""
import os
import subprocess
import time

from . import credentials, load, places, processes
from .jobs import JOBS

NGINX = """daemon off; worker_processes 1; error_log {dir}/error.log error; pid {dir}/nginx.pid; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {creds}/server.pem; ssl_certificate_key {creds}/server.key;
    ssl_protocols TLSv1.3; default_type application/json; location / {{ return 200 '{body}'; }}
  }}
}}
"""
SPEEDS = [
    ["-seconds", "2", "rsa2048", "ecdsap256", "ecdhx25519", "ecdhp256"],
    ["-seconds", "1", "-bytes", "16384", "-evp", "aes-128-gcm"],
    ["-seconds", "1", "-bytes", "16384", "-evp", "aes-256-gcm"],
]


def measure(results, rounds, seconds):
    credentials.make()
    direct, tls = "plain HTTP, the upstream itself", "TLS, nginx answering by itself"
    requests = {direct: [], tls: []}
    for _ in range(rounds):
        requests[direct].append(_round(_upstream, "http", seconds))
        requests[tls].append(_round(_nginx, "https", seconds))
    speeds = [line for options in SPEEDS for line in _openssl(options)]
    results.data["floors"] = {"requests": requests, "openssl": speeds}
    results.save()
    print(results.data["floors"])


def _upstream(port):
    return [places.BIN / "upstream", port]


def _nginx(port):
    folder = places.RUN / "floor"
    folder.mkdir(parents=True, exist_ok=True)
    body = '{"data":[' + "1," * 80 + "1]}"
    user = "user root;" if os.geteuid() == 0 else ""
    text = NGINX.format(dir=folder, port=port, creds=places.CREDENTIALS, body=body, user=user)
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", folder, "-c", folder / "nginx.conf"]


def _round(command, scheme, seconds):
    port = places.free_port()
    process = processes.start(command(port), places.PROXY_CORE, port)
    try:
        tool = [part.replace("https:", scheme + ":") for part in load.command(JOBS["J0"], port, seconds)]
        before, start = processes.cpu_seconds(process.pid), time.monotonic()
        output = subprocess.run(tool, check=True, capture_output=True, text=True).stdout
        used, lasted = processes.cpu_seconds(process.pid) - before, time.monotonic() - start
    finally:
        processes.stop(process)
    figures = load.result(JOBS["J0"], output, seconds)
    figures.update(rps=figures["ok"] / figures["secs"], cpu_us=used * 1e6 / figures["ok"], util=used / lasted)
    return figures


def _openssl(options):
    command = processes.pinned(places.PROXY_CORE, ["openssl", "speed", *options])
    lines = subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()
    return [line for line in lines if "/s" in line or "bits" in line or line.upper().startswith("AES")]
