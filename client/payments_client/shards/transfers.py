"""Money between users wherever they live, as a saga: take, give, settle; give back what cannot be given.

The instruction to give is written in the transaction that takes (the outbox of the saga), so a crash between any two
steps leaves something that a worker finds. Every step may be repeated. An answer that nobody heard is asked for again;
only a refusal of the target, which stands for ever, gives the money back.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

import psycopg

from payments_client.eventstore import sync
from payments_client.eventstore.errors import EventStoreError
from payments_client.shards import steps
from payments_client.shards.routing import ShardMap
from payments_client.shards.steps import Instruction, State, WalletOf

STEP_DEADLINE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What a worker did on one shard."""

    settled: dict[str, State] = field(default_factory=dict)
    """Transfer → how it ended."""
    failed: dict[str, Exception] = field(default_factory=dict)
    """Transfer → why it is not settled yet; it is tried again."""


class Transfers:
    """Transfers for threads.

    ``connections`` gives the primary of a shard: ``lambda shard: pools[shard].connection``.
    """

    def __init__(
        self,
        shard_map: ShardMap,
        connections: Callable[[str], sync.Connections],
        step_deadline_seconds: float = STEP_DEADLINE_SECONDS,
    ) -> None:
        self._map = shard_map
        self._sessions = {name: sync.Session(connections(name), step_deadline_seconds) for name in shard_map.names}

    def transfer(
        self, transfer_id: str, *, source: WalletOf, target: WalletOf, amount: Decimal, currency: str
    ) -> State:
        """Move money once for each id.

        ``State.STARTED`` means that the target's shard cannot be asked now: a worker finishes it. Raises what the first
        step refuses (``InsufficientFundsError``, ``UnknownWalletError``, ``KeyReusedError``, …); then nothing moved.
        """
        steps.require_amount(amount)
        here, there = self._map.shard_of(source.user), self._map.shard_of(target.user)
        if here == there:
            within = steps.transfer_within(transfer_id, source.wallet, target.wallet, amount, currency)
            return self._sessions[here].run(within)
        instruction = Instruction(
            transfer_id=transfer_id, target=target.wallet, target_shard=there, amount=amount, currency=currency
        )
        state, instruction = self._sessions[here].run(steps.begin(source.wallet, instruction))
        if state is not State.STARTED:
            return state
        try:
            return self._finish(here, instruction)
        except Exception:  # noqa: BLE001 # the money is on its way and written down: whatever failed, a worker goes on
            return State.STARTED

    def work(self, shard: str, limit: int = 100) -> Progress:
        """Finish transfers that a shard has begun and that are due. Any number of workers may run."""
        progress = Progress()
        out_of_reach: set[str] = set()
        for instruction in self._sessions[shard].run(steps.take(limit)):
            if instruction.target_shard in out_of_reach:
                continue  # each would wait for the same deadline; untried, it is due again when its lease has run out
            try:
                progress.settled[instruction.transfer_id] = self._finish(shard, instruction)
            except Exception as error:  # noqa: BLE001 # one that fails must not hold up the others; it is reported
                progress.failed[instruction.transfer_id] = error
                if isinstance(error, psycopg.OperationalError):
                    out_of_reach.add(instruction.target_shard)
                with suppress(psycopg.Error, EventStoreError):  # the lease stands: it is due again after it
                    self._sessions[shard].run(steps.postpone(instruction.transfer_id))
        return progress

    def _finish(self, source_shard: str, instruction: Instruction) -> State:
        receipt = self._sessions[instruction.target_shard].run(steps.receive(source_shard, instruction))
        return self._sessions[source_shard].run(steps.settle(instruction.transfer_id, receipt))
