"""Migrations and the event store's client, without a server."""
