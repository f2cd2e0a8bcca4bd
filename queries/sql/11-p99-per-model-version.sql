-- Latency of each model version: median, p95, p99.
-- note: Exact percentiles, of latencies that are numbers; `approx_percentile_cont(latency, 0.99)` is cheaper over many rows.
SELECT json_get_str(line, 'model_name') AS model,
       json_get_str(line, 'model_version') AS version,
       count(*) AS requests,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY json_get_float(line, 'latency_ms')), 1) AS p50_ms,
       round(percentile_cont(0.95) WITHIN GROUP (ORDER BY json_get_float(line, 'latency_ms')), 1) AS p95_ms,
       round(percentile_cont(0.99) WITHIN GROUP (ORDER BY json_get_float(line, 'latency_ms')), 1) AS p99_ms
FROM logs
WHERE labels['service'] = 'inference-gateway'
  AND json_get_str(line, 'model_version') IS NOT NULL
  AND json_get_float(line, 'latency_ms') < 1e9
GROUP BY 1, 2
ORDER BY p99_ms DESC, model, version;
