"""The one exception of this package."""


class MigrationError(Exception):
    """What is wrong and what to do, in one message without a secret."""
