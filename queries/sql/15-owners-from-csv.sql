-- Errors by team, from a table of owners.
-- note: `csv('…')` makes a table of text; `millrace sql --csv owners=owners.csv` puts a file in its place.
SELECT o.team, o.on_call, count(*) AS errors
FROM logs l
JOIN csv('service,team,on_call
inference-gateway,serving,ana
feature-store,data,ben
edge-nginx,platform,cleo
system,platform,cleo
') o ON o.service = l.labels['service']
WHERE l.level IN ('error', 'critical')
GROUP BY 1, 2
ORDER BY errors DESC, team;
