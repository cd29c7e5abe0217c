"""`recall-lab verify`: claims, checked."""

import time
from typing import TYPE_CHECKING, Literal

from ..errors import InputError
from .options import Json, Seed
from .printing import print_json, print_table, say

if TYPE_CHECKING:
    from ..theory import Claim


def verify(*names: str, scale: Literal["quick", "full"] = "quick", seed: Seed = 0, json: Json = False) -> int:
    """Check claims: measured against bound.

    Exit 1 if one fails.

    Args:
        names: claims that ls claims lists, or families of them (recall); all unless told otherwise
        scale: quick takes seconds a claim, full minutes
        seed: of whatever the check draws

    """
    from ..errors import choose
    from ..theory import CLAIMS

    families = {name.partition(".")[0] for name in CLAIMS}
    chosen: dict[str, Claim] = {}
    for name in names or tuple(families):
        if name in families:
            chosen |= {each: claim for each, claim in CLAIMS.items() if each.partition(".")[0] == name}
        else:
            chosen[name] = choose("claim", name, CLAIMS)
    if not chosen:
        raise InputError("there are no claims to check")
    found, seconds = {}, {}
    for name, claim in sorted(chosen.items()):
        began = time.perf_counter()
        found[name] = claim.check(scale, seed)
        seconds[name] = time.perf_counter() - began
        say(f"{name}: {'holds' if found[name].holds else 'DOES NOT HOLD'} ({seconds[name]:.1f} s)")
    if json:
        print_json(
            {
                name: {"standing": chosen[name].standing, "source": chosen[name].source, **evidence.to_dict()}
                for name, evidence in found.items()
            }
        )
    else:
        rows = [
            (
                name,
                "holds" if evidence.holds else "FAILS",
                evidence.quantity,
                evidence.summary(),
                f"{evidence.margin:.3g}",
                chosen[name].standing,
            )
            for name, evidence in found.items()
        ]
        print_table(("claim", "", "quantity", "measured against", "margin", "standing"), rows)
    return 0 if all(evidence.holds for evidence in found.values()) else 1
