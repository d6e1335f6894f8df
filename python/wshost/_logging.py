"""Python's `logging` and warnings inside the server process: everything goes to the server's log."""

from __future__ import annotations

import logging

from wshost import _native

# pywebsocket's level below DEBUG: each step of each frame.
_FINE = 9


class LogHandler(logging.Handler):
    """Passes records on to the server's log, under their own logger names."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, its traceback included."""
        try:
            _native.log_record(record.levelno, record.name, self.format(record))
        except Exception:
            self.handleError(record)


def install(level: int, deflate_level: int) -> None:
    """Makes the server's log the root logger's only handler.

    The levels are `logging`'s, or 9 for FINE: that of everything, and that of permessage-deflate's loggers.
    """
    logging.addLevelName(_FINE, "FINE")
    root = logging.getLogger()
    root.handlers[:] = [LogHandler()]
    root.setLevel(level)
    for name in ("_Deflater", "_Inflater"):
        logging.getLogger(f"pywebsocket3.util.{name}").setLevel(deflate_level)
    logging.captureWarnings(True)
