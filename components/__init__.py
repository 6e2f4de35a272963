"""What the platform declares: one component per system, with pure planning functions beside it."""
