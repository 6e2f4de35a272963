"""What services import: the platform's contract, and the caches that keep to it."""
