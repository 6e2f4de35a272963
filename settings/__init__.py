"""What a stack may ask for: strict, frozen models, loaded in one place. No Pulumi import."""

from settings.load import load
from settings.platform import Settings
from settings.problems import Problem, SettingsError

__all__ = ["Problem", "Settings", "SettingsError", "load"]
