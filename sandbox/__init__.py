"""A real Pulumi engine and a real Kubernetes API on one machine, from pinned sources, without Docker."""
