// The view of SQL: a statement over `logs` and `streams`, its rows as a table or a chart.

import { ask } from "./api.js";
import { draw } from "./chart.js";
import { table } from "./table.js";

const $ = (id) => document.getElementById(id);
const EXAMPLE = `SELECT date_bin(INTERVAL '1 minute', timestamp) AS minute, level, count(*) AS lines
FROM logs
WHERE timestamp > now() - INTERVAL '1 hour'
GROUP BY minute, level
ORDER BY minute`;

export class Sql {
  constructor() {
    this.rows = null;
    $("sql-text").value = localStorage.getItem("sql") ?? EXAMPLE;
    $("sql-ask").addEventListener("submit", (event) => { event.preventDefault(); this.run(); });
    $("sql-text").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.run();
      }
    });
    $("sql-as").addEventListener("change", () => this.show());
    addEventListener("resize", () => this.show());
  }

  shown() {
    this.show();
  }

  say(text, bad = false) {
    $("sql-said").textContent = text;
    $("sql-said").classList.toggle("bad", bad);
  }

  async run() {
    const text = $("sql-text").value.trim();
    localStorage.setItem("sql", text);
    const started = performance.now();
    this.say("Running …");
    try {
      const answer = await ask("/api/v1/sql", {}, { method: "POST", body: text, headers: { "Content-Type": "text/plain", Accept: "application/json" } });
      this.rows = rowsOf(answer);
      this.columns = Object.keys(this.rows[0] ?? {});
      this.say(`${this.rows.length.toLocaleString()} rows in ${Math.round(performance.now() - started)} ms`);
      this.show();
    } catch (error) {
      this.rows = null;
      $("sql-table").replaceChildren();
      $("sql-chart").hidden = true;
      this.say(error.message, true);
    }
  }

  show() {
    if (!this.rows || $("sql").hidden) return;
    const chart = $("sql-as").value === "chart" ? seriesOf(this.columns, this.rows) : null;
    $("sql-chart").hidden = !chart;
    $("sql-table").hidden = Boolean(chart);
    if (chart) {
      draw($("sql-chart"), chart.series, { ...chart, height: 320 });
    } else {
      $("sql-table").replaceChildren(table(this.columns, this.rows.map((row) => this.columns.map((column) => row[column]))));
      if ($("sql-as").value === "chart") this.say("A chart needs a column of times and one of numbers.", true);
    }
  }
}

/** The answer as rows, whether it is one array or one object a line. */
function rowsOf(text) {
  const trimmed = text.trim();
  if (!trimmed) return [];
  if (trimmed.startsWith("[")) return JSON.parse(trimmed);
  return trimmed.split("\n").map((line) => JSON.parse(line));
}

/** A column of times, one of numbers, and the rest as the name of the series. */
function seriesOf(columns, rows) {
  const isTime = (value) => typeof value === "string" && /^\d{4}-\d\d-\d\d[T ]/.test(value);
  const time = columns.find((column) => rows.some((row) => isTime(row[column])));
  const value = columns.findLast((column) => column !== time && rows.some((row) => typeof row[column] === "number"));
  if (!time || !value) return null;
  const names = columns.filter((column) => column !== time && column !== value);
  const series = new Map();
  for (const row of rows) {
    const at = Date.parse(/Z|[+-]\d\d:?\d\d$/.test(row[time]) ? row[time] : `${row[time].replace(" ", "T")}Z`) / 1000;
    const name = names.map((column) => row[column]).join(", ") || value;
    (series.get(name) ?? series.set(name, []).get(name)).push([at, Number(row[value])]);
  }
  const times = [...series.values()].flat().map(([at]) => at);
  return {
    series: [...series].map(([name, points]) => ({ name, points: points.sort((a, b) => a[0] - b[0]) })),
    start: Math.min(...times),
    end: Math.max(...times),
  };
}
