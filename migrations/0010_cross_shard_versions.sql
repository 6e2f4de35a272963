-- phase: expand
-- What is said of a transfer between shards has the envelope of every other event: a version, counted in the transfer's
-- own stream. It is started, and then completed or refunded, so that the versions are 1 and 2, without holes.

CREATE OR REPLACE FUNCTION ledger.tell_cross_transfer(p_transfer ledger.cross_transfers) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    -- The key stays the wallet: readers see it between the movements of money that it goes with.
    SELECT es.enqueue('wallet-events', (p_transfer).source, jsonb_strip_nulls(jsonb_build_object(
        'type', 'CrossShardTransfer' || initcap((p_transfer).state),
        'aggregate_id', 'cross-shard-transfer:' || (p_transfer).transfer_id,
        'version', CASE (p_transfer).state WHEN 'started' THEN 1 ELSE 2 END,
        'user_id', (SELECT w.user_id FROM ledger.wallets w WHERE w.wallet_id = (p_transfer).source),
        'occurred_at_seconds', extract(epoch FROM coalesce((p_transfer).settled_at, (p_transfer).created_at))))
        || jsonb_build_object('data', jsonb_build_object(
            'transfer_id', (p_transfer).transfer_id, 'source', (p_transfer).source, 'target', (p_transfer).target,
            'target_shard', (p_transfer).target_shard, 'amount', (p_transfer).amount::text,
            'currency', (p_transfer).currency, 'refusal', (p_transfer).refusal)))
$$;
