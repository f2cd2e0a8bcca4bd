-- The most frequent kinds of errors.
-- note: View `patterns`: templates of lines with their counts, from the footers of files.
SELECT service, pattern, sum(lines) AS lines
FROM patterns
WHERE level IN ('error', 'critical', 'warn') AND service = 'feature-store'
GROUP BY 1, 2
ORDER BY lines DESC, pattern
LIMIT 10;
