"""Load tests: one typed script for k6, and the objects that run it in the cluster."""
