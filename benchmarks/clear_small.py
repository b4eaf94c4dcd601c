r"""Does curation help? The experiment of Chen & Mueller 2024 in small, on two generated tasks.

    python benchmarks/serve.py JUDGE.gguf --port 8099 --slots 4
    python -m benchmarks.clear_small tune --model-file SMALL.gguf --out DIR
    python -m benchmarks.clear_small measure --model-file SMALL.gguf --out DIR \
        --base-url http://127.0.0.1:8099/v1 --model NAME
    python -m benchmarks.clear_small report DIR

A small model is trained on rows of which 20, 40 or 60 % have a wrong answer, and on what
curation makes of them, and answers rows that it never saw. Every arm has as many updates as the
full set (`--equal epochs`: as many epochs). Without options it is the run that README shows.
`measure` notes every arm as soon as it is done; the same command goes on where it was stopped, and
several workers share a folder (`--worker 1/6` to `--worker 6/6`). `score` asks for the confidences
alone, so that no worker waits. `tune` chooses learning rate and epochs on other rows without noise;
`measure` takes what it chose.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.clear_small_arms import ARMS, MAIN_ARMS, ZERO
from benchmarks.clear_small_judge import Endpoint, scores_of
from benchmarks.clear_small_report import write_report
from benchmarks.clear_small_tasks import SHORT, TASKS, rows_of
from clear_pipeline.finetune.lora import Lora
from clear_pipeline.stages.score import Score

if TYPE_CHECKING:
    from benchmarks.clear_small_model import SmallModel


def _measure(args: argparse.Namespace) -> None:
    from benchmarks.clear_small_run import Sizes, Worker, say
    from benchmarks.clear_small_tune import at_edge, chosen

    settings = chosen(args.out, _lora(args))
    number, workers = args.worker
    say(f"worker {number} of {workers}: rate {settings.peak_rate:g}, {settings.epochs} epochs")
    if edge := at_edge(args.out, settings):
        say(f"at the edge of what was tried: {', '.join(edge)}; `tune` can try more")
    model = _model(args)
    say(f"worker {number}: model read")
    worker = Worker(
        model,
        _endpoint(args),
        Score(preset=args.preset),
        sizes=Sizes(
            args.train_rows,
            min(args.asked_rows, args.test_rows),
            args.test_rows,
            args.answer_tokens,
            tuple(args.noise),
        ),
        training=settings,
        equal=args.equal,
        folder=args.out,
        number=number,
    )
    with closing(worker):
        worker.run(args.seeds, args.tasks, args.arms, workers=workers)


def _score(args: argparse.Namespace) -> None:
    for task in args.tasks:
        rows, _ = rows_of(task, args.train_rows, args.test_rows)
        scores_of(task, rows, Score(preset=args.preset), _endpoint(args), args.out)
        print(f"{task}: scored", flush=True)


def _tune(args: argparse.Namespace) -> None:
    from benchmarks.clear_small_tune import tune

    grid = list(product(sorted(args.epochs_tried, reverse=True), args.rates))
    tune(_model(args), _lora(args), args.out, worker=args.worker, tasks=args.tasks,
         max_tokens=args.answer_tokens, grid=grid, rows=args.train_rows)  # fmt: skip


def _report(args: argparse.Namespace) -> None:
    print(write_report(args.out, args.picture))


def _model(args: argparse.Namespace) -> SmallModel:
    from benchmarks.clear_small_model import SmallModel

    return SmallModel(args.model_file, rows_at_once=args.rows_at_once, numbers=args.numbers)


def _endpoint(args: argparse.Namespace) -> Endpoint:
    return Endpoint(args.base_url, args.model, args.in_flight)


def _lora(args: argparse.Namespace) -> Lora:
    return Lora(
        base=str(args.model_file),
        method="partial" if args.top_layers else "lora",
        top_layers=args.top_layers or None,
        learning_rate=args.learning_rate,
        epochs=args.epochs,
        batch_size=args.batch_size,
        checks_per_epoch=1,
        max_tokens=256,
    )


def _folder(text: str) -> Path:
    path = Path(text)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _share(text: str) -> tuple[int, int]:
    number, _, workers = text.partition("/")
    if not 1 <= int(number) <= int(workers):
        raise argparse.ArgumentTypeError(f"{text}: as in 1/6")
    return int(number), int(workers)


def _arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    measure, score, tune, report = (
        commands.add_parser(name) for name in ("measure", "score", "tune", "report")
    )
    for command, run in ((measure, _measure), (score, _score), (tune, _tune), (report, _report)):
        command.set_defaults(run=run)
    for command in (measure, score, tune):
        command.add_argument("--out", type=_folder, required=True, help="of the results")
        command.add_argument("--tasks", nargs="+", choices=tuple(TASKS), default=SHORT)
        command.add_argument("--train-rows", type=int, default=160, help="per task")
        command.add_argument("--test-rows", type=int, default=1000, help="per task")
    for command in (measure, score):
        command.add_argument("--base-url", required=True, help="of the model that judges")
        command.add_argument("--model", required=True, help="its name at that server")
        command.add_argument("--in-flight", type=int, default=4, help="rows at once")
        command.add_argument("--preset", default="fast", help="of the confidence")
    for command in (measure, tune):
        command.add_argument("--model-file", type=Path, required=True, help="GGUF to train")
        command.add_argument("--worker", type=_share, default=(1, 1), help="which of how many: 1/6")
        command.add_argument("--batch-size", type=int, default=8)
        command.add_argument("--learning-rate", type=float, default=1e-3, help="without `tune`")
        command.add_argument("--epochs", type=int, default=4, help="without `tune`")
        command.add_argument("--rows-at-once", type=int, default=250, help="that are answered")
        command.add_argument(
            "--top-layers",
            type=int,
            default=8,
            help="train all weights of so many; 0 trains low-rank matrices in all layers",
        )
        command.add_argument("--answer-tokens", type=int, default=24, help="at most")
        command.add_argument("--numbers", choices=("f32", "bf16"), default="bf16")
    measure.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    measure.add_argument("--noise", type=int, nargs="+", default=[20, 40, 60], help="percent")
    measure.add_argument("--arms", nargs="+", choices=(ZERO, *ARMS), default=MAIN_ARMS)
    measure.add_argument("--asked-rows", type=int, default=500, help="per task, of the test rows")
    measure.add_argument("--equal", choices=("steps", "epochs"), default="steps")
    tune.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3])
    tune.add_argument("--epochs-tried", type=int, nargs="+", default=[4])
    report.add_argument("out", type=Path, help="folder of the results, or a file with all arms")
    report.add_argument("--picture", type=Path, help="SVG to write")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    """Run a command."""
    args = _arguments(given)
    args.run(args)


if __name__ == "__main__":
    main()
