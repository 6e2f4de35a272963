-- phase: expand
-- What the function sets for itself ends with it, and not with the caller's transaction. It queues behind other makers
-- first, for as long as they need: its 3 s for a lock begin after that.
ALTER FUNCTION ops.ensure_monthly_partitions(regclass, integer, integer, timestamptz) SET lock_timeout = '0';
ALTER FUNCTION ops.ensure_monthly_partitions(regclass, integer, integer, timestamptz) SET "TimeZone" = 'UTC';
ALTER FUNCTION ops.ensure_monthly_partitions(regclass, integer, integer, timestamptz) SET "DateStyle" = 'ISO, YMD';
