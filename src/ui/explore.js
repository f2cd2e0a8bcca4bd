// The view of logs: a query, its volume, its lines, and new lines as they come.

import { labelNames, labelValues, queryRange, tail } from "./api.js";
import { draw } from "./chart.js";
import { Editor } from "./editor.js";
import { isMetric, tokens, withFilter } from "./logql.js";
import { entriesOf, levelName, LogList } from "./loglist.js";

/** Lines kept in the page; older ones fall off while tailing. */
const LINES_MAX = 10_000;
const BARS = 90;
const POLL_MS = 2000;
const UNITS = { m: 60, h: 3600, d: 86_400 };
const $ = (id) => document.getElementById(id);

export class Explore {
  constructor() {
    this.running = null;
    this.socket = null;
    this.editor = new Editor($("query"), { range: () => this.range(), run: () => this.run() });
    this.list = new LogList($("lines"), {
      onFilter: (name, operator, value, kind) => this.filter(name, operator, value, kind),
      onEnd: () => this.older(),
    });
    $("ask").addEventListener("submit", (event) => { event.preventDefault(); this.run(); });
    $("range").addEventListener("change", () => this.rangeChosen());
    $("live").addEventListener("click", () => this.live(!this.isLive()));
    addEventListener("hashchange", () => this.fromAddress());
    addEventListener("resize", () => this.drawVolume?.());
    this.fromAddress();
  }

  /** Times of the query, nanoseconds as text; `end` is outside. */
  range() {
    if ($("range").value === "custom" && $("from").value && $("to").value) {
      const nanos = (id) => `${new Date($(id).value).getTime()}000000`;
      return { start: nanos("from"), end: nanos("to") };
    }
    const [, count, unit] = /(\d+)(\w)/.exec($("range").value === "custom" ? "1h" : $("range").value);
    const now = Date.now();
    return { start: `${now - count * UNITS[unit] * 1000}000000`, end: `${now}000000` };
  }

  rangeChosen() {
    const custom = $("range").value === "custom";
    if (custom && !$("from").value) {
      const local = (ms) => new Date(ms - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
      $("from").value = local(Date.now() - 3_600_000);
      $("to").value = local(Date.now());
    }
    $("custom").hidden = !custom;
    if (!custom) this.run();
  }

  say(text, bad = false) {
    $("said").textContent = text;
    $("said").classList.toggle("bad", bad);
  }

  async run() {
    const query = this.editor.value.trim();
    this.live(false);
    if (!query) return this.welcome();
    this.toAddress(query);
    this.running?.abort();
    this.running = new AbortController();
    const { signal } = this.running;
    const range = this.range();
    const started = performance.now();
    this.say("Running …");
    $("welcome").hidden = true;
    try {
      if (isMetric(query)) await this.metric(query, range, signal);
      else await this.logs(query, range, signal, started);
    } catch (error) {
      if (error.name !== "AbortError") this.say(error.message, true);
    }
  }

  async logs(query, range, signal, started) {
    $("plot").hidden = true;
    const limit = Number($("limit").value);
    const volume = this.volume(query, range, signal);
    // When the lines fail first, nobody waits for the volume: its own end by the same signal is no news.
    volume.catch(() => {});
    const answer = await queryRange(query, range, { limit, direction: "backward" }, signal);
    const entries = entriesOf(answer.data.result);
    this.asked = { query, range, limit, complete: entries.length < limit };
    $("lines").hidden = false;
    this.list.show(entries, query);
    const { totalLinesProcessed = 0, totalBytesProcessed = 0 } = answer.data.stats?.summary ?? {};
    const took = Math.round(performance.now() - started);
    this.say(`${entries.length.toLocaleString()} lines${entries.length === limit ? " (the limit; older ones follow at the end)" : ""}, `
      + `${totalLinesProcessed.toLocaleString()} looked at (${(totalBytesProcessed / 1e6).toFixed(1)} MB) in ${took} ms`);
    await volume;
  }

  async volume(query, range, signal) {
    const [start, end] = [Number(range.start) / 1e9, Number(range.end) / 1e9];
    const step = Math.max(1, Math.ceil((end - start) / BARS));
    const text = `sum by (level, detected_level) (count_over_time(${query} | drop __error__ [${step}s]))`;
    const aligned = { start: `${Math.floor(start / step) * step}`, end: `${Math.ceil(end / step) * step}` };
    const answer = await queryRange(text, aligned, { step }, signal).catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    });
    $("volume").hidden = !answer?.data.result.length;
    if ($("volume").hidden) return;
    const sums = new Map();
    for (const { metric, values } of answer.data.result) {
      const level = metric.detected_level && metric.detected_level !== "unknown" ? metric.detected_level : metric.level || metric.detected_level || "unknown";
      const name = levelName(level);
      const sum = sums.get(name) ?? sums.set(name, new Map()).get(name);
      for (const [at, count] of values) sum.set(at, (sum.get(at) ?? 0) + Number(count));
    }
    const order = ["critical", "error", "warning", "info", "debug", "trace"];
    const rank = ([name]) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
    const series = [...sums].sort((a, b) => rank(a) - rank(b)).map(([name, points]) => ({ name, points: [...points] }));
    this.drawVolume = () => draw($("volume"), series, {
      start, end, step, bars: true, unit: " lines",
      onPick: (from, to) => this.zoom(from, to),
    });
    this.drawVolume();
  }

  async metric(query, range, signal) {
    $("volume").hidden = true;
    $("lines").hidden = true;
    const [start, end] = [Number(range.start) / 1e9, Number(range.end) / 1e9];
    const step = Math.max(1, Math.ceil((end - start) / 300));
    const answer = await queryRange(query, range, { step }, signal);
    const series = answer.data.result.map(({ metric, values }) => ({
      name: Object.entries(metric).map(([name, value]) => `${name}=${value}`).join(", ") || "value",
      points: values.map(([at, value]) => [at, Number(value.replace("Inf", "Infinity"))]),
    }));
    $("plot").hidden = series.length === 0;
    this.drawVolume = () => draw($("plot"), series, { start, end, height: 300, onPick: (from, to) => this.zoom(from, to) });
    if (series.length) this.drawVolume();
    this.say(`${series.length} series`);
  }

  /** Fetches what is beyond the oldest line shown. */
  async older() {
    if (!this.asked || this.asked.complete || this.fetching || this.isLive() || this.list.entries.length >= LINES_MAX) return;
    this.fetching = true;
    try {
      const { query, range, limit } = this.asked;
      const oldest = this.list.entries.at(-1).ns;
      const answer = await queryRange(query, { start: range.start, end: oldest }, { limit, direction: "backward" });
      const entries = entriesOf(answer.data.result);
      this.asked.complete = entries.length < limit;
      this.list.append(entries);
      this.say(`${this.list.entries.length.toLocaleString()} lines`);
    } catch (error) {
      this.say(error.message, true);
    } finally {
      this.fetching = false;
    }
  }

  zoom(from, to) {
    const local = (seconds) => new Date(seconds * 1000 - new Date().getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
    $("range").value = "custom";
    $("custom").hidden = false;
    $("from").value = local(from);
    $("to").value = local(to);
    this.run();
  }

  filter(name, operator, value, kind) {
    let query = this.editor.value;
    const parses = tokens(query).some(({ kind: of, text }) => of === "word" && ["json", "logfmt", "pattern", "regexp", "unpack"].includes(text));
    if (kind === "json" && !parses) query = `${query.trimEnd()} | json`;
    this.editor.value = withFilter(query, name, operator, value, kind === "stream");
    this.run();
  }

  isLive() {
    return $("live").getAttribute("aria-pressed") === "true";
  }

  live(on) {
    $("live").setAttribute("aria-pressed", String(on));
    this.socket?.close();
    clearInterval(this.polling);
    this.socket = null;
    if (!on) return;
    const query = this.editor.value.trim();
    if (!query || isMetric(query)) {
      this.live(false);
      return this.say("Live needs a query of lines.", true);
    }
    this.toAddress(query);
    for (const id of ["welcome", "volume", "plot"]) $(id).hidden = true;
    $("lines").hidden = false;
    this.list.show([], query);
    this.asked = null;
    let dropped = 0;
    const take = (streams) => this.list.prepend(entriesOf(streams), LINES_MAX);
    this.socket = tail(query);
    if (!this.socket) return this.poll(query, take);
    this.say("Live: waiting for lines …");
    this.socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      dropped += frame.dropped_entries?.length ?? 0;
      take(frame.streams.map(({ stream, values }) => ({ stream, values })));
      this.say(`Live: ${this.list.entries.length.toLocaleString()} lines${dropped ? `, ${dropped} skipped because they came too fast` : ""}`);
    };
    this.socket.onclose = ({ reason }) => {
      if (!this.isLive()) return;
      $("live").setAttribute("aria-pressed", "false");
      this.say(`Live ended${reason ? `: ${reason}` : ""}`, true);
    };
  }

  /** Asks again and again where there can be no socket. */
  poll(query, take) {
    let from = `${Date.now() - POLL_MS}000000`;
    this.polling = setInterval(async () => {
      const to = `${Date.now()}000000`;
      try {
        const answer = await queryRange(query, { start: from, end: to }, { limit: 1000, direction: "backward" });
        take(answer.data.result);
        from = to;
        this.say(`Live: ${this.list.entries.length.toLocaleString()} lines`);
      } catch (error) {
        this.say(error.message, true);
      }
    }, POLL_MS);
  }

  async welcome() {
    for (const id of ["volume", "plot", "lines"]) $(id).hidden = true;
    $("welcome").hidden = false;
    this.say("");
    try {
      const range = this.range();
      const names = (await labelNames(range)).filter((name) => name !== "__stream_shard__").slice(0, 24);
      const groups = await Promise.all(names.map(async (name) => [name, await labelValues(name, range)]));
      $("labels").replaceChildren(...groups.map(([name, values]) => {
        const group = document.createElement("div");
        group.append(Object.assign(document.createElement("h3"), { textContent: name }));
        for (const value of values.slice(0, 12)) {
          const button = Object.assign(document.createElement("button"), { textContent: value || '""', type: "button" });
          button.addEventListener("click", () => {
            this.editor.value = `{${name}=${JSON.stringify(value)}}`;
            this.run();
          });
          group.append(button);
        }
        if (values.length > 12) group.append(`and ${values.length - 12} more`);
        return group;
      }));
      if (names.length === 0) $("labels").textContent = "Nothing was logged in this range.";
    } catch (error) {
      this.say(error.message, true);
    }
  }

  /** The query is in the address: it can be sent to someone, and the way back works. */
  toAddress(query) {
    const params = new URLSearchParams({ q: query, range: $("range").value });
    if ($("range").value === "custom") {
      params.set("from", $("from").value);
      params.set("to", $("to").value);
    }
    const hash = `#explore?${params}`;
    if (location.hash !== hash) history.pushState(null, "", hash);
  }

  fromAddress() {
    const [view, text] = location.hash.slice(1).split("?");
    if (view && view !== "explore") return;
    const params = new URLSearchParams(text ?? "");
    this.editor.value = params.get("q") ?? "";
    if (params.has("range")) $("range").value = params.get("range");
    for (const id of ["from", "to"]) if (params.has(id)) $(id).value = params.get(id);
    $("custom").hidden = $("range").value !== "custom";
    this.run();
  }
}
