-- phase: expand
-- The event store. `streams` is the truth about versions: a key over (stream, version) cannot be declared on a table
-- that is partitioned by time.

CREATE TABLE es.streams (
    stream_id text PRIMARY KEY CHECK (length(stream_id) BETWEEN 1 AND 200),
    version bigint NOT NULL CHECK (version >= 0),
    -- The newest transaction that appended, see es.append.
    last_xid xid8 NOT NULL,
    -- Bounds of the events' times, so that reading a stream touches only its months.
    first_at timestamptz,
    last_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);

CREATE SEQUENCE es.event_seq;
CREATE TABLE es.events (
    stream_id text NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    occurred_at timestamptz NOT NULL,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    type text NOT NULL CHECK (length(type) BETWEEN 1 AND 200),
    data jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('es.event_seq'),
    PRIMARY KEY (stream_id, version, occurred_at)
) PARTITION BY RANGE (occurred_at);
ALTER SEQUENCE es.event_seq OWNED BY es.events.seq;
CREATE INDEX events_global_order ON es.events (recorded_xid, seq);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.events
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

SELECT count(*) FROM ops.ensure_monthly_partitions('es.events', 3, 1);

-- A key says that a request was carried out. It is its own table, because it outlives months.
-- The oldest are forgotten by their time; rows come in its order, so an index of blocks is small and enough.
CREATE TABLE es.idempotency_keys (
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    request bytea NOT NULL,
    first_version bigint,
    last_version bigint,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (key)
) PARTITION BY HASH (key);
CREATE TABLE es.idempotency_keys_h0 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 0) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h1 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 1) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h2 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 2) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h3 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 3) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h4 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 4) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h5 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 5) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h6 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 6) WITH (fillfactor = 70);
CREATE TABLE es.idempotency_keys_h7 PARTITION OF es.idempotency_keys FOR VALUES WITH (MODULUS 8, REMAINDER 7) WITH (fillfactor = 70);

CREATE TABLE es.snapshots (
    stream_id text PRIMARY KEY REFERENCES es.streams,
    version bigint NOT NULL CHECK (version > 0),
    -- Which code wrote the state; another one does not read it.
    schema text NOT NULL,
    state jsonb NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE es.checkpoints (
    projection text PRIMARY KEY CHECK (length(projection) BETWEEN 1 AND 200),
    xid xid8 NOT NULL DEFAULT '0',
    seq bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Every transaction below it has ended: what it wrote is visible now or never.
CREATE FUNCTION es.horizon() RETURNS xid8
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
RETURN pg_snapshot_xmin(pg_current_snapshot());

-- Append events to a stream.
--   p_expected  is the version that the stream must have, 0 for a new one, NULL for any.
--   p_events    is [{"type", "data", "metadata"?, "occurred_at"?, "event_id"?, "topic"?, "key"?}, …]; an event with a
--               topic also goes to the outbox, under its key or, without one, under the stream's name.
--   p_key       is applied once; a repetition answers what the first one did.
-- ES001: the stream has another version (in DETAIL). ES002: the key was used for another request.
-- 40001: try again in a new transaction.
CREATE FUNCTION es.append(p_stream text, p_expected bigint, p_events jsonb, p_key text DEFAULT NULL)
    RETURNS TABLE (first_version bigint, last_version bigint, duplicate boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count integer;
    v_head bigint;
    v_newest xid8;
    v_request bytea;
    v_known es.idempotency_keys;
    v_first_at timestamptz;
    v_last_at timestamptz;
BEGIN
    IF jsonb_typeof(p_events) IS DISTINCT FROM 'array' OR jsonb_array_length(p_events) NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'events must be an array of 1 to 1000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_count := jsonb_array_length(p_events);
    -- Before the transaction draws its id: whoever waits here for the stream draws a higher one than who was first.
    -- A row lock draws it before it waits.
    PERFORM pg_advisory_xact_lock(hashtextextended('es.append:' || p_stream, 0));

    IF p_key IS NOT NULL THEN
        -- Ids, times and metadata differ between a request and its repetition; the rest must not.
        SELECT sha256(convert_to(
                   jsonb_build_array(p_stream, jsonb_agg(e - 'event_id' - 'occurred_at' - 'metadata' ORDER BY n))::text,
                   'UTF8'))
          INTO v_request FROM jsonb_array_elements(p_events) WITH ORDINALITY AS given (e, n);
        INSERT INTO es.idempotency_keys (key, request) VALUES (p_key, v_request) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            SELECT * INTO STRICT v_known FROM es.idempotency_keys WHERE key = p_key;
            IF v_known.request <> v_request THEN
                RAISE EXCEPTION 'idempotency key % was used for another request', quote_literal(p_key)
                    USING ERRCODE = 'ES002';
            END IF;
            RETURN QUERY SELECT v_known.first_version, v_known.last_version, true;
            RETURN;
        END IF;
    END IF;

    SELECT s.version, s.last_xid INTO v_head, v_newest FROM es.streams s WHERE s.stream_id = p_stream FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO es.streams (stream_id, version, last_xid) VALUES (p_stream, 0, pg_current_xact_id())
            ON CONFLICT DO NOTHING;
        SELECT s.version, s.last_xid INTO STRICT v_head, v_newest
          FROM es.streams s WHERE s.stream_id = p_stream FOR UPDATE;
    END IF;
    IF p_expected IS NOT NULL AND v_head <> p_expected THEN
        RAISE EXCEPTION 'stream % has version %, expected %', quote_literal(p_stream), v_head, p_expected
            USING ERRCODE = 'ES001', DETAIL = v_head::text;
    END IF;
    -- The global order is (transaction, seq). A transaction that wrote elsewhere before, and drew its id before the
    -- stream's newest one, would put its events in front of those they follow.
    IF v_newest > pg_current_xact_id() THEN
        RAISE EXCEPTION 'stream % was appended to by a newer transaction; try again', quote_literal(p_stream)
            USING ERRCODE = 'serialization_failure';
    END IF;

    WITH given AS (
        SELECT n, e, coalesce((e ->> 'occurred_at')::timestamptz, clock_timestamp()) AS happened_at
          FROM jsonb_array_elements(p_events) WITH ORDINALITY AS item (e, n)
    ), stored AS (
        INSERT INTO es.events AS stored (stream_id, version, occurred_at, event_id, type, data, metadata)
        SELECT p_stream, v_head + n, happened_at, coalesce((e ->> 'event_id')::uuid, gen_random_uuid()),
               e ->> 'type', e -> 'data', coalesce(e -> 'metadata', '{}')
          FROM given ORDER BY n
        RETURNING stored.version, stored.event_id, stored.occurred_at, stored.type, stored.data
    ), told AS (
        INSERT INTO es.outbox (lane, topic, key, payload)
        SELECT ops.bucket_of(coalesce(e ->> 'key', p_stream)) % 16, e ->> 'topic', coalesce(e ->> 'key', p_stream),
               jsonb_strip_nulls(jsonb_build_object(
                   'event_id', s.event_id, 'type', s.type, 'aggregate_id', p_stream, 'version', s.version,
                   'user_id', s.data -> 'user_id', 'occurred_at_seconds', extract(epoch FROM s.occurred_at)))
               || jsonb_build_object('data', s.data)
          FROM stored s JOIN given ON v_head + n = s.version
         WHERE e ? 'topic' ORDER BY s.version
    )
    SELECT min(s.occurred_at), max(s.occurred_at) INTO v_first_at, v_last_at FROM stored s;

    UPDATE es.streams s
       SET version = v_head + v_count, last_xid = pg_current_xact_id(),
           first_at = least(s.first_at, v_first_at), last_at = greatest(s.last_at, v_last_at)
     WHERE s.stream_id = p_stream;
    IF p_key IS NOT NULL THEN
        UPDATE es.idempotency_keys AS known SET first_version = v_head + 1, last_version = v_head + v_count
         WHERE key = p_key;
    END IF;
    RETURN QUERY SELECT v_head + 1, v_head + v_count, false;
END
$$;

-- Months that went to the archive, with the last event of each in the global order: whoever reads from before it would
-- miss events without knowing.
CREATE TABLE es.archived (
    name text PRIMARY KEY,
    xid xid8 NOT NULL,
    seq bigint NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Events of one stream above a version, in order; only the stream's own months are read.
-- ES003: some of them are in the archive.
CREATE FUNCTION es.read_stream(p_stream text, p_after bigint DEFAULT 0, p_limit integer DEFAULT 1000)
    RETURNS SETOF es.events
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_first timestamptz;
    v_last timestamptz;
    v_until bigint;
    v_found bigint;
BEGIN
    SELECT s.first_at, s.last_at, least(s.version, p_after + p_limit) INTO v_first, v_last, v_until
      FROM es.streams s WHERE s.stream_id = p_stream;
    RETURN QUERY
        SELECT * FROM es.events e
         WHERE e.stream_id = p_stream AND e.version > p_after AND e.version <= v_until
           AND e.occurred_at BETWEEN v_first AND v_last
         ORDER BY e.version;
    -- Versions have no hole and are unique: their number says whether all of them are here. Both are read in one
    -- snapshot, that of the calling statement.
    GET DIAGNOSTICS v_found = ROW_COUNT;
    IF v_found <> greatest(v_until - p_after, 0) THEN
        RAISE EXCEPTION 'of events % to % of stream %, % are archived; begin at a snapshot',
            p_after + 1, v_until, quote_literal(p_stream), v_until - p_after - v_found USING ERRCODE = 'ES003';
    END IF;
END
$$;

-- Events of all streams after a position, in an order that never changes and that agrees with every stream's own.
-- Events of transactions that may still be running are not there yet, so a late commit is never skipped.
-- ES003: events after this position are in the archive.
CREATE FUNCTION es.read_all(p_xid xid8, p_seq bigint, p_limit integer DEFAULT 1000)
    RETURNS SETOF es.events
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_archived es.archived;
BEGIN
    SELECT * INTO v_archived FROM es.archived a
     WHERE (a.xid, a.seq) > (p_xid, p_seq) ORDER BY a.xid DESC, a.seq DESC LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'events after position (%, %) are archived; begin at (%, %)',
            p_xid, p_seq, v_archived.xid, v_archived.seq USING ERRCODE = 'ES003';
    END IF;
    RETURN QUERY
        SELECT * FROM es.events e
         WHERE (e.recorded_xid, e.seq) > (p_xid, p_seq) AND e.recorded_xid < pg_snapshot_xmin(pg_current_snapshot())
         ORDER BY e.recorded_xid, e.seq LIMIT p_limit;
END
$$;

CREATE INDEX idempotency_keys_age ON es.idempotency_keys USING brin (created_at) WITH (autosummarize = on);

-- Forget old keys, some at a time. Keep them longer than anybody may repeat a request.
CREATE FUNCTION ops.forget_idempotency_keys(p_older_than interval, p_limit integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    IF p_older_than < interval '7 days' THEN
        RAISE EXCEPTION 'keys are kept for 7 days at least' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    DELETE FROM es.idempotency_keys WHERE key IN (
        SELECT key FROM es.idempotency_keys WHERE created_at < clock_timestamp() - p_older_than LIMIT p_limit);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
