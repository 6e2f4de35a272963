-- phase: expand
-- Messages for Kafka, written in the transaction of the fact that they tell.

-- One publisher per lane at a time; all messages of a key are in one lane. An id is drawn while the stream or wallet that
-- the message tells of is locked, so the messages of one stream or wallet have the order of its facts. A key that stands
-- for several of them (a user, say) orders each of them, not one against another.
CREATE SEQUENCE es.outbox_id;
CREATE TABLE es.outbox (
    lane smallint NOT NULL CHECK (lane BETWEEN 0 AND 15),
    id bigint NOT NULL DEFAULT nextval('es.outbox_id'),
    topic text NOT NULL CHECK (topic ~ '^[a-z][a-z0-9-]{0,99}$'),
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (lane, id)
) WITH (
    -- A queue: as many rows die as are born.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
ALTER SEQUENCE es.outbox_id OWNED BY es.outbox.id;

CREATE FUNCTION es.enqueue(p_topic text, p_key text, p_payload jsonb) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO es.outbox (lane, topic, key, payload)
    VALUES (ops.bucket_of(p_key) % 16, p_topic, p_key, p_payload)
$$;

-- The lane's oldest messages for the one publisher that holds it until the transaction ends; none when somebody else
-- does. An advisory lock draws no transaction id: waiting for Kafka does not hold back the horizon of readers.
CREATE FUNCTION es.take_outbox(p_lane integer, p_limit integer)
    RETURNS TABLE (id bigint, topic text, key text, payload jsonb, created_at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_try_advisory_xact_lock(hashtextextended('es.outbox', p_lane)) THEN
        RETURN QUERY
            SELECT o.id, o.topic, o.key, o.payload, o.created_at
              FROM es.outbox o WHERE o.lane = p_lane ORDER BY o.id LIMIT p_limit;
    END IF;
END
$$;

-- Forget published messages; in the transaction that took them.
CREATE FUNCTION es.drop_outbox(p_lane integer, p_ids bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM es.outbox o WHERE o.lane = p_lane AND o.id = ANY (p_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
