-- Slow lookups of the feature store, by caller.
-- note: `logfmt(line)` is LogQL's own parser; its durations are text, so they are read with a regular expression.
WITH lookups AS (
  SELECT split_part(fields['caller'], ':', 1) AS file, fields['msg'] AS message,
         CASE WHEN fields['duration'] LIKE '%ms' THEN 1.0 WHEN fields['duration'] LIKE '%s' THEN 1000.0 END
           * try_cast(regexp_replace(fields['duration'], '[a-z]+$', '') AS DOUBLE) AS ms
  FROM (SELECT logfmt(line) AS fields FROM logs WHERE labels['service'] = 'feature-store')
)
SELECT file, message, count(*) AS lookups, round(avg(ms), 1) AS mean_ms, max(ms) AS slowest_ms
FROM lookups
WHERE ms IS NOT NULL
GROUP BY 1, 2
ORDER BY mean_ms DESC, message;
