"""Rendered rules in the real promtool and the real Prometheus."""
