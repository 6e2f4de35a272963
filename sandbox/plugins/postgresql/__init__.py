"""A stand-in for Pulumi's PostgreSQL plugin that changes a server on this machine, and no other."""
