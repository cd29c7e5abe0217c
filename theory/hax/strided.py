"""(n - t + 1) R_v(e_t) <= b_s + u_t b_kv: what a fixed pattern knows at the t-th question, even if all questions together see everything.

`hax.prefix_wall` says nothing of a strided pattern, i - j a multiple of s: over the questions it sees every position of the table. But each
question sees few, the same whatever it asks.

Setting. The questions are `triples` (context, key, answer or blank) in an order that is uniformly random and independent of the answers, as
is the order of the table. Let u_t be the number of positions before the t-th question, in both halves, that its context or its key sees;
b_s and b_kv are those of `hax.prefix_wall`, b_s as it stands before this question; e_t is the error at it. R_v is that of `hax.per_query`.

**Proof.** Condition on the order of the table, on the first t - 1 questions with their answers, and on coins. The n - t + 1 answers that
are still open are independent and uniform, and the t-th question asks for each of them with the same probability, independently of all
else. Let U be the state before it and the entries of the u_t positions: they are fixed beforehand, so U is the same whichever question
comes, and the guess is a function of U and the question. Let e(x) be the error if it asks for x. With b_s + u_t b_kv >= H(U), as in
`recall.wall`,

    b_s + u_t b_kv >= sum_x I(U; V_x) >= sum_x R_v(e(x)) >= (n - t + 1) R_v(e_t),

the last two by Fano's inequality and the convexity of R_v. The mean over what was conditioned on is, by convexity again, no less. []

It needs a question to be complete in itself, context and key. In the paper's layout the context comes once for a block of keys, and only
the open entries of this context can be asked for, so the factor is what is open in the block: at most n_k.

With s >= 2 the two tokens at i and i + 1 see floor(i / s) + floor((i + 1) / s) positions before i, at most 2 ceil(T / s). The same u_t b_kv
bits may serve every question, so the walls of several questions do not add up: where two neighbouring residue classes always hold the whole
table, in entries of n log2 v / u_1 bits, all questions are answered. But no fixed pattern with b_s + u_1 b_kv < n log2 v is sure of the
first answer.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ...kernels import Strided, pattern_mask
from ...tasks import IGNORE, JointRecall, Stream, certified_bits
from ..claim import Claim, Evidence, Scale
from .reach import TASK, VALUES, WORD

STRIDES = (6, 16, 32, 64, 128, 256)
"""even, as the code below needs it; with the first it knows the whole table and no more"""


def before_questions(stride: int, task: JointRecall) -> Bool[np.ndarray, "questions length"]:
    """Positions before each question that its context or its key sees. A size of `task` must be one, in triples."""
    key_at = np.flatnonzero(task.sample(Stream(0, "test"), 0, 1).targets[0] != IGNORE)
    mask = pattern_mask(Strided(stride), task.length)[0, 0].numpy()
    seen: Bool[np.ndarray, "questions length"] = (mask[key_at - 1] | mask[key_at]) & (np.arange(task.length) < key_at[:, None] - 1)
    return seen


def known_answers(seen: Bool[np.ndarray, "questions length"], stride: int, up_to_sep: int, answers: int) -> Int64[np.ndarray, " questions"]:
    """How many of the answers stand at the positions seen before each question, by a code that writes one to each position up to SEP.

    Position j holds answer 2 floor(j / s) + j mod 2: each residue class holds every other answer, and two neighbouring ones hold all. As
    in `hax.prefix_wall` the code may know an answer before it is shown.
    """
    position = np.arange(up_to_sep)
    held = 2 * (position // stride) + position % 2
    stands = (held[:, None] == np.arange(answers)).astype(np.int64)
    known: Int64[np.ndarray, " questions"] = (seen[:, :up_to_sep] @ stands > 0).sum(axis=1)
    return known


def certified_at(known: Int64[np.ndarray, " questions"], answers: int) -> Float64[np.ndarray, " questions"]:
    """(n - t + 1) R_v(e_t) where so many of all answers are known at the t-th question: on average the same fraction of the open ones."""
    right = known / answers + (1 - known / answers) / VALUES
    pairs = zip(right, range(answers, 0, -1), strict=True)
    return np.array([certified_bits(float(accuracy), stored=float(still_open), values=VALUES) for accuracy, still_open in pairs])


def _check(scale: Scale, seed: int) -> Evidence:
    """Evidence on the paper's largest table in triples: a state alone, which keeps what is open; entries alone; u_t against 2 ceil(T / s)."""
    del scale, seed  # one size, and nothing is drawn
    task = replace(TASK, layout="triples")
    still_open = np.arange(task.answers, 0, -1)
    by_state = certified_at(np.full(task.answers, task.answers), task.answers)
    by_entries, positions = [], []
    for stride in STRIDES:
        seen = before_questions(stride, task)
        positions.append(seen.sum(axis=1))
        by_entries.append(certified_at(known_answers(seen, stride, task.cut + 1, task.answers), task.answers))
    wall = WORD * np.array([still_open, *positions])
    tight = np.zeros(wall.shape, np.bool_)
    tight[0], tight[1, 0] = True, True
    most = np.array([2 * -(-task.length // stride) for stride in STRIDES])
    return Evidence(
        quantity="bits certified at each question by a state, by entries of each stride; then earlier positions that it sees",
        measured=np.concatenate([[by_state], by_entries, positions]),
        at_most=np.concatenate([wall, np.broadcast_to(most[:, None], np.shape(positions))]),
        at_least=np.concatenate([np.where(tight, wall, 0), np.zeros(np.shape(positions))]),
        tolerance=1e-9,
        arrays={"strides": np.array(STRIDES), "certified": np.array(by_entries), "wall": wall[1:]},
    )


STRIDED = Claim(
    name="hax.strided",
    statement=(
        "Where questions are triples in an order that is random and independent of the answers, attention whose sets are a function of "
        "the position alone, b_kv bits an entry over all layers, beside a state of b_s bits, answers the t-th of n questions over v "
        "values with error e_t <= 1 - 1/v only if b_s + u_t b_kv >= (n - t + 1) (log2 v - h2(e_t) - e_t log2(v-1)), u_t the earlier "
        "positions that its context or its key sees: with a stride of s at most 2 ceil(T / s)."
    ),
    source="new; builds on hax.per_query",
    standing="new",
    check=_check,
)
