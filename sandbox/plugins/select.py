"""placeholder"""

from dataclasses import dataclass


@dataclass
class PluginChoice: ...


def select() -> None: ...
