"""Rounds of CLEAR (Chen & Mueller 2024) until one gains too little; resumable at every step.

The paper's pass is one round: a model is trained on the rows that the filter keeps and writes the
candidates, and the curated set trains the final model. The next round begins with the rows as the
one before left them, each with its newest response, and its candidates are by that final model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from clear_pipeline import __version__
from clear_pipeline.claim import digested
from clear_pipeline.durable import file_sha256, write_text_atomically
from clear_pipeline.errors import RunMismatchError, UsageError
from clear_pipeline.estimate import QUICK
from clear_pipeline.llm.pricing import prices
from clear_pipeline.llm.settings import ModelSettings
from clear_pipeline.load import discover
from clear_pipeline.loop.measure import TUNED, arm_of
from clear_pipeline.loop.picture import picture
from clear_pipeline.loop.progress import RoundProgress
from clear_pipeline.loop.record import RECORD, LoopRecord, read_loop
from clear_pipeline.loop.round import RUN, TEST, Consent, Round
from clear_pipeline.loop.settings import LoopConfig
from clear_pipeline.loop.spend import AGREED, spent_beside
from clear_pipeline.loop.stop import ended
from clear_pipeline.loop.training import has_begun
from clear_pipeline.manifest import MANIFEST, Manifest
from clear_pipeline.model_pool import Shared
from clear_pipeline.pipeline import Pipeline
from clear_pipeline.remote import local_directory
from clear_pipeline.stages.base import Progress, SilentProgress
from clear_pipeline.store import CACHE, Store

PICTURE: Final = "loop.svg"
_BEFORE: Final = (".", CACHE)
"""Beginnings of names that may be there before a loop; a dot begins that of a lock, and of what a
killed process was writing."""
_OURS: Final = (*_BEFORE, "round-", "loop.", TEST, AGREED)
"""Beginnings of names in the directory of a loop."""


class Loop:
    """Runs rounds, or goes on with them.

    Args:
        plan: What decides them, see `build_loop`.
        progress: Where long steps report.
        consent: Who is asked before anything is spent; nobody by default.

    Example:
        >>> plan = build_loop(Path("loop.yaml"), test=Path("test.jsonl"))
        >>> Loop(plan).run("data.jsonl", out="runs/loop").rounds[-1].model
    """

    def __init__(
        self,
        plan: LoopConfig,
        *,
        progress: Progress | None = None,
        consent: Consent | None = None,
    ) -> None:
        self._plan = plan
        self._progress = progress or SilentProgress()
        self._consent = consent or Consent()

    def run(self, data: str | Path, *, out: str | Path) -> LoopRecord:
        """Go round until a round gains too little or the last one is over.

        Args:
            data: A file, a directory or an address, as for `Pipeline.run`.
            out: Directory of the loop. What is finished there is not done again. Once something
                was trained it is that of one loop: other settings but `rounds`, `min_gain`, caps
                and who computes are another's.

        Raises:
            UsageError: Wrong input or settings; too few rows to train on.
            MissingExtraError: A library of the trainer is not installed.
            RunMismatchError: `out` holds something else.
            RunFailedError: A step stopped; the same call goes on.
            BudgetExceededError: A cap was reached; the same call with a higher one goes on.
            BatchPendingError: Others compute; the same call goes on when they are done.
        """
        directory = local_directory(out)
        base = self._plan.trainer.base_model()
        self._plan.require_possible(base)
        if (directory / RECORD).is_file():
            (directory / arm_of(1)).mkdir(exist_ok=True)  # known as a loop, even within DATA
        asked = self._asked(data)
        _refuse_strangers(directory)
        with Store(directory).locked(self._progress.note):
            record = self._begun(directory, data, asked, base)
            while (why := ended(record, self._plan.settings)) is None:
                number = len(record.rounds) + 1
                place = f"round {number} of {self._plan.settings.rounds}"
                progress = RoundProgress(self._progress, place)
                record = record.model_copy(update={"ended": None})
                record.write(directory)
                round_ = Round(number, self._plan, directory, progress, self._consent)
                record = round_.run(data, record, base)
                record.write(directory)
            record = record.model_copy(update={"ended": why})
            write_text_atomically(directory / PICTURE, picture(record))
            record.write(directory)
        return record

    def _begun(
        self, directory: Path, data: str | Path, asked: dict[str, Any], base: ModelSettings | None
    ) -> LoopRecord:
        """The record of this loop, which goes on or begins.

        Raises:
            RunMismatchError: It is another loop's.
        """
        record = read_loop(directory)
        if record is not None and (changed := record.changed(asked)):
            if record.rounds or not self._is_untrained(directory):
                raise RunMismatchError(
                    f"{directory}: holds a loop with other {', '.join(changed)}; give another "
                    f"--out, with a copy of {CACHE} in it if its answers were paid for"
                )
            record = None
        if (record is None or not record.rounds) and self._is_untrained(directory):
            self._foresee(directory, data, base)
        if record is None:
            settings, test = self._plan.settings, self._plan.test
            record = LoopRecord(
                package_version=__version__,
                metric=settings.metric,
                asked=asked,
                test="" if test is None else str(test),
            )
            record.write(directory)
        return record

    def _is_untrained(self, directory: Path) -> bool:
        """Whether no training has left anything yet: then other settings lose nothing."""
        folder = directory / arm_of(1) / TUNED
        return not has_begun(self._plan.trainer, folder, self._progress)

    def _foresee(self, directory: Path, data: str | Path, base: ModelSettings | None) -> None:
        """Tell what the first round will ask, where that costs something.

        Who writes candidates is not there yet: they are counted as the scorer's, which is dearer
        than a model of one's own.
        """
        known = [prices(model) for model in self._plan.asked(base)]
        if all(each is not None and each.is_free for each in known):
            return
        run = directory / arm_of(1) / RUN
        shared = Shared(directory / CACHE, spent_beside(directory, run))
        pipeline = Pipeline(self._plan.config, progress=self._progress, shared=shared)
        begun = run if (run / MANIFEST).is_file() else None
        self._consent.begin(pipeline.estimate(data, out=begun, effort=QUICK))

    def _asked(self, data: str | Path) -> dict[str, Any]:
        """What decides the results of a loop, as plain values."""
        listing, digests = digested(discover(data))
        test = self._plan.test
        if test is not None and not test.is_file():
            what = "is a directory; name one file" if test.is_dir() else "no such file"
            raise UsageError(f"{test}: {what}")
        files = {source.name: digests.get(source.name) for source in listing.inputs}
        held_out = None if test is None else file_sha256(test)
        asked = {"data": files, "test": held_out, **self._plan.identity()}
        plain: dict[str, Any] = json.loads(json.dumps(asked))
        return plain


def _refuse_strangers(directory: Path) -> None:
    """Leave a directory as it is that holds something else.

    Raises:
        UsageError: It is a run directory.
        RunMismatchError: It holds other files.
    """
    if not directory.is_dir():
        return
    if Manifest.read(directory) is not None:
        raise UsageError(f"{directory}: is a run directory; give the loop another --out")
    ours = _OURS if (directory / RECORD).is_file() else _BEFORE
    if others := sorted(p.name for p in directory.iterdir() if not p.name.startswith(ours)):
        raise RunMismatchError(
            f"{directory}: holds no loop but {', '.join(others[:3])}; give an empty or new --out"
        )
