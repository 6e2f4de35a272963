"""payctl: one command for each question that a person asks."""
