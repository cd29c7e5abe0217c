"""`recall-lab train`: one run."""

from .options import Json, Seed, Texts
from .printing import print_json, print_table, say


def train(
    *,
    task: str = "mqar",
    mixer: str = "attention",
    set: Texts | None = None,
    seed: Seed = 0,
    json: Json = False,
) -> int:
    """Train one model on one task.

    Nothing is kept: progress goes to stderr, the result to stdout.

    Args:
        task: a name that ls tasks lists
        mixer: a name that ls mixers lists, or the import path package.module:Class of your own
        set: a field, as task.pairs=8, mixer.width=32, model.depth=1, optimiser.learning_rate=1e-2 or budget.steps=200; may be repeated
        seed: of the weights and of the training stream

    """
    from .. import context_use
    from ..capacity import points
    from ..loading import parse_setting
    from ..report import COLUMNS, sentence, table_rows
    from ..run import single_run
    from ..train import train as train_run

    run = single_run(task, mixer, dict(map(parse_setting, set or [])), seed)
    result = train_run(
        run, lambda look: say(f"step {look.step} of {run.budget.steps}: loss {look.loss:.3f}, validation accuracy {look.accuracy:.3f}")
    )
    if json:
        print_json({"hash": run.hash, "run": run.to_dict(), "result": result})
        return 0
    found = points([run], {run.hash: result})
    print_table(COLUMNS, table_rows(found))
    if uses := context_use.context_uses(found, [run], {run.hash: result}):
        print_table(context_use.COLUMNS, context_use.table_rows(uses))
    print(sentence(found))
    return 0
