"""Benchmarks beside their rivals in the same run: ratios, never promises of seconds."""
