"""The pack's process, as the engine starts it with this folder as argument. It only constructs the pack.

`PolicyPack` prints the port that it serves on and blocks for ever: nothing else may print, and no test may import this.
"""

import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack
from pulumi_policy import policy as sdk

_FOLDER = Path(__file__).resolve().parent
if str(_FOLDER.parent) not in sys.path:
    sys.path.insert(0, str(_FOLDER.parent))

from policies.decoding import share_decoding  # noqa: E402 - needs the folder above on the module path
from policies.pack import PACK_NAME, all_policies  # noqa: E402

share_decoding(sdk)
PolicyPack(PACK_NAME, policies=list(all_policies()), enforcement_level=EnforcementLevel.MANDATORY)
