-- phase: expand
-- What the daily care finds when it compares balances with the events, and what is seen of it and of money on its way.

-- One row for each check, made here as right at this moment: until the first run its age says that nobody has looked.
CREATE TABLE ops.checks (
    name text PRIMARY KEY,
    wrong_rows bigint NOT NULL DEFAULT 0 CHECK (wrong_rows >= 0),
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO ops.checks (name) VALUES ('books'), ('wallet_balances');

CREATE OR REPLACE VIEW ops.metrics AS
SELECT 'partition_headroom_seconds' AS name, n.nspname || '.' || c.relname AS label,
       ops.partition_headroom_seconds(c.oid) AS value
  FROM pg_catalog.pg_partitioned_table p
  JOIN pg_catalog.pg_class c ON c.oid = p.partrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE p.partstrat = 'r' AND n.nspname = 'es'
 UNION ALL
SELECT 'outbox_oldest_seconds', lane::text, coalesce(extract(epoch FROM clock_timestamp() - oldest.created_at), 0)
  FROM generate_series(0, 15) AS lane
  LEFT JOIN LATERAL (SELECT o.created_at FROM es.outbox o WHERE o.lane = lane.lane ORDER BY o.id LIMIT 1) oldest ON true
 UNION ALL
SELECT 'read_model_age_seconds', model || '/' || bucket, extract(epoch FROM clock_timestamp() - updated_at)
  FROM es.read_model_cursor
 UNION ALL
SELECT 'schema_version', '', max(version) FROM ops.schema_migrations WHERE finished_at IS NOT NULL
 UNION ALL
-- Nought when nothing is on its way: a figure that comes and goes is one on which no alert can end.
SELECT 'cross_shard_transfers', '', count(*) FROM ledger.cross_transfers WHERE state = 'started'
 UNION ALL
SELECT 'cross_shard_oldest_seconds', '', coalesce(max(oldest_seconds), 0) FROM ops.cross_shard_metrics
 UNION ALL
SELECT 'check_wrong_rows', name, wrong_rows FROM ops.checks
 UNION ALL
SELECT 'check_age_seconds', name, extract(epoch FROM clock_timestamp() - checked_at) FROM ops.checks;
