-- phase: expand
-- The read model of balances: a table in four parts that takes up only what is new. A materialised view cannot be
-- partitioned and is computed anew as a whole.

CREATE TABLE es.wallet_balances (
    user_id text NOT NULL,
    wallet_id text NOT NULL,
    currency text NOT NULL,
    balance numeric NOT NULL,
    last_seq bigint NOT NULL,
    PRIMARY KEY (user_id, wallet_id)
) PARTITION BY HASH (user_id);
CREATE TABLE es.wallet_balances_h0 PARTITION OF es.wallet_balances FOR VALUES WITH (MODULUS 4, REMAINDER 0) WITH (fillfactor = 70);
CREATE TABLE es.wallet_balances_h1 PARTITION OF es.wallet_balances FOR VALUES WITH (MODULUS 4, REMAINDER 1) WITH (fillfactor = 70);
CREATE TABLE es.wallet_balances_h2 PARTITION OF es.wallet_balances FOR VALUES WITH (MODULUS 4, REMAINDER 2) WITH (fillfactor = 70);
CREATE TABLE es.wallet_balances_h3 PARTITION OF es.wallet_balances FOR VALUES WITH (MODULUS 4, REMAINDER 3) WITH (fillfactor = 70);

CREATE TABLE es.read_model_cursor (
    model text NOT NULL,
    bucket integer NOT NULL,
    -- Events of transactions below it are in the model.
    upto xid8 NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, bucket)
) WITH (fillfactor = 50);
INSERT INTO es.read_model_cursor (model, bucket, upto)
SELECT 'wallet_balances', bucket, '0' FROM generate_series(0, 3) AS bucket;

-- Take up new events of one bucket. Answers the number of wallets that changed, -1 when another worker holds the
-- bucket. The four buckets can run in parallel.
CREATE FUNCTION es.refresh_wallet_balances(p_bucket integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_from xid8;
    v_to xid8;
    v_count bigint;
BEGIN
    IF p_bucket IS NULL OR p_bucket NOT BETWEEN 0 AND 3 THEN
        RAISE EXCEPTION 'bucket must be 0..3, got %', p_bucket USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.upto INTO v_from FROM es.read_model_cursor c
     WHERE c.model = 'wallet_balances' AND c.bucket = p_bucket FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN -1;
    END IF;
    -- All transactions below have ended, so none of their events can appear later. The cursor's lock makes this the only
    -- writer of the bucket, so MERGE meets nobody; ON CONFLICT would lock each row before it changes it.
    v_to := pg_snapshot_xmin(pg_current_snapshot());
    EXECUTE format($q$
        MERGE INTO es.wallet_balances_h%1$s AS b USING (
            SELECT user_id, wallet_id, min(currency) AS currency, sum(delta) AS delta, max(seq) AS seq FROM (
                SELECT user_id, wallet_id, currency, delta, seq FROM es.wallet_events_h%1$s
                 WHERE recorded_xid >= $1 AND recorded_xid < $2
                 UNION ALL
                SELECT user_id, wallet_id, currency, delta, seq FROM es.wallet_events_h%2$s
                 WHERE recorded_xid >= $1 AND recorded_xid < $2) fresh
             GROUP BY user_id, wallet_id) AS e
           ON b.user_id = e.user_id AND b.wallet_id = e.wallet_id
         WHEN MATCHED THEN UPDATE
              SET balance = b.balance + e.delta, last_seq = greatest(b.last_seq, e.seq)
         WHEN NOT MATCHED THEN INSERT (user_id, wallet_id, currency, balance, last_seq)
              VALUES (e.user_id, e.wallet_id, e.currency, e.delta, e.seq)
        $q$, p_bucket, p_bucket + 4) USING v_from, v_to;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    UPDATE es.read_model_cursor c SET upto = v_to, updated_at = clock_timestamp()
     WHERE c.model = 'wallet_balances' AND c.bucket = p_bucket;
    RETURN v_count;
END
$$;

-- Forget one bucket and count it anew from all events; readers see the old rows until it commits.
CREATE FUNCTION es.rebuild_wallet_balances(p_bucket integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_bucket IS NULL OR p_bucket NOT BETWEEN 0 AND 3 THEN
        RAISE EXCEPTION 'bucket must be 0..3, got %', p_bucket USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM FROM es.read_model_cursor c WHERE c.model = 'wallet_balances' AND c.bucket = p_bucket FOR UPDATE;
    EXECUTE format('DELETE FROM es.wallet_balances_h%s', p_bucket);
    UPDATE es.read_model_cursor c SET upto = '0' WHERE c.model = 'wallet_balances' AND c.bucket = p_bucket;
    RETURN es.refresh_wallet_balances(p_bucket);
END
$$;

-- Balances of one bucket that differ from the events up to its cursor. One statement, one snapshot: it may run beside
-- traffic and refreshes. No row means that the model is right.
CREATE FUNCTION es.check_wallet_balances(p_bucket integer)
    RETURNS TABLE (user_id text, wallet_id text, stated numeric, counted numeric, stated_seq bigint, counted_seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_bucket IS NULL OR p_bucket NOT BETWEEN 0 AND 3 THEN
        RAISE EXCEPTION 'bucket must be 0..3, got %', p_bucket USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH counted AS (
            SELECT e.user_id, e.wallet_id, sum(e.delta) AS balance, max(e.seq) AS seq
              FROM (SELECT * FROM es.wallet_events_h%1$s UNION ALL SELECT * FROM es.wallet_events_h%2$s) e
             WHERE e.recorded_xid < (SELECT c.upto FROM es.read_model_cursor c
                                      WHERE c.model = 'wallet_balances' AND c.bucket = %1$s)
             GROUP BY e.user_id, e.wallet_id
        )
        SELECT coalesce(b.user_id, c.user_id), coalesce(b.wallet_id, c.wallet_id), b.balance, c.balance::numeric,
               b.last_seq, c.seq
          FROM es.wallet_balances_h%1$s b
          FULL JOIN counted c ON c.user_id = b.user_id AND c.wallet_id = b.wallet_id
         WHERE (b.balance, b.last_seq) IS DISTINCT FROM (c.balance, c.seq)
        $q$, p_bucket, p_bucket + 4);
END
$$;

-- After a dump and restore or a logical copy, transaction ids start again and the recorded ones mean nothing. Run it
-- once, before traffic: rows keep their order by seq, readers of the global order start from zero, balances are
-- counted anew.
CREATE FUNCTION ops.adopt_restored_rows() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    ALTER TABLE es.events DISABLE TRIGGER append_only;
    ALTER TABLE es.wallet_events DISABLE TRIGGER append_only;
    UPDATE es.events SET recorded_xid = '3';
    UPDATE es.wallet_events SET recorded_xid = '3';
    ALTER TABLE es.events ENABLE TRIGGER append_only;
    ALTER TABLE es.wallet_events ENABLE TRIGGER append_only;
    UPDATE es.streams SET last_xid = '3';
    UPDATE es.archived SET xid = '3';
    UPDATE es.checkpoints SET xid = '0', seq = 0;
    PERFORM es.rebuild_wallet_balances(bucket) FROM generate_series(0, 3) AS bucket;
END
$$;
