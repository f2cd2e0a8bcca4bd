-- Burn rate of the error budget, five minutes against an hour.
-- note: An alert on both windows wakes nobody for a blip. A window function over minutes.
WITH minutes AS (
  SELECT date_bin(INTERVAL '1 minute', timestamp) AS minute,
         count(*) AS requests,
         count(*) FILTER (WHERE json_get_int(line, 'status_code') >= 500) AS failed
  FROM logs
  WHERE labels['service'] = 'inference-gateway' AND labels['environment'] = 'production'
  GROUP BY 1
), rates AS (
  SELECT minute,
         sum(failed) OVER five / (0.005 * sum(requests) OVER five) AS burn_5m,
         sum(failed) OVER sixty / (0.005 * sum(requests) OVER sixty) AS burn_1h
  FROM minutes
  WINDOW five AS (ORDER BY minute ROWS 4 PRECEDING), sixty AS (ORDER BY minute ROWS 59 PRECEDING)
)
SELECT minute, round(burn_5m, 1) AS burn_5m, round(burn_1h, 1) AS burn_1h
FROM rates
ORDER BY burn_5m DESC, minute
LIMIT 10;
