"""Values for eyes only: a balance from a cache may be shown, and nothing else can be done with it.

A type checker refuses a ``DisplayOnly[Money]`` where ``Money`` is wanted. Where nobody checks types, every operation
that could take part in a decision raises ``MoneyDecisionError``.
"""

from collections.abc import Callable, Mapping
from typing import Generic, NoReturn, TypeVar, final

from payments_client.cache.errors import MoneyDecisionError

T_co = TypeVar("T_co", covariant=True)


def _refuse(operation: str) -> Callable[..., NoReturn]:
    def refused(*_: object) -> NoReturn:
        raise MoneyDecisionError(
            f"'{operation}' on a cached balance: it is for display and may be minutes old; "
            f"decide on the wallet's write side, inside the transaction that changes it"
        )

    return refused


@final
class DisplayOnly(Generic[T_co]):
    """A value that people may look at. It has no value to compute, compare or branch with.

    ``seen`` goes back into the next read, so that this reader never sees an older one.
    """

    __slots__ = ("__value", "seen")

    def __init__(self, value: T_co, seen: Mapping[str, int]) -> None:
        self.__value = value
        self.seen = seen

    def render(self, to_text: Callable[[T_co], str]) -> str:
        """Text for a screen. Raises ``MoneyDecisionError`` when ``to_text`` gives anything but text."""
        text = to_text(self.__value)
        if type(text) is not str:
            raise MoneyDecisionError(f"render() returns text for people, not {type(text).__name__}")
        return text

    def __repr__(self) -> str:
        return "DisplayOnly(…)"  # not the amount: a repr ends in logs


_REFUSED = {
    "conversion": "bool int float index complex reversed bytes",
    "access": "len iter contains getitem",
    "comparison": "lt le gt ge eq ne",
    "hashing": "hash",
    "arithmetic": "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow neg "
    "pos abs round trunc floor ceil and rand or ror xor rxor",
    "formatting (use render())": "format",
    "copying": "reduce reduce_ex copy deepcopy",
}
# Added here and not in the class, so that a type checker knows of none of them and refuses them before they are run.
for _operation, _names in _REFUSED.items():
    for _name in _names.split():
        setattr(DisplayOnly, f"__{_name}__", _refuse(_operation))
