"""Where the API server is and how to prove who asks: one context of a kubeconfig."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sandbox.plugins.kubernetes.errors import ProviderError


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Cluster:
    """One context, resolved. Certificates and keys are file paths or base64 data, as the kubeconfig has them."""

    server: str
    context: str
    namespace: str
    ca_file: str | None = None
    ca_data: str | None = None
    insecure: bool = False
    server_name: str | None = None
    token: str | None = None
    token_file: str | None = None
    username: str | None = None
    password: str | None = None
    certificate_file: str | None = None
    certificate_data: str | None = None
    key_file: str | None = None
    key_data: str | None = None


def load(kubeconfig: str | None, context: str | None = None, cluster: str | None = None) -> Cluster:
    """Resolve a kubeconfig given as a path or as its contents; without one, KUBECONFIG or ~/.kube/config.

    Raises ``ProviderError`` when it cannot be read or names something that it does not define.
    """
    document, folder, origin = _read(kubeconfig)
    name = context or document.get("current-context")
    if not name:
        message = f"{origin} has no current-context: set the provider's `context`"
        raise ProviderError(message)
    chosen = _named(document, "contexts", "context", name, origin)
    cluster_entry = _named(document, "clusters", "cluster", cluster or chosen.get("cluster"), origin)
    user_name = chosen.get("user")
    user = _named(document, "users", "user", user_name, origin) if user_name else {}
    for unsupported in ("exec", "auth-provider"):
        if unsupported in user:
            message = (
                f"user {user_name} of {origin} signs in through `{unsupported}`, which the stand-in provider does not "
                "speak: install Pulumi's own Kubernetes plugin, or use a token or a client certificate"
            )
            raise ProviderError(message)
    server = cluster_entry.get("server")
    if not server:
        message = f"{origin} names no server for the cluster of context {name}"
        raise ProviderError(message)
    return Cluster(
        server=str(server).rstrip("/"),
        context=str(name),
        namespace=str(chosen.get("namespace") or "default"),
        ca_file=_beside(folder, cluster_entry.get("certificate-authority")),
        ca_data=cluster_entry.get("certificate-authority-data"),
        insecure=bool(cluster_entry.get("insecure-skip-tls-verify")),
        server_name=cluster_entry.get("tls-server-name"),
        token=user.get("token"),
        token_file=_beside(folder, user.get("tokenFile")),
        username=user.get("username"),
        password=user.get("password"),
        certificate_file=_beside(folder, user.get("client-certificate")),
        certificate_data=user.get("client-certificate-data"),
        key_file=_beside(folder, user.get("client-key")),
        key_data=user.get("client-key-data"),
    )


def _read(kubeconfig: str | None) -> tuple[Mapping[str, Any], Path, str]:
    if kubeconfig and ("\n" in kubeconfig or kubeconfig.lstrip().startswith("{")):
        text, folder, origin = kubeconfig, Path.cwd(), "the provider's kubeconfig"
    else:
        named = kubeconfig or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config"
        path = Path(named).expanduser()
        folder, origin = path.parent, f"kubeconfig {path}"
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            message = f"{origin} cannot be read ({error.strerror}): set the provider's `kubeconfig` or KUBECONFIG"
            raise ProviderError(message) from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = f"{origin} is not YAML"  # the parser's own message quotes the text, which holds credentials
        raise ProviderError(message) from error
    if not isinstance(document, dict):
        message = f"{origin} is not a kubeconfig: expected a mapping with clusters, contexts and users"
        raise ProviderError(message)
    return document, folder, origin


def _named(document: Mapping[str, Any], group: str, kind: str, name: object, origin: str) -> Mapping[str, Any]:
    entries = document.get(group) or []
    for entry in entries:
        if entry.get("name") == name:
            value = entry.get(kind)
            return value if isinstance(value, dict) else {}
    known = ", ".join(sorted(str(entry.get("name")) for entry in entries)) or "none"
    message = f"{origin} has no {kind} {name!r}; it has: {known}"
    raise ProviderError(message)


def _beside(folder: Path, path: str | None) -> str | None:
    return str(folder / Path(path).expanduser()) if path else None
