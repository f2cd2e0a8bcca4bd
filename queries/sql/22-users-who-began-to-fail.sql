-- Users whose requests failed in the second hour and not in the first.
-- note: An anti-join: whom did the release hit?
WITH failures AS (
  SELECT timestamp, json_get_str(line, 'user_id') AS user_id, json_get_str(line, 'model_version') AS version
  FROM logs
  WHERE labels['service'] = 'inference-gateway' AND json_get_int(line, 'status_code') >= 500
)
SELECT late.user_id, count(*) AS failures, count(DISTINCT late.version) AS versions, min(late.timestamp) AS first
FROM failures late
LEFT ANTI JOIN failures early
  ON early.user_id = late.user_id AND early.timestamp < '2026-01-15T11:00:00Z'
WHERE late.user_id IS NOT NULL
GROUP BY 1
ORDER BY failures DESC, user_id
LIMIT 10;
