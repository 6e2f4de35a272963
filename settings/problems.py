"""What is wrong with a stack's settings, as data: path, value, allowed, fix."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that a person has to change."""

    path: str
    """Where, as in the stack file: ``services.payment-service.api.port``."""
    allowed: str
    fix: str
    value: object = None
    """What was found; ``None`` when nothing was there."""
    has_value: bool = True
    broken_rule: bool = False
    """``allowed`` is the sentence that says which rule is broken, with its numbers."""

    @classmethod
    def unknown_name(cls, *, path: str, value: str, known: Iterable[str], where: str) -> "Problem":
        """A reference to something that is not declared; suggests the closest name."""
        names = sorted(known)
        close = get_close_matches(value, names, n=1)
        fix = f"did you mean '{close[0]}'?" if close else f"declare '{value}' under {where}, or remove it here"
        allowed = f"one of {where}: {', '.join(names)}" if names else f"a name declared under {where} (there are none)"
        return cls(path=path, value=value, allowed=allowed, fix=fix)

    def __str__(self) -> str:
        found = f"is {self.value!r}; " if self.has_value else ""
        allowed = f"allowed: {self.allowed}" if not self.broken_rule else self.allowed
        return f"{self.path}: {found}{allowed}; fix: {self.fix}"


class RuleError(ValueError):
    """A rule inside one model that its values break: why, with the numbers, and what to do."""

    def __init__(self, *, why: str, fix: str) -> None:
        self.why = why
        self.fix = fix
        super().__init__(f"{why}; {fix}")


class CrossFieldError(ValueError):
    """Several problems found by the rules between the parts of valid settings."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class SettingsError(Exception):
    """Everything that is wrong with a stack's settings, ready to be shown to a person."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        noun = "problem" if count == 1 else "problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count} {noun} in the settings; nothing was changed\n{lines}")
