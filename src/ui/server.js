// The view of the server: queries that run now, and what is kept where.

import { ask, askJson } from "./api.js";
import { draw, short } from "./chart.js";
import { table } from "./table.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 3000;

export class Server {
  constructor() {
    setInterval(() => { if (!$("server").hidden && !document.hidden) this.shown(); }, REFRESH_MS);
  }

  async shown() {
    try {
      const [queries, storage] = await Promise.all([askJson("/api/v1/queries"), askJson("/api/v1/storage")]);
      $("server-said").textContent = `Millrace ${storage.version}, up ${duration(storage.uptime_seconds)}`;
      $("server-said").classList.remove("bad");
      this.showQueries(queries.queries);
      this.showStorage(storage);
    } catch (error) {
      $("server-said").textContent = error.message;
      $("server-said").classList.add("bad");
    }
  }

  showQueries(queries) {
    if (queries.length === 0) {
      $("running").textContent = "None.";
      return;
    }
    $("running").replaceChildren(table(["for", "kind", "query", ""], queries.map(({ id, running_seconds, kind, query }) => {
      const stop = Object.assign(document.createElement("button"), { textContent: "Stop" });
      stop.addEventListener("click", async () => {
        await ask(`/api/v1/queries/${id}`, {}, { method: "DELETE" }).catch(() => {});
        this.shown();
      });
      return [`${running_seconds.toFixed(1)} s`, kind, query, stop];
    })));
  }

  showStorage({ memory, files, days }) {
    const tile = (value, name) => {
      const made = document.createElement("div");
      made.append(Object.assign(document.createElement("b"), { textContent: value }), Object.assign(document.createElement("span"), { textContent: name }));
      return made;
    };
    const tiles = Object.assign(document.createElement("div"), { className: "tiles" });
    tiles.append(
      tile(short(memory.rows), "rows in memory"), tile(`${short(memory.bytes)}B`, "of memory"),
      tile(short(files.rows), "rows in files"), tile(`${short(files.bytes)}B`, "of files"), tile(short(files.count), "files"),
    );
    $("storage").replaceChildren(tiles);
    $("days").hidden = days.length === 0;
    if (days.length === 0) return;
    const seconds = (day) => Date.parse(`${day}T00:00:00Z`) / 1000;
    const points = days.map(({ date, bytes }) => [seconds(date) + 86_400, bytes]);
    draw($("days"), [{ name: "bytes of files by day", points }], { start: seconds(days[0].date), end: seconds(days.at(-1).date) + 86_400, step: 86_400, bars: true, unit: "B" });
  }
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86_400).toFixed(1)} days`;
}
