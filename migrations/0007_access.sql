-- phase: expand
-- Who may do what. Grants are on parents: a partition that is made later needs none, and nobody reaches it directly.
-- They are here because the provider for PostgreSQL does not read back what it grants on a partitioned table.

-- The way into the schemas and the connection are granted with the roles themselves.

-- The application reads tables and writes facts by functions only: versions, balances and double entry cannot be
-- gone around.
GRANT SELECT ON es.streams, es.events, es.archived, es.wallet_events, es.wallet_balances, ledger.currencies, ledger.wallets,
    ledger.transfers TO payments_app, payments_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON es.snapshots, es.checkpoints TO payments_app;
GRANT EXECUTE ON FUNCTION es.append(text, bigint, jsonb, text), es.read_stream(text, bigint, integer),
    es.read_all(xid8, bigint, integer), es.horizon(), es.enqueue(text, text, jsonb), es.take_outbox(integer, integer),
    es.drop_outbox(integer, bigint[]), es.refresh_wallet_balances(integer), es.check_wallet_balances(integer),
    ledger.open_wallet(text, text, text),
    ledger.transfer(text, text, text, numeric, text, text, jsonb), ledger.check_books(), ops.bucket_of(text)
    TO payments_app;
GRANT EXECUTE ON FUNCTION es.read_stream(text, bigint, integer), es.read_all(xid8, bigint, integer)
    TO payments_readonly;

-- What the exporter may see: numbers, no row of anybody.
CREATE VIEW ops.metrics AS
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
SELECT 'schema_version', '', max(version) FROM ops.schema_migrations WHERE finished_at IS NOT NULL;
GRANT SELECT ON ops.metrics TO payments_exporter;
-- A view lends the rights of its owner to tables, not to functions.
GRANT EXECUTE ON FUNCTION ops.partition_headroom_seconds(regclass) TO payments_exporter;
