"""The event store's client without a server."""
