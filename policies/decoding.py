"""Decode each resource once per call of the engine, where the SDK decodes it once per policy.

pulumi-policy 1.21.0 converts the same message to Python for each policy again: with 26 policies and 2000 resources
that was 4.6 s of `Analyze` and 3.3 s of `AnalyzeStack` on two cores, nine tenths of it decoding. The rules only read,
so they can share one decoded copy. This leans on names inside the SDK, which is why its version is pinned: if one of
them is gone, nothing is changed and the pack is only slower.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

_INNER_NAMES = ("_PolicyAnalyzerServicer", "json_format", "deserialize_properties", "unknown_checking_proxy")


class _Calls(threading.local):
    """What has been decoded in the call that this thread serves; None between calls."""

    def __init__(self) -> None:
        self.decoded: dict[tuple[str, int], tuple[object, object]] | None = None


def share_decoding(sdk: ModuleType) -> bool:
    """Make the SDK's module share decoded properties within a call; return False if it is not laid out as expected."""
    if not all(hasattr(sdk, name) for name in _INNER_NAMES):
        return False
    calls = _Calls()
    sdk.__dict__.update(
        json_format=SimpleNamespace(MessageToDict=_once(calls, "dict", sdk.json_format.MessageToDict)),
        deserialize_properties=_once(calls, "plain", sdk.deserialize_properties),
        unknown_checking_proxy=_once(calls, "proxy", sdk.unknown_checking_proxy),
        _PolicyAnalyzerServicer=_sharing_servicer(sdk, calls),
    )
    return True


def _once(calls: _Calls, step: str, convert: Callable[..., object]) -> Callable[..., object]:
    def converted(source: object, *options: object) -> object:
        decoded = calls.decoded
        if decoded is None or options:  # a remediation asks for its own copy, with secrets marked
            return convert(source, *options)
        key = (step, id(source))
        if key not in decoded:
            decoded[key] = (source, convert(source))  # holding the source keeps its id from being used again
        return decoded[key][1]

    return converted


@contextmanager
def _call(calls: _Calls) -> Iterator[None]:
    calls.decoded = {}
    try:
        yield
    finally:
        calls.decoded = None


def _sharing_servicer(sdk: ModuleType, calls: _Calls) -> type:
    base: Any = sdk.__dict__["_PolicyAnalyzerServicer"]

    class SharingServicer(base):  # type: ignore[misc] # the SDK's class is not typed
        """The SDK's servicer, with one decoded copy of each resource per call."""

        def Analyze(self, request: object, context: object) -> object:  # noqa: N802 - the protocol's name
            with _call(calls):
                return super().Analyze(request, context)

        def AnalyzeStack(self, request: object, context: object) -> object:  # noqa: N802 - the protocol's name
            with _call(calls):
                return super().AnalyzeStack(request, context)

    return SharingServicer
