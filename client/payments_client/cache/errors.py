"""What a caller may have to handle."""


class CacheError(Exception):
    """Any error of the caches; the loader's own errors pass through unchanged."""


class MoneyDecisionError(CacheError, TypeError):
    """A cached value was about to decide about money. Read the wallet's write side instead."""


class SourceBehindError(CacheError):
    """The source kept answering an older version than is already known: it reads a replica and ignores ``at_least``."""


class TierUnavailableError(CacheError):
    """A tier could not be reached for something that must not be lost. Feed the event again."""
