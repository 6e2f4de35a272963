"""What all tests share."""

from hypothesis import settings

# Derandomised: the same examples in every run and on every machine; no deadline: shared cores are slow at times.
settings.register_profile("repository", derandomize=True, deadline=None, database=None, max_examples=100)
settings.load_profile("repository")
