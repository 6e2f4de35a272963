"""The script of the load tests, and payctl around a stand-in for k6."""
