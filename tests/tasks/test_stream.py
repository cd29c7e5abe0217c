"""Words are addressed by sample, and no two streams share them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_lab.tasks import Stream
from recall_lab.tasks.stream import canonical_json, philox_words


@given(start=st.integers(0, 2**63 - 20), cut=st.integers(0, 9), per_sample=st.integers(0, 11))
@settings(max_examples=60, deadline=None)
def test_the_words_of_a_sample_are_the_same_in_every_slice(start: int, cut: int, per_sample: int) -> None:
    whole = philox_words({"task": "t"}, start, 9, per_sample)
    parts = philox_words({"task": "t"}, start, cut, per_sample), philox_words({"task": "t"}, start + cut, 9 - cut, per_sample)
    assert whole.shape == (9, per_sample)
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_words_are_those_of_philox_under_the_hash_of_the_identity() -> None:
    # the key is SHA-256 of '{"a":1}', written out so that it cannot drift with the code
    key = int.from_bytes(bytes.fromhex("015abd7f5cc57a2dd94b7590f04ad808"), "little")
    np.testing.assert_array_equal(philox_words({"a": 1}, 3, 1, 4)[0], np.random.Philox(key=key, counter=3).random_raw(4))


def test_streams_share_no_word() -> None:
    identities = [{"seed": seed, "split": split} for seed in (0, 1) for split in ("train", "validation", "test")]
    drawn = np.concatenate([philox_words(identity, 0, 5_000, 4).ravel() for identity in identities])
    assert len(np.unique(drawn)) == len(drawn)


def test_samples_of_one_stream_share_no_word() -> None:
    drawn = philox_words({"a": 1}, 0, 4_000, 7).ravel()
    assert len(np.unique(drawn)) == len(drawn)


def test_the_order_of_fields_does_not_matter() -> None:
    assert canonical_json({"b": 1, "a": [2.5, "x"]}) == canonical_json({"a": [2.5, "x"], "b": 1}) == '{"a":[2.5,"x"],"b":1}'


@pytest.mark.parametrize("start, count", [(-1, 1), (0, -1), (2**63, 1)])
def test_samples_outside_the_stream_are_refused(start: int, count: int) -> None:
    with pytest.raises(ValueError, match="samples must lie in 0"):
        philox_words({}, start, count, 4)


def test_an_unknown_split_is_refused() -> None:
    stream = Stream(0)
    object.__setattr__(stream, "split", "dev")  # past the type checks of the test run, as a user without them would get it
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got 'dev'"):
        stream.__post_init__()


def test_whole_numbers_of_numpy_name_the_stream_that_those_of_python_name() -> None:
    assert canonical_json({"pairs": np.int64(2)}) == canonical_json({"pairs": 2})
    with pytest.raises(TypeError):
        canonical_json({"pairs": object()})
