-- Two services side by side.
-- note: A join: do errors of one service come with timeouts of the other?
SELECT g.minute, g.lines AS gateway, f.lines AS store
FROM (SELECT date_trunc('minute', timestamp) AS minute, count(*) AS lines FROM logs
      WHERE labels['service'] = 'inference-gateway' AND level = 'error' GROUP BY 1) g
JOIN (SELECT date_trunc('minute', timestamp) AS minute, count(*) AS lines FROM logs
      WHERE labels['service'] = 'feature-store' AND line LIKE '%timeout%' GROUP BY 1) f
  ON g.minute = f.minute
ORDER BY g.minute;
