# ruff: noqa: S608 # names of shards and numbers of buckets, both checked, in lines that a person reads and types
"""How buckets move to another shard: each step with the lines to type, which are the ones that the tests run.

Every line may be run again after a failure. ``psql`` carries rows from one shard to the other, so that neither needs to
reach the other one; ``$s00`` and ``$s02`` are their connection strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planning.shards import Move

BEFORE = (
    "set -o errexit -o pipefail",
    'psql_of() { psql --no-psqlrc --quiet --no-align --tuples-only --command "SET statement_timeout = \'2h\'" "$@"; }',
    'sql() { psql_of "$1" --command "$2"; }',
)
"""What the lines need; a pipe whose first half fails has failed. The role's own timeout is for short statements."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a move."""

    name: str
    text: str
    """What it does and when to go on."""
    commands: tuple[str, ...] = ()
    """Lines for bash, in this order."""


def steps(moves: Sequence[Move], target: str) -> tuple[Step, ...]:
    """The steps of all moves to one shard, between preparing its cluster and changing the map."""
    rounds = tuple(line for move in moves for line in _round(move, target))
    return (
        Step(
            name="prepare",
            text=f"close the buckets on {target}, where nobody lives yet: only what arrives is written",
            commands=tuple(_ask(target, f"SELECT ops.close_buckets({_range(move)}, '{target}')") for move in moves),
        ),
        Step(
            name="copy",
            text="beside traffic; this round takes everything, the balances' whole history",
            commands=rounds,
        ),
        Step(
            name="catch up",
            text="in place of a dual write, which two databases cannot commit together. Repeat it until the last"
            " figure, the entries that a round took in, is small; once more just before the cut over",
            commands=rounds,
        ),
        Step(
            name="verify",
            text="beside traffic: every entry up to the last round, by bucket and currency, and the books. A difference"
            " is an error",
            commands=(*(line for move in moves for line in _verify(move, target)), _books(target)),
        ),
        Step(
            name="cut over",
            text="users of these buckets are refused from the first line of a range to its last. A line that fails is"
            " run again. SELECT ops.reopen_buckets(first, last) on the old shard gives up, until hand_over_buckets",
            commands=tuple(line for move in moves for line in _cut_over(move, target)),
        ),
        Step(
            name="clean",
            text="the old rows stay on the old shard as history, with balances of nought",
            commands=(
                *(_ask(target, f"SELECT ops.forget_copy({_named(move)})") for move in moves),
                *(_books(shard) for shard in dict.fromkeys((*(move.source for move in moves), target))),
            ),
        ),
    )


def _round(move: Move, target: str) -> tuple[str, ...]:
    """The target says how far it is, the source gives what is missing, the target takes it in."""
    return (
        _position(move, target),
        _carry(
            move.source,
            f"SELECT {_named(move)}, * FROM ops.export_buckets({_range(move)})",
            target,
            "ops.arriving (source, first_bucket, last_bucket, kind, item)",
        ),
        _ask(target, f"SELECT * FROM ops.take_in({_named(move)})"),
    )


def _position(move: Move, target: str) -> str:
    return _carry(
        target,
        f"SELECT * FROM ops.copied({_named(move)})",
        move.source,
        "ops.asked (first_bucket, last_bucket, upto, pending)",
    )


def _verify(move: Move, target: str) -> tuple[str, ...]:
    return (
        _position(move, target),
        _tell(move, "entries", move.source, target),
        _ask(target, f"SELECT ops.compare_sums({_named(move)}, 'entries')"),
    )


def _tell(move: Move, kind: str, teller: str, listener: str) -> str:
    return _carry(
        teller,
        f"SELECT * FROM ops.sums({_named(move)}, '{kind}')",
        listener,
        "ops.expected (source, first_bucket, last_bucket, kind, bucket, currency, figures)",
    )


def _cut_over(move: Move, target: str) -> tuple[str, ...]:
    """The source lets go of its users for ever when it has heard that the target has the same."""
    return (
        _ask(move.source, f"SELECT ops.close_buckets({_range(move)}, '{target}')"),
        _ask(move.source, f"SELECT ops.drain_buckets({_range(move)})"),
        *_round(move, target),
        _tell(move, "wallets", target, move.source),
        _carry(move.source, f"SELECT * FROM ops.hand_over_buckets({_named(move)})", target, "ops.handed_over"),
        _ask(target, f"SELECT ops.open_buckets({_named(move)})"),
        # Until then the old shard counts them as refused.
        _ask(move.source, f"SELECT ops.forget_copy({_named(move)})"),
    )


def _books(shard: str) -> str:
    """Fails when they are wrong: division by zero is the one error that a plain SELECT can make of a number."""
    return _ask(shard, "SELECT 1 / (count(*) = 0)::int FROM ledger.check_books()")


def _range(move: Move) -> str:
    return f"{move.first}, {move.last}"


def _named(move: Move) -> str:
    return f"'{move.source}', {move.first}, {move.last}"


def _ask(shard: str, query: str) -> str:
    return f'sql "${shard}" "{query}"'


def _carry(source: str, query: str, target: str, table: str) -> str:
    return f'sql "${source}" "COPY ({query}) TO STDOUT" | sql "${target}" "COPY {table} FROM STDIN"'
