"""Measurements, what they mean, whom they reach, and where they are looked at."""
