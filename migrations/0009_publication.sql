-- phase: expand
-- The change stream. The publication itself belongs to the stack's database resources, which are applied before; where
-- they are not used it is made here, in the same form.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'payments_events') THEN
        CREATE PUBLICATION payments_events WITH (publish = 'insert', publish_via_partition_root = true);
    END IF;
END
$$;
-- The parents: new months are in it without a word.
ALTER PUBLICATION payments_events ADD TABLE es.events, es.wallet_events;
