-- phase: expand
-- transaction: none
-- Old idempotency keys are found by their time. The index of blocks could not do it: rows go where forgotten ones were, so
-- that after one round every block holds old and new; and a condition with clock_timestamp() uses no index at all.

-- The parent's index goes first, if a run before this one was interrupted: it holds those of the parts.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX IF EXISTS es.idempotency_keys_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h0_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h1_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h2_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h3_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h4_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h5_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h6_created;
-- next
DROP INDEX CONCURRENTLY IF EXISTS es.idempotency_keys_h7_created;
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h0_created ON es.idempotency_keys_h0 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h1_created ON es.idempotency_keys_h1 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h2_created ON es.idempotency_keys_h2 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h3_created ON es.idempotency_keys_h3 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h4_created ON es.idempotency_keys_h4 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h5_created ON es.idempotency_keys_h5 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h6_created ON es.idempotency_keys_h6 (created_at);
-- next
CREATE INDEX CONCURRENTLY idempotency_keys_h7_created ON es.idempotency_keys_h7 (created_at);
-- next
-- Of the parent alone: nothing is read.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX idempotency_keys_created ON ONLY es.idempotency_keys (created_at);
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h0_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h1_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h2_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h3_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h4_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h5_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h6_created;
-- next
ALTER INDEX es.idempotency_keys_created ATTACH PARTITION es.idempotency_keys_h7_created;
-- next
-- An index of a partitioned table cannot be dropped concurrently. The lock is short and the runner bounds the wait for it.
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX IF EXISTS es.idempotency_keys_age;
-- next
-- Forget old keys, the oldest first, some at a time. Keep them longer than anybody may repeat a request.
CREATE OR REPLACE FUNCTION ops.forget_idempotency_keys(p_older_than interval, p_limit integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before timestamptz := clock_timestamp() - p_older_than;
    v_count bigint;
BEGIN
    IF p_older_than < interval '7 days' THEN
        RAISE EXCEPTION 'keys are kept for 7 days at least' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- An array, so that each key is looked up: a join would read the whole table when it is small or many are old.
    DELETE FROM es.idempotency_keys WHERE key = ANY (ARRAY(
        SELECT k.key FROM es.idempotency_keys k WHERE k.created_at < v_before ORDER BY k.created_at LIMIT p_limit));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
