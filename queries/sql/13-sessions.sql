-- Sessions of the busiest users.
-- note: A session ends after ten minutes of silence: gaps, numbered by a running sum.
WITH requests AS (
  SELECT json_get_str(line, 'user_id') AS user_id, timestamp
  FROM logs
  WHERE labels['service'] = 'inference-gateway' AND json_get_str(line, 'user_id') IS NOT NULL
), gaps AS (
  SELECT user_id, timestamp,
         timestamp - lag(timestamp) OVER (PARTITION BY user_id ORDER BY timestamp) > INTERVAL '10 minutes' AS begins
  FROM requests
), numbered AS (
  SELECT user_id, timestamp,
         sum(CASE WHEN begins THEN 1 ELSE 0 END) OVER (PARTITION BY user_id ORDER BY timestamp) AS session
  FROM gaps
)
SELECT user_id, session, count(*) AS requests, min(timestamp) AS began, max(timestamp) - min(timestamp) AS lasted
FROM numbered
GROUP BY 1, 2
ORDER BY requests DESC, user_id, session
LIMIT 10;
