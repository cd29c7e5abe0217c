"""`recall-lab doctor`: what works on this machine."""

from .printing import print_json, print_table


def doctor(*, json: bool = False) -> int:
    """Say what is installed and which backends work here, each by a small self-test; exit 1 if something that should work does not."""
    from ..checkup import checkup

    findings = checkup()
    if json:
        print_json({finding.what: {"works": finding.works, "detail": finding.detail} for finding in findings})
    else:
        marks = {True: "works", False: "BROKEN", None: "absent"}
        print_table(("what", "", "detail"), [(finding.what, marks[finding.works], finding.detail) for finding in findings])
    return 1 if any(finding.works is False for finding in findings) else 0
