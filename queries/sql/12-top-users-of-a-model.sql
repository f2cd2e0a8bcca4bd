-- Top users of a model.
SELECT json_get_str(line, 'user_id') AS user_id,
       count(*) AS requests,
       count(DISTINCT json_get_str(line, 'trace_id')) AS traces,
       max(timestamp) AS last_seen
FROM logs
WHERE labels['service'] = 'inference-gateway'
  AND json_get_str(line, 'model_name') = 'resnet50'
GROUP BY 1
ORDER BY requests DESC, user_id
LIMIT 10;
