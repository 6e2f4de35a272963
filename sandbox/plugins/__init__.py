"""Engine plugins: which ones a run uses, and stand-ins for a machine that cannot get the official ones."""

from sandbox.plugins.select import PluginChoice, select

__all__ = ["PluginChoice", "select"]
