"""The rules between load tests and the rest of a stack's settings."""

from collections.abc import Iterator

from settings.base import Environment
from settings.loadtest import LoadTest
from settings.problems import Problem


def loadtest_problems(loadtest: LoadTest | None, *, environment: Environment) -> Iterator[Problem]:
    """Load against prod is an exception that somebody has put their name to."""
    if loadtest is None:
        return
    if environment is Environment.PROD and loadtest.run and loadtest.prod_exception is None:
        yield Problem(
            path="loadtest.run",
            value=loadtest.run,
            allowed="nothing in prod without loadtest.prod_exception",
            fix="test another stack, or say who allowed it, why and until when",
        )
    if environment is not Environment.PROD and loadtest.prod_exception is not None:
        yield Problem(
            path="loadtest.prod_exception",
            value=loadtest.prod_exception.approved_by,
            allowed="nothing outside prod",
            fix="remove it",
        )
