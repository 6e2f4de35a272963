"""The statements that frame a transaction: one round trip each."""

BEGIN_WRITE = "SELECT set_config('statement_timeout', %s, true)"
"""Local to the transaction: PgBouncer hands the connection to somebody else afterwards."""
BEGIN_READ = (
    "SELECT set_config('statement_timeout', %s, true), set_config('transaction_read_only', 'on', true),"
    " pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END"
)
"""Later statements of the transaction take newer snapshots (read committed), so that they see the position told."""
POSITION = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn()::text END"
