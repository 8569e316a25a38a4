"""The project's `logging` becomes events, and stays so when env.py calls `logging.config.fileConfig`."""

from __future__ import annotations

import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic_job.logs.events import Log


class _Bridge(logging.Handler):
    """Turns a record into a `log.record` event with `logger` and `message`."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "alembic.runtime.migration" and record.levelno <= logging.INFO:
            return  # "Running upgrade a -> b": said by our own revision.* events, with more in them
        try:
            fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[0]:
                fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        except Exception:
            fields = {"logger": record.name, "message": str(record.msg)}
        self._write(record.levelno)("log.record", **fields)

    def _write(self, level: int) -> Callable[..., Any]:
        if level >= logging.ERROR:
            return self._log.error
        if level >= logging.WARNING:
            return self._log.warning
        return self._log.info if level >= logging.INFO else self._log.debug


@contextmanager
def bridged(log: Log) -> Iterator[None]:
    """While it is open, every logger's records become events, whatever configuration the project loads."""
    bridge = _Bridge(log)
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.config.fileConfig, logging.config.dictConfig)
    logging.captureWarnings(True)
    _install(bridge)
    logging.config.fileConfig = _then_install(logging.config.fileConfig, bridge)
    logging.config.dictConfig = _then_install(logging.config.dictConfig, bridge)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.level, root.handlers[:] = before[0], before[1]
        logging.config.fileConfig, logging.config.dictConfig = before[2], before[3]


def _then_install(configure: Callable[..., None], bridge: logging.Handler) -> Callable[..., None]:
    def wrapper(*args: Any, **kwargs: Any) -> None:
        configure(*args, **kwargs)
        _install(bridge)

    return wrapper


def _install(bridge: logging.Handler) -> None:
    """Puts the bridge at the root and takes handlers away that would say the same again as plain text."""
    existing = [item for item in logging.root.manager.loggerDict.values() if isinstance(item, logging.Logger)]
    for logger in (logging.root, *existing):
        for handler in list(logger.handlers):
            if _writes_to_console(handler) and (logger is logging.root or logger.propagate):
                logger.removeHandler(handler)
            elif _writes_to_console(handler):
                logger.removeHandler(handler)
                logger.addHandler(bridge)
    if bridge not in logging.root.handlers:
        logging.root.addHandler(bridge)


def _writes_to_console(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return isinstance(handler, logging.StreamHandler) and stream in (
        sys.stdout,
        sys.stderr,
        sys.__stdout__,
        sys.__stderr__,
    )
