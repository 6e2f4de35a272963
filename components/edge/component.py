"""The component that declares the edge with the renderer that the settings choose."""

from dataclasses import dataclass

import pulumi

from components.base.manifests import child_opts, declare
from components.edge.gateway import plan_gateway
from components.edge.model import EdgeContext
from components.edge.namespace import plan_edge_namespace
from components.edge.nginx import plan_nginx
from settings.edge import EdgeRenderer

# What others refer to by name. Without the order a controller reports missing references until it looks again.
_FOUNDATIONS = frozenset({"GatewayClass", "EnvoyProxy", "Gateway", "HTTPRoute"})


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeEntryArgs:
    """The edge's settings with their surroundings, and what must exist first."""

    context: EdgeContext
    requires: tuple[pulumi.Resource, ...] = ()


class EdgeEntry(pulumi.ComponentResource):
    """The way in: routes, limits, certificate, and the namespace that the proxies run in."""

    url: str
    """What clients call."""

    def __init__(self, name: str, args: EdgeEntryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("payments:edge:EdgeEntry", name, {}, opts)
        required = list(args.requires)
        if args.context.edge.renderer is EdgeRenderer.GATEWAY:
            required += self._guards(name, args.context)
            manifests = plan_gateway(args.context)
        else:
            manifests = plan_nginx(args.context)  # its controller has a namespace of its own already
        for role, manifest in manifests.items():
            resource = declare(f"{name}-{role}", manifest, child_opts(self, depends_on=required))
            if manifest["kind"] in _FOUNDATIONS:
                required = [*required, resource]
        self.url = f"https://{args.context.edge.host}"
        self.register_outputs({"url": self.url})

    def _guards(self, name: str, context: EdgeContext) -> list[pulumi.Resource]:
        manifests = plan_edge_namespace(context)
        namespace = declare(f"{name}-namespace", manifests.pop("namespace"), child_opts(self))
        others = [
            declare(f"{name}-{role}", manifest, child_opts(self, depends_on=[namespace]))
            for role, manifest in manifests.items()
        ]
        return [namespace, *others]
