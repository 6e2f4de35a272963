"""Bottlenecks: thresholds as data, samples from several sources, findings that last."""
