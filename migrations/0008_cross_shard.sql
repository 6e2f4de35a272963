-- phase: expand
-- Money that travels between shards. It leaves its wallet for a house wallet here in the transaction that writes down
-- where it goes, and enters its new wallet from a house wallet there. Every step is a movement with an id of its own,
-- so that each may be repeated; the target's answer is given once and for ever.

-- What this shard has sent. A row in state 'started' is an instruction that somebody has to carry out.
CREATE TABLE ledger.cross_transfers (
    transfer_id text PRIMARY KEY CHECK (length(transfer_id) BETWEEN 1 AND 90),
    source text NOT NULL,
    target text NOT NULL,
    target_shard text NOT NULL CHECK (target_shard ~ '^s[0-9]{2}$'),
    amount ledger.amount NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    state text NOT NULL DEFAULT 'started' CHECK (state IN ('started', 'completed', 'refunded')),
    refusal text,
    attempts integer NOT NULL DEFAULT 0,
    -- Whoever begins a transfer also tries to finish it; workers leave it the time to do so.
    next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '10 seconds',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at timestamptz,
    CONSTRAINT settled_is_dated CHECK ((state = 'started') = (settled_at IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX cross_transfers_due ON ledger.cross_transfers (target_shard, next_attempt_at) WHERE state = 'started';

-- What this shard has answered.
CREATE TABLE ledger.cross_receipts (
    transfer_id text NOT NULL CHECK (length(transfer_id) BETWEEN 1 AND 90),
    source_shard text NOT NULL CHECK (source_shard ~ '^s[0-9]{2}$'),
    target text NOT NULL,
    amount ledger.amount NOT NULL,
    currency text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('credited', 'refused')),
    refusal text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An id is unique on its source's shard only: two of them may choose the same.
    PRIMARY KEY (transfer_id, source_shard)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.cross_receipts
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- The house wallet for money on its way to or from another shard: sixteen of them, so that transfers seldom wait for
-- each other, each its own user, so that their entries are spread as everybody's are.
CREATE FUNCTION ledger.transit_wallet(p_shard text, p_currency text, p_transfer text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_wallet text := format('transit:%s:%s:%s', p_shard, p_currency, ops.bucket_of(p_transfer) % 16);
BEGIN
    -- Said here as ledger.transfer says it: this runs first, and a wallet in it could not be opened.
    PERFORM FROM ledger.currencies c WHERE c.code = p_currency;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'currency % is not known', quote_literal(p_currency) USING ERRCODE = 'LE003';
    END IF;
    PERFORM FROM ledger.wallets w WHERE w.wallet_id = v_wallet;
    IF NOT FOUND THEN
        PERFORM ledger.open_house_wallet(v_wallet, v_wallet, p_currency);
    END IF;
    RETURN v_wallet;
END
$$;

CREATE FUNCTION ledger.tell_cross_transfer(p_transfer ledger.cross_transfers) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT es.enqueue('wallet-events', (p_transfer).source, jsonb_build_object(
        'type', 'CrossShardTransfer' || initcap((p_transfer).state), 'aggregate_id', (p_transfer).source,
        'occurred_at_seconds', extract(epoch FROM clock_timestamp()),
        'data', jsonb_build_object(
            'transfer_id', (p_transfer).transfer_id, 'target', (p_transfer).target,
            'target_shard', (p_transfer).target_shard, 'amount', (p_transfer).amount::text,
            'currency', (p_transfer).currency, 'refusal', (p_transfer).refusal)))
$$;

-- First step, on the source's shard: take the money and write down where it goes. Repeating it answers the state.
-- Errors are those of ledger.transfer: LE001 not enough money, LE002 no such wallet, ES002 another transfer's id.
CREATE FUNCTION ledger.begin_cross_transfer(
    p_transfer text, p_source text, p_target text, p_target_shard text, p_amount numeric, p_currency text
) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known ledger.cross_transfers;
    v_within ledger.transfers;
BEGIN
    -- Before anything is locked: who comes second waits here for the first one's end.
    PERFORM pg_advisory_xact_lock(hashtextextended('ledger.cross_transfer:' || p_transfer, 0));
    SELECT * INTO v_known FROM ledger.cross_transfers t WHERE t.transfer_id = p_transfer;
    IF FOUND THEN
        IF (v_known.source, v_known.target, v_known.target_shard, v_known.amount, v_known.currency)
           IS DISTINCT FROM (p_source, p_target, p_target_shard, p_amount, p_currency) THEN
            RAISE EXCEPTION 'transfer id % was used for another transfer', quote_literal(p_transfer)
                USING ERRCODE = 'ES002';
        END IF;
        RETURN v_known.state;
    END IF;
    -- The target's user may have moved away since the first try.
    SELECT * INTO v_within FROM ledger.transfers t WHERE t.transfer_id = p_transfer;
    IF FOUND THEN
        IF (v_within.source, v_within.target, v_within.amount, v_within.currency)
           IS DISTINCT FROM (p_source, p_target, p_amount, p_currency) THEN
            RAISE EXCEPTION 'transfer id % was used for another transfer', quote_literal(p_transfer)
                USING ERRCODE = 'ES002';
        END IF;
        RETURN 'completed';
    END IF;
    PERFORM ledger.transfer(p_transfer || ':out', p_source, ledger.transit_wallet(p_target_shard, p_currency, p_transfer),
                            p_amount, p_currency, 'cross-shard transfer', jsonb_build_object('target', p_target));
    INSERT INTO ledger.cross_transfers (transfer_id, source, target, target_shard, amount, currency)
    VALUES (p_transfer, p_source, p_target, p_target_shard, p_amount, p_currency) RETURNING * INTO v_known;
    PERFORM ledger.tell_cross_transfer(v_known);
    RETURN v_known.state;
END
$$;

-- The same for two wallets of one shard, which takes no steps; the first try may have found them on two.
CREATE FUNCTION ledger.transfer_within_shard(
    p_transfer text, p_source text, p_target text, p_amount numeric, p_currency text
) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known ledger.cross_transfers;
BEGIN
    -- The lock of begin_cross_transfer: while the map changes, two tries of one id may come each its own way, and their
    -- movements have different ids.
    PERFORM pg_advisory_xact_lock(hashtextextended('ledger.cross_transfer:' || p_transfer, 0));
    SELECT * INTO v_known FROM ledger.cross_transfers t WHERE t.transfer_id = p_transfer;
    IF FOUND THEN
        IF (v_known.source, v_known.target, v_known.amount, v_known.currency)
           IS DISTINCT FROM (p_source, p_target, p_amount, p_currency) THEN
            RAISE EXCEPTION 'transfer id % was used for another transfer', quote_literal(p_transfer)
                USING ERRCODE = 'ES002';
        END IF;
        RETURN v_known.state;
    END IF;
    PERFORM ledger.transfer(p_transfer, p_source, p_target, p_amount, p_currency, 'transfer', '{}');
    RETURN 'completed';
END
$$;

-- Second step, on the target's shard: give the money to its new owner, or say for ever why not.
CREATE FUNCTION ledger.receive_cross_transfer(
    p_transfer text, p_source_shard text, p_target text, p_amount numeric, p_currency text
) RETURNS TABLE (outcome text, refusal text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known ledger.cross_receipts;
    v_outcome text := 'credited';
    v_refusal text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(format('ledger.cross_receipt:%s:%s', p_source_shard, p_transfer), 0));
    SELECT * INTO v_known FROM ledger.cross_receipts r
     WHERE r.transfer_id = p_transfer AND r.source_shard = p_source_shard;
    IF FOUND THEN
        IF (v_known.target, v_known.amount, v_known.currency)
           IS DISTINCT FROM (p_target, p_amount, p_currency) THEN
            RAISE EXCEPTION 'transfer id % was used for another transfer', quote_literal(p_transfer)
                USING ERRCODE = 'ES002';
        END IF;
        RETURN QUERY SELECT v_known.outcome, v_known.refusal;
        RETURN;
    END IF;
    BEGIN
        PERFORM ledger.transfer(format('%s:in:%s', p_transfer, p_source_shard),
                                ledger.transit_wallet(p_source_shard, p_currency, p_transfer), p_target, p_amount,
                                p_currency, 'cross-shard transfer', '{}');
    EXCEPTION WHEN SQLSTATE 'LE002' OR SQLSTATE 'LE003' OR SQLSTATE 'LE004' THEN
        -- These stay so. Anything else is a fault that passes: it fails here, nothing is answered, the sender repeats.
        v_outcome := 'refused';
        v_refusal := sqlerrm;
    END;
    INSERT INTO ledger.cross_receipts (transfer_id, source_shard, target, amount, currency, outcome, refusal)
    VALUES (p_transfer, p_source_shard, p_target, p_amount, p_currency, v_outcome, v_refusal);
    RETURN QUERY SELECT v_outcome, v_refusal;
END
$$;

-- Last step, on the source's shard: the target's answer. A refusal gives the money back.
CREATE FUNCTION ledger.settle_cross_transfer(p_transfer text, p_outcome text, p_refusal text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_known ledger.cross_transfers;
BEGIN
    IF p_outcome IS NULL OR p_outcome NOT IN ('credited', 'refused') THEN
        RAISE EXCEPTION 'outcome must be credited or refused' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO v_known FROM ledger.cross_transfers t WHERE t.transfer_id = p_transfer FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'transfer % was not begun here', quote_literal(p_transfer) USING ERRCODE = 'no_data_found';
    END IF;
    IF v_known.state <> 'started' THEN
        IF (v_known.state = 'completed') <> (p_outcome = 'credited') THEN
            RAISE EXCEPTION 'transfer % is % and cannot become %', quote_literal(p_transfer), v_known.state, p_outcome
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN v_known.state;
    END IF;
    IF p_outcome = 'refused' THEN
        PERFORM ledger.transfer(p_transfer || ':back', ledger.transit_wallet(v_known.target_shard, v_known.currency, p_transfer),
                                v_known.source, v_known.amount, v_known.currency, 'cross-shard refund', '{}');
    END IF;
    UPDATE ledger.cross_transfers t
       SET state = CASE p_outcome WHEN 'credited' THEN 'completed' ELSE 'refunded' END, refusal = p_refusal,
           settled_at = clock_timestamp()
     WHERE t.transfer_id = p_transfer RETURNING * INTO v_known;
    PERFORM ledger.tell_cross_transfer(v_known);
    RETURN v_known.state;
END
$$;

-- Instructions that are due, for one worker; others see them again when the lease has run out. No transaction stays open
-- while the other shard is asked. Of each target's shard a share only: one that is down must not fill the batch and
-- hold up the others.
CREATE FUNCTION ledger.take_cross_transfers(p_limit integer DEFAULT 100, p_lease interval DEFAULT '30 seconds')
    RETURNS SETOF ledger.cross_transfers
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH due AS (
        SELECT shard.target_shard, found.transfer_id, found.next_attempt_at
          FROM (SELECT DISTINCT t.target_shard FROM ledger.cross_transfers t WHERE t.state = 'started') AS shard
         CROSS JOIN LATERAL (
            SELECT d.transfer_id, d.next_attempt_at FROM ledger.cross_transfers d
             WHERE d.state = 'started' AND d.target_shard = shard.target_shard AND d.next_attempt_at <= clock_timestamp()
             ORDER BY d.next_attempt_at LIMIT p_limit FOR UPDATE SKIP LOCKED) AS found
    ), shared AS (
        SELECT d.transfer_id, row_number() OVER (PARTITION BY d.target_shard ORDER BY d.next_attempt_at) AS turn FROM due d
    )
    UPDATE ledger.cross_transfers t SET next_attempt_at = clock_timestamp() + p_lease
     WHERE t.transfer_id IN (SELECT s.transfer_id FROM shared s ORDER BY s.turn LIMIT p_limit)
    RETURNING t.*
$$;

-- An attempt that failed: the next one later, twice as long each time, five minutes at most. Only what was really tried
-- counts, so that an outage of hours does not make transfers wait for hours after its end.
CREATE FUNCTION ledger.postpone_cross_transfer(p_transfer text, p_first interval DEFAULT '10 seconds') RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ledger.cross_transfers t
       SET attempts = t.attempts + 1,
           next_attempt_at = clock_timestamp() + least(p_first * power(2, least(t.attempts, 12)), interval '5 minutes')
     WHERE t.transfer_id = p_transfer AND t.state = 'started'
$$;

-- For an operator, once a shard is back: its transfers are due now.
CREATE FUNCTION ledger.hasten_cross_transfers(p_target_shard text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE ledger.cross_transfers t SET next_attempt_at = clock_timestamp(), attempts = 0
     WHERE t.state = 'started' AND t.target_shard = p_target_shard;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

GRANT SELECT ON ledger.cross_transfers, ledger.cross_receipts TO payments_app, payments_readonly;
GRANT EXECUTE ON FUNCTION
    ledger.begin_cross_transfer(text, text, text, text, numeric, text),
    ledger.transfer_within_shard(text, text, text, numeric, text),
    ledger.receive_cross_transfer(text, text, text, numeric, text),
    ledger.settle_cross_transfer(text, text, text),
    ledger.take_cross_transfers(integer, interval),
    ledger.postpone_cross_transfer(text, interval)
    TO payments_app;

-- For alerts: money that is on its way for long.
CREATE VIEW ops.cross_shard_metrics AS
SELECT target_shard, currency, count(*) AS transfers, sum(amount) AS amount,
       extract(epoch FROM clock_timestamp() - min(created_at)) AS oldest_seconds, max(attempts) AS most_attempts
  FROM ledger.cross_transfers WHERE state = 'started' GROUP BY target_shard, currency;
GRANT SELECT ON ops.cross_shard_metrics TO payments_exporter;
