# %% [markdown]
# # Recall and state
# Three questions, answered once on a small problem. How much **can** a mixer recall with the state it carries? How much does it recall **when trained**? And how do we
# know that it recalls, and does not guess?
# **Source.** The task is multi-query associative recall (arXiv:2312.04927); the measure is Fano's inequality (Cover & Thomas, 2nd ed., thm 2.10.1).
# %%
import matplotlib.pyplot as plt
import numpy as np

from recall_lab.capacity import points
from recall_lab.plots import against_bound, capacity_figure
from recall_lab.report import sentence
from recall_lab.run import single_run
from recall_lab.tasks import IGNORE, MQAR, Stream, certified_bits
from recall_lab.theory import CLAIMS, window_accuracy, window_reach
from recall_lab.train import train

# %% [markdown]
# ## A sample
# Pairs of a key and a value are shown; later some keys stand again, and each time the value is asked for. Dots are filler.
# %%
task = MQAR(length=32, pairs=4, keys=32, values=32, order="shuffled")
batch = task.sample(Stream(0, "train"), 0, 1)
print(task.describe(batch.tokens[0]))
# %% [markdown]
# The oracle reads the answers off the tokens; it shares no code with the generator.
# %%
for at in np.flatnonzero(task.solve(batch.tokens)[0] != IGNORE):
    print(f"position {at}: {task.token_name(batch.tokens[0, at])} -> {task.token_name(task.solve(batch.tokens)[0, at])}")
# %% [markdown]
# ## What an accuracy is worth
# After the pairs have been read, everything that will be asked must be in the state. An accuracy certifies at least so many bits of it:
# %%
for accuracy in (0.25, 0.5, 0.75, 0.9, 1.0):
    bits = certified_bits(accuracy, stored=float(task.stored), values=task.values, entropy=task.answer_bits)
    print(f"accuracy {accuracy:.2f}: at least {bits:5.2f} of {task.answer_bits:.2f} bits were kept")
# %% [markdown]
# No memory certifies more than it keeps: here memories that keep some answers whole and guess the others.
# %%
against_bound(CLAIMS["recall.wall"].check("quick", seed=0))
plt.show()
# %% [markdown]
# ## A law before training
# A window of $w$ positions sees a value if its distance is small enough; how often that is so follows from the layout alone.
# %%
for window in (4, 8, 16):
    print(f"window {window}: {window_accuracy(task, window_reach(window, short_conv=4)):.3f} of the questions are within reach")
# %% [markdown]
# ## And training
# One block behind a four-tap convolution, one seed: enough to see the law, too little to rank anything.
# %%
SHARED = {
    "task.length": 32,
    "task.pairs": 4,
    "task.keys": 32,
    "task.values": 32,
    "task.order": "shuffled",
    "mixer.width": 32,
    "model.depth": 1,
    "optimiser.learning_rate": 1e-2,
}
MIXERS = [("attention", {}), ("sliding_window", {"mixer.window": 8}), ("linear_attention", {"mixer.feature_width": 4})]
runs = [single_run("mqar", mixer, SHARED | fields, seed=0) for mixer, fields in MIXERS]
results = {run.hash: train(run) for run in runs}
found = points(runs, results)
for point in found:
    print(
        f"{point.label}: accuracy {point.accuracy.median:.3f}, theory {point.predicted}, {point.certified.median:.1f} bits in a state of {point.state_bits}"
    )
# %%
capacity_figure(found, title=sentence(found), note="one seed")
plt.show()
# %% [markdown]
# **What it does not say.** One seed ranks nothing; the window's law is that of one hop, and the linear memory's that of random codes: training may find better ones.
# `recall-lab sweep demo` does this with three seeds and two difficulties.
