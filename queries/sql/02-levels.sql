-- Lines by level and hour.
SELECT date_bin(INTERVAL '1 hour', timestamp) AS hour, level, count(*) AS lines
FROM logs
WHERE labels['service'] = 'inference-gateway'
GROUP BY 1, 2
ORDER BY 1, 3 DESC, level;
