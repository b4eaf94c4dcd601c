"""Can this model tell bad rows from good ones in this data? Asked before a run is paid for."""

from clear_pipeline.probe.plan import Plan, ProbeSettings, make_plan
from clear_pipeline.probe.probe import Probe
from clear_pipeline.probe.report import ProbeReport, read_report
from clear_pipeline.probe.scored import read_scored

__all__ = [
    "Plan",
    "Probe",
    "ProbeReport",
    "ProbeSettings",
    "make_plan",
    "read_report",
    "read_scored",
]
