"""How much is needed, what will happen, what to change: pure functions, no Pulumi."""
