-- phase: expand
-- Users of a bucket that moves are refused until somebody runs the last line of the move: for how long already.

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
SELECT 'check_age_seconds', name, extract(epoch FROM clock_timestamp() - checked_at) FROM ops.checks
 UNION ALL
-- On the old shard, from its closing until it is told that the new one is open. On the new one buckets are closed long
-- before that, and nobody is refused: whose shard this is, the reader says.
SELECT 'buckets_refused_seconds', '', coalesce(max(extract(epoch FROM clock_timestamp() - b.closed_at)), 0)
  FROM ops.buckets b
 WHERE b.closed_for <> coalesce(current_setting('payments.shard', true), '')
   AND (b.left_at IS NULL
        OR EXISTS (SELECT FROM ops.asked a WHERE b.bucket BETWEEN a.first_bucket AND a.last_bucket));
