"""What may not be deployed: the policy pack `payments-guardrails`, one module per theme."""
