-- Traces with the most lines.
SELECT metadata['trace_id'] AS trace, count(*) AS lines, min(timestamp) AS first, max(timestamp) - min(timestamp) AS took
FROM logs
WHERE metadata['trace_id'] IS NOT NULL
GROUP BY 1
ORDER BY lines DESC, trace
LIMIT 20;
