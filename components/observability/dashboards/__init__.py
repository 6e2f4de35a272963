"""Grafana dashboards, built with its own library: its schema, not ours."""
