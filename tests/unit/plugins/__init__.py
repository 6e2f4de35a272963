"""Unit tests of the stand-in plugins."""
