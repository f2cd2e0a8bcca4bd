// The view of rules: alerts that are on, and every rule with its state.

import { askJson } from "./api.js";
import { table } from "./table.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 10_000;

export class Rules {
  constructor() {
    setInterval(() => { if (!$("rules").hidden && !document.hidden) this.shown(); }, REFRESH_MS);
  }

  async shown() {
    try {
      const [rules, alerts] = await Promise.all([askJson("/prometheus/api/v1/rules"), askJson("/prometheus/api/v1/alerts")]);
      this.show(rules.data?.groups ?? [], alerts.data?.alerts ?? []);
    } catch (error) {
      const none = error.status === 404;
      $("rules-said").textContent = none ? "This server runs no rules." : error.message;
      $("rules-said").classList.toggle("bad", !none);
    }
  }

  show(groups, alerts) {
    const firing = alerts.filter(({ state }) => state === "firing").length;
    $("rules-said").textContent = `${firing} firing, ${alerts.length - firing} pending, ${groups.reduce((sum, group) => sum + group.rules.length, 0)} rules`;
    $("rules-said").classList.remove("bad");
    $("alerts").replaceChildren(...(alerts.length ? [heading("Alerts"), table(
      ["state", "alert", "labels", "value", "since", "summary"],
      alerts.map(({ state, labels, value, activeAt, annotations }) => [
        badge(state), labels.alertname, others(labels), value, activeAt ? new Date(activeAt).toLocaleString() : "", annotations?.summary ?? "",
      ]),
    )] : []));
    $("groups").replaceChildren(...groups.flatMap((group) => [heading(`${group.name} · every ${group.interval} s`), ...group.rules.map(ruleOf)]));
  }
}

function heading(text) {
  return Object.assign(document.createElement("h2"), { textContent: text });
}

function badge(state) {
  return Object.assign(document.createElement("span"), { className: `badge ${state}`, textContent: state });
}

function others(labels) {
  return Object.entries(labels).filter(([name]) => name !== "alertname").map(([name, value]) => `${name}=${value}`).join(" ");
}

function ruleOf(rule) {
  const made = document.createElement("div");
  made.className = "rule";
  const name = Object.assign(document.createElement("strong"), { textContent: rule.name });
  const took = rule.lastEvaluation ? ` evaluated ${new Date(rule.lastEvaluation).toLocaleTimeString()} in ${((rule.evaluationTime ?? 0) * 1000).toFixed(0)} ms` : "";
  made.append(name, " ", badge(rule.state ?? rule.health ?? rule.type), Object.assign(document.createElement("small"), { textContent: took }));
  made.append(Object.assign(document.createElement("code"), { textContent: rule.query }));
  if (rule.lastError) made.append(Object.assign(document.createElement("div"), { textContent: rule.lastError, className: "bad" }));
  return made;
}
