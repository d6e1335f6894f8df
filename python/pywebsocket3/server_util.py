"""Logging and the thread monitor, for programs that start a server themselves."""

from __future__ import annotations

import logging
import logging.handlers
import threading
import time
from typing import Any

from pywebsocket3 import common, util

__all__ = ["ThreadMonitor", "configure_logging"]

_FORMAT = "[%(asctime)s] [%(levelname)s] %(name)s: %(message)s"


def configure_logging(options: Any) -> None:
    """Gives the root logger a handler and a level.

    Args:
        options: an object with `log_level`, `log_file` (`''`: stderr), `log_max` (bytes a file), `log_count`
            (files kept) and `deflate_log_level`.
    """
    logging.addLevelName(common.LOGLEVEL_FINE, "FINE")
    handler: logging.Handler
    if options.log_file:
        handler = logging.handlers.RotatingFileHandler(
            options.log_file, maxBytes=options.log_max, backupCount=options.log_count
        )
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.setLevel(options.log_level.upper())
    root.addHandler(handler)
    for compressor in (util._Deflater, util._Inflater):
        name = f"{compressor.__module__}.{compressor.__name__}"
        logging.getLogger(name).setLevel(options.deflate_log_level.upper())


class ThreadMonitor(threading.Thread):
    """Logs the names of the running threads at intervals."""

    daemon = True

    def __init__(self, interval_in_sec: float) -> None:
        """A monitor that writes a record every `interval_in_sec` seconds once it is started."""
        super().__init__(name="ThreadMonitor")
        self._logger = util.get_class_logger(self)
        self._interval_in_sec = interval_in_sec

    def run(self) -> None:
        """Logs for as long as the process lives."""
        while True:
            names = [thread.name for thread in threading.enumerate()]
            self._logger.info("%d active threads: %s", len(names), ", ".join(names))
            time.sleep(self._interval_in_sec)
