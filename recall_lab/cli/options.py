"""Kinds of options that several verbs have."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
"""off unless given; there is no --no-..."""

Json = Annotated[bool, Parameter(negative=(), show_default=False, help="print JSON, for programs")]

Texts = Annotated[list[str], Parameter(negative=())]
"""an option that may be repeated"""

Count = Annotated[int, Parameter(validator=Number(gte=1))]

Seed = Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))]
"""what every generator that is seeded here takes"""
