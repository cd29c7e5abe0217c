# %% [markdown]
# # Recall and state
# **Claim.** What a sequence model can recall is bounded by the bits of state that it carries, whatever its architecture; what a sliding window
# recalls when trained is told beforehand by the distances from questions to answers.
#
# **Source.** The bound is Fano's inequality (Cover & Thomas, *Elements of Information Theory*, 2nd ed., thm 2.10.1). The task is multi-query
# associative recall (arXiv:2312.04927). The law of windows is this lab's, claim `recall.window`.
#
# **You will see** a sample and how it is judged, what theory allows, six small models trained, and all of it on one figure.
# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from recall_lab.plots import capacity_figure, style
from recall_lab.plots.window import distance_figure, window_figure
from recall_lab.report import report, sentence
from recall_lab.sweep import load, sweep
from recall_lab.tasks import IGNORE, MQAR, Stream, certified_bits
from recall_lab.theory import CLAIMS, window_accuracy, window_reach

# %% [markdown]
# ## A sample
# Four pairs are shown, each a key `k` before its value `v`. Then keys stand again, in random order among filler (the dots), and each time the
# value is asked for. Sample number 0 of this stream is the same on every machine, in a batch of any size.
# %%
task = MQAR(length=32, pairs=4, keys=32, values=32, order="shuffled")
tokens, targets = task.sample(Stream(0, "train"), 0, 1)
print(task.describe(tokens[0]))
# %% [markdown]
# ## What the oracle sees
# `solve` reads the answers off the tokens with a dictionary, in a plain loop; it shares no code with the generator, and must find its labels.
# %%
answers = task.solve(tokens)
for at in np.flatnonzero(answers[0] != IGNORE):
    print(f"position {at}: {task.token_name(tokens[0, at])} asks for {task.token_name(answers[0, at])}")
assert (answers == targets).all()
# %% [markdown]
# ## What an accuracy is worth
# Accuracy alone misleads: whoever never looks at the keys answers a quarter of the questions, by naming any value shown.
# %%
for control, accuracy in task.controls().items():
    print(f"{control:>17}: {accuracy:.3f}")
# %% [markdown]
# Bits do not mislead. After the last pair, all that will be asked must be in the state; so an accuracy certifies how much was there at least.
# %%
for accuracy in (0.25, 0.5, 0.75, 0.9, 1.0):
    bits = certified_bits(accuracy, stored=float(task.stored), values=task.values, entropy=task.answer_bits)
    print(f"accuracy {accuracy:.2f}: at least {bits:5.2f} of {task.answer_bits:.2f} bits were kept")
# %% [markdown]
# ## How much could ever be recalled
# No memory certifies more bits than it keeps. The check attacks this with memories that keep $m$ of $n$ answers whole and guess the others:
# here $n = 16$ of 32 values, a dot for each $m$. The wall is touched where nothing is kept, and where everything is.
# %%
wall = CLAIMS["recall.wall"].check("quick", seed=0)
print(f"{len(wall.measured)} random problems, three memories each: {'none' if wall.holds else 'one'} passes the wall")
with style():
    figure, axes = plt.subplots(figsize=(3.3, 2.8))
    axes.plot(wall.arrays["stored"], wall.arrays["stored"], color="0.2", label="wall")
    axes.plot(wall.arrays["stored"], wall.arrays["certified"], ".", label="keeps m of 16 answers")
    axes.set(xlabel="bits kept", ylabel="certified bits", title="A memory touches the wall where it keeps nothing or all")
    axes.legend(frameon=False)
plt.show()
# %% [markdown]
# ## A law before training
# One hop through a window of $w$ positions, behind a convolution of four taps, reaches a value at most $w + 1$ positions back. How often a value
# is that near follows from the layout alone.
# %%
for window in (4, 8, 16):
    reach = window_reach(window, short_conv=4)
    print(f"window {window:2}: reaches {reach:2} positions back, where {window_accuracy(task, reach):.3f} of the answers are")
# %% [markdown]
# ## Where training lands
# The sweep `demo` at four pairs, with more windows and one seed: each model is one block, 32 wide. Half a minute on two cores.
# %%
settings = ["task.pairs=4", "mixers.sliding_window.window=[4,8,16]", "mixers.linear_attention.feature_width=[2,4]"]
spec = load("demo", [*settings, "seeds=[60]", "budget.steps=1000"])
with tempfile.TemporaryDirectory() as folder:
    sweep(spec, Path(folder), workers=os.cpu_count() or 1)
    found = report(Path(folder))
for point in found.points:
    theory = "no law" if point.predicted is None else "theory {:.3f} to {:.3f}".format(*point.predicted)
    print(f"{point.label}: accuracy {point.accuracy.median:.3f} ({theory}), {point.certified.median:.1f} bits in {point.state_bits}")
# %% [markdown]
# Trained windows land on the lower edge of the band: what is within reach is recalled, and the rest is guessed among all values.
# %%
windows = [point for point in found.points if point.model.mixer == "sliding_window"]
window_figure(windows, title="Trained windows recall what is within their reach")
plt.show()
# %% [markdown]
# ## What holds it back
# Not the size of the state: a window's thousands of bits could hold these twenty many times over. It forgets by distance, and the edge is sharp.
# %%
curves = {
    f"window {run.model.fields['window']}": (found.done[run.hash], window_reach(run.model.fields["window"], run.model.short_conv))
    for run in found.runs
    if run.model.mixer == "sliding_window"
}
distance_figure(curves, title="Everything nearer than the reach is recalled, nothing beyond it")
plt.show()
# %% [markdown]
# ## All of it on one figure
# State across, certified bits up, both in bits. No memory can be in the hatched region; the grey curves know nothing of training. A window
# longer than the pairs holds them all when the last has been shown, and so stands where attention does: what it forgets, it forgets later.
# %%
capacity_figure(found.points, title=sentence(found.points), note="one seed")
plt.show()
# %% [markdown]
# **What it does not say.** One seed ranks nothing. All points lie far below the wall because of how they code, not because of what they may
# hold: the wall counts 32 bits a scalar. The law of windows is that of one hop, and deeper stacks may relay; the law of linear attention is that
# of random codes, and training may find better ones, or stop short of them. `recall-lab sweep demo` does this with three seeds and two sizes.
