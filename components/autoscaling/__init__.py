"""One neutral scaling policy, rendered for the scaler that a stack uses."""
