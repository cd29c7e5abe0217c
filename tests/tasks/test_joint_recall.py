"""Joint recall: layout, law, oracle, and controls held against strategies played on samples."""

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
from recall_lab.tasks.joint_recall_controls import block_accuracy

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


# played strategies: each sees what is named and guesses the most frequent value that is left


def played(shown: list, asked: list, *, reveal: bool, group) -> list[bool]:
    """Right or wrong for each question, by a guesser who knows of an entry only the group it belongs to."""
    left = defaultdict(Counter)
    for context, entries in shown:
        for key, value in entries:
            left[group(context, key)][value] += 1
    right = []
    for context, entries in asked:
        for key, answer in entries:
            candidates = left[group(context, key)]
            right.append(candidates.most_common(1)[0][0] == answer)
            if reveal:
                candidates[answer] -= 1
    return right


def matched(shown: list, asked: list) -> list[bool]:
    """The same by a guesser who reads all but the context tokens, and recognises a block by the answers revealed in it."""
    unused = [dict(entries) for _, entries in shown]
    right = []
    for _, entries in asked:
        alike = unused
        for key, answer in entries:
            right.append(Counter(block[key] for block in alike).most_common(1)[0][0] == answer)
            alike = [block for block in alike if block[key] == answer]
        unused.remove(alike[0])
    return right


BLIND = {"bag": lambda context, key: None, "context_blind": lambda context, key: key, "key_blind": lambda context, key: context}


@pytest.mark.parametrize(("layout", "reveal"), FORMS)
def test_controls_are_what_their_strategies_reach(layout, reveal) -> None:
    task = JointRecall(contexts=(2, 4), keys=(1, 3), values=3, layout=layout, reveal=reveal)
    samples = blocks_of(task, 1800)
    right = {name: [played(*sample, reveal=reveal, group=group) for sample in samples] for name, group in BLIND.items()}
    # where no answers are revealed in blocks, there is nothing by which to know a block
    blocks_revealed = layout == "paper" and reveal
    right["context_token_blind"] = [matched(*sample) for sample in samples] if blocks_revealed else right["context_blind"]
    controls = task.controls()
    assert controls.pop("chance") == 1 / task.values
    assert controls.keys() == right.keys()
    for name, control in controls.items():
        accuracy = [np.mean(sample) for sample in right[name]]
        assert np.mean(accuracy) == pytest.approx(control, abs=4 * np.std(accuracy) / np.sqrt(len(samples))), name


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"chance": 6.25, "bag": 16.71, "context_blind": 39.26, "key_blind": 39.26, "context_token_blind": 92.02}),
        ({"reveal": False}, {"bag": 11.27, "context_blind": 23.66, "key_blind": 23.66, "context_token_blind": 23.66}),
        ({"layout": "triples"}, {"bag": 16.71, "context_blind": 39.26, "key_blind": 39.26, "context_token_blind": 39.26}),
        ({"contexts": 16, "keys": 16}, {"bag": 12.35, "context_blind": 31.89, "context_token_blind": 94.52}),
        ({"contexts": 5, "keys": 5}, {"bag": 26.71, "context_blind": 51.41, "context_token_blind": 89.08}),
        ({"contexts": 16, "keys": 16, "reveal": False}, {"bag": 9.15, "context_blind": 19.24}),
        ({"contexts": 5, "keys": 5, "reveal": False}, {"bag": 16.37, "context_blind": 30.74}),
    ],
    ids=str,
)
def test_controls_of_the_published_sizes(fields, expected) -> None:
    controls = JointRecall(**fields).controls()
    assert {name: round(100 * controls[name], 2) for name in expected} == expected


@pytest.mark.parametrize(("sizes", "samples"), [((5, 16), 1008), (16, 400), (5, 4000)], ids=str)
def test_a_reader_blind_to_context_tokens_answers_nine_of_ten_of_the_published_questions(sizes, samples) -> None:
    task = JointRecall(contexts=sizes, keys=sizes)
    accuracy = [np.mean(matched(*sample)) for sample in blocks_of(task, samples)]
    assert np.mean(accuracy) == pytest.approx(task.controls()["context_token_blind"], abs=4 * np.std(accuracy) / np.sqrt(samples))


def test_a_matcher_of_blocks_climbs_from_slot_to_slot() -> None:
    task = JointRecall(contexts=4, keys=3, values=4)
    right = np.array([matched(*sample) for sample in blocks_of(task, 2000)]).reshape(2000, 4, 3).mean(axis=1)
    expected = block_accuracy(4, 3, 4).mean(axis=0)
    np.testing.assert_array_less(abs(right.mean(axis=0) - expected), 4 * right.std(axis=0) / np.sqrt(2000))
    assert (np.diff(expected) > 0).all()
    np.testing.assert_allclose(block_accuracy(16, 16, 16).mean(axis=0)[:4], [0.3189, 0.8194, 0.9864, 0.9991], atol=5e-5)


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
