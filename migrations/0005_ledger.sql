-- phase: expand
-- Wallets and movements of money. Every movement has two sides; `wallet_events` are its entries.

CREATE TABLE ledger.currencies (
    code text PRIMARY KEY CHECK (code ~ '^[A-Z]{3}$'),
    -- Decimal digits of the smallest unit (ISO 4217).
    digits smallint NOT NULL CHECK (digits BETWEEN 0 AND 4)
);
INSERT INTO ledger.currencies (code, digits) VALUES
    ('ARS', 2), ('BHD', 3), ('BRL', 2), ('CHF', 2), ('CLP', 0), ('COP', 2), ('EUR', 2), ('GBP', 2), ('JPY', 0),
    ('KWD', 3), ('MXN', 2), ('PEN', 2), ('USD', 2), ('UYU', 2);

CREATE TABLE ledger.wallets (
    wallet_id text PRIMARY KEY CHECK (length(wallet_id) BETWEEN 1 AND 100),
    user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 100),
    currency text NOT NULL REFERENCES ledger.currencies,
    -- House wallets are the other side of money that enters, leaves or travels: only they may be negative.
    kind text NOT NULL DEFAULT 'customer' CHECK (kind IN ('customer', 'house')),
    balance ledger.amount NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT wallet_has_one_user UNIQUE (wallet_id, user_id, currency),
    CONSTRAINT balance_not_negative CHECK (kind = 'house' OR balance >= 0)
) WITH (fillfactor = 70);
CREATE INDEX wallets_user ON ledger.wallets (user_id);
-- Events are ordered by wallet in Kafka and by user here. Both orders hold because a wallet never changes its user.
CREATE TRIGGER bound_for_ever BEFORE UPDATE ON ledger.wallets FOR EACH ROW
    WHEN ((old.wallet_id, old.user_id, old.currency, old.kind)
          IS DISTINCT FROM (new.wallet_id, new.user_id, new.currency, new.kind))
    EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER never_deleted BEFORE DELETE ON ledger.wallets FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- The id is the idempotency key, for ever.
CREATE TABLE ledger.transfers (
    transfer_id text NOT NULL CHECK (length(transfer_id) BETWEEN 1 AND 100),
    source text NOT NULL,
    target text NOT NULL,
    amount ledger.amount NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 100),
    metadata jsonb NOT NULL,
    source_version bigint NOT NULL,
    target_version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (transfer_id)
) PARTITION BY HASH (transfer_id);
CREATE TABLE ledger.transfers_h0 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE ledger.transfers_h1 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE ledger.transfers_h2 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE ledger.transfers_h3 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE ledger.transfers_h4 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE ledger.transfers_h5 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE ledger.transfers_h6 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE ledger.transfers_h7 PARTITION OF ledger.transfers FOR VALUES WITH (MODULUS 8, REMAINDER 7);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.transfers
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- Modulus 8 nests in the read model's modulus 4: bucket b of the balances is made of h{b} and h{b+4}.
CREATE TABLE es.wallet_events (
    user_id text NOT NULL,
    wallet_id text NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    currency text NOT NULL,
    type text NOT NULL CHECK (length(type) BETWEEN 1 AND 100),
    delta ledger.amount NOT NULL CHECK (delta <> 0),
    balance ledger.amount NOT NULL,
    transfer_id text NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (user_id, wallet_id, seq),
    FOREIGN KEY (wallet_id, user_id, currency) REFERENCES ledger.wallets (wallet_id, user_id, currency)
) PARTITION BY HASH (user_id);
CREATE TABLE es.wallet_events_h0 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE es.wallet_events_h1 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE es.wallet_events_h2 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE es.wallet_events_h3 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE es.wallet_events_h4 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE es.wallet_events_h5 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE es.wallet_events_h6 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE es.wallet_events_h7 PARTITION OF es.wallet_events FOR VALUES WITH (MODULUS 8, REMAINDER 7);
CREATE INDEX wallet_events_recorded ON es.wallet_events (recorded_xid);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON es.wallet_events
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- Both sides of a movement are written by one statement, or not at all.
CREATE FUNCTION ledger.refuse_one_sided() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_transfer text;
BEGIN
    SELECT f.transfer_id INTO v_transfer FROM fresh f
     GROUP BY f.transfer_id, f.currency HAVING sum(f.delta) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of transfer % do not add up to zero', quote_literal(v_transfer)
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER double_entry AFTER INSERT ON es.wallet_events REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_one_sided();

-- Make a wallet; doing it again with the same owner changes nothing. LE005: it belongs to somebody else.
CREATE FUNCTION ledger.open_wallet_of_kind(p_wallet text, p_user text, p_currency text, p_kind text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO ledger.wallets (wallet_id, user_id, currency, kind) VALUES (p_wallet, p_user, p_currency, p_kind)
        ON CONFLICT (wallet_id) DO NOTHING;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM FROM ledger.wallets w
      WHERE w.wallet_id = p_wallet AND w.user_id = p_user AND w.currency = p_currency AND w.kind = p_kind;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'wallet % exists with another user, currency or kind', quote_literal(p_wallet)
            USING ERRCODE = 'LE005';
    END IF;
    RETURN false;
END
$$;

-- A customer's wallet.
CREATE FUNCTION ledger.open_wallet(p_wallet text, p_user text, p_currency text) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ledger.open_wallet_of_kind(p_wallet, p_user, p_currency, 'customer')
$$;

-- A wallet that may be negative is a way to make money: the owner of the schema opens it, the application never.
CREATE FUNCTION ledger.open_house_wallet(p_wallet text, p_user text, p_currency text) RETURNS boolean
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ledger.open_wallet_of_kind(p_wallet, p_user, p_currency, 'house')
$$;

-- Move money between two wallets of one shard. Repeating a transfer id answers what the first one did.
-- LE001: not enough money. LE002: no such wallet. LE003: another currency. LE004: not an amount of the currency.
-- ES002: the id was used for another transfer. 40001: try again in a new transaction.
CREATE FUNCTION ledger.transfer(
    p_transfer text, p_source text, p_target text, p_amount numeric, p_currency text,
    p_reason text DEFAULT 'transfer', p_metadata jsonb DEFAULT '{}'
) RETURNS TABLE (source_version bigint, target_version bigint, duplicate boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_source ledger.wallets;
    v_target ledger.wallets;
    v_wallet ledger.wallets;
    v_known ledger.transfers;
    v_digits integer;
    v_now timestamptz := clock_timestamp();
BEGIN
    SELECT c.digits INTO v_digits FROM ledger.currencies c WHERE c.code = p_currency;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'currency % is not known', quote_literal(p_currency) USING ERRCODE = 'LE003';
    END IF;
    -- NaN is above every number, and every comparison with NULL is NULL: both must not get past.
    IF (p_amount > 0 AND p_amount < 1e16 AND p_amount = round(p_amount, v_digits)) IS NOT TRUE THEN
        RAISE EXCEPTION '% is not an amount: above zero, with at most % decimal digits in %',
            coalesce(p_amount::text, 'NULL'), v_digits, p_currency USING ERRCODE = 'LE004';
    END IF;
    IF p_source = p_target THEN
        RAISE EXCEPTION 'a transfer needs two wallets' USING ERRCODE = 'LE002';
    END IF;

    -- Always in the same order, so that two opposite transfers wait for and not against each other.
    FOR v_wallet IN
        SELECT * FROM ledger.wallets w WHERE w.wallet_id IN (p_source, p_target) ORDER BY w.wallet_id FOR NO KEY UPDATE
    LOOP
        IF v_wallet.wallet_id = p_source THEN v_source := v_wallet; ELSE v_target := v_wallet; END IF;
    END LOOP;
    IF v_source.wallet_id IS NULL OR v_target.wallet_id IS NULL THEN
        RAISE EXCEPTION 'wallet % does not exist',
            quote_literal(CASE WHEN v_source.wallet_id IS NULL THEN p_source ELSE p_target END) USING ERRCODE = 'LE002';
    END IF;
    -- With both wallets locked, a transfer with this id either is committed or does not exist yet, unless it names
    -- other wallets: then the insert below finds out.
    SELECT * INTO v_known FROM ledger.transfers t WHERE t.transfer_id = p_transfer;
    IF FOUND THEN
        IF (v_known.source, v_known.target, v_known.amount, v_known.currency)
           IS DISTINCT FROM (p_source, p_target, p_amount, p_currency) THEN
            RAISE EXCEPTION 'transfer id % was used for another transfer', quote_literal(p_transfer)
                USING ERRCODE = 'ES002';
        END IF;
        RETURN QUERY SELECT v_known.source_version, v_known.target_version, true;
        RETURN;
    END IF;
    IF v_source.currency <> p_currency OR v_target.currency <> p_currency THEN
        RAISE EXCEPTION 'wallets hold % and %, not %', v_source.currency, v_target.currency, p_currency
            USING ERRCODE = 'LE003';
    END IF;
    IF v_source.kind = 'customer' AND v_source.balance < p_amount THEN
        RAISE EXCEPTION 'wallet % does not hold enough', quote_literal(p_source) USING ERRCODE = 'LE001';
    END IF;

    INSERT INTO ledger.transfers
        (transfer_id, source, target, amount, currency, reason, metadata, source_version, target_version)
    VALUES (p_transfer, p_source, p_target, p_amount, p_currency, p_reason, p_metadata,
            v_source.version + 1, v_target.version + 1)
    ON CONFLICT (transfer_id) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'transfer id % was taken a moment ago; try again', quote_literal(p_transfer)
            USING ERRCODE = 'serialization_failure';
    END IF;
    UPDATE ledger.wallets w
       SET balance = w.balance + CASE WHEN w.wallet_id = p_source THEN -p_amount ELSE p_amount END,
           version = w.version + 1
     WHERE w.wallet_id IN (p_source, p_target);
    INSERT INTO es.wallet_events
        (user_id, wallet_id, seq, currency, type, delta, balance, transfer_id, occurred_at)
    VALUES (v_source.user_id, p_source, v_source.version + 1, p_currency, 'WalletDeducted', -p_amount,
            v_source.balance - p_amount, p_transfer, v_now),
           (v_target.user_id, p_target, v_target.version + 1, p_currency, 'WalletCredited', p_amount,
            v_target.balance + p_amount, p_transfer, v_now);
    -- Amounts travel as text: a JSON number is a binary fraction to most readers.
    PERFORM es.enqueue('wallet-events', m.wallet, jsonb_build_object(
                'type', m.type, 'aggregate_id', m.wallet, 'version', m.version, 'user_id', m.owner,
                'occurred_at_seconds', extract(epoch FROM v_now),
                'data', jsonb_build_object('balance', m.balance::text, 'delta', m.delta::text, 'currency', p_currency,
                                           'transfer_id', p_transfer, 'reason', p_reason)))
       FROM (VALUES
                ('WalletDeducted', p_source, v_source.version + 1, v_source.user_id, v_source.balance - p_amount, -p_amount),
                ('WalletCredited', p_target, v_target.version + 1, v_target.user_id, v_target.balance + p_amount, p_amount)
            ) AS m (type, wallet, version, owner, balance, delta);
    RETURN QUERY SELECT v_source.version + 1, v_target.version + 1, false;
END
$$;

-- Wallets whose head does not agree with their events, and currencies in which money appeared or vanished. One
-- statement, one snapshot: it may run beside traffic. No row means that the books are right.
CREATE FUNCTION ledger.check_books()
    RETURNS TABLE (what text, wallet_id text, currency text, stated numeric, counted numeric)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH counted AS (
        SELECT e.wallet_id, sum(e.delta) AS balance, max(e.seq) AS newest, count(*) AS number
          FROM es.wallet_events e GROUP BY e.wallet_id
    ), compared AS (
        SELECT w.wallet_id, w.currency, w.balance, w.version, coalesce(c.balance, 0) AS events_balance,
               coalesce(c.newest, 0) AS newest, coalesce(c.number, 0) AS number
          FROM ledger.wallets w LEFT JOIN counted c USING (wallet_id)
    )
    SELECT 'balance', wallet_id, currency, balance, events_balance FROM compared WHERE balance <> events_balance
     UNION ALL
    SELECT 'version', wallet_id, currency, version, newest FROM compared WHERE version <> newest
     UNION ALL
    SELECT 'gap', wallet_id, currency, newest, number FROM compared WHERE newest <> number
     UNION ALL
    SELECT 'currency', NULL, currency, 0, sum(balance) FROM ledger.wallets GROUP BY currency HAVING sum(balance) <> 0
$$;
