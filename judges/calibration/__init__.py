"""Calibration: what a judge's labels are worth, and what it may therefore do."""

from judges.calibration.gate import Bars, GateResult, gate
from judges.calibration.measure import calibrate
from judges.calibration.pictures import confusion_picture, reliability_diagram
from judges.calibration.report import (
    CalibrationReport,
    ClassFigures,
    Confidence,
    Estimate,
    PositionBias,
    Slice,
    VerbosityBias,
)

__all__ = [
    "Bars",
    "CalibrationReport",
    "ClassFigures",
    "Confidence",
    "Estimate",
    "GateResult",
    "PositionBias",
    "Slice",
    "VerbosityBias",
    "calibrate",
    "confusion_picture",
    "gate",
    "reliability_diagram",
]
