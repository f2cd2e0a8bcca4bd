-- The busiest seconds.
SELECT date_trunc('second', timestamp) AS second, count(*) AS lines
FROM logs
GROUP BY 1
ORDER BY lines DESC, second
LIMIT 10;
