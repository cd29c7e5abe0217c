"""`recall-lab doctor`: what works on this machine."""

from .options import Json
from .printing import print_json, print_table


def doctor(*, json: Json = False) -> int:
    """Say what works here, by small self-tests.

    Exit 1 if something that should work does not.
    """
    from ..checkup import checkup

    findings = checkup()
    if json:
        print_json({finding.what: {"works": finding.works, "detail": finding.detail} for finding in findings})
    else:
        marks = {True: "works", False: "BROKEN", None: "absent"}
        print_table(("what", "", "detail"), [(finding.what, marks[finding.works], finding.detail) for finding in findings])
    return 1 if any(finding.works is False for finding in findings) else 0
