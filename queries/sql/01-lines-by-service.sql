-- Lines and bytes by service.
-- note: From the stream index alone: no line is read.
SELECT labels['service'] AS service, sum(entries) AS lines, sum(bytes) AS bytes
FROM streams
GROUP BY 1
ORDER BY bytes DESC;
