-- A LogQL answer joined with SQL.
-- note: `logql('…', start, end, step)` is a table: here the error rate by minute beside the slowest request of it.
SELECT e.timestamp AS minute, round(e.value * 60) AS errors, s.slowest_ms
FROM logql('sum(rate({service="inference-gateway", level="error"}[1m]))',
           '2026-01-15T10:01:00Z', '2026-01-15T12:00:00Z', '1m') e
JOIN (SELECT date_bin(INTERVAL '1 minute', timestamp) + INTERVAL '1 minute' AS minute,
             max(json_get_float(line, 'latency_ms')) AS slowest_ms
      FROM logs WHERE labels['service'] = 'inference-gateway' AND json_get_float(line, 'latency_ms') < 1e9 GROUP BY 1) s ON s.minute = e.timestamp
ORDER BY errors DESC, minute
LIMIT 10;
