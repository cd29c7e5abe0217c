"""The command line with one more claim, that 2 is at most BOUND: true or false as the caller likes."""

import os

from recall_lab.cli import main as recall_lab
from recall_lab.theory import CLAIMS, Claim, Evidence, Scale


def check(scale: Scale, seed: int) -> Evidence:
    """2 <= BOUND."""
    return Evidence(quantity="two", measured=2, at_most=float(os.environ["BOUND"]))


CLAIM = Claim(name="one_more.claim", statement="2 is at most BOUND.", source="none", standing="new", check=check)


def main() -> None:
    """The command line, where that claim is one like all others."""
    CLAIMS[CLAIM.name] = CLAIM
    recall_lab()
