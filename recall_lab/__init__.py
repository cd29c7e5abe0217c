"""recall-lab: how much can a sequence model recall with the memory it carries?

`recall_lab.tasks` makes recall problems, `recall_lab.models` the mixers that are measured on them, `recall_lab.kernels` their operators,
`recall_lab.theory` the bounds; this package itself trains, sweeps, stores and draws. Nothing heavy is imported here.
"""

__version__ = "0.1.0"
