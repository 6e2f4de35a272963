"""What things cost: the price table of a stack. The defaults are round examples of the form, not anybody's offer."""

from typing import Annotated

from pydantic import Field

from settings.base import Strict

Price = Annotated[float, Field(ge=0, le=1_000_000)]


class Prices(Strict):
    """Prices of one month of 730 hours. Nodes are priced by what pods request of them."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    cpu_core_month: Price = 23.0
    """One requested core."""
    memory_gib_month: Price = 3.1
    """One requested GiB of memory."""
    disk_gib_month: Price = 0.12
    """One GiB of a PersistentVolumeClaim."""
    load_balancer_month: Price = 18.0
    """One Service of type LoadBalancer."""
    cdn_zone_month: Price = 250.0
    """The Cloudflare zone's subscription."""
    node_overhead_percent: Annotated[int, Field(ge=0, le=200)] = 15
    """Of the nodes' cpu and memory that no pod of ours can request: kubelet, system pods, fragments."""
