-- The largest streams.
-- note: From the stream index alone: no line is read.
SELECT labels, entries, bytes, first_seen, last_seen
FROM streams
ORDER BY bytes DESC, labels
LIMIT 10;
