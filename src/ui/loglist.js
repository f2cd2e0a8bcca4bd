// A list of log lines of any length: only rows in sight are elements, open rows show their fields.

import { needles } from "./logql.js";

const ROW = 22;
/** Rows made above and below what is in sight. */
const MARGIN = 12;

const LEVELS = { crit: "critical", fatal: "critical", emerg: "critical", err: "error", warn: "warning", information: "info", dbg: "debug" };

/** The level's name as the colours have it. */
export function levelName(text) {
  const level = (text ?? "").toLowerCase();
  return ["critical", "error", "warning", "info", "debug", "trace"].includes(level) ? level : LEVELS[level] ?? "unknown";
}

/** Entries of an answer, newest first: `{ ns, line, stream, metadata, parsed, level }`. */
export function entriesOf(streams) {
  const entries = [];
  for (const { stream, values } of streams) {
    for (const [ns, line, more] of values) {
      const metadata = more?.structuredMetadata ?? {};
      const parsed = more?.parsed ?? {};
      const level = levelName(metadata.detected_level ?? parsed.level ?? stream.detected_level ?? stream.level);
      entries.push({ ns, line, stream, metadata, parsed, level });
    }
  }
  return entries.sort((a, b) => (a.ns.length - b.ns.length || (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0)) * -1);
}

export class LogList {
  /** `onFilter(name, operator, value, isStreamLabel)` hears of the buttons beside fields. */
  constructor(place, { onFilter, onEnd }) {
    this.place = place;
    this.onFilter = onFilter;
    this.onEnd = onEnd;
    this.entries = [];
    this.heights = [];
    this.open = new Set();
    this.current = -1;
    this.marks = null;
    this.space = document.createElement("div");
    this.space.className = "space";
    place.replaceChildren(this.space);
    place.tabIndex = 0;
    place.setAttribute("role", "list");
    place.setAttribute("aria-label", "Log lines");
    place.addEventListener("scroll", () => this.paintSoon());
    place.addEventListener("keydown", (event) => this.key(event));
    this.space.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.paintSoon()).observe(place);
  }

  show(entries, query) {
    const texts = needles(query).map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.marks = texts.length ? new RegExp(texts.join("|"), "g") : null;
    this.entries = entries;
    this.open.clear();
    this.current = -1;
    this.place.scrollTop = 0;
    this.measure();
  }

  /** Puts newer entries on top, at most `max` in all; what is looked at stays where it is. */
  prepend(entries, max) {
    const isAtTop = this.place.scrollTop < ROW;
    const shift = entries.length;
    this.entries = [...entries, ...this.entries].slice(0, max);
    this.open = new Set([...this.open].map((at) => at + shift).filter((at) => at < max));
    if (this.current >= 0) this.current = Math.min(this.current + shift, max - 1);
    this.measure();
    if (!isAtTop) this.place.scrollTop += shift * ROW;
  }

  append(entries) {
    this.entries = [...this.entries, ...entries];
    this.measure();
  }

  /** Tops of all rows, the end of the last one behind them. */
  measure() {
    const tops = new Float64Array(this.entries.length + 1);
    for (let at = 0; at < this.entries.length; at++) {
      tops[at + 1] = tops[at] + (this.open.has(at) ? this.heights[at] ?? ROW * 8 : ROW);
    }
    this.tops = tops;
    this.space.style.height = `${tops[this.entries.length]}px`;
    this.paint();
  }

  rowAt(y) {
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  paintSoon() {
    this.painting ??= requestAnimationFrame(() => {
      this.painting = undefined;
      this.paint();
    });
  }

  paint() {
    if (!this.tops) return;
    const top = this.place.scrollTop;
    const first = Math.max(this.rowAt(top) - MARGIN, 0);
    const last = Math.min(this.rowAt(top + this.place.clientHeight) + MARGIN, this.entries.length - 1);
    const rows = [];
    for (let at = first; at <= last; at++) rows.push(this.row(at));
    this.space.replaceChildren(...rows);
    let moved = false;
    for (const row of rows) {
      const at = Number(row.dataset.at);
      if (this.open.has(at) && this.heights[at] !== row.offsetHeight) {
        this.heights[at] = row.offsetHeight;
        moved = true;
      }
    }
    if (moved) this.measure();
    if (last === this.entries.length - 1 && top > 0) this.onEnd?.();
  }

  row(at) {
    const entry = this.entries[at];
    const row = document.createElement("div");
    row.className = `line ${entry.level}`;
    row.dataset.at = at;
    row.role = "listitem";
    row.style.top = `${this.tops[at]}px`;
    if (at === this.current) row.setAttribute("aria-current", "true");
    const text = document.createElement("div");
    text.className = "text";
    const time = document.createElement("time");
    time.textContent = timeText(entry.ns);
    text.append(time, this.marked(entry.line.length > 2000 ? `${entry.line.slice(0, 2000)}…` : entry.line));
    row.append(text);
    if (this.open.has(at)) row.append(this.fields(entry));
    return row;
  }

  marked(line) {
    if (!this.marks) return document.createTextNode(line);
    const made = document.createDocumentFragment();
    let from = 0;
    for (const match of line.matchAll(this.marks)) {
      made.append(line.slice(from, match.index), Object.assign(document.createElement("mark"), { textContent: match[0] }));
      from = match.index + match[0].length;
    }
    made.append(line.slice(from));
    return made;
  }

  fields(entry) {
    const made = document.createElement("div");
    made.className = "fields";
    const raw = document.createElement("div");
    raw.className = "raw";
    raw.append(this.marked(entry.line));
    const table = document.createElement("table");
    const add = (name, value, kind) => {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = value;
      const buttons = row.insertCell();
      for (const operator of ["=", "!="]) {
        const button = document.createElement("button");
        button.textContent = operator;
        button.title = operator === "=" ? "Only lines with this value" : "Only lines with another value";
        button.addEventListener("click", () => this.onFilter(name, operator, String(value), kind));
        buttons.append(button, " ");
      }
    };
    add("time", `${new Date(Number(entry.ns) / 1e6).toISOString().slice(0, -1)}  (${entry.ns})`, "time");
    table.rows[0].cells[2].replaceChildren();
    for (const [name, value] of Object.entries(entry.stream)) add(name, value, "stream");
    for (const [name, value] of Object.entries(entry.metadata)) add(name, value, "metadata");
    const parsed = Object.keys(entry.parsed).length ? entry.parsed : jsonFields(entry.line);
    for (const [name, value] of Object.entries(parsed)) add(name, value, entry.parsed === parsed ? "parsed" : "json");
    made.append(raw, table);
    return made;
  }

  click(event) {
    const row = event.target.closest(".line");
    if (!row || !event.target.closest(".text")) return;
    this.select(Number(row.dataset.at));
    this.toggle();
  }

  select(at) {
    this.current = Math.min(Math.max(at, 0), this.entries.length - 1);
    const top = this.tops[this.current];
    if (top < this.place.scrollTop) this.place.scrollTop = top;
    if (top + ROW > this.place.scrollTop + this.place.clientHeight) this.place.scrollTop = top + ROW - this.place.clientHeight;
    this.paint();
  }

  toggle() {
    if (this.current < 0) return;
    if (!this.open.delete(this.current)) this.open.add(this.current);
    this.measure();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button")) return;
    const page = Math.floor(this.place.clientHeight / ROW);
    switch (event.key) {
      case "j": case "ArrowDown": this.select(this.current + 1); break;
      case "k": case "ArrowUp": this.select(this.current - 1); break;
      case "PageDown": this.select(this.current + page); break;
      case "PageUp": this.select(this.current - page); break;
      case "Home": this.select(0); break;
      case "End": this.select(this.entries.length - 1); break;
      case "Enter": this.toggle(); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

function timeText(ns) {
  const date = new Date(Number(ns.slice(0, -6)));
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ns.slice(-9, -6)}`;
}

/** Fields of a JSON line as the `json` parser names them. */
function jsonFields(line) {
  if (!line.startsWith("{")) return {};
  const found = {};
  const walk = (value, path) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) walk(inner, path ? `${path}_${key}` : key);
    } else if (value !== null && !Array.isArray(value)) {
      found[path.replace(/[^A-Za-z0-9_]/g, "_")] = value;
    }
  };
  try { walk(JSON.parse(line), ""); } catch { return {}; }
  return found;
}
