"""What vLLM printed while it started, as values: text in, one `StartupLog` out. It opens no file."""

from specdecode.engine.startup_log.read import parse_startup_log
from specdecode.engine.startup_log.values import CompileCache, LoggedSpeculation, StartupLog

__all__ = ["CompileCache", "LoggedSpeculation", "StartupLog", "parse_startup_log"]
