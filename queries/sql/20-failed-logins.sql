-- Failed logins over SSH, by network.
-- note: `line_regexp` is LogQL's `| regexp`; networks are the first two numbers of an address.
WITH attempts AS (
  SELECT timestamp, labels['hostname'] AS host,
         line_regexp(line, 'Failed password for (?P<user>\S+) from (?P<ip>\S+) port') AS p
  FROM logs
  WHERE labels['service'] = 'system' AND line LIKE '%Failed password%'
)
SELECT regexp_replace(p['ip'], '^([0-9]+[.][0-9]+)[.].*$', '\1.0.0/16') AS network,
       p['user'] AS account, count(*) AS attempts, count(DISTINCT host) AS hosts, min(timestamp) AS first
FROM attempts
WHERE p['ip'] IS NOT NULL
GROUP BY 1, 2
ORDER BY attempts DESC, network, account
LIMIT 10;
