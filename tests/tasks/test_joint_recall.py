"""Joint recall: layout, law and oracle."""

import itertools
from collections import Counter, defaultdict

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from strategies import STRATEGIES

from recall_lab.tasks import IGNORE, JointRecall, Stream
from recall_lab.tasks.joint_recall import BLANK, BOS, PAD, SEP

STREAM = Stream(seed=0)
FORMS = list(itertools.product(["paper", "triples"], [True, False]))


def blocks_of(task: JointRecall, count: int) -> list[tuple[list, list]]:
    """The first samples as (table, questions), each a list of blocks (context, [(key, answer), ...])."""
    tokens, targets = task.sample(STREAM, 0, count)
    first_key, first_context = task.first_key, task.first_context
    samples = []
    for row, answers in zip(tokens.tolist(), targets.tolist(), strict=True):
        samples.append(([], []))
        middle = row.index(SEP)
        for position, token in enumerate(row):
            half = samples[-1][position > middle]
            if token >= first_context:
                half.append((token, []))
            elif token >= first_key:
                half[-1][1].append((token, answers[position] if position > middle else row[position + 1]))
    return samples


def written_out(task: JointRecall, cell: tuple[int, int], words: list[np.ndarray]) -> list[int]:
    """One sample the slow way: the table, the orders by sorting, then token after token."""
    contexts, keys = cell
    words = [part.view(np.uint32).tolist() for part in words]
    table = {
        (c, k): 10 + (words[0][c * task.most_keys + k] * task.values >> 32)
        for c in range(task.most_contexts)
        for k in range(task.most_keys)
    }
    row = [BOS]
    for half in (0, 1):
        if task.layout == "paper":
            order = words[1][half * task.most_contexts :]
            groups = []
            for block, context in enumerate(sorted(range(contexts), key=order.__getitem__)):
                inner = words[2][(half * task.most_contexts + block) * task.most_keys :]
                groups.append((context, sorted(range(keys), key=inner.__getitem__)))
        else:
            order = words[1][half * task.answers :]
            entries = sorted(itertools.product(range(contexts), range(keys)), key=lambda entry: order[entry[0] * task.most_keys + entry[1]])
            groups = [(context, [key]) for context, key in entries]
        for context, order in groups:
            row.append(10 + task.values + task.most_keys + context)
            for key in order:
                row += [10 + task.values + key, BLANK if half and not task.reveal else table[context, key]]
        row += [SEP] if half == 0 else []
    return row + [PAD] * (task.length - len(row))


@given(task=STRATEGIES["joint_recall"], index=st.integers(0, 2**40), seed=st.integers(0, 2**32 - 1))
def test_a_sample_is_token_by_token_what_its_words_say(task: JointRecall, index: int, seed: int) -> None:
    words = [np.random.default_rng(seed).integers(2**64, size=(1, draws), dtype=np.uint64) for draws in task.draws]
    tokens = task.build(np.array([index]), *words).tokens
    assert tokens[0].tolist() == written_out(task, task.cells[index % len(task.cells)], [part[0] for part in words])


@pytest.mark.parametrize("layout", ["paper", "triples"])
def test_samples_of_all_sizes_side_by_side_are_what_their_words_say(layout) -> None:
    task = JointRecall(contexts=(1, 4), keys=(1, 3), layout=layout)
    index = np.arange(7, 7 + 4 * len(task.cells))
    words = [np.random.default_rng(0).integers(2**64, size=(len(index), draws), dtype=np.uint64) for draws in task.draws]
    for i, row in enumerate(task.build(index, *words).tokens.tolist()):
        assert row == written_out(task, task.cells[index[i] % len(task.cells)], [part[i] for part in words])


def test_equal_words_keep_their_order() -> None:
    task = JointRecall(contexts=3, keys=2)
    tokens = task.build(np.array([0]), *(np.zeros((1, draws), np.uint64) for draws in task.draws)).tokens[0]
    assert task.describe(tokens[:17]) == "BOS c0 k0 v0 k1 v0 c1 k0 v0 k1 v0 c2 k0 v0 k1 v0 SEP"


@pytest.mark.parametrize("layout", ["paper", "triples"])
def test_lengths_are_those_of_the_formula_and_every_full_turn_of_sizes_is_balanced(layout) -> None:
    task = JointRecall(layout=layout)
    sizes = Counter()
    for row in task.sample(STREAM, 1000, 144).tokens.tolist():
        contexts, keys = (len({token for token in row if low <= token < high}) for low, high in ((42, 58), (26, 42)))
        sizes[contexts, keys] += 1
        assert len(row) - row.count(PAD) == (2 * contexts * (2 * keys + 1) + 2 if layout == "paper" else 6 * contexts * keys + 2)
        assert PAD not in row[: len(row) - row.count(PAD)]
    assert sizes == Counter(itertools.product(range(5, 17), repeat=2))
    assert task.vocab_size == 58
    assert JointRecall(layout="paper").length == 1058
    assert JointRecall(contexts=(2, 3), keys=2).cells == ((2, 2), (3, 2))


@pytest.mark.parametrize(("sizes", "batch"), [((5, 16), 64), ((5, 16), 16), ((5, 8), 8), ((2, 3), 4)])
def test_every_batch_of_neighbouring_samples_holds_small_tables_and_large_ones(sizes: tuple[int, int], batch: int) -> None:
    task = JointRecall(contexts=sizes, keys=sizes)
    answers = np.array([contexts * keys for contexts, keys in task.cells * (2 * batch)][: 144 * batch])
    means = answers.reshape(-1, batch).mean(axis=1)
    at_random = answers.std() / np.sqrt(batch)
    assert np.abs(means - task.stored).max() < 2.5 * at_random  # row by row, batches of 64 are off by 6


@pytest.mark.parametrize(("contexts", "keys"), [(3, 3), ((2, 4), (2, 4))])
def test_all_orders_of_contexts_and_of_keys_are_equally_likely_in_both_halves(contexts, keys) -> None:
    task = JointRecall(contexts=contexts, keys=keys)
    orders = defaultdict(Counter)
    for shown, asked in blocks_of(task, 8000)[task.cells.index((3, 3)) :: len(task.cells)]:
        orders["contexts"][tuple(context for half in (shown, asked) for context, _ in half)] += 1
        first, second = shown[0][1], asked[2][1]
        orders["keys"][tuple(key for block in (first, second) for key, _ in block)] += 1
    for counts in orders.values():
        assert len(counts) == 36
        assert chisquare(list(counts.values())).pvalue > 1e-4


def test_all_orders_of_the_triples_are_equally_likely() -> None:
    task = JointRecall(contexts=(1, 2), keys=(1, 3), layout="triples")
    tokens = task.sample(STREAM, 0, 6000).tokens[task.cells.index((1, 3)) :: len(task.cells)]
    counts = Counter((*row[2:10:3], *row[12:20:3]) for row in tokens.tolist())
    assert len(counts) == 36
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_values_are_uniform_and_independent_of_their_neighbours() -> None:
    task = JointRecall(contexts=3, keys=4, values=5)
    targets = task.sample(STREAM, 0, 4000).targets
    answers = targets[targets != IGNORE].reshape(-1, 2) - 10
    assert chisquare(np.bincount(answers @ [5, 1], minlength=25)).pvalue > 1e-4


@given(task=STRATEGIES["joint_recall"])
def test_every_entry_is_asked_once_and_its_answer_follows_only_where_answers_are_revealed(task: JointRecall) -> None:
    tokens, targets = task.sample(STREAM, 0, len(task.cells))
    np.testing.assert_array_equal((targets != IGNORE).sum(axis=1), [contexts * keys for contexts, keys in task.cells])
    row, position = np.nonzero(targets != IGNORE)
    np.testing.assert_array_equal(tokens[row, position + 1], targets[row, position] if task.reveal else BLANK)


@pytest.mark.parametrize(("layout", "reveal"), FORMS)
def test_the_oracle_agrees_on_the_published_sizes(layout, reveal) -> None:
    task = JointRecall(layout=layout, reveal=reveal)
    tokens, targets = task.sample(STREAM, 0, 1008)
    np.testing.assert_array_equal(task.solve(tokens), targets)


def test_the_oracle_does_not_care_in_which_order_blocks_are_shown() -> None:
    task = JointRecall(contexts=3, keys=2)
    tokens, targets = task.sample(STREAM, 0, 1)
    blocks = tokens[0, 1 : task.cut].reshape(3, 5)
    tokens[0, 1 : task.cut] = blocks[[2, 0, 1]].ravel()
    np.testing.assert_array_equal(task.solve(tokens), targets)


# values 10 and 11, keys 12 and 13, contexts 14 and 15
@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ([1, 14, 12, 10, 13, 11, 4, 14, 12, 10, 15, 13, 11], "c1 k1 is asked at position 11, but"),
        ([1, 14, 12, 10, 4, 14, 13, 10], "c0 k1 is asked at position 6, but"),
        ([1, 14, 12, 10, 4, 14, 12, 10, 12, 10], "c0 k0 is asked at position 8, but"),
        ([1, 14, 12, 10, 12, 11, 4, 14, 12, 11], "c0 k0 is shown twice"),
        ([1, 12, 10, 4, 14, 12, 10], "position 1, got 12"),
        ([1, 14, 12, 10, 4, 12, 10], "position 5, got 12"),
        ([1, 14, 12, 10, 4, 14, 12], "position 6, got 12"),
        ([1, 14, 12, 10, 11, 4, 14, 12, 10], "position 4, got 11"),
        ([1, 14, 12, 10, 14, 12, 10], "one SEP"),
        ([14, 12, 10, 4, 14, 12, 10], "begin with BOS"),
        ([1, 14, 12, 10, 13, 11, 4, 14, 12, 10], "c0 k1 is shown but not asked"),
        ([1, 14, 12, 10, 4, 14, 12, 10, 3, 11], r"only PAD \(3\) may follow PAD"),
    ],
)
def test_tokens_that_are_no_sample_are_refused(row, complaint) -> None:
    task = JointRecall(contexts=2, keys=2, values=2)
    with pytest.raises(ValueError, match=complaint):
        task.solve(np.array([row + [PAD] * (task.length - len(row))]))


@given(task=STRATEGIES["joint_recall"])
def test_questions_are_told_apart_by_the_slot_of_their_block(task: JointRecall) -> None:
    tokens, targets = task.sample(STREAM, 0, len(task.cells))
    for row, slots, (contexts, keys) in zip(range(len(tokens)), task.stratum(tokens), task.cells, strict=True):
        expected = list(range(keys)) * contexts if task.layout == "paper" else [0] * (contexts * keys)
        assert slots[targets[row] != IGNORE].tolist() == expected


def test_two_samples_agree_no_more_often_than_the_collision_bound_says() -> None:
    task = JointRecall(contexts=(1, 2), keys=1, values=2)
    here, there = task.sample(STREAM, 0, 200).tokens, task.sample(Stream(seed=0, split="test"), 0, 200).tokens
    agree = (here[:, None] == there).all(axis=2).sum()
    # two tables of one entry agree half of the time, of two entries in values and both orders 1/16 of it
    assert agree == pytest.approx(100 * 100 * (1 / 2 + 1 / 16), rel=0.05)
    assert task.collision_bound(1, 1) == 1 / 2 + 1 / 4
    assert task.collision_bound(200, 200) == 1
    assert JointRecall().collision_bound(1_440_000, 14_400) == pytest.approx(10_000 * 100 * 16.0**-25, rel=1e-5)


def test_what_is_stored_is_averaged_over_the_sizes() -> None:
    assert JointRecall(contexts=16, keys=16).answer_bits == 1024
    assert JointRecall().stored == 10.5**2
    assert JointRecall(contexts=(1, 2), keys=3).stored == 4.5


def test_the_table_ends_at_the_cut() -> None:
    for layout in ("paper", "triples"):
        task = JointRecall(contexts=4, keys=3, layout=layout)
        assert (task.sample(STREAM, 0, 5).tokens[:, task.cut] == SEP).all()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"contexts": 0}, "contexts must be .*, got 0"),
        ({"contexts": (3, 2)}, r"contexts must be .*, got \(3, 2\)"),
        ({"keys": (0, 2)}, r"keys must be .*, got \(0, 2\)"),
        ({"values": 1}, "values must be at least 2"),
        ({"keys": (1, 2, 3)}, r"keys must be .*, got \(1, 2, 3\)"),
        ({"layout": "pairs"}, "layout must be one of paper, triples, got 'pairs'"),
    ],
)
def test_fields_out_of_range_are_refused(fields, complaint, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # a user's types are not checked
    with pytest.raises(ValueError, match=complaint):
        JointRecall(**fields)
