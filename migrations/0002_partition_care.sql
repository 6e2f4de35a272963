-- phase: expand
-- Monthly partitions: made ahead of time, whoever asks and however often, beside open readers and writers.

-- LIKE + ATTACH takes SHARE UPDATE EXCLUSIVE on the parent, where CREATE TABLE … PARTITION OF takes ACCESS EXCLUSIVE
-- and waits for every open reader. The advisory lock ends with the transaction, so a pooler cannot keep it.
CREATE FUNCTION ops.ensure_monthly_partitions(
    p_parent regclass,
    p_ahead integer DEFAULT 3,
    p_behind integer DEFAULT 0,
    p_now timestamptz DEFAULT clock_timestamp()
) RETURNS TABLE (partition text, created boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_schema text;
    v_parent text;
    v_name text;
    v_bound text;
    v_month timestamp;
BEGIN
    IF p_ahead NOT BETWEEN 1 AND 60 OR p_behind NOT BETWEEN 0 AND 120 THEN
        RAISE EXCEPTION 'ahead must be 1..60 and behind 0..120 months, got % and %', p_ahead, p_behind
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT n.nspname, c.relname INTO v_schema, v_parent
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_partitioned_table p ON p.partrelid = c.oid AND p.partstrat = 'r'
     WHERE c.oid = p_parent;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not partitioned by RANGE', p_parent USING ERRCODE = 'wrong_object_type';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('ops.ensure_monthly_partitions:' || v_schema || '.' || v_parent, 0));
    PERFORM set_config('lock_timeout', '3s', true);
    -- Months are those of UTC and bounds are printed in UTC, whatever the client's time zone is.
    PERFORM set_config('TimeZone', 'UTC', true);
    PERFORM set_config('DateStyle', 'ISO, YMD', true);
    FOR i IN -p_behind .. p_ahead LOOP
        v_month := date_trunc('month', p_now AT TIME ZONE 'UTC') + make_interval(months => i);
        v_name := format('%s_p%s', v_parent, to_char(v_month, 'YYYY_MM'));
        v_bound := format(
            'FOR VALUES FROM (%L) TO (%L)',
            to_char(v_month, 'YYYY-MM-DD HH24:MI:SS') || '+00',
            to_char(v_month + interval '1 month', 'YYYY-MM-DD HH24:MI:SS') || '+00'
        );
        partition := v_schema || '.' || v_name;
        created := NOT EXISTS (
            SELECT FROM pg_inherits h
              JOIN pg_class c ON c.oid = h.inhrelid
             WHERE h.inhparent = p_parent AND pg_get_expr(c.relpartbound, c.oid) = v_bound
        );
        IF created THEN
            -- No IF NOT EXISTS: a table of that name which is not the partition (half archived, say) must not
            -- be attached as if it were empty.
            EXECUTE format(
                'CREATE TABLE %I.%I (LIKE %I.%I INCLUDING ALL EXCLUDING IDENTITY)', v_schema, v_name, v_schema, v_parent
            );
            EXECUTE format('ALTER TABLE %I.%I ATTACH PARTITION %I.%I %s', v_schema, v_parent, v_schema, v_name, v_bound);
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- Seconds until an insert would find no partition: counted up to the first hole, not to the last partition.
-- The alerts speak below 60 days and page below 30.
CREATE FUNCTION ops.partition_headroom_seconds(p_parent regclass) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE bounds AS (
        SELECT m[1]::timestamptz AS lower, m[2]::timestamptz AS upper
          FROM pg_inherits h
          JOIN pg_class c ON c.oid = h.inhrelid
         CROSS JOIN LATERAL regexp_match(
                pg_get_expr(c.relpartbound, c.oid), $re$FROM \('([^']+)'\) TO \('([^']+)'\)$re$) AS m
         WHERE h.inhparent = p_parent AND NOT h.inhdetachpending
    ), covered AS (
        SELECT upper FROM bounds WHERE lower <= now() AND upper > now()
         UNION ALL
        SELECT b.upper FROM covered c JOIN bounds b ON b.lower = c.upper
    )
    SELECT coalesce(extract(epoch FROM max(upper) - now()), 0)::double precision FROM covered
$$;
