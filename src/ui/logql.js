// LogQL as far as a reader of a text box needs it: colours, and what may come at the caret.

export const RANGE_FUNCTIONS = [
  "rate", "count_over_time", "bytes_rate", "bytes_over_time", "rate_counter", "sum_over_time", "avg_over_time",
  "min_over_time", "max_over_time", "first_over_time", "last_over_time", "stddev_over_time", "stdvar_over_time",
  "quantile_over_time", "absent_over_time",
];
export const VECTOR_FUNCTIONS = [
  "sum", "avg", "min", "max", "count", "stddev", "stdvar", "topk", "bottomk", "approx_topk", "sort", "sort_desc",
  "label_replace", "vector",
];
export const STAGES = [
  "json", "logfmt", "pattern", "regexp", "unpack", "line_format", "label_format", "unwrap", "drop", "keep",
  "decolorize",
];
const OTHER_WORDS = ["by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "and", "or", "unless", "ip", "bytes", "duration", "duration_seconds"];
const WORDS = new Set([...RANGE_FUNCTIONS, ...VECTOR_FUNCTIONS, ...STAGES, ...OTHER_WORDS]);

const TOKEN = new RegExp([
  "(?<comment>#[^\\n]*)",
  "(?<text>\"(?:[^\"\\\\]|\\\\.)*\"?|`[^`]*`?)",
  "(?<number>\\b\\d+(?:\\.\\d+)?(?:ns|us|µs|ms|s|m|h|d|w|y|[kKMGTPE]i?B|B)*\\b)",
  "(?<word>[A-Za-z_][A-Za-z0-9_]*)",
  "(?<sign>[^\\sA-Za-z0-9_\"`#]+)",
  "(?<blank>\\s+)",
].join("|"), "gu");

/** Pieces of a query: `{ kind, text, at }`; every character is in exactly one. */
export function tokens(query) {
  const found = [];
  for (const match of query.matchAll(TOKEN)) {
    const [[kind, text]] = Object.entries(match.groups).filter(([, text]) => text !== undefined);
    found.push({ kind, text, at: match.index });
  }
  return found.map((token, at) => {
    if (token.kind !== "word") return token;
    const next = found.slice(at + 1).find((other) => other.kind !== "blank");
    const names = next?.kind === "sign" && /^(=|!=|!~|<|>)/.test(next.text);
    return { ...token, kind: !names && WORDS.has(token.text) ? "word" : "label" };
  });
}

/**
 * What may stand at the caret: `{ kind, from, typed, label?, selector? }`, where kind is one of
 * `label`, `value`, `stage`, `function`; null where nothing can be said.
 */
export function contextAt(query, caret) {
  const before = query.slice(0, caret);
  const open = before.lastIndexOf("{");
  const inside = open > before.lastIndexOf("}");
  const typed = /[A-Za-z_][A-Za-z0-9_]*$/.exec(before)?.[0] ?? "";
  if (inside) {
    const value = /([A-Za-z_][A-Za-z0-9_]*)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)$/.exec(before.slice(open));
    if (value) {
      const matcher = before.lastIndexOf(value[1]);
      const others = before.slice(open + 1, matcher).replace(/,\s*$/, "").trim();
      return { kind: "value", label: value[1], typed: value[2], from: caret - value[2].length, selector: others ? `{${others}}` : "" };
    }
    if (/[{,]\s*[A-Za-z0-9_]*$/.test(before)) return { kind: "label", typed, from: caret - typed.length };
    return null;
  }
  if (/\|\s*[a-z_]*$/.test(before)) return { kind: "stage", typed, from: caret - typed.length };
  if (/\b(?:by|without|on|ignoring)\s*\([^)]*$/.test(before)) return { kind: "label", typed, from: caret - typed.length };
  if (/(?:^|[\s(,+*\/%^-])[a-z_]*$/.test(before) && !/["`]/.test(before.slice(before.lastIndexOf("|") + 1))) {
    return { kind: "function", typed, from: caret - typed.length };
  }
  return null;
}

/** Whether the answer is samples and not lines. */
export function isMetric(query) {
  const first = tokens(query).find((token) => token.kind !== "blank" && token.kind !== "comment");
  return first !== undefined && first.text[0] !== "{";
}

/** The query with one more matcher in its first selector, or as a filter after a parser. */
export function withFilter(query, name, operator, value, isStreamLabel) {
  const quoted = JSON.stringify(value);
  if (isStreamLabel) {
    const close = query.indexOf("}");
    const selector = query.slice(query.indexOf("{") + 1, close).trim();
    return `${query.slice(0, close)}${selector ? ", " : ""}${name}${operator}${quoted}${query.slice(close)}`;
  }
  return `${query.trimEnd()} | ${name}${operator}${quoted}`;
}

/** Texts that the query's line filters look for, to be marked in lines. */
export function needles(query) {
  return [...query.matchAll(/\|=\s*(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`)/g)].map((match) => {
    if (match[2] !== undefined) return match[2];
    try { return JSON.parse(`"${match[1]}"`); } catch { return match[1]; }
  }).filter(Boolean);
}
