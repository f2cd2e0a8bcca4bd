-- Error budget of each environment.
-- note: The objective is 99.5 percent of requests without a 5xx; how much of what may fail has failed?
SELECT labels['environment'] AS environment,
       count(*) AS requests,
       count(*) FILTER (WHERE json_get_int(line, 'status_code') >= 500) AS failed,
       round(count(*) * 0.005, 1) AS budget,
       round(100.0 * count(*) FILTER (WHERE json_get_int(line, 'status_code') >= 500) / (count(*) * 0.005), 1) AS percent_used
FROM logs
WHERE labels['service'] = 'inference-gateway'
  AND json_get_int(line, 'status_code') IS NOT NULL
GROUP BY 1
ORDER BY percent_used DESC, environment;
