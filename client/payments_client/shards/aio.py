"""Transfers for asyncio; every method does what its namesake in ``transfers.py`` does."""

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

import psycopg

from payments_client.eventstore import aio
from payments_client.eventstore.errors import EventStoreError
from payments_client.shards import steps
from payments_client.shards.routing import ShardMap
from payments_client.shards.steps import Instruction, State, WalletOf
from payments_client.shards.transfers import STEP_DEADLINE_SECONDS, Progress


class AsyncTransfers:
    """Transfers for asyncio. ``connections`` gives the primary of a shard."""

    def __init__(
        self,
        shard_map: ShardMap,
        connections: Callable[[str], aio.Connections],
        step_deadline_seconds: float = STEP_DEADLINE_SECONDS,
    ) -> None:
        self._map = shard_map
        self._sessions = {name: aio.AsyncSession(connections(name), step_deadline_seconds) for name in shard_map.names}

    async def transfer(
        self, transfer_id: str, *, source: WalletOf, target: WalletOf, amount: Decimal, currency: str
    ) -> State:
        """Move money once for each id; ``State.STARTED``: a worker finishes it."""
        steps.require_amount(amount)
        here, there = self._map.shard_of(source.user), self._map.shard_of(target.user)
        if here == there:
            within = steps.transfer_within(transfer_id, source.wallet, target.wallet, amount, currency)
            return await self._sessions[here].run(within)
        instruction = Instruction(
            transfer_id=transfer_id, target=target.wallet, target_shard=there, amount=amount, currency=currency
        )
        state, instruction = await self._sessions[here].run(steps.begin(source.wallet, instruction))
        if state is not State.STARTED:
            return state
        try:
            return await self._finish(here, instruction)
        except Exception:  # noqa: BLE001 # the money is on its way and written down: whatever failed, a worker goes on
            return State.STARTED

    async def work(self, shard: str, limit: int = 100) -> Progress:
        """Finish transfers that a shard has begun and that are due."""
        progress = Progress()
        out_of_reach: set[str] = set()
        for instruction in await self._sessions[shard].run(steps.take(limit)):
            if instruction.target_shard in out_of_reach:
                continue  # each would wait for the same deadline; untried, it is due again when its lease has run out
            try:
                progress.settled[instruction.transfer_id] = await self._finish(shard, instruction)
            except Exception as error:  # noqa: BLE001 # one that fails must not hold up the others; it is reported
                progress.failed[instruction.transfer_id] = error
                if isinstance(error, psycopg.OperationalError):
                    out_of_reach.add(instruction.target_shard)
                with suppress(psycopg.Error, EventStoreError):  # the lease stands: it is due again after it
                    await self._sessions[shard].run(steps.postpone(instruction.transfer_id))
        return progress

    async def _finish(self, source_shard: str, instruction: Instruction) -> State:
        receipt = await self._sessions[instruction.target_shard].run(steps.receive(source_shard, instruction))
        return await self._sessions[source_shard].run(steps.settle(instruction.transfer_id, receipt))
