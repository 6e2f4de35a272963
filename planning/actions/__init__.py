"""From a finding to a reviewed change of a stack's settings."""
