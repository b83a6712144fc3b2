"""The one error tree. A class docstring is the message's frame; the instance says what to mend."""

from __future__ import annotations


class PrimumError(Exception):
    """Base of every error a user can mend. Its text is one readable line."""

    exit_code = 1


class ConfigurationError(PrimumError):
    """A setting is unknown, missing or out of range. Names the setting."""

    exit_code = 2


class DataError(PrimumError):
    """A row or file cannot be used. Names the file and the row."""

    exit_code = 3


class NotEnoughData(PrimumError):
    """Too few examples of a class to train or to score honestly."""

    exit_code = 3


class EngineError(PrimumError):
    """A policy could not be loaded or did not answer."""

    exit_code = 4


class JudgeError(PrimumError):
    """A judge could not be loaded or asked at all (one bad verdict is *unscored*, not an error)."""

    exit_code = 4


class TrainingError(PrimumError):
    """A candidate could not be trained."""

    exit_code = 5


class StateError(PrimumError):
    """The request does not fit the state it meets: an unknown cycle, an approval of a rejected one."""

    exit_code = 6


class Held(PrimumError):
    """A guard refused to go on. Nothing is lost; the message names the figure and the mend."""

    exit_code = 7
