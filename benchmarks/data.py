"""Generating data: our generators against the same law written row by row, and what memory they take beside the result.

Both sides run in this process, on one thread, in turns, and each counts its best turn. Before they are timed, the task's oracle has read
the labels of both sides off their tokens.
"""

import numpy as np

from recall_lab.tasks import IGNORE, MQAR, Batch, JointRecall, Stream, Task
from recall_lab.tasks.joint_recall import BOS, FIRST_VALUE, PAD, SEP

from .own_process import in_own_process, peak_of
from .paired import Row, in_turns

LENGTH, PAIRS, VOCABULARY, POWER = 512, 64, 8192, 0.01
"""the hardest setting that zoology publishes (arXiv:2312.04927, figure 2)"""

ROWS = 100_000
MEGABYTES = 200
"""what 100,000 samples may take beside themselves"""

JOINT_ROWS = 1024

CHECKED = 20
"""samples of either side on which labels are compared with the oracle's"""


def measure() -> list[Row]:
    """A ratio meets its bar where it is at least as large."""
    fixed, mix = JointRecall(contexts=16, keys=16), JointRecall()
    return [
        mqar_time(),
        mqar_memory(),
        joint_recall_time("joint_recall 16 x 16, time", fixed, bar=20.0),
        joint_recall_time("joint_recall 5-16 x 5-16, time", mix, bar=20.0),
    ]


def mqar_time(turns: int = 5) -> Row:
    """Seconds for 100,000 samples of MQAR; the loop does 10,000 and counts tenfold."""
    task = mqar()
    check(task, task.sample(Stream(0), 0, CHECKED), mqar_row_by_row(np.random.RandomState(0), CHECKED))
    ours, other = in_turns(
        lambda: task.sample(Stream(0), 0, ROWS // turns),
        lambda: mqar_row_by_row(np.random.RandomState(0), 10_000 // turns),
        turns,
    )
    ours, other = ours * turns, other * 10 * turns
    note = f"length {LENGTH}, {PAIRS} pairs, {VOCABULARY} tokens, {ROWS} samples; the loop draws rows with numpy.random.choice"
    return Row("mqar, time", ours, other, other / ours, 20.0, note)


def mqar_memory() -> Row:
    """Peak memory of a process of its own that makes 100,000 samples, less what it had before and less the samples."""
    taken, found = in_own_process(__name__)
    mebibytes = found / 2**20
    note = f"{mebibytes:.0f} MiB beside {ROWS} samples, {MEGABYTES} allowed; ratio = allowed / taken; seconds of the whole process"
    return Row("mqar, memory", taken, None, MEGABYTES / max(mebibytes, 1.0), 1.0, note)


def joint_recall_time(what: str, task: JointRecall, bar: float, turns: int = 5) -> Row:
    """Seconds for a batch of joint recall."""
    check(task, task.sample(Stream(0), 0, CHECKED), joint_recall_item_by_item(task, np.random.default_rng(0), CHECKED))
    ours, other = in_turns(
        lambda: task.sample(Stream(0), 0, JOINT_ROWS),
        lambda: joint_recall_item_by_item(task, np.random.default_rng(0), JOINT_ROWS),
        turns,
    )
    note = f"batch {JOINT_ROWS}, length {task.length}, the paper's layout; the loop appends item by item"
    return Row(what, ours, other, other / ours, bar, note)


def check(task: Task, ours: Batch, other: Batch) -> None:
    """Raises AssertionError unless both ask as often, and the oracle reads every label off the tokens (filler may repeat a key unasked)."""
    asked = [batch.targets != IGNORE for batch in (ours, other)]
    np.testing.assert_array_equal(*(each.sum(axis=1) for each in asked))
    for batch, labelled in zip((ours, other), asked, strict=True):
        np.testing.assert_array_equal(task.solve(batch.tokens)[labelled], batch.targets[labelled])


def mqar() -> MQAR:
    """The task that both sides generate."""
    return MQAR.zoology(vocab_size=VOCABULARY, input_seq_len=LENGTH, num_kv_pairs=PAIRS, power_a=POWER)


def mqar_row_by_row(chance: np.random.RandomState, count: int) -> Batch:
    """The law of `mqar` as one writes it down first."""
    tokens = chance.randint(VOCABULARY, size=(count, LENGTH), dtype=np.int32)
    targets = np.full((count, LENGTH), IGNORE, np.int32)
    space = (LENGTH - 2 * PAIRS) // 2
    weights = np.arange(1, space + 1) ** (POWER - 1)
    weights /= weights.sum()
    for row, labels in zip(tokens, targets, strict=True):
        keys = chance.choice(np.arange(1, VOCABULARY // 2), PAIRS, replace=False)
        values = chance.choice(np.arange(VOCABULARY // 2, VOCABULARY), PAIRS, replace=False)
        asked_at = 2 * PAIRS + 2 * chance.choice(space, PAIRS, replace=False, p=weights)
        row[0 : 2 * PAIRS : 2], row[1 : 2 * PAIRS : 2] = keys, values
        row[asked_at], labels[asked_at] = keys, values
    return Batch(tokens, targets)


def joint_recall_item_by_item(task: JointRecall, chance: np.random.Generator, count: int) -> Batch:
    """The law of `task`, in the paper's layout with answers revealed, as one writes it down first."""
    tokens = np.full((count, task.length), PAD, np.int32)
    targets = np.full((count, task.length), IGNORE, np.int32)
    for number in range(count):
        contexts, keys = task.cells[number % len(task.cells)]
        table = chance.integers(task.values, size=(contexts, keys))
        row, labels = [], []
        for head in (BOS, SEP):
            row.append(head)
            labels.append(IGNORE)
            for context in chance.permutation(contexts):
                row.append(task.first_context + context)
                labels.append(IGNORE)
                for key in chance.permutation(keys):
                    answer = FIRST_VALUE + table[context, key]
                    row += [task.first_key + key, answer]
                    labels += [answer if head == SEP else IGNORE, IGNORE]
        tokens[number, : len(row)], targets[number, : len(row)] = row, labels
    return Batch(tokens, targets)


def peak_beside_result() -> int:
    """Bytes by which this process's memory peaks above what it holds now and the result; for a process that does nothing else (Linux)."""
    task = mqar()
    task.sample(Stream(0), 0, 1)  # what is imported or cached on first use is no cost of the samples
    peak, batch = peak_of(lambda: task.sample(Stream(0), 0, ROWS))
    return peak - batch.tokens.nbytes - batch.targets.nbytes


if __name__ == "__main__":
    print(peak_beside_result())
