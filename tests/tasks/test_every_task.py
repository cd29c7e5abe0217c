"""What holds for every task, whoever wrote it: one test for each promise of `Task`."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import STRATEGIES

from recall_lab.tasks import AR, IGNORE, MQAR, TASKS, Batch, Induction, JointRecall, MQARUpdate, NestedRecall, SelectiveCopy, Stream, Task
from recall_lab.tasks.bigram import Bigram

RECORD: list[tuple[Task, str]] = [
    (AR(), "2b18a3db51e3fca38c32c9d2871f562940f25008eea33452c5b8684e687bd6bf"),
    (AR(gap=(0, 9), filler="any", iid_values=True), "dd4e819feca0cd9e51fcc7ad5468a61f7515517b0d242675686f569b06cc2cb1"),
    (MQAR(), "93f7ac88b75494ec1d1e63344fc12a75859027de66991f27160dfb1792a27eea"),
    (MQAR(order="shuffled", filler="any", iid_values=True), "9aa5ca5b15778eb9285b597e8901a88686faff0b813f97ac406dc3404737fa29"),
    (MQAR(layout="scattered", filler="blank"), "a3a301dbeb15c6859d5e8f4dcff400938eaa2094c09682cf8a0cca538f36209d"),
    (MQAR(queries=3, repeat_queries=True), "daac95bbe52640ef11dcac277001f5074c78d33452db435260328b24a4cbb23c"),
    (MQAR.zoology(), "743f1a7d9cf17301dc04374ccf47f35929e8078c41aacfbf53fd461170d71267"),
    (MQARUpdate(), "1892c303fec8312d2c536f477ef38baaf0e85dcdb1af7c164049f34d4b56d258"),
    (Bigram(), "f2006c97854002b49fe962cafef810aeb69d9977e2649b1b0c1303f64f9a9743"),
    (Induction(), "303176c4278a6df2465b022f1977ffaac611eefad694d28de8c34f1fcab4c1c4"),
    (JointRecall(), "551f02b95e082ccaab01299a45ed505753f464ef42d34dd7ff2f64f3093ff1ff"),
    (NestedRecall(), "ce8356f68c47202c043713c0701ed05d01d35049754c8c48e693b1f4368f0945"),
    (SelectiveCopy(), "2e2fd58a037b0aa40033d1c18e84424f9a71d4009067cb9d36b69d109fafb93f"),
]
"""tasks with the SHA-256 of their first 64 samples; where it changes, so must the task's `version`"""

every_task = pytest.mark.parametrize("name", sorted(TASKS))
some = settings(max_examples=30, deadline=None)


def answered(task: Task, batch: Batch) -> np.ndarray:
    """The oracle's targets; where filler may repeat a key unasked, only at labelled positions."""
    solved = task.solve(batch.tokens)
    return np.where(batch.targets == IGNORE, IGNORE, solved) if getattr(task, "filler", None) == "zoology" else solved


def test_every_task_has_a_strategy() -> None:
    assert STRATEGIES.keys() == TASKS.keys()


@every_task
@given(data=st.data(), seed=st.integers(0, 2**32))
@some
def test_the_oracle_reads_every_target_off_the_tokens(name: str, data: st.DataObject, seed: int) -> None:
    task = data.draw(STRATEGIES[name])
    batch = task.sample(Stream(seed), 0, 40)
    np.testing.assert_array_equal(answered(task, batch), batch.targets)


@pytest.mark.slow
@every_task
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_oracle_reads_ten_thousand_samples_of_twenty_configurations(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    batch = task.sample(Stream(0, "test"), 0, 10_000)
    np.testing.assert_array_equal(answered(task, batch), batch.targets)


@every_task
@given(data=st.data(), start=st.integers(0, 2**62), cut=st.integers(0, 6))
@some
def test_a_sample_is_the_same_in_whatever_batch_it_comes(name: str, data: st.DataObject, start: int, cut: int) -> None:
    task, stream = data.draw(STRATEGIES[name]), Stream(0)
    whole = task.sample(stream, start, 6)
    parts = task.sample(stream, start, cut), task.sample(stream, start + cut, 6 - cut)
    for together, apart in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(together, np.concatenate(apart))


@every_task
def test_a_sample_does_not_depend_on_how_many_are_generated_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[name]()
    whole = task.sample(Stream(1), 3, 700)
    for rows, block_bytes in ((500, 1), (64, 1), (64, 2**20)):
        monkeypatch.setattr("recall_lab.tasks.task.CHUNK", rows * task.length)
        monkeypatch.setattr("recall_lab.tasks.task.BLOCK_BYTES", block_bytes)
        for one, other in zip(whole, task.sample(Stream(1), 3, 700), strict=True):
            np.testing.assert_array_equal(one, other)


@every_task
@given(data=st.data())
@some
def test_samples_have_the_shape_and_the_alphabet_that_the_task_states(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    batch = task.sample(Stream(3), 0, 40)
    for array in batch:
        assert array.shape == (40, task.length)
        assert array.dtype == np.int32
        assert array.flags.c_contiguous
    asked = batch.targets != IGNORE
    assert batch.tokens.min() >= 0
    assert batch.tokens.max() < task.vocab_size
    assert asked.sum(axis=1).max() == task.answers
    assert task.answers >= 1
    assert batch.targets[asked].min() >= 0
    assert np.ptp(batch.targets[asked]) < task.values


@every_task
@given(data=st.data())
@some
def test_only_questions_cross_the_cut(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    batch = task.sample(Stream(4), 0, 20)
    crossing = task.crossing(batch.tokens)
    assert 0 < task.cut <= task.length
    assert not crossing[task.solve(batch.tokens) == IGNORE].any()


@every_task
@given(data=st.data())
@some
def test_strata_are_whole_numbers_from_zero_on(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    tokens, targets = task.sample(Stream(5), 0, 10)
    stratum = task.stratum(tokens)
    assert stratum.shape == tokens.shape
    assert stratum[targets != IGNORE].min() >= 0


@every_task
@given(data=st.data())
@some
def test_a_task_survives_json(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    again = TASKS[name].from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task
    for one, other in zip(task.sample(Stream(6), 0, 3), again.sample(Stream(6), 0, 3), strict=True):
        np.testing.assert_array_equal(one, other)


@every_task
def test_a_misspelt_field_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="lenght"):
        TASKS[name].from_dict({"lenght": 32})


@every_task
def test_a_single_answer_value_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="values must"):
        TASKS[name](values=1)


@every_task
def test_samples_that_were_lengthened_or_cut_are_refused_for_their_length(name: str) -> None:
    task = TASKS[name]()
    tokens = task.sample(Stream(0), 0, 2).tokens
    for wrong in (np.hstack([tokens[:, :1], tokens]), np.hstack([tokens, tokens[:, -1:]]), tokens[:, 1:], tokens[:, :-1]):
        with pytest.raises(ValueError, match=f"tokens must have length={task.length} columns, got {wrong.shape[1]}"):
            task.solve(wrong)


@every_task
@given(data=st.data())
@some
def test_controls_are_accuracies_and_chance_is_one_in_the_values(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    controls = task.controls()
    assert controls["chance"] == pytest.approx(1 / task.values)
    assert all(0 <= accuracy <= 1 + 1e-12 for accuracy in controls.values()), controls


@every_task
@given(data=st.data())
@some
def test_answer_bits_never_exceed_those_of_independent_answers(name: str, data: st.DataObject) -> None:
    task = data.draw(STRATEGIES[name])
    assert 0 <= task.answer_bits <= task.stored * np.log2(task.values) + 1e-9
    assert 0 <= task.collision_bound(100, 100) <= 1


@every_task
def test_streams_of_other_seeds_and_splits_share_no_sample(name: str) -> None:
    task = TASKS[name]()
    streams = [Stream(0, "train"), Stream(0, "validation"), Stream(0, "test"), Stream(1, "train")]
    rows = [row.tobytes() for stream in streams for row in task.sample(stream, 0, 16).tokens]
    assert task.collision_bound(len(rows), len(rows)) < 1e-3, "the default task is too small for this test"
    assert len(set(rows)) == len(rows)


@every_task
def test_a_sample_is_drawn_as_a_line_with_a_word_for_each_token(name: str) -> None:
    task = TASKS[name]()
    line = task.describe(task.sample(Stream(0), 0, 1).tokens[0])
    assert "\n" not in line
    assert len(line.split()) == task.length


def test_every_task_is_on_record() -> None:
    assert {task.name for task, _ in RECORD} == TASKS.keys()


@pytest.mark.parametrize("task, recorded", RECORD, ids=lambda entry: entry[:8] if isinstance(entry, str) else entry.name)
def test_the_first_samples_are_those_on_record(task: Task, recorded: str) -> None:
    batch = task.sample(Stream(0), 0, 64)
    found = hashlib.sha256(b"".join(array.astype("<i4").tobytes() for array in batch)).hexdigest()
    assert found == recorded, f"{task} gives other samples than on record; raise its version if this is meant, and record {found}"
