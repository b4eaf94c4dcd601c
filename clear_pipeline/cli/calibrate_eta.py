"""`clear-pipeline calibrate --max-damage`: the eta of rectify, from labelled rows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.console import next_command, output, print_json
from clear_pipeline.errors import UsageError
from clear_pipeline.report.next_commands import run_words
from clear_pipeline.run import open_run

if TYPE_CHECKING:
    from clear_pipeline.calibration import EtaCalibration
    from clear_pipeline.evaluate import Labels


def fit_and_tell_eta(
    source: Path, labels: Labels, out: Path, max_damage: float, *, as_json: bool
) -> None:
    """Choose the eta on a run's labelled rows, write it, and show what it does to them.

    Raises:
        UsageError: `max_damage` is no share, `source` no run with rectify, or good rows are too
            few.
    """
    from clear_pipeline.marking import calibrate_eta  # scikit-learn: seconds

    if not 0 < max_damage < 1:
        raise UsageError(f"--max-damage {max_damage:g}: expected a share between 0 and 1, as 0.05")
    run = open_run(source)
    fitted, remarks = calibrate_eta(run, labels, max_damage=max_damage)
    fitted.save(out)
    if as_json:
        print_json({**fitted.model_dump(mode="json"), "remarks": remarks})
        return
    output.print(_table(fitted))
    for remark in [*_remarks(fitted), *remarks, f"written: {out}"]:
        output.print(Text(remark), soft_wrap=True)
    words = [*run_words(run), "--set", f"stages.rectify.calibration={out}"]
    record = run.manifest.stage("rectify")
    if record is not None and record.settings.get("eta") is not None:
        words += ["--set", "stages.rectify.eta=null"]
    next_command(shlex.join(words))


def _table(fitted: EtaCalibration) -> Table:
    title = f"eta of form {fitted.form}, on {fitted.good} good and {fitted.bad} bad rows"
    table = Table(title=title, title_justify="left")
    table.add_column("eta")
    for name in ("good rows replaced", "at most (95 %)", "bad rows replaced"):
        table.add_column(name, justify="right")
    points = sorted((*fitted.others, fitted.chosen), key=lambda point: point.eta)
    for point in dict.fromkeys(points):
        mark = " (chosen)" if point.eta == fitted.eta else ""
        table.add_row(
            f"{point.eta:g}{mark}", f"{point.damaged}", f"{point.at_most:.3f}", f"{point.replaced}"
        )
    return table


def _remarks(fitted: EtaCalibration) -> Iterator[str]:
    chosen = fitted.chosen
    yield (
        f"eta {fitted.eta:g}: {chosen.damaged} of {fitted.good} good rows would be replaced, at "
        f"most {chosen.at_most:.3f} of such rows (95 %), and {chosen.replaced} of {fitted.bad} "
        "bad ones"
    )
    if chosen.replaced == 0:
        yield "it replaces no bad row: rectify is of no use here with these models"
