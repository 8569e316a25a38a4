import logging
import logging.config
import sys
import warnings

import structlog

logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": True,
        "formatters": {"plain": {"format": "%(name)s|%(message)s"}},
        "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "plain"}},
        "root": {"level": "DEBUG", "handlers": ["out"]},
    }
)
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, force=True)
logging.captureWarnings(True)
warnings.simplefilter("always")
structlog.configure(
    processors=[structlog.processors.KeyValueRenderer()],
    wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
    logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    cache_logger_on_first_use=True,
)
structlog.contextvars.bind_contextvars(request_id="marker-contextvar")
structlog.get_logger().critical("marker-structlog", user="ada")
sys.excepthook = lambda *error: print("marker-excepthook", *error)


class Tee:
    """A stream as pytest, celery or a GUI put in place of sys.stdout: little more than write."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        self.stream.write("tee:" + text)

    def flush(self):
        self.stream.flush()


sys.stdout = Tee(sys.stdout)
sys.stderr = None
logging.getLogger("shop").info("marker-info")
logging.disable(logging.CRITICAL)
