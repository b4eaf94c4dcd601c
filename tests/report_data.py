"""Report data and hostile texts for the report's tests."""

from __future__ import annotations

from typing import Final

from clear_pipeline.calibration.reliability import Bin, Interval, Reliability
from clear_pipeline.report.calibration import CalibrationShown, Figure
from clear_pipeline.report.data import (
    InputFile,
    ModelUse,
    Part,
    Reason,
    ReportData,
    ShownRow,
    StageSettings,
)
from clear_pipeline.report.histogram import histogram
from clear_pipeline.schema import Fate

HOSTILE: Final = (
    "</script><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 191 }} {% raw %} ${7} #{7}",
    "<!-- ]]> <base href=//example.org>",
    "&lt;b&gt; &amp;amp;",
    "\u202eesrever\u202c zero\u200bwidth \ufeff nul\x00 esc\x1b[31mred\x1b]0;title\x07 \ud800",
    "[bold red]markup[/bold red] [link=https://example.org]x[/link] \\[",
    "مرحبا بالعالم 你好 👩‍🚀",
)
"""Texts that a dataset may hold and that must show as what they are."""

RELIABILITY: Final = Reliability(
    brier=0.12,
    skill=Interval(value=0.4, low=0.2, high=0.6),
    slope=0.9,
    intercept=0.1,
    ece=0.05,
    bins=(
        Bin(
            marks=20,
            share=1.0,
            predicted=0.25,
            observed=Interval(value=0.3, low=0.15, high=0.52),
        ),
    ),
)


def report_with(text: str, *, fate: Fate = Fate.RECTIFIED, rows: int = 1) -> ReportData:
    """A report that holds `text` in every field that comes from outside."""
    scores = histogram({fate: [0.25, 0.5]})
    assert scores is not None
    row = ShownRow(
        id=text,
        fate=fate,
        reason=text,
        confidence=0.25,
        parts={"reflection": 0.25},
        prompt=text,
        response=text,
        candidate=f"better {text}",
        keeper=text if fate is Fate.DUPLICATE else None,
        keeper_response=f"kept {text}" if fate is Fate.DUPLICATE else None,
    )
    return ReportData(
        title=text,
        version="0",
        fates={fate: rows, Fate.KEPT: 1},
        rows=(row,) * rows,
        removed=rows,
        confidences=scores,
        threshold=0.4,
        calibration=CalibrationShown(text, text, (Figure(text, text, text),), RELIABILITY),
        parts=(Part(name="reflection", histogram=scores, mean=0.375),),
        reasons=(Reason(fate, text, rows, text),),
        files=(InputFile(text, text, {fate: rows}, problems=(text,)),),
        skipped=((text, text),),
        stages=(StageSettings(text, text),),
        models=(ModelUse(text, text, text, {text: text}),),
        notes=(text,),
        commands=((text, text),),
    )
