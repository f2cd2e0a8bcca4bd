-- What the user of a trace did before and after it.
-- note: From one span to the session around it: a join on the user and on time.
WITH requests AS (
  SELECT timestamp, json_get_str(line, 'trace_id') AS trace, json_get_str(line, 'user_id') AS user_id,
         json_get_str(line, 'message') AS message
  FROM logs
  WHERE labels['service'] = 'inference-gateway'
)
SELECT r.timestamp - t.timestamp AS since_the_trace, r.trace = t.trace AS is_it, r.message
FROM requests t
JOIN requests r ON r.user_id = t.user_id
 AND r.timestamp BETWEEN t.timestamp - INTERVAL '30 minutes' AND t.timestamp + INTERVAL '30 minutes'
WHERE t.trace = '9fad048886b155f8632a'
ORDER BY r.timestamp, r.trace;
