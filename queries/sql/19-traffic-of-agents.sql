-- Requests and bytes of each kind of client.
-- note: `line_pattern` is LogQL's `| pattern`.
WITH access AS (
  SELECT line_pattern(line, '<ip> - <user> [<_>] "<method> <path> <_>" <status> <bytes> "<_>" "<agent>" <seconds>') AS p
  FROM logs
  WHERE labels['service'] = 'edge-nginx'
)
SELECT p['agent'] AS agent,
       count(*) AS requests,
       approx_distinct(p['ip']) AS addresses,
       sum(try_cast(p['bytes'] AS BIGINT)) AS bytes,
       count(*) FILTER (WHERE p['status'] LIKE '4%') AS client_errors
FROM access
WHERE p['agent'] IS NOT NULL
GROUP BY 1
ORDER BY bytes DESC, agent;
