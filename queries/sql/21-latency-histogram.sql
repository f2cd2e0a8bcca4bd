-- Latency as a histogram, with the part of requests that is faster.
WITH buckets AS (
  SELECT 50 * floor(json_get_float(line, 'latency_ms') / 50) AS from_ms, count(*) AS requests
  FROM logs
  WHERE labels['service'] = 'inference-gateway' AND json_get_float(line, 'latency_ms') < 1e9
  GROUP BY 1
)
SELECT from_ms, requests,
       round(100.0 * sum(requests) OVER (ORDER BY from_ms) / sum(requests) OVER (), 2) AS percent_up_to_here
FROM buckets
ORDER BY from_ms
LIMIT 20;
