-- Share of errors by environment.
SELECT labels['environment'] AS environment,
       count(*) AS lines,
       round(100.0 * count(*) FILTER (WHERE level IN ('error', 'critical')) / count(*), 2) AS percent
FROM logs
WHERE labels['service'] = 'inference-gateway'
GROUP BY 1
ORDER BY percent DESC, environment;
