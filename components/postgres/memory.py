"""What PostgreSQL may use of its container's memory, derived from the limit."""

from settings.quantities import parse_quantity
from settings.services import Resources

_MEBIBYTE = 2**20
SHARED_BUFFERS_PERCENT = 25
CACHE_PERCENT = 70
"""What the planner may expect to be cached, by the server and by the system."""
SORTS_PERCENT = 20
"""For sorts of all connections at once; one query may use several times ``work_mem``."""


def memory_parameters(resources: Resources, *, max_connections: int) -> dict[str, str]:
    """Parameters in whole mebibytes. The parts stay below the limit: a member that is killed is a failover."""
    limit = int(parse_quantity(resources.limits.memory)) // _MEBIBYTE
    work = max(1, limit * SORTS_PERCENT // 100 // max_connections)
    return {
        "shared_buffers": f"{max(128, limit * SHARED_BUFFERS_PERCENT // 100)}MB",
        "effective_cache_size": f"{limit * CACHE_PERCENT // 100}MB",
        "work_mem": f"{min(64, work)}MB",
        "maintenance_work_mem": f"{min(2048, max(64, limit // 16))}MB",
        "autovacuum_work_mem": f"{min(1024, max(64, limit // 32))}MB",
        "wal_buffers": "16MB",
    }
