"""One question to several shards at once. A shard that fails is reported, never left out in silence."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")
_MAX_THREADS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers(Generic[Answer]):
    """What the shards said. Whoever sums up must decide what a missing shard means: ``require_all`` or ``failed``."""

    answered: Mapping[str, Answer]
    failed: Mapping[str, Exception] = field(default_factory=dict)
    """Shard → why there is no answer; ``TimeoutError`` for one that was too slow."""

    @property
    def complete(self) -> bool:
        """Whether every shard answered."""
        return not self.failed

    def require_all(self) -> Mapping[str, Answer]:
        """The answers of all shards. Raises ``PartialFailureError`` with what there is when one is missing."""
        if self.failed:
            raise PartialFailureError(self)
        return self.answered


class PartialFailureError(Exception):
    """Some shards did not answer; ``answers`` holds those that did."""

    def __init__(self, answers: Answers[Any]) -> None:
        self.answers = answers
        reasons = "; ".join(f"{shard}: {type(error).__name__}" for shard, error in sorted(answers.failed.items()))
        total = len(answers.failed) + len(answers.answered)
        super().__init__(f"{len(answers.failed)} of {total} shards did not answer ({reasons})")


def fan_out(shards: Iterable[str], ask: Callable[[str], Answer], *, timeout_seconds: float) -> Answers[Answer]:
    """Ask every shard in a thread of its own.

    Returns after ``timeout_seconds`` at the latest. A thread cannot be ended: a question that is still under way then
    goes on without anybody waiting for it, so ``ask`` needs a deadline of its own (``statement_timeout``).
    """
    names = list(dict.fromkeys(shards))
    if not names:
        return Answers(answered={})
    pool = ThreadPoolExecutor(max_workers=min(len(names), _MAX_THREADS), thread_name_prefix="fan-out")
    try:
        futures = {name: pool.submit(ask, name) for name in names}
        wait(futures.values(), timeout=timeout_seconds)
        answered: dict[str, Answer] = {}
        failed: dict[str, Exception] = {}
        for name, future in futures.items():
            if not future.done():
                future.cancel()
                failed[name] = TimeoutError(f"shard {name} gave no answer within {timeout_seconds} s")
            elif (error := future.exception()) is None:
                answered[name] = future.result()
            elif isinstance(error, Exception):
                failed[name] = error
            else:
                raise error
        return Answers(answered=answered, failed=failed)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def fan_out_async(
    shards: Iterable[str], ask: Callable[[str], Awaitable[Answer]], *, timeout_seconds: float
) -> Answers[Answer]:
    """Ask every shard at once; what is not answered in time is cancelled."""
    names = list(dict.fromkeys(shards))

    async def one(name: str) -> Answer:
        async with asyncio.timeout(timeout_seconds):
            return await ask(name)

    results = await asyncio.gather(*(one(name) for name in names), return_exceptions=True)
    answered: dict[str, Answer] = {}
    failed: dict[str, Exception] = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Exception):
            failed[name] = result
        elif isinstance(result, BaseException):
            raise result
        else:
            answered[name] = result
    return Answers(answered=answered, failed=failed)
