-- phase: expand
-- What the other migrations build on. Roles and schemas exist before: the stack's database resources make them.

-- PostgreSQL lets everybody execute a new function. Here nobody may, unless it is granted.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- A domain and not numeric(20,4): a column type with a scale rounds silently, this refuses the fifth digit.
-- NaN and Infinity sort above every number, so the limit keeps them out as well.
CREATE DOMAIN ledger.amount AS numeric
    -- squawk-ignore ban-create-domain-with-constraint
    CONSTRAINT at_most_four_digits CHECK (value = round(value, 4))
    CONSTRAINT below_ten_to_the_sixteenth CHECK (abs(value) < 1e16);

-- The logical bucket of a user or key, 0..1023: the last ten of the first 64 bits of SHA-256 over UTF-8, read
-- big-endian. Every language can compute it; it never changes.
CREATE FUNCTION ops.bucket_of(p_id text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
RETURN ((get_byte(sha256(convert_to(p_id, 'UTF8')), 6) << 8) | get_byte(sha256(convert_to(p_id, 'UTF8')), 7)) & 1023;

CREATE FUNCTION ops.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: its rows are facts and stay as they are',
        tg_op, tg_table_schema, tg_table_name USING ERRCODE = 'restrict_violation';
END
$$;
