"""The steps of a transfer between two shards, each one statement on one of them."""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from payments_client.eventstore.calls import Call, Rows


class State(StrEnum):
    """How far a transfer is."""

    STARTED = "started"
    """The money has left its wallet; it arrives or comes back, whatever fails meanwhile."""
    COMPLETED = "completed"
    REFUNDED = "refunded"
    """The target refused it for good, and the money is back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WalletOf:
    """A wallet and the user that it belongs to, who decides on which shard it is."""

    wallet: str
    user: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruction:
    """A transfer that has begun: what has to be done on the target's shard."""

    transfer_id: str
    target: str
    target_shard: str
    amount: Decimal
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """The target's answer, given once and for ever."""

    outcome: str
    """``credited`` or ``refused``."""
    refusal: str | None


def require_amount(amount: Decimal) -> None:
    """Raise ``TypeError`` for a float, which is not the number that it shows."""
    if not isinstance(amount, Decimal):
        raise TypeError(f"an amount is a Decimal, not {type(amount).__name__}: a float is not the number that it shows")


def transfer_within(transfer_id: str, source: str, target: str, amount: Decimal, currency: str) -> Call[State]:
    """Both wallets are here."""
    return Call(
        query="SELECT ledger.transfer_within_shard(%s, %s, %s, %s, %s)",
        values=(transfer_id, source, target, amount, currency),
        parse=lambda rows: State(rows[0][0]),
        repeatable=True,
    )


def begin(source: str, instruction: Instruction) -> Call[tuple[State, Instruction]]:
    """Take the money and write down where it goes, in one transaction of the source's shard.

    The instruction that comes back is the one to carry out: of a repetition it is the first one's, whose shard the
    target may have left since.
    """

    def parse(rows: Rows) -> tuple[State, Instruction]:
        state, _, shard = rows[0][0].partition(":")
        return State(state), replace(instruction, target_shard=shard or instruction.target_shard)

    return Call(
        query="SELECT ledger.begin_cross_transfer(%s, %s, %s, %s, %s, %s)",
        values=(
            instruction.transfer_id,
            source,
            instruction.target,
            instruction.target_shard,
            instruction.amount,
            instruction.currency,
        ),
        parse=parse,
        repeatable=True,
    )


def receive(source_shard: str, instruction: Instruction) -> Call[Receipt]:
    """Credit, or refuse for ever, on the target's shard."""
    return Call(
        query="SELECT outcome, refusal FROM ledger.receive_cross_transfer(%s, %s, %s, %s, %s)",
        values=(
            instruction.transfer_id,
            source_shard,
            instruction.target,
            instruction.amount,
            instruction.currency,
        ),
        parse=lambda rows: Receipt(outcome=rows[0][0], refusal=rows[0][1]),
        repeatable=True,
    )


def settle(transfer_id: str, receipt: Receipt) -> Call[State]:
    """Write the answer down on the source's shard; a refusal gives the money back."""
    return Call(
        query="SELECT ledger.settle_cross_transfer(%s, %s, %s)",
        values=(transfer_id, receipt.outcome, receipt.refusal),
        parse=lambda rows: State(rows[0][0]),
        repeatable=True,
    )


def postpone(transfer_id: str) -> Call[None]:
    """An attempt failed: the next one later, five minutes at most."""
    return Call(
        query="SELECT ledger.postpone_cross_transfer(%s)",
        values=(transfer_id,),
        parse=lambda _: None,
        repeatable=True,
    )


def take(limit: int) -> Call[list[Instruction]]:
    """Instructions that are due; others see them again only later. Lost ones are too."""
    return Call(
        query="SELECT transfer_id, target, target_shard, amount, currency FROM ledger.take_cross_transfers(%s)",
        values=(limit,),
        parse=lambda rows: [
            Instruction(transfer_id=row[0], target=row[1], target_shard=row[2], amount=row[3], currency=row[4])
            for row in rows
        ],
        repeatable=True,
    )
