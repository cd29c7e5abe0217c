"""A block that keeps a value for every key, with what is selective as small as it can be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.models import broken_contract
from recall_lab.tasks import IGNORE, MQAR, MQARUpdate, Stream
from recall_lab.theory import CLAIMS, key_value_construction
from recall_lab.theory.constructions import slots
from recall_lab.theory.constructions.key_value import MEMORIES
from recall_lab.theory.constructions.mqar import answered

every_memory = pytest.mark.parametrize("memory", MEMORIES)
REPLACING = [name for name, memory in MEMORIES.items() if memory.replaces]
SELECTIVE = {"adding": (), "sharing": ("B", "C"), "replacing": ("dt",), "replacing_heads": ("dt",)}
STATE = {"adding": 2 * 5 * 9, "sharing": 19 * 6, "replacing": 2 * 5 * 10, "replacing_heads": 2 * 5 * 9}
"""of 5 keys and 9 values"""

sizes = st.integers(1, 6).flatmap(lambda pairs: st.tuples(st.just(pairs), st.integers(pairs, 8), st.integers(max(2, pairs), 12)))
mqar_tasks = sizes.flatmap(
    lambda size: st.builds(
        MQAR,
        length=st.integers(4 * size[0], 4 * size[0] + 30),
        pairs=st.just(size[0]),
        keys=st.just(size[1]),
        values=st.just(size[2]),
        layout=st.sampled_from(["packed", "scattered"]),
        filler=st.sampled_from(["own", "blank"]),
        iid_values=st.booleans(),
    )
)


@given(task=mqar_tasks, memory=st.sampled_from(list(MEMORIES)))
@settings(max_examples=40)
def test_every_question_is_answered_whatever_the_task(task: MQAR, memory: str) -> None:
    assert answered(key_value_construction(task, memory), task.sample(Stream(0, "test"), 0, 20)).all()


@every_memory
@pytest.mark.parametrize(
    "task",
    [
        MQAR(length=64, pairs=4, keys=6, values=8, queries=25, repeat_queries=True),
        MQAR(length=64, pairs=8, keys=9, values=12, filler="any"),
        MQAR.zoology(vocab_size=32, input_seq_len=64, num_kv_pairs=8, random_non_queries=False),
    ],
    ids=["repeated", "filler of any kind", "zoology"],
)
def test_repeated_questions_other_filler_and_other_token_ids_change_nothing(task: MQAR, memory: str) -> None:
    assert answered(key_value_construction(task, memory), task.sample(Stream(0, "test"), 0, 50)).all()


@pytest.mark.parametrize("memory", REPLACING)
@given(keys=st.integers(1, 5), values=st.integers(2, 6), events=st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 5))))
@settings(max_examples=30)
def test_what_replaces_knows_the_latest_value_however_writes_and_questions_are_mixed(memory, keys, values, events) -> None:
    task = MQARUpdate(length=4, pairs=1, updates=0, keys=keys, values=values)
    held: dict[int, int] = {}
    tokens, targets = [], []
    for key, value in ((key % keys, value) for key, value in events):
        if value is not None:
            held[key] = keys + value % values
            tokens += [key, held[key]]
            targets += [IGNORE, IGNORE]
        elif key in held:
            tokens.append(key)
            targets.append(held[key])
            if not len(tokens) % 3:  # sometimes filler, sometimes the next event at once
                tokens.append(keys + values)
                targets.append(IGNORE)
    asked = np.array(targets) != IGNORE
    if asked.any():
        said = key_value_construction(task, memory)(torch.tensor([tokens]))[0].argmax(dim=1).numpy()
        np.testing.assert_array_equal(said[asked], np.array(targets)[asked])


@every_memory
def test_token_by_token_it_is_the_same_in_a_state_as_stated(memory: str) -> None:
    task = MQARUpdate(length=32, pairs=3, updates=2, keys=5, values=9)
    model = key_value_construction(task, memory)
    assert broken_contract(model, torch.from_numpy(task.sample(Stream(0, "test"), 0, 4).tokens).long()) is None
    assert {model.state_size(length) for length in (1, 31, 10**6)} == {MEMORIES[memory].state(5, 9)} == {STATE[memory]}


@every_memory
def test_no_more_is_selective_than_is_said(memory: str) -> None:
    model = key_value_construction(MQAR(length=32, pairs=3, keys=5, values=9), memory)
    assert model.config.mixer_config.selective == SELECTIVE[memory]


@pytest.mark.parametrize("memory", ["adding", "sharing"])
def test_what_adds_has_nothing_at_all_for_another_value(memory: str) -> None:
    task = MQAR(length=64, pairs=8, keys=8, values=16)
    batch = task.sample(Stream(0, "test"), 0, 20)
    logits = key_value_construction(task, memory)(torch.from_numpy(batch.tokens).long())
    best = logits[torch.from_numpy(batch.targets != IGNORE)].topk(2, dim=1).values
    assert best[:, 0].min() > 0.1
    assert (best[:, 1] == 0).all()


def test_an_unknown_memory_is_refused() -> None:
    with pytest.raises(ValueError, match=r"memory must be one of adding, .*, got 'delta'"):
        key_value_construction(MQAR(length=32, pairs=4), "delta")


ZOOLOGY = {"length": 64, "pairs": 8, "keys": 16, "values": 16, "filler": "zoology"}


@every_memory
@pytest.mark.parametrize(
    "task, refusal",
    [
        (MQAR(**ZOOLOGY), "filler must be own, blank or any .*, got 'zoology'"),
        (MQARUpdate(**ZOOLOGY), "filler must be own, blank or any .*, got 'zoology'"),
        (MQAR(length=64, pairs=4, queries=20, repeat_queries=True, filler="any"), "own or blank with repeat_queries .*, got 'any'"),
    ],
    ids=["mqar", "mqar_update", "repeated"],
)
def test_tasks_whose_filler_would_be_stored_are_refused(task: MQAR | MQARUpdate, refusal: str, memory: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        key_value_construction(task, memory)


@pytest.mark.parametrize("constant, fault", [("GAIN", 0.1), ("BETA", 0.1)])
def test_weights_that_are_not_steep_break_the_claim(constant: str, fault: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, constant, fault)
    assert not CLAIMS["mamba.key_value"].check("quick", seed=0).holds


def test_a_sharing_memory_that_is_said_to_replace_breaks_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEMORIES, "sharing", MEMORIES["sharing"]._replace(replaces=True))
    assert not CLAIMS["mamba.key_value"].check("quick", seed=0).holds
