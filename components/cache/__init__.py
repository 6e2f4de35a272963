"""The caches: a Redis Cluster that heals (L3) and local instances (L2)."""
