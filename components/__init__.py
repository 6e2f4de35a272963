"""What the platform declares: one component per system, with pure planning functions beside it."""

import sys
from pathlib import Path

# The contract's model is the client's: services install it, the program finds it in the checkout.
_CLIENT = str(Path(__file__).resolve().parents[1] / "client")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
