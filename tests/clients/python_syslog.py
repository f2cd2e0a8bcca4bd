"""Sends with Python's own SysLogHandler. usage: python_syslog.py udp|tcp HOST PORT LINES"""
import logging, socket, sys
from logging.handlers import SysLogHandler

how, host, port, lines = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
handler = SysLogHandler((host, port), facility=SysLogHandler.LOG_LOCAL3, socktype=socket.SOCK_DGRAM if how == "udp" else socket.SOCK_STREAM)
logger = logging.getLogger("millrace-test")
logger.setLevel(logging.INFO)
logger.addHandler(handler)
for at in range(lines):
    logger.error("python syslog over %s, line %d", how, at)
handler.close()
