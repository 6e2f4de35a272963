-- phase: expand
-- Buckets that move to another shard. While they do, writes to their users are refused; what is copied keeps its order
-- and its ids, and the books of both shards are right at every moment.

-- Which buckets are closed here. A bucket of which nothing is said is open; who may write to it the map says.
CREATE TABLE ops.buckets (
    bucket integer PRIMARY KEY CHECK (bucket BETWEEN 0 AND 1023),
    -- The shard that its users live on or are on their way to; on that shard itself until it is opened there.
    closed_for text CHECK (closed_for ~ '^s[0-9]{2}$'),
    closed_at timestamptz,
    -- Since then nobody who began to write while it was open is still under way.
    drained_at timestamptz,
    -- Since then its money is booked out, and it cannot be opened here again.
    left_at timestamptz,
    CONSTRAINT in_order CHECK (
        (closed_for IS NULL) = (closed_at IS NULL) AND (drained_at IS NULL OR closed_at IS NOT NULL)
        AND (left_at IS NULL OR drained_at IS NOT NULL))
);
INSERT INTO ops.buckets (bucket) SELECT generate_series(0, 1023);

-- The transaction that writes what arrives: it alone may write to a closed bucket.
CREATE TABLE ops.importing (xid xid8 PRIMARY KEY);

-- A user's bucket, which cannot be drained before the transaction ends.
CREATE FUNCTION ops.hold_bucket(p_user text) RETURNS ops.buckets
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bucket integer := ops.bucket_of(p_user);
    v_found ops.buckets;
BEGIN
    -- ops.drain_buckets waits for it. Shared: writers do not wait for each other.
    PERFORM pg_advisory_xact_lock_shared(1024, v_bucket);
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT * INTO STRICT v_found FROM ops.buckets b WHERE b.bucket = v_bucket;
    ELSE
        -- The snapshot may be older than the closing: a lock on the row fails (40001) where a look would see it open.
        SELECT * INTO STRICT v_found FROM ops.buckets b WHERE b.bucket = v_bucket FOR SHARE;
    END IF;
    RETURN v_found;
END
$$;

-- SH001: the user lives on another shard. DETAIL is for programs: bucket and shard, as in '612 s01'.
CREATE FUNCTION ops.refuse_closed(p_bucket ops.buckets) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'bucket % is closed here: its users live on shard %', (p_bucket).bucket, (p_bucket).closed_for
        USING ERRCODE = 'SH001', DETAIL = format('%s %s', (p_bucket).bucket, (p_bucket).closed_for),
              HINT = 'Ask that shard; read the contract anew.';
END
$$;

CREATE FUNCTION ledger.refuse_new_wallet() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bucket ops.buckets := ops.hold_bucket(new.user_id);
BEGIN
    IF v_bucket.closed_for IS NOT NULL
       AND NOT EXISTS (SELECT FROM ops.importing i WHERE i.xid = pg_current_xact_id()) THEN
        PERFORM ops.refuse_closed(v_bucket);
    END IF;
    RETURN new;
END
$$;
-- House wallets belong to the shard, not to a user: they stay, and are never closed.
CREATE TRIGGER bucket_is_open BEFORE INSERT ON ledger.wallets FOR EACH ROW WHEN (new.kind = 'customer')
    EXECUTE FUNCTION ledger.refuse_new_wallet();

-- Both sides of a transfer live here, or it is refused.
CREATE FUNCTION ledger.require_open(p_transfer text, p_source text, p_target text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_wallet ledger.wallets;
    v_bucket ops.buckets;
BEGIN
    FOR v_wallet IN
        SELECT * FROM ledger.wallets w WHERE w.wallet_id IN (p_source, p_target) AND w.kind = 'customer' ORDER BY w.user_id
    LOOP
        v_bucket := ops.hold_bucket(v_wallet.user_id);
        CONTINUE WHEN v_bucket.closed_for IS NULL;
        -- What was carried out before is answered as ever; nothing is written.
        CONTINUE WHEN EXISTS (SELECT FROM ledger.transfers t WHERE t.transfer_id = p_transfer);
        -- Money that comes back belongs into the copy: until all of it is here the bucket is not drained.
        CONTINUE WHEN v_bucket.drained_at IS NULL AND p_transfer LIKE '%:back' AND EXISTS (
            SELECT FROM ledger.cross_transfers t
             WHERE t.transfer_id = left(p_transfer, -5) AND t.state = 'started' AND t.source = p_target);
        IF v_bucket.left_at IS NOT NULL AND p_transfer ~ ':in:s[0-9]{2}$' AND p_source LIKE 'transit:%' THEN
            -- The sender's instruction names this shard for ever: it gets its money back, and may send it anew.
            RAISE EXCEPTION 'the user of wallet % lives on shard %', quote_literal(p_target), v_bucket.closed_for
                USING ERRCODE = 'LE002';
        END IF;
        PERFORM ops.refuse_closed(v_bucket);
    END LOOP;
END
$$;

-- The question comes before all others: a balance that stayed behind must not decide that there is too little money.
-- Who calls by the old name gets the new function; both change in one transaction.
-- squawk-ignore renaming-object
ALTER FUNCTION ledger.transfer(text, text, text, numeric, text, text, jsonb) RENAME TO transfer_open;
REVOKE EXECUTE ON FUNCTION ledger.transfer_open(text, text, text, numeric, text, text, jsonb) FROM payments_app;
CREATE FUNCTION ledger.transfer(
    p_transfer text, p_source text, p_target text, p_amount numeric, p_currency text,
    p_reason text DEFAULT 'transfer', p_metadata jsonb DEFAULT '{}'
) RETURNS TABLE (source_version bigint, target_version bigint, duplicate boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ledger.require_open(p_transfer, p_source, p_target);
    RETURN QUERY
        SELECT * FROM ledger.transfer_open(p_transfer, p_source, p_target, p_amount, p_currency, p_reason, p_metadata);
END
$$;
GRANT EXECUTE ON FUNCTION ledger.transfer(text, text, text, numeric, text, text, jsonb) TO payments_app;

-- A wallet's balance and version, or no row; SH001 where the user has left: the nought that stayed is nobody's balance.
CREATE FUNCTION ledger.read_balance(p_wallet text) RETURNS TABLE (balance numeric, version bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_wallet ledger.wallets;
    v_bucket ops.buckets;
BEGIN
    -- Stable: both looks are one snapshot, in which the user has left or the balance is still the true one.
    SELECT * INTO v_wallet FROM ledger.wallets w WHERE w.wallet_id = p_wallet;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_wallet.kind = 'customer' THEN
        SELECT * INTO STRICT v_bucket FROM ops.buckets b WHERE b.bucket = ops.bucket_of(v_wallet.user_id);
        IF v_bucket.left_at IS NOT NULL THEN
            PERFORM ops.refuse_closed(v_bucket);
        END IF;
    END IF;
    RETURN QUERY SELECT v_wallet.balance::numeric, v_wallet.version;
END
$$;
GRANT EXECUTE ON FUNCTION ledger.read_balance(text) TO payments_app;

-- As before, but the same transfer is the same when its target has moved since: its answer is the state. Only where it
-- is still on its way does it matter which shard was told to give the money, and that one stays the only one: the answer
-- is then 'started:<shard>'. Telling another one as well would give the money twice.
CREATE OR REPLACE FUNCTION ledger.begin_cross_transfer(
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
        IF (v_known.source, v_known.target, v_known.amount, v_known.currency)
           IS DISTINCT FROM (p_source, p_target, p_amount, p_currency) THEN
            RAISE EXCEPTION 'transfer id % was used for another transfer', quote_literal(p_transfer)
                USING ERRCODE = 'ES002';
        END IF;
        IF v_known.state = 'started' AND v_known.target_shard <> p_target_shard THEN
            RETURN 'started:' || v_known.target_shard;
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

-- == closing ==========================================================================================================

CREATE FUNCTION ops.require_buckets(p_first integer, p_last integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (p_first BETWEEN 0 AND p_last AND p_last <= 1023) IS NOT TRUE THEN
        RAISE EXCEPTION 'buckets go from 0 to 1023, got % to %', p_first, p_last USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

-- Refuse new writes to a range, for the shard that its users go to; there too, before anything arrives.
CREATE FUNCTION ops.close_buckets(p_first integer, p_last integer, p_for text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_other ops.buckets;
    v_count bigint;
BEGIN
    PERFORM ops.require_buckets(p_first, p_last);
    SELECT * INTO v_other FROM ops.buckets b
     WHERE b.bucket BETWEEN p_first AND p_last AND (b.closed_for <> p_for OR b.left_at IS NOT NULL) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'bucket % is closed for shard %, and %', v_other.bucket, v_other.closed_for,
            CASE WHEN v_other.left_at IS NULL THEN 'on its way there' ELSE 'has left: it does not come back' END
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = CASE WHEN v_other.left_at IS NOT NULL THEN
                      'Its rows stayed here as history and would be met again. Add a shard of a new name.' END;
    END IF;
    UPDATE ops.buckets b SET closed_for = p_for, closed_at = clock_timestamp()
     WHERE b.bucket BETWEEN p_first AND p_last AND b.closed_for IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

-- Wait until whoever wrote to the range before it was closed has ended, and see that nothing of it is on its way.
-- 55006: something is; leave it to the workers and run this again.
CREATE FUNCTION ops.drain_buckets(p_first integer, p_last integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM ops.require_buckets(p_first, p_last);
    IF pg_current_xact_id_if_assigned() IS NOT NULL OR current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'run it in a transaction of its own, read committed: others must see the closing, and it them'
            USING ERRCODE = 'active_sql_transaction';
    END IF;
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last AND b.closed_for IS NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'buckets % to % are not all closed', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    FOR v_bucket IN p_first .. p_last LOOP
        -- Let go at once: whoever waits here holds nothing that a writer could wait for.
        PERFORM pg_advisory_lock(1024, v_bucket);
        PERFORM pg_advisory_unlock(1024, v_bucket);
    END LOOP;
    SELECT count(*) INTO v_count FROM ledger.cross_transfers t JOIN ledger.wallets w ON w.wallet_id = t.source
     WHERE t.state = 'started' AND ops.bucket_of(w.user_id) BETWEEN p_first AND p_last;
    IF v_count > 0 THEN
        RAISE EXCEPTION '% transfers of these users are on their way to other shards', v_count
            USING ERRCODE = 'object_in_use', HINT = 'Let the workers settle them, and run this again.';
    END IF;
    SELECT count(*) INTO v_count FROM es.outbox o JOIN ledger.wallets w ON w.wallet_id = o.key
     WHERE w.kind = 'customer' AND ops.bucket_of(w.user_id) BETWEEN p_first AND p_last;
    IF v_count > 0 THEN
        RAISE EXCEPTION '% messages of these wallets are not published yet', v_count
            USING ERRCODE = 'object_in_use',
                  HINT = 'The next ones come from the other shard and must not overtake them: run this again.';
    END IF;
    UPDATE ops.buckets b SET drained_at = clock_timestamp()
     WHERE b.bucket BETWEEN p_first AND p_last AND b.drained_at IS NULL;
END
$$;

-- Give a move up, on the shard that the users are on: as long as they have not left.
CREATE FUNCTION ops.reopen_buckets(p_first integer, p_last integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM ops.require_buckets(p_first, p_last);
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last FOR UPDATE;
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last AND b.left_at IS NOT NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'buckets % to % have left: their users live on the other shard', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM FROM ops.copies c
     WHERE c.first_bucket <= p_last AND c.last_bucket >= p_first AND c.opened_at IS NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'buckets % to % arrive here and are opened by ops.open_buckets', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE ops.buckets b SET closed_for = NULL, closed_at = NULL, drained_at = NULL
     WHERE b.bucket BETWEEN p_first AND p_last AND b.closed_for IS NOT NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

-- == copying: what the source says ====================================================================================

-- How far a copy is, told by the target: the newest row counts.
CREATE TABLE ops.asked (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    first_bucket integer NOT NULL,
    last_bucket integer NOT NULL,
    -- Entries of the source's transactions below it are there.
    upto xid8 NOT NULL,
    -- Transfers to other shards that were on their way when they were last seen.
    pending text[] NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION ops.last_asked(p_first integer, p_last integer) RETURNS ops.asked
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_asked ops.asked;
BEGIN
    SELECT * INTO v_asked FROM ops.asked a
     WHERE a.first_bucket = p_first AND a.last_bucket = p_last ORDER BY a.id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the target has not said how far its copy of buckets % to % is', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN v_asked;
END
$$;

-- What the target lacks of a range: wallets, entries, the transfers that they belong to, answers given to transfers to
-- other shards; one snapshot. Events of transactions that may still be running come with a later round, those of a
-- drained range all at once.
CREATE FUNCTION ops.export_buckets(p_first integer, p_last integer) RETURNS TABLE (kind text, item jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_asked ops.asked := ops.last_asked(p_first, p_last);
    v_drained boolean;
    v_upto xid8;
BEGIN
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last AND b.left_at IS NOT NULL;
    IF FOUND THEN
        -- What was written since is the booking out, which is of this shard alone.
        RAISE EXCEPTION 'buckets % to % have left: there is nothing more to copy', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT bool_and(b.drained_at IS NOT NULL) INTO v_drained FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last;
    v_upto := CASE WHEN v_drained THEN pg_snapshot_xmax(pg_current_snapshot())
                   ELSE pg_snapshot_xmin(pg_current_snapshot()) END;
    RETURN QUERY
        WITH fresh AS MATERIALIZED (
            SELECT e.* FROM es.wallet_events e JOIN ledger.wallets w ON w.wallet_id = e.wallet_id AND w.kind = 'customer'
             WHERE e.recorded_xid >= v_asked.upto AND e.recorded_xid < v_upto
               AND ops.bucket_of(e.user_id) BETWEEN p_first AND p_last
        )
        SELECT 'wallet', to_jsonb(w) FROM ledger.wallets w
         WHERE w.kind = 'customer' AND ops.bucket_of(w.user_id) BETWEEN p_first AND p_last
           AND (w.version = 0 OR w.wallet_id IN (SELECT f.wallet_id FROM fresh f))
         UNION ALL
        SELECT 'entry', to_jsonb(f) FROM fresh f
         UNION ALL
        SELECT 'transfer', to_jsonb(t) FROM ledger.transfers t
         WHERE t.transfer_id IN (SELECT f.transfer_id FROM fresh f)
         UNION ALL
        SELECT 'crossing', to_jsonb(c) FROM ledger.cross_transfers c
         WHERE c.transfer_id IN (SELECT left(f.transfer_id, -4) FROM fresh f WHERE f.transfer_id LIKE '%:out'
                                  UNION ALL SELECT unnest(v_asked.pending));
    -- Last: without it what has arrived is not taken in, however much of it there is.
    RETURN QUERY SELECT 'end', jsonb_build_object('upto', v_upto::text);
END
$$;

-- == copying: what the target does ====================================================================================

CREATE TABLE ops.copies (
    source text NOT NULL CHECK (source ~ '^s[0-9]{2}$'),
    first_bucket integer NOT NULL,
    last_bucket integer NOT NULL,
    upto xid8 NOT NULL DEFAULT '0',
    pending text[] NOT NULL DEFAULT '{}',
    opened_at timestamptz,
    PRIMARY KEY (source, first_bucket, last_bucket)
);
-- What has been carried over and not taken in yet.
CREATE TABLE ops.arriving (
    source text NOT NULL,
    first_bucket integer NOT NULL,
    last_bucket integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('wallet', 'entry', 'transfer', 'crossing', 'end')),
    item jsonb NOT NULL
);

-- How far the copy of a range is, for the source.
CREATE FUNCTION ops.copied(p_source text, p_first integer, p_last integer)
    RETURNS TABLE (first_bucket integer, last_bucket integer, upto xid8, pending text[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM ops.require_buckets(p_first, p_last);
    RETURN QUERY
        SELECT p_first, p_last, coalesce(c.upto, '0'::xid8), coalesce(c.pending, '{}')
          FROM (SELECT) AS one LEFT JOIN ops.copies c
            ON c.source = p_source AND c.first_bucket = p_first AND c.last_bucket = p_last;
END
$$;

-- Write what has arrived, all or nothing; running it again does nothing. Every entry keeps its number, so that readers
-- go on where they were; the other side of each is in the house wallet moved:<source>:<currency>, so that the entries
-- add up to zero here as well. Transaction ids are those of this cluster: balances and readers see them as new.
CREATE FUNCTION ops.take_in(p_source text, p_first integer, p_last integer) RETURNS TABLE (wallets bigint, entries bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_end jsonb;
    v_closed bigint;
    v_bad text;
BEGIN
    PERFORM ops.require_buckets(p_first, p_last);
    PERFORM pg_advisory_xact_lock(hashtextextended('ops.take_in', 0));
    SELECT a.item INTO v_end FROM ops.arriving a
     WHERE a.source = p_source AND a.first_bucket = p_first AND a.last_bucket = p_last AND a.kind = 'end'
     ORDER BY (a.item ->> 'upto')::xid8 DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 0::bigint, 0::bigint;
        RETURN;
    END IF;
    SELECT count(*) INTO v_closed FROM ops.buckets b
     WHERE b.bucket BETWEEN p_first AND p_last AND b.closed_for IS NOT NULL AND b.left_at IS NULL;
    IF v_closed <> p_last - p_first + 1 THEN
        RAISE EXCEPTION 'buckets % to % are not all closed here: somebody could write to them', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO ops.importing VALUES (pg_current_xact_id());

    CREATE TEMPORARY TABLE IF NOT EXISTS arrived (kind text, item jsonb) ON COMMIT DROP;
    WITH taken AS (
        DELETE FROM ops.arriving a
         WHERE a.source = p_source AND a.first_bucket = p_first AND a.last_bucket = p_last RETURNING a.kind, a.item
    ) INSERT INTO pg_temp.arrived SELECT DISTINCT t.kind, t.item FROM taken t WHERE t.kind <> 'end';

    INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind, created_at)
    SELECT DISTINCT ON (w.wallet_id) w.wallet_id, w.user_id, w.currency, w.kind, w.created_at
      FROM pg_temp.arrived a CROSS JOIN LATERAL jsonb_populate_record(NULL::ledger.wallets, a.item) AS w
     WHERE a.kind = 'wallet'
    ON CONFLICT (wallet_id) DO NOTHING;
    GET DIAGNOSTICS wallets = ROW_COUNT;
    SELECT w.wallet_id INTO v_bad
      FROM pg_temp.arrived a CROSS JOIN LATERAL jsonb_populate_record(NULL::ledger.wallets, a.item) AS w
      JOIN ledger.wallets known ON known.wallet_id = w.wallet_id
     WHERE a.kind = 'wallet' AND (known.user_id, known.currency, known.kind) <> (w.user_id, w.currency, w.kind) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'wallet % exists here with another user, currency or kind', quote_literal(v_bad)
            USING ERRCODE = 'LE005';
    END IF;

    -- An id that is taken here stays what it is here: repeating the other one is then refused (ES002), not carried out.
    INSERT INTO ledger.transfers
    SELECT DISTINCT ON (t.transfer_id) t.* FROM pg_temp.arrived a
     CROSS JOIN LATERAL jsonb_populate_record(NULL::ledger.transfers, a.item) AS t WHERE a.kind = 'transfer'
    ON CONFLICT (transfer_id) DO NOTHING;
    INSERT INTO ledger.cross_transfers
    SELECT DISTINCT ON (c.transfer_id) c.* FROM pg_temp.arrived a
     CROSS JOIN LATERAL jsonb_populate_record(NULL::ledger.cross_transfers, a.item) AS c
     WHERE a.kind = 'crossing' AND c.state <> 'started'
    ON CONFLICT (transfer_id) DO NOTHING;

    entries := ops.take_in_entries(p_source);

    INSERT INTO ops.copies AS c (source, first_bucket, last_bucket, upto, pending)
    VALUES (p_source, p_first, p_last, (v_end ->> 'upto')::xid8, ARRAY(
                SELECT DISTINCT a.item ->> 'transfer_id' FROM pg_temp.arrived a
                 WHERE a.kind = 'crossing' AND a.item ->> 'state' = 'started'
                   AND NOT EXISTS (SELECT FROM ledger.cross_transfers t WHERE t.transfer_id = a.item ->> 'transfer_id')))
    ON CONFLICT (source, first_bucket, last_bucket) DO UPDATE SET upto = excluded.upto, pending = excluded.pending;
    DROP TABLE pg_temp.arrived;
    DELETE FROM ops.importing i WHERE i.xid = pg_current_xact_id();
    RETURN NEXT;
END
$$;

CREATE FUNCTION ops.take_in_entries(p_source text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bad text;
    v_count bigint;
BEGIN
    CREATE TEMPORARY TABLE fresh ON COMMIT DROP AS
    SELECT DISTINCT ON (e.user_id, e.wallet_id, e.seq) e.*, w.version AS known_version, w.balance AS known_balance
      FROM pg_temp.arrived a CROSS JOIN LATERAL jsonb_populate_record(NULL::es.wallet_events, a.item) AS e
      JOIN ledger.wallets w ON w.wallet_id = e.wallet_id
     WHERE a.kind = 'entry' AND e.seq > w.version;
    SELECT f.wallet_id INTO v_bad FROM pg_temp.fresh f GROUP BY f.wallet_id, f.known_version, f.known_balance
    HAVING min(f.seq) <> f.known_version + 1 OR count(*) <> max(f.seq) - f.known_version
        OR f.known_balance + sum(f.delta) <> (array_agg(f.balance ORDER BY f.seq DESC))[1] LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entries of wallet % do not go on where its copy ends', quote_literal(v_bad)
            USING ERRCODE = 'data_exception';
    END IF;

    INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind)
    SELECT DISTINCT format('moved:%s:%s', p_source, f.currency), format('moved:%s:%s', p_source, f.currency), f.currency,
           'house' FROM pg_temp.fresh f
    ON CONFLICT (wallet_id) DO NOTHING;
    -- One statement: the entries of each transfer add up to zero within it.
    INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id, occurred_at)
    SELECT f.user_id, f.wallet_id, f.seq, f.currency, f.type, f.delta, f.balance, f.transfer_id, f.occurred_at
      FROM pg_temp.fresh f
     UNION ALL
    SELECT h.user_id, h.wallet_id, h.version + row_number() OVER turn, h.currency, 'WalletMoved', o.delta,
           h.balance + sum(o.delta) OVER turn, o.transfer_id, clock_timestamp()
      FROM (SELECT f.currency, f.transfer_id, -sum(f.delta) AS delta FROM pg_temp.fresh f
             GROUP BY f.currency, f.transfer_id HAVING sum(f.delta) <> 0) AS o
      JOIN ledger.wallets h ON h.wallet_id = format('moved:%s:%s', p_source, o.currency)
    WINDOW turn AS (PARTITION BY h.wallet_id ORDER BY o.transfer_id);
    SELECT count(*) INTO v_count FROM pg_temp.fresh;
    UPDATE ledger.wallets w SET balance = w.balance + s.delta, version = w.version + s.number
      FROM (SELECT f.wallet_id, sum(f.delta) AS delta, count(*) AS number FROM pg_temp.fresh f GROUP BY f.wallet_id) AS s
     WHERE w.wallet_id = s.wallet_id;
    UPDATE ledger.wallets w SET balance = w.balance - s.delta, version = w.version + s.number
      FROM (SELECT o.currency, sum(o.delta) AS delta, count(*) AS number
              FROM (SELECT f.currency, sum(f.delta) AS delta FROM pg_temp.fresh f
                     GROUP BY f.currency, f.transfer_id HAVING sum(f.delta) <> 0) AS o GROUP BY o.currency) AS s
     WHERE w.wallet_id = format('moved:%s:%s', p_source, s.currency);
    DROP TABLE pg_temp.fresh;
    RETURN v_count;
END
$$;

-- == comparing ========================================================================================================

-- What both sides must have in common. On the source: of what it has handed out so far.
CREATE FUNCTION ops.entry_sums(p_first integer, p_last integer, p_below xid8)
    RETURNS TABLE (bucket integer, currency text, figures jsonb)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ops.bucket_of(e.user_id), e.currency, jsonb_build_object(
               'wallets', count(DISTINCT e.wallet_id), 'entries', count(*), 'sum', trim_scale(sum(e.delta)),
               'transfers', count(t.transfer_id), 'digest', sum(hashtextextended(concat_ws(
                   '|', e.user_id, e.wallet_id, e.seq, e.type, trim_scale(e.delta), trim_scale(e.balance), e.transfer_id,
                   extract(epoch FROM e.occurred_at)), 0)::numeric))
      FROM es.wallet_events e
      JOIN ledger.wallets w ON w.wallet_id = e.wallet_id AND w.kind = 'customer'
      LEFT JOIN ledger.transfers t ON t.transfer_id = e.transfer_id
     WHERE ops.bucket_of(e.user_id) BETWEEN p_first AND p_last AND (p_below IS NULL OR e.recorded_xid < p_below)
     GROUP BY 1, 2
$$;

-- The same of a closed range by its wallets alone, which takes no time that grows with their history.
CREATE FUNCTION ops.wallet_sums(p_first integer, p_last integer)
    RETURNS TABLE (bucket integer, currency text, figures jsonb)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ops.bucket_of(w.user_id), w.currency, jsonb_build_object(
               'wallets', count(*), 'sum', trim_scale(sum(w.balance)), 'digest', sum(hashtextextended(
                   concat_ws('|', w.wallet_id, w.user_id, trim_scale(w.balance), w.version), 0)::numeric))
      FROM ledger.wallets w
     WHERE w.kind = 'customer' AND ops.bucket_of(w.user_id) BETWEEN p_first AND p_last GROUP BY 1, 2
$$;

-- The other side's figures, carried over.
CREATE TABLE ops.expected (
    -- The newest of a bucket counts: one that did not agree may be told again.
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    first_bucket integer NOT NULL,
    last_bucket integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('entries', 'wallets')),
    bucket integer NOT NULL,
    currency text NOT NULL,
    figures jsonb NOT NULL
);

-- What this side has to say.
CREATE FUNCTION ops.sums(p_source text, p_first integer, p_last integer, p_kind text) RETURNS TABLE (
    source text, first_bucket integer, last_bucket integer, kind text, bucket integer, currency text, figures jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_kind = 'entries' THEN
        RETURN QUERY SELECT p_source, p_first, p_last, p_kind, s.*
                       FROM ops.entry_sums(p_first, p_last, (ops.last_asked(p_first, p_last)).upto) s;
    ELSE
        RETURN QUERY SELECT p_source, p_first, p_last, p_kind, s.* FROM ops.wallet_sums(p_first, p_last) s;
    END IF;
END
$$;

-- How many sums agree with what the other side said; fails when one does not.
CREATE FUNCTION ops.compare_sums(p_source text, p_first integer, p_last integer, p_kind text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bad text;
    v_count bigint;
    v_differing bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE told.figures IS DISTINCT FROM here.figures),
           min(format('bucket %s, %s: there %s, here %s', bucket, currency, told.figures, here.figures))
             FILTER (WHERE told.figures IS DISTINCT FROM here.figures)
      INTO v_count, v_differing, v_bad
      FROM (SELECT DISTINCT ON (e.bucket, e.currency) e.bucket, e.currency, e.figures FROM ops.expected e
             WHERE e.source = p_source AND e.first_bucket = p_first AND e.last_bucket = p_last AND e.kind = p_kind
             ORDER BY e.bucket, e.currency, e.id DESC) AS told
      FULL JOIN (
            SELECT s.bucket, s.currency, s.figures FROM ops.entry_sums(p_first, p_last, NULL) s WHERE p_kind = 'entries'
             UNION ALL
            SELECT s.bucket, s.currency, s.figures FROM ops.wallet_sums(p_first, p_last) s WHERE p_kind = 'wallets'
           ) AS here USING (bucket, currency);
    IF v_differing > 0 THEN
        RAISE EXCEPTION '% of % sums differ, among them %', v_differing, v_count, v_bad USING ERRCODE = 'data_exception';
    END IF;
    RETURN v_count;
END
$$;

-- == cutting over =====================================================================================================

-- On the source, for ever, once the target's wallets are these: the money of the range is booked out to a house wallet,
-- so that no sum over all shards counts it twice. Running it again only says so again.
CREATE FUNCTION ops.hand_over_buckets(p_source text, p_first integer, p_last integer)
    RETURNS TABLE (source text, first_bucket integer, last_bucket integer, left_at timestamptz)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_for text;
    v_left timestamptz;
BEGIN
    PERFORM ops.require_buckets(p_first, p_last);
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last ORDER BY b.bucket FOR UPDATE;
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last AND b.drained_at IS NULL;
    IF FOUND THEN
        RAISE EXCEPTION 'buckets % to % are not all drained', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM FROM ops.buckets b WHERE b.bucket BETWEEN p_first AND p_last
     HAVING count(DISTINCT b.closed_for) > 1 OR count(b.left_at) NOT IN (0, count(*));
    IF FOUND THEN
        RAISE EXCEPTION 'buckets % to % do not leave for one shard at one time', p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT b.closed_for, b.left_at INTO v_for, v_left FROM ops.buckets b WHERE b.bucket = p_first;
    IF v_left IS NULL THEN
        PERFORM ops.compare_sums(p_source, p_first, p_last, 'wallets');
        v_left := clock_timestamp();
        UPDATE ops.buckets b SET left_at = v_left WHERE b.bucket BETWEEN p_first AND p_last;
        PERFORM ops.book_out(p_first, p_last, v_for);
    END IF;
    RETURN QUERY SELECT p_source, p_first, p_last, v_left;
END
$$;

CREATE FUNCTION ops.book_out(p_first integer, p_last integer, p_for text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_transfer text := format('moved:%s:%s-%s', p_for, p_first, p_last);
BEGIN
    CREATE TEMPORARY TABLE leaving ON COMMIT DROP AS
    SELECT w.wallet_id, w.user_id, w.currency, w.balance, w.version FROM ledger.wallets w
     WHERE w.kind = 'customer' AND w.balance <> 0 AND ops.bucket_of(w.user_id) BETWEEN p_first AND p_last;
    INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind)
    SELECT DISTINCT format('moved:%s:%s', p_for, l.currency), format('moved:%s:%s', p_for, l.currency), l.currency, 'house'
      FROM pg_temp.leaving l
    ON CONFLICT (wallet_id) DO NOTHING;
    INSERT INTO es.wallet_events (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id)
    SELECT l.user_id, l.wallet_id, l.version + 1, l.currency, 'WalletMoved', -l.balance, 0, v_transfer
      FROM pg_temp.leaving l
     UNION ALL
    SELECT h.user_id, h.wallet_id, h.version + 1, h.currency, 'WalletMoved', s.amount, h.balance + s.amount, v_transfer
      FROM (SELECT l.currency, sum(l.balance) AS amount FROM pg_temp.leaving l GROUP BY l.currency) AS s
      JOIN ledger.wallets h ON h.wallet_id = format('moved:%s:%s', p_for, s.currency);
    UPDATE ledger.wallets w SET balance = 0, version = w.version + 1
      FROM pg_temp.leaving l WHERE w.wallet_id = l.wallet_id;
    UPDATE ledger.wallets w SET balance = w.balance + s.amount, version = w.version + 1
      FROM (SELECT l.currency, sum(l.balance) AS amount FROM pg_temp.leaving l GROUP BY l.currency) AS s
     WHERE w.wallet_id = format('moved:%s:%s', p_for, s.currency);
    DROP TABLE pg_temp.leaving;
END
$$;

-- The source's word that it has let a range go, carried over.
CREATE TABLE ops.handed_over (
    source text NOT NULL,
    first_bucket integer NOT NULL,
    last_bucket integer NOT NULL,
    left_at timestamptz NOT NULL
);

-- On the target: from now on the range is written here.
CREATE FUNCTION ops.open_buckets(p_source text, p_first integer, p_last integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM FROM ops.handed_over h WHERE h.source = p_source AND h.first_bucket = p_first AND h.last_bucket = p_last;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'shard % has not handed buckets % to % over', p_source, p_first, p_last
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE ops.copies c SET opened_at = clock_timestamp()
     WHERE c.source = p_source AND c.first_bucket = p_first AND c.last_bucket = p_last AND c.opened_at IS NULL;
    IF NOT FOUND THEN
        -- Done before. The range may be on its way to a third shard by now.
        RETURN 0;
    END IF;
    UPDATE ops.buckets b SET closed_for = NULL, closed_at = NULL, drained_at = NULL
     WHERE b.bucket BETWEEN p_first AND p_last AND b.closed_for IS NOT NULL AND b.left_at IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

-- Afterwards, on both sides: what the copy needed is forgotten, that there was one is not.
CREATE FUNCTION ops.forget_copy(p_source text, p_first integer, p_last integer) RETURNS void
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM ops.asked WHERE first_bucket = p_first AND last_bucket = p_last;
    DELETE FROM ops.expected WHERE source = p_source AND first_bucket = p_first AND last_bucket = p_last;
    DELETE FROM ops.arriving WHERE source = p_source AND first_bucket = p_first AND last_bucket = p_last;
$$;
