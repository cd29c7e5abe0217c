"""Random tasks for hypothesis, small enough to be sampled hundreds of times; one strategy per task name."""

from hypothesis import strategies as st

from recall_lab.tasks import AR, MQAR, Induction, JointRecall, MQARUpdate, NestedRecall, SelectiveCopy, Task
from recall_lab.tasks.bigram import Bigram

STRATEGIES: dict[str, st.SearchStrategy[Task]] = {}


@st.composite
def mqar_tasks(draw: st.DrawFn) -> MQAR:
    pairs, iid_values, layout = draw(st.integers(1, 6)), draw(st.booleans()), draw(st.sampled_from(["packed", "scattered"]))
    fields = {
        "pairs": pairs,
        "keys": draw(st.integers(pairs, pairs + 6)),
        "values": draw(st.integers(2 if iid_values else max(2, pairs), 16)),
        "iid_values": iid_values,
        "layout": layout,
        "fillers": draw(st.integers(1, 3)),
    }
    if layout == "scattered":
        filler = draw(st.sampled_from(["own", "blank"]))
        fields["length"] = draw(st.integers(3 * pairs, 3 * pairs + 20))
    else:
        filler = draw(st.sampled_from(["own", "blank", "any", "zoology"]))
        fields["repeat_queries"] = draw(st.booleans())
        fields["queries"] = draw(st.none() | st.integers(1, 2 * pairs if fields["repeat_queries"] else pairs))
        tight = 2 * (pairs + (fields["queries"] or pairs))
        fields["length"] = draw(st.integers(tight, tight + 20))
        fields["power"] = draw(st.sampled_from([0.01, 0.5, 1.0, 3.0]))
        fields["order"] = draw(st.sampled_from(["race", "shuffled"]))
    return MQAR(**fields, filler=filler, blank_first=filler != "own" and draw(st.booleans()))


@st.composite
def ar_tasks(draw: st.DrawFn) -> AR:
    pairs, iid_values = draw(st.integers(1, 6)), draw(st.booleans())
    return AR(
        pairs=pairs,
        keys=draw(st.integers(pairs, pairs + 6)),
        values=draw(st.integers(2 if iid_values else max(2, pairs), 16)),
        gap=draw(st.integers(0, 9) | st.tuples(st.integers(0, 4), st.integers(4, 9))),
        iid_values=iid_values,
        filler=draw(st.sampled_from(["own", "blank", "any"])),
        fillers=draw(st.integers(1, 3)),
    )


@st.composite
def mqar_update_tasks(draw: st.DrawFn) -> MQARUpdate:
    pairs = draw(st.integers(1, 6))
    updates = draw(st.integers(0, pairs))
    tight = 2 * (2 * pairs + updates)
    return MQARUpdate(
        length=draw(st.integers(tight, tight + 20)),
        pairs=pairs,
        updates=updates,
        keys=draw(st.integers(pairs, pairs + 6)),
        values=draw(st.integers(max(2, pairs + updates), 16)),
        power=draw(st.sampled_from([0.01, 0.5, 1.0, 3.0])),
        order=draw(st.sampled_from(["race", "shuffled"])),
        filler=draw(st.sampled_from(["own", "blank", "any", "zoology"])),
        fillers=draw(st.integers(1, 3)),
    )


ranges = st.integers(1, 4) | st.tuples(st.integers(1, 3), st.integers(0, 2)).map(lambda ends: (ends[0], sum(ends)))


def joint_recall_tasks() -> st.SearchStrategy[JointRecall]:
    return st.builds(
        JointRecall,
        contexts=ranges,
        keys=ranges,
        values=st.integers(2, 20),
        layout=st.sampled_from(["paper", "triples"]),
        reveal=st.booleans(),
    )


def nested_recall_tasks() -> st.SearchStrategy[NestedRecall]:
    size = st.integers(1, 3)
    return st.builds(NestedRecall, levels=st.tuples(size, size), keys=size, values=st.integers(2, 20))


@st.composite
def selective_copy_tasks(draw: st.DrawFn) -> SelectiveCopy:
    content = draw(st.integers(1, 6))
    return SelectiveCopy(
        length=draw(st.integers(2 * content + 1, 2 * content + 20)),
        values=draw(st.integers(2, 20)),
        content=content,
        noise=draw(st.integers(0, 3)),
        placement=draw(st.sampled_from(["scattered", "start", "mad"])),
    )


@st.composite
def induction_tasks(draw: st.DrawFn) -> Induction:
    triggers = draw(st.integers(1, 5))
    return Induction(length=draw(st.integers(2 * triggers + 1, 2 * triggers + 20)), values=draw(st.integers(2, 20)), triggers=triggers)


@st.composite
def bigram_tasks(draw: st.DrawFn) -> Bigram:
    length = draw(st.integers(3, 24))
    return Bigram(length=length, values=draw(st.integers(length - 1, length + 20)))


STRATEGIES["mqar"] = mqar_tasks()
STRATEGIES["ar"] = ar_tasks()
STRATEGIES["mqar_update"] = mqar_update_tasks()
STRATEGIES["joint_recall"] = joint_recall_tasks()
STRATEGIES["nested_recall"] = nested_recall_tasks()
STRATEGIES["selective_copy"] = selective_copy_tasks()
STRATEGIES["induction"] = induction_tasks()
STRATEGIES["bigram"] = bigram_tasks()
