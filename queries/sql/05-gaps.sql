-- The longest silences of a service.
-- note: Windows: what LogQL cannot say.
SELECT timestamp, timestamp - lag(timestamp) OVER (ORDER BY timestamp) AS silence
FROM logs
WHERE labels['service'] = 'edge-nginx'
ORDER BY silence DESC NULLS LAST, timestamp
LIMIT 5;
