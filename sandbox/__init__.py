"""A real Pulumi engine and a real Kubernetes API on one machine, built from pinned sources, without Docker."""
