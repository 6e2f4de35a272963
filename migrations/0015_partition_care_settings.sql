-- phase: expand
-- What the function sets for itself ends with it, and not with the caller's transaction.
ALTER FUNCTION ops.ensure_monthly_partitions(regclass, integer, integer, timestamptz) SET lock_timeout = '3s';
ALTER FUNCTION ops.ensure_monthly_partitions(regclass, integer, integer, timestamptz) SET "TimeZone" = 'UTC';
ALTER FUNCTION ops.ensure_monthly_partitions(regclass, integer, integer, timestamptz) SET "DateStyle" = 'ISO, YMD';
