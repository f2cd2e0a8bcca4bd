"""Indexes documents with the public elasticsearch client. usage: elastic_bulk.py URL LINES"""
import datetime, sys
from elasticsearch import Elasticsearch, helpers

url, lines = sys.argv[1], int(sys.argv[2])
client = Elasticsearch(url, http_compress=True)
info = client.info()
assert info["tagline"] == "You Know, for Search", info
assert client.ping()
now = datetime.datetime.now(datetime.timezone.utc)
documents = (
    {"_index": "app-logs", "_op_type": "create", "@timestamp": (now + datetime.timedelta(milliseconds=at)).isoformat(),
     "message": f"bulk line {at}", "log.level": "warn", "service": {"name": "shop"}, "host": {"name": "h1"}}
    for at in range(lines)
)
stored, failed = helpers.bulk(client, documents, stats_only=True)
assert (stored, failed) == (lines, 0), (stored, failed)
one = client.index(index="app-logs", document={"@timestamp": now.isoformat(), "message": "bulk line alone", "service": {"name": "shop"}})
assert one["result"] == "created", one
old = {"create": {"_index": "app-logs", "_id": "old"}}, {"@timestamp": "2001-01-01T00:00:00Z", "message": "too old"}
good = {"index": {"_index": "app-logs"}}, {"@timestamp": now.isoformat(), "message": "beside a bad one", "service": {"name": "shop"}}
answer = client.bulk(operations=[*old, *good, {"delete": {"_index": "app-logs", "_id": "x"}}])
statuses = [next(iter(item.values()))["status"] for item in answer["items"]]
assert answer["errors"] and statuses == [400, 201, 400], answer
assert answer["items"][0]["create"]["_id"] == "old" and "timestamp too old" in str(answer["items"][0]["create"]["error"]) or "greater_than_max_sample_age" in str(answer), answer
