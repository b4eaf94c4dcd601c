"""Auto-Correct: replace a doubtful target where the model is sure of a better one.

A candidate is written for each row in scope and judged against the row's own response in both
orders (Chen & Mueller 2024). It becomes the target only above `eta`; otherwise the row keeps the
fate that the filter gave it. The original stays beside it in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from clear_pipeline.calibration.eta import EtaCalibration, Share
from clear_pipeline.errors import CallError, UsageError
from clear_pipeline.llm.base import ChatModel
from clear_pipeline.llm.counted import Counted
from clear_pipeline.llm.pending import Independent
from clear_pipeline.prompts.candidate import candidate_request
from clear_pipeline.schema import JSON, Example, Message, examples
from clear_pipeline.scoring.bsdetector import PAPER_BETA, PAPER_K, PAPER_TEMPERATURE
from clear_pipeline.scoring.form import ALL_FORMS, FormCheck
from clear_pipeline.scoring.preference import (
    Form,
    FormName,
    OneToken,
    Preference,
    Sampled,
    YesNo,
    prefer,
)
from clear_pipeline.stages.base import Context, Settings, Shard, map_rows
from clear_pipeline.stages.candidates import Sifted, sift
from clear_pipeline.stages.repair import COLUMNS, RowRepair
from clear_pipeline.stages.unified import unified_diff
from clear_pipeline.stages.usage import usage_of

DEFAULT_ETA: Final[Mapping[FormName, float]] = {
    "yes-no": 0.8,
    "one-token": 0.8,
    "sampled": 0.8,
}
"""Where neither an eta nor a calibration is given. That of `sampled` is the paper's, that of
`yes-no` was seen to damage few good rows; that of `one-token` is neither, see `UNCALIBRATED`."""
UNCALIBRATED: Final = frozenset({"one-token"})


def _content(value: object) -> object:
    return EtaCalibration.read(Path(value)) if isinstance(value, str | Path) else value


class Rectify(Settings):
    """Write candidates, judge them in both orders, replace by the best one above eta.

    A verdict on which the two orders disagree is a tie, and a tie replaces nothing. A row whose
    calls fail keeps its fate, with the reason.
    """

    name: ClassVar[str] = "rectify"
    version: ClassVar[int] = 10

    kind: Literal["rectify"] = "rectify"
    scope: Literal["low", "all"] = "low"
    """low: rows that the filter would drop. all: also rows that it keeps, as in the paper."""
    form: FormName = "yes-no"
    """How a preference is read: the probability of one letter, of Yes for either response, or the
    paper's sampled verdicts."""
    eta: Share | None = None
    """Replace where the preference is above this, strictly; see `eta_in_force`."""
    calibration: Annotated[EtaCalibration | None, BeforeValidator(_content)] = None
    """Path of a file with an eta that `clear-pipeline calibrate --max-damage` wrote, or its
    content."""
    k: Annotated[int, Field(ge=1, le=64)] = PAPER_K
    """Verdicts per order, for `sampled`."""
    beta: Share = PAPER_BETA
    """Weight of the share of verdicts against reflection on them, for `sampled`."""
    verdict_temperature: Annotated[float, Field(ge=0, le=2)] = PAPER_TEMPERATURE
    """Of the verdicts, for `sampled`."""
    max_verdict_tokens: Annotated[int, Field(ge=1)] = 256
    """Room for one verdict with its reasoning, for `sampled`."""
    candidates: Annotated[int, Field(ge=1, le=16)] = 1
    """Drawn per row, in one request where the server allows; the best is taken."""
    max_candidate_tokens: Annotated[int, Field(ge=1)] = 512
    """A longer candidate is refused. The paper's inference limit."""
    candidate_temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0: the model's one best answer, as in the paper."""
    keep_form: tuple[FormCheck, ...] = ALL_FORMS
    """What of the form of the original a candidate must keep, or is refused."""
    max_failed_fraction: Share = 0.05
    """A run stops when more of the rows in scope than this have failed."""

    @model_validator(mode="after")
    def _holds_together(self) -> Rectify:
        if self.candidates > 1 and self.candidate_temperature == 0:
            raise ValueError(
                f"{self.candidates} candidates at candidate_temperature 0 would all be the same: "
                "--set stages.rectify.candidate_temperature=0.7, or candidates=1"
            )
        fitted = self.calibration
        if fitted is not None and fitted.form != self.form:
            raise ValueError(
                f"the calibration holds for form {fitted.form}, not {self.form}: "
                f"--set stages.rectify.form={fitted.form}, or fit one on a run with {self.form}"
            )
        if fitted is not None and self.eta is not None:
            raise ValueError("eta and calibration both say when to replace: leave one of them out")
        return self

    @property
    def eta_in_force(self) -> float:
        """The calibrated one, else the one that is set, else that of the form."""
        if self.calibration is not None:
            return self.calibration.eta
        return DEFAULT_ETA[self.form] if self.eta is None else self.eta

    def refuse_other_judge(self, judge: str) -> None:
        """Compare the model whose verdicts a calibration was fitted on with the one that judges.

        Args:
            judge: Identity of the run's judge.

        Raises:
            UsageError: They differ; names both.
        """
        if self.calibration is not None and self.calibration.judge != judge:
            raise UsageError(
                f"rectify: the calibration was fitted on verdicts of {self.calibration.judge}, but "
                f"{judge} would judge: name the model that it was fitted for (models.judge), or "
                "fit it for this one: clear-pipeline calibrate RUN --marks FILE --max-damage 0.05"
            )

    def needs(self) -> tuple[str, ...]:
        """The filter's decision."""
        return ("keep",)

    def adds(self) -> pa.Schema:
        """`COLUMNS`."""
        return COLUMNS

    def roles(self) -> tuple[str, ...]:
        """Who writes, and who judges."""
        return ("candidate", "judge")

    def rounds(self, models: Mapping[str, ChatModel]) -> int:  # noqa: ARG002
        """Candidates, then verdicts on them; sampled ones are reflected on."""
        return 3 if self.form == "sampled" else 2

    async def annotate(
        self,
        shard: Shard,
        alive: Sequence[bool],
        state: JSON,  # noqa: ARG002 - a row-wise stage has none
        ctx: Context,
    ) -> pa.Table:
        """Repair the rows in scope, `ctx.rows_in_flight` at a time.

        Raises:
            TooManyFailuresError: More rows failed than `max_failed_fraction` allows.
        """
        self._tell_eta(ctx)

        async def repair(row: tuple[Example, bool]) -> RowRepair:
            example, in_scope = row
            repaired = await self._repair(example, ctx) if in_scope else RowRepair()
            ctx.progress.advance()
            return repaired

        keep = shard.table["keep"].to_pylist()
        scope = [
            lives and (self.scope == "all" or kept is False)
            for lives, kept in zip(alive, keep, strict=True)
        ]
        rows = list(zip(examples(shard.table), scope, strict=True))
        repaired = await map_rows(repair, rows, limit=ctx.rows_in_flight)
        lines: list[dict[str, Any]] = [asdict(row) for row in repaired]
        return pa.Table.from_pylist(lines, schema=COLUMNS)

    def _tell_eta(self, ctx: Context) -> None:
        """Say once where the eta may not hold."""
        if self.calibration is not None:
            writer = ctx.models["candidate"].identity
            for remark in self.calibration.departures(writer, self.model_dump(mode="json")):
                ctx.note_once(f"rectify: {remark}; the calibrated eta may not hold here")
        elif self.eta is None and self.form in UNCALIBRATED:
            ctx.note_once(
                f"rectify: eta {self.eta_in_force:g} was never measured for form {self.form}; "
                "calibrate it (docs/filter-rectify.md), or set stages.rectify.eta"
            )

    async def _repair(self, example: Example, ctx: Context) -> RowRepair:
        """Repair a row; what it asked of either model is recorded even if a call fails."""
        writer, judge = (Counted(ctx.models[role]) for role in self.roles())
        row = await self._judged(example, writer, judge, ctx)
        row.candidate_usage = usage_of(writer)
        row.judge_usage = usage_of(judge)
        return row

    async def _judged(
        self, example: Example, writer: ChatModel, judge: ChatModel, ctx: Context
    ) -> RowRepair:
        row = RowRepair()
        ctx.tally.begun += 1
        try:
            sifted = await self._write(writer, example)
        except CallError as error:
            return self._failed(row, "candidate", error, ctx)
        row.candidate_draws = sifted.counts
        if not sifted.apart:
            return _unjudged(row, sifted)
        row.candidate = sifted.apart[0].text
        try:
            preferences = await self._preferences(judge, example, sifted.apart)
        except CallError as error:
            return self._failed(row, "judge", error, ctx)
        best = max(range(len(preferences)), key=lambda i: _rank(preferences[i]))
        self._decide(row, example, preferences[best], sifted.apart[best])
        return row

    async def _write(self, writer: ChatModel, example: Example) -> Sifted:
        request = candidate_request(
            example,
            max_tokens=self.max_candidate_tokens,
            temperature=self.candidate_temperature,
            samples=range(self.candidates),
        )
        completion = await writer.complete(request)
        return sift(completion.choices, example, self.keep_form)

    async def _preferences(
        self, judge: ChatModel, example: Example, targets: Sequence[Message]
    ) -> list[Preference]:
        found: list[Preference] = []
        with Independent() as independent:
            for target in targets:
                with independent.part():
                    found.append(await prefer(judge, example, target.text, form=self._form()))
        return found

    def _form(self) -> Form:
        if self.form == "one-token":
            return OneToken()
        if self.form == "yes-no":
            return YesNo()
        return Sampled(self.k, self.beta, self.verdict_temperature, self.max_verdict_tokens)

    def _failed(self, row: RowRepair, who: str, error: CallError, ctx: Context) -> RowRepair:
        reason = f"{who} failed: {error}"
        ctx.tally.fail(self.name, reason, self.max_failed_fraction, kind=error.kind)
        return row.end("failed", reason)

    def _decide(
        self, row: RowRepair, example: Example, preference: Preference, target: Message
    ) -> None:
        row.candidate = target.text
        row.preference = preference.score
        row.preference_first = preference.first.preference
        row.preference_second = preference.second.preference
        row.verdict = preference.verdict
        eta = self.eta_in_force
        if preference.score <= eta:
            row.end("not_preferred", f"candidate not preferred: {preference.score:.2f} <= {eta:g}")
        elif preference.verdict != "candidate":
            row.end(
                "not_preferred",
                f"{preference.objection}: candidate preferred "
                f"{row.preference_first:.2f} and {row.preference_second:.2f}",
            )
        else:
            row.end("replaced", f"candidate preferred {preference.score:.2f} > {eta:g}")
            row.new_target = target
            row.response_diff = unified_diff(example.response, target.text)


def _unjudged(row: RowRepair, sifted: Sifted) -> RowRepair:
    """No candidate says anything else than the row, so no judge is asked."""
    if sifted.confirming:
        row.candidate = sifted.confirming[0].text
        return row.end("confirmed", "candidate equals the original")
    return row.end("refused", f"candidate refused: {sifted.why_refused}")


def _rank(preference: Preference) -> tuple[bool, float]:
    """A candidate that both orders prefer goes before any that they do not."""
    return preference.verdict == "candidate", preference.score
