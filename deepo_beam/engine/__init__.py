"""The labelling engine: a pure core that decides, and a shell of threads around it. No Beam."""

from deepo_beam.engine.core import Core
from deepo_beam.engine.cuts import Cut, together
from deepo_beam.engine.engine import Engine, EngineClosedError, Session
from deepo_beam.engine.settings import EngineSettings
from deepo_beam.engine.transport import JournalSink, LoadedImage, LoadFailure, Transport
from deepo_beam.engine.work import Counters, NotAttempted, Outcome, RunFacts, Settled, Unchanged, Work

__all__ = [
    "Core",
    "Counters",
    "Cut",
    "Engine",
    "EngineClosedError",
    "EngineSettings",
    "JournalSink",
    "LoadFailure",
    "LoadedImage",
    "NotAttempted",
    "Outcome",
    "RunFacts",
    "Session",
    "Settled",
    "Transport",
    "Unchanged",
    "Work",
    "together",
]
