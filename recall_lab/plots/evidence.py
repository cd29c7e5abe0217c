"""The picture of a claim: what was measured against what theory allows."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..theory import Evidence
from .style import COLUMN, THEORY, style


def against_bound(evidence: Evidence) -> Figure:
    """Every measured entry as a dot over its bound or prediction; on the line they are equal, the grey band is the tolerance."""
    reference, name = next(
        (np.asarray(value, dtype=np.float64), name)
        for value, name in ((evidence.predicted, "predicted"), (evidence.at_most, "at most"), (evidence.at_least, "at least"))
        if value is not None
    )
    measured = np.ravel(np.asarray(evidence.measured, dtype=np.float64))
    reference = np.ravel(np.broadcast_to(reference, np.shape(evidence.measured)))
    tolerance = np.ravel(np.broadcast_to(evidence.tolerance, np.shape(evidence.measured)))
    order = np.argsort(reference)
    with style():
        figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 0.85))
        axes.plot(reference[order], reference[order], **THEORY)
        low, high = (reference - tolerance)[order], (reference + tolerance)[order]
        axes.fill_between(reference[order], low, high, color="0.9", linewidth=0)
        axes.plot(reference, measured, "o", markersize=2.5, alpha=0.7)
        axes.set_xlabel(name)
        axes.set_ylabel("measured")
        axes.set_title(
            f"{evidence.quantity}: {'holds' if evidence.holds else 'FAILS'}, margin {evidence.margin:.2g}", loc="left", wrap=True
        )
    return figure
