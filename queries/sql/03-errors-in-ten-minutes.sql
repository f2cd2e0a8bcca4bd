-- Errors of ten minutes, newest first.
-- note: Time and labels in `WHERE` choose files and row groups before anything is read.
SELECT timestamp, labels['environment'] AS environment, line
FROM logs
WHERE labels['service'] = 'inference-gateway'
  AND level IN ('error', 'critical')
  AND timestamp >= '2026-01-15T11:30:00Z' AND timestamp < '2026-01-15T11:40:00Z'
ORDER BY timestamp DESC, line
LIMIT 100;
