"""Asks the real server through the public `prometheus-pandas` client and checks the frames.

usage: prometheus_frames.py URL START_SECONDS
"""

import sys

from prometheus_pandas.query import Prometheus

url, start = sys.argv[1], int(sys.argv[2])
client = Prometheus(url + "/prometheus")
end = start + 600

scalar = client.http.get(url + "/prometheus/api/v1/query", params={"query": "2^10", "time": 0}).json()
assert scalar["data"]["result"] == [0, "1024"], scalar

vector = client.query('log:error_rate:1m', end)
assert vector['log:error_rate:1m{service="gateway",source="loki"}'] == 40.0, vector
assert vector['log:error_rate:1m{service="billing",source="loki"}'] == 60.0, vector

frame = client.query_range('sum(log:error_rate:1m)', start, end, 60)
assert frame.shape == (11, 1) and (frame == 100.0).all().all(), frame

rates = client.query_range('rate(lines_total[1m])', start + 60, end, '60s')
assert rates.shape == (10, 1) and ((rates - 2.0).abs() < 1e-9).all().all(), rates

quantile = client.query('quantile_over_time(0.5, log:error_rate:1m{service="gateway"}[10m1s])', end)
assert quantile.iloc[0] == 20.0, quantile

try:
    client.query('sum(')
    raise SystemExit('a bad query was answered')
except RuntimeError as error:
    assert str(error).startswith('bad_data: invalid parameter "query"'), error

print('frames agree')
