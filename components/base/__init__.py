"""Names, labels, child options and secure defaults that every component uses."""
