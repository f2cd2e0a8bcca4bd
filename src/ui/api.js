// What the page asks the server. Nothing is asked of anyone else.

/** The tenant of requests; empty where the server has one tenant. */
let tenant = localStorage.getItem("tenant") ?? "";

/** Kept for the session of the tab alone. */
let token = sessionStorage.getItem("token") ?? "";

export function setToken(text) {
  token = text.trim();
  sessionStorage.setItem("token", token);
}

export function tenantName() {
  return tenant;
}

export function setTenant(name) {
  tenant = name.trim();
  localStorage.setItem("tenant", tenant);
}

/** A relative address, so that the page works behind a proxy's path. */
export function address(path, params = {}) {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") url.searchParams.append(name, value);
  }
  return url;
}

/** An answer's text; an error carries the server's own words and the status. */
export async function ask(path, params = {}, options = {}) {
  const headers = { ...(options.headers ?? {}) };
  if (tenant) headers["X-Scope-OrgID"] = tenant;
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(address(path, params), { ...options, headers });
  const text = await response.text();
  if (!response.ok) {
    const error = new Error(text.trim() || `the server answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return text;
}

export async function askJson(path, params, options) {
  return JSON.parse(await ask(path, params, options));
}

export async function labelNames(range) {
  return (await askJson("/loki/api/v1/labels", { start: range.start, end: range.end })).data ?? [];
}

export async function labelValues(name, range, selector) {
  const params = { start: range.start, end: range.end, query: selector };
  return (await askJson(`/loki/api/v1/label/${encodeURIComponent(name)}/values`, params)).data ?? [];
}

/** A range query; times in nanoseconds as text. Labels of lines come apart from those of streams. */
export function queryRange(query, range, options, signal) {
  const params = { query, start: range.start, end: range.end, ...options };
  const headers = { "X-Loki-Response-Encoding-Flags": "categorize-labels" };
  return askJson("/loki/api/v1/query_range", params, { headers, signal });
}

/** A socket that brings new lines; null where headers must be sent, which a browser's socket cannot. */
export function tail(query) {
  if (tenant || token) return null;
  const url = address("/loki/api/v1/tail", { query, limit: 50 });
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(url);
}
