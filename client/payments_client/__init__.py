"""What services import: the platform's contract, and the caches, event store and ledger that keep to it."""
