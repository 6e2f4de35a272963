"""How much is needed for a load, why, and what a stack's limits make of it."""
