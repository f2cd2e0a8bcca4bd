"""Pushes with the public python-logging-loki client. usage: python_logging_loki.py URL LINES"""
import logging, sys
import logging_loki

url, lines = sys.argv[1], int(sys.argv[2])
handler = logging_loki.LokiHandler(url=url + "/loki/api/v1/push", tags={"client": "python-logging-loki"}, version="1")
failed = []
handler.handleError = lambda record: failed.append(sys.exc_info()[1])
logger = logging.getLogger("millrace-test")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
for at in range(lines):
    logger.info("python line %d", at, extra={"tags": {"part": str(at % 2)}})
if failed:
    sys.exit(f"{len(failed)} lines refused, first: {failed[0]!r}")
