"""Changes to the dev stack that several tests of the edge use."""

from collections.abc import Mapping
from copy import deepcopy

from tests.unit.stacks import REMOVED, Changes

NGINX_PEER = {
    "namespace": "ingress-nginx",
    "pod_labels": {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"},
    "ports": [8080],
}
# The plan's literal form: what ingress-nginx cannot express is left out, as the settings' messages say.
_NGINX: Mapping[str, object] = {
    "edge/renderer": "nginx",
    "edge/rate_limits": {"per-address": {"by": "client-address", "requests": 1000, "per": "minute"}},
    "cluster/peers/edge": NGINX_PEER,
}
_GATEWAY_ONLY = ("edge/active_health_check", "edge/passive_health_check", "edge/max_parallel_requests")


def nginx_form(changes: Changes | None = None) -> dict[str, object]:
    """The changes that make ``renderer: nginx`` valid, and further ones; nothing of it is shared."""
    return {**deepcopy(dict(_NGINX)), **dict.fromkeys(_GATEWAY_ONLY, REMOVED), **(changes or {})}
