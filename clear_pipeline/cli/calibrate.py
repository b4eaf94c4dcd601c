"""`clear-pipeline calibrate`: weights from corruptions, probabilities from human marks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from clear_pipeline.cli.calibrate_eta import fit_and_tell_eta
from clear_pipeline.cli.console import Json, next_command, output, print_json
from clear_pipeline.cli.groups import grouped
from clear_pipeline.cli.labels import LabelOptions
from clear_pipeline.errors import UsageError
from clear_pipeline.report.next_commands import run_words
from clear_pipeline.run import open_run

if TYPE_CHECKING:
    from clear_pipeline.calibration import Calibration
    from clear_pipeline.calibration.file import CorruptionFit, MarksFit
    from clear_pipeline.evaluate import Labels


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Which rows of a probe are fitted to."""

    preset: Annotated[
        str | None, typer.Option(help="With a probe of several presets: whose scores to fit.")
    ] = None
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A corruption that the fit must not see.")
    ] = None

    def __bool__(self) -> bool:
        """Whether any was given."""
        return bool(self.leave_out or self.preset)


@grouped
def calibrate(
    source: Annotated[Path, typer.Argument(help="A run, with --marks; or probe.parquet.")],
    out: Annotated[Path, typer.Option(help="The calibration file to write.")],
    *,
    marks: Annotated[
        Path | None, typer.Option(help="JSONL, JSON, CSV or Parquet with human marks.")
    ] = None,
    meaning: LabelOptions,
    ranking: Annotated[
        Path | None, typer.Option(help="With marks: a file fitted on corruptions, to try too.")
    ] = None,
    max_damage: Annotated[
        float | None,
        typer.Option(
            help="With marks: fit the eta of rectify, so that at most this share of good rows is "
            "damaged (0.05)."
        ),
    ] = None,
    of_probe: ProbeOptions,
    as_json: Json = False,
) -> None:
    """Fit how the parts of a score combine: on a run's human marks, or on a probe's corruptions.

    With --max-damage: the eta of rectify, on a run's marks.
    """
    _check_out(out, source, {"--marks": marks, "--ranking": ranking})
    if max_damage is not None:
        if marks is None or ranking or of_probe:
            raise UsageError("--max-damage goes with --marks alone")
        fit_and_tell_eta(source, meaning.read(marks), out, max_damage, as_json=as_json)
        return
    labels = None if marks is None else meaning.read(marks)
    fitted, remarks = _fitted(source, labels, ranking, of_probe)
    fitted.save(out)
    if fitted.marks is not None:
        _draw(fitted.marks, out.with_suffix(".svg"))
    if as_json:
        print_json({**fitted.model_dump(mode="json"), "remarks": remarks})
        return
    _show(fitted)
    for remark in [*remarks, f"written: {out}"]:
        output.print(Text(remark), soft_wrap=True)
    next_command(_run_command(source if marks is not None else None, out, fitted.marks))


def _fitted(
    source: Path, labels: Labels | None, ranking: Path | None, of_probe: ProbeOptions
) -> tuple[Calibration, list[str]]:
    """The calibration, and what to tell of it.

    Raises:
        UsageError: Options of marks without marks, or of a probe with them.
    """
    if labels is not None:
        if of_probe:
            raise UsageError("--leave-out and --preset go with a probe, not with --marks")
        return _on_marks(source, labels, ranking)
    if source.is_dir():
        raise UsageError(f"{source}: a run needs --marks FILE; a probe is a Parquet file")
    if ranking is not None:
        raise UsageError("--ranking goes with --marks")
    return _on_corruptions(source, of_probe.leave_out or [], of_probe.preset)


def _check_out(out: Path, source: Path, inputs: Mapping[str, Path | None]) -> None:
    if out.is_dir():
        raise UsageError(
            f"--out {out} is a directory; name a file: --out {out / 'calibration.json'}"
        )
    if out.suffix.lower() == ".svg":
        raise UsageError(
            f"--out {out}: the plot is written under that name, beside the file; "
            f"name the file: --out {out.with_suffix('.json')}"
        )
    read = {str(source): source, **{f"{name} {path}": path for name, path in inputs.items()}}
    for written, (what, path) in product((out, out.with_suffix(".svg")), read.items()):
        if path is not None and written.exists() and path.exists() and written.samefile(path):
            raise UsageError(
                f"--out {out} would overwrite {what}, which is read; name another file: "
                "--out calibration.json"
            )
    if source.is_dir() and out.exists() and out.resolve().is_relative_to(source.resolve()):
        _refuse_files_of_the_run(out, source)


def _refuse_files_of_the_run(out: Path, run: Path) -> None:
    """A calibration may lie in the run directory and be fitted anew; nothing else is replaced."""
    from clear_pipeline.calibration import Calibration, EtaCalibration

    for kind in (Calibration, EtaCalibration):
        with suppress(UsageError):
            kind.read(out)
            return
    raise UsageError(
        f"--out {out} is a file of the run {run}, and no calibration: name another file: "
        f"--out {run / 'calibration.json'}"
    )


def _run_command(run: Path | None, out: Path, marks: MarksFit | None) -> str:
    """The command that uses the file; `run` is the marked run, whose config keeps its scores.

    It asks for a precision only where the probabilities are worth something by the marks.
    """
    words = ["clear-pipeline", "run", "DATA", "--out", "RUN", "--config", "RUN/config.yaml"]
    keep: list[str] = []
    if run is not None:
        opened = open_run(run)
        words = run_words(opened)
        worth = marks is not None and marks.reliability.skill.low > 0
        if worth and "filter" in opened.manifest.chain:
            keep = ["--set", "filter.keep.precision=0.95"]
    return shlex.join([*words, "--calibration", str(out), *keep])


def _on_corruptions(
    path: Path, leave_out: list[str], preset: str | None
) -> tuple[Calibration, list[str]]:
    from clear_pipeline.calibration import fit_ranking  # scikit-learn: seconds
    from clear_pipeline.calibration.probed import read_probed

    probed = read_probed(path, preset=preset)
    return fit_ranking(
        probed.parts,
        probed.corruption,
        probed.original_id,
        leave_out=leave_out,
        scored_by=probed.scored_by,
    )


def _on_marks(run: Path, labels: Labels, ranking: Path | None) -> tuple[Calibration, list[str]]:
    from clear_pipeline.calibration import Calibration
    from clear_pipeline.marking import calibrate_run

    other = None if ranking is None else Calibration.read(ranking)
    return calibrate_run(open_run(run), labels, ranking=other)


def _draw(marks: MarksFit, path: Path) -> None:
    from clear_pipeline.durable import write_text_atomically
    from clear_pipeline.report.reliability import reliability_svg

    write_text_atomically(path, reliability_svg(marks.reliability))


def _show(fitted: Calibration) -> None:
    if fitted.marks is not None:
        output.print(_marks_table(fitted.marks))
    if fitted.corruptions is not None:
        output.print(_corruptions_table(fitted.corruptions))
        output.print(
            Text("An order of rows, no probability: the share of corruptions was chosen by us."),
            soft_wrap=True,
        )


def _marks_table(marks: MarksFit) -> Table:
    from clear_pipeline.report.calibration import marks_figures

    table = Table(title="P(bad), on marks that the fit did not see", title_justify="left")
    for name in ("figure", "value", "meaning"):
        table.add_column(name)
    for figure in marks_figures(marks):
        table.add_row(*map(Text, figure))
    return table


def _corruptions_table(fit: CorruptionFit) -> Table:
    table = Table(
        title=f"{fit.originals} originals above their corruptions (AUROC, 0.5 is chance)",
        title_justify="left",
    )
    table.add_column("corruption")
    for name in ("rows", "fitted with it", "without it"):
        table.add_column(name, justify="right")
    for found in fit.corruptions:
        table.add_row(
            Text(found.corruption), str(found.rows), _number(found.seen), _number(found.unseen)
        )
    table.add_section()
    table.add_row("all that were used", str(fit.corrupted), _number(fit.auroc), "")
    for name, auroc in fit.signals.items():
        turned = " (turned)" if name in fit.turned else ""
        table.add_row(Text(f"{name} alone{turned}"), "", _number(auroc), "")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
