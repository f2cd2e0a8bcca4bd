// Starts the page: views, keys, theme, tenant.

import { setTenant, setToken, tenantName } from "./api.js";
import { Explore } from "./explore.js";
import { Rules } from "./rules.js";
import { Server } from "./server.js";
import { Sql } from "./sql.js";

const $ = (id) => document.getElementById(id);
const VIEWS = ["explore", "sql", "rules", "server"];
const views = { explore: new Explore(), sql: new Sql(), rules: new Rules(), server: new Server() };

function show(name, { focus = false } = {}) {
  for (const view of VIEWS) {
    const chosen = view === name;
    $(view).hidden = !chosen;
    $(`tab-${view}`).setAttribute("aria-selected", String(chosen));
    $(`tab-${view}`).tabIndex = chosen ? 0 : -1;
    if (chosen && focus) $(`tab-${view}`).focus();
  }
  views[name].shown?.();
}

$("tabs").addEventListener("click", (event) => {
  const view = event.target.closest("[data-view]")?.dataset.view;
  if (view) go(view);
});
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const at = VIEWS.indexOf(event.target.dataset.view);
  go(VIEWS[(at + step + VIEWS.length) % VIEWS.length], { focus: true });
});

function go(view, options) {
  if (view !== currentView()) history.pushState(null, "", `#${view}`);
  show(view, options);
}

function currentView() {
  const view = location.hash.slice(1).split("?")[0];
  return VIEWS.includes(view) ? view : "explore";
}

addEventListener("hashchange", () => show(currentView()));
addEventListener("popstate", () => show(currentView()));

addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const view = VIEWS[Number(event.key) - 1];
  if (view) go(view);
  else if (event.key === "/") { go("explore"); views.explore.editor.focus(); }
  else if (event.key === "l") { go("explore"); views.explore.live(!views.explore.isLive()); }
  else if (event.key === "j" || event.key === "k") { $("lines").focus(); views.explore.list.key(event); }
  else if (event.key === "?") $("help").showModal();
  else return;
  event.preventDefault();
});
$("help-open").addEventListener("click", () => $("help").showModal());

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
$("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});

$("tenant").value = tenantName();
$("tenant").addEventListener("change", () => { setTenant($("tenant").value); views.explore.run(); });

$("token").addEventListener("change", () => { setToken($("token").value); views.explore.run(); });

show(currentView());
