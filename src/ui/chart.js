// Small charts in SVG: stacked bars and lines over time, with a legend and a hint under the pointer.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52;
const BOTTOM = 20;
const TOP = 6;
const SERIES_MAX = 60;

/** Colours of levels are those of the lines; other series take the next hue of a circle. */
export function colourOf(name, at) {
  const known = ["critical", "error", "warning", "info", "debug", "trace", "unknown"];
  if (known.includes(name)) return `var(--${name})`;
  if (name === "warn") return "var(--warning)";
  return `light-dark(hsl(${(at * 137 + 200) % 360} 62% 38%), hsl(${(at * 137 + 200) % 360} 58% 66%))`;
}

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** 1234567 → 1.23 M */
export function short(value) {
  if (!Number.isFinite(value)) return String(value);
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return String(Number(value.toPrecision(4)));
}

/** A round step so that about four lines fit. */
function roundStep(max) {
  const raw = max / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw);
}

function clock(seconds, span) {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(span < 900 ? { second: "2-digit" } : {}) });
  return span > 86_400 ? `${date.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}` : time;
}

/**
 * Draws series `{ name, points: [[seconds, value]] }` between `start` and `end` (seconds).
 * With `bars`, values of one time are stacked and `step` wide. `onPick(from, to)` hears of a dragged range.
 */
export function draw(place, series, { start, end, step, bars = false, height = 110, unit = "", onPick }) {
  const shown = series.slice(0, SERIES_MAX);
  const width = Math.max(place.clientWidth, 300);
  const inner = width - LEFT - 8;
  const tall = height - BOTTOM - TOP;
  const x = (at) => LEFT + ((at - start) / (end - start || 1)) * inner;
  const totals = new Map();
  for (const { points } of shown) {
    for (const [at, value] of points) if (Number.isFinite(value)) totals.set(at, bars ? (totals.get(at) ?? 0) + value : Math.max(totals.get(at) ?? value, value));
  }
  const least = bars ? 0 : Math.min(0, ...shown.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite));
  const most = Math.max(...totals.values(), least + 1e-9);
  const y = (value) => TOP + tall - ((value - least) / (most - least)) * tall;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  svg.append(element("title", {}, summary(shown, most, unit)));
  const gridStep = roundStep(most - least);
  for (let value = Math.ceil(least / gridStep) * gridStep; value <= most * 1.0001; value += gridStep) {
    svg.append(element("line", { class: "grid", x1: LEFT, x2: width - 8, y1: y(value), y2: y(value) }));
    svg.append(element("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  const marks = Math.max(2, Math.floor(inner / 130));
  for (let mark = 0; mark <= marks; mark++) {
    const at = start + ((end - start) * mark) / marks;
    const anchor = mark === 0 ? "start" : mark === marks ? "end" : "middle";
    svg.append(element("text", { x: x(at), y: height - 5, "text-anchor": anchor }, clock(at, end - start)));
  }
  bars ? drawBars(svg, shown, { x, y, step, start }) : drawLines(svg, shown, { x, y });
  place.replaceChildren(svg, legend(shown, series.length));
  hints(place, svg, shown, { start, end, inner, width, step, unit, onPick });
}

function summary(series, most, unit) {
  return `${series.length} series, at most ${short(most)}${unit}: ${series.slice(0, 8).map(({ name }) => name).join(", ")}`;
}

function drawBars(svg, series, { x, y, step, start }) {
  const below = new Map();
  const wide = Math.max(x(start + step) - x(start) - 1, 1);
  series.forEach(({ name, points }, at) => {
    const group = element("g", { fill: colourOf(name, at) });
    for (const [time, value] of points) {
      const under = below.get(time) ?? 0;
      below.set(time, under + value);
      const top = y(under + value);
      const left = Math.max(x(time - step), LEFT);
      const width = Math.max(x(time - step) + wide - left, 0);
      group.append(element("rect", { x: left, y: top, width, height: Math.max(y(under) - top, 0) }));
    }
    svg.append(group);
  });
}

function drawLines(svg, series, { x, y }) {
  series.forEach(({ name, points }, at) => {
    const good = points.filter(([, value]) => Number.isFinite(value));
    const path = good.map(([time, value], first) => `${first ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    svg.append(element("path", { d: path, fill: "none", stroke: colourOf(name, at), "stroke-width": 1.6 }));
    if (good.length === 1) svg.append(element("circle", { cx: x(good[0][0]), cy: y(good[0][1]), r: 3, fill: colourOf(name, at) }));
  });
}

function legend(series, all) {
  const made = document.createElement("div");
  made.className = "legend";
  series.forEach(({ name }, at) => {
    const item = document.createElement("span");
    const colour = document.createElement("i");
    colour.style.background = colourOf(name, at);
    item.append(colour, name);
    made.append(item);
  });
  if (all > series.length) made.append(`and ${all - series.length} more`);
  return made;
}

function hints(place, svg, series, { start, end, inner, width, step, unit, onPick }) {
  const hint = document.createElement("div");
  hint.className = "hint";
  hint.hidden = true;
  const pick = element("rect", { class: "pick", y: 0, height: svg.getAttribute("height"), width: 0 });
  svg.append(pick);
  place.append(hint);
  let from = null;
  const timeAt = (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) * width) / box.width;
    return start + (Math.min(Math.max(at - LEFT, 0), inner) / inner) * (end - start);
  };
  svg.addEventListener("pointermove", (event) => {
    const at = timeAt(event);
    if (from !== null) {
      const toX = (time) => LEFT + ((time - start) / (end - start)) * inner;
      pick.setAttribute("x", toX(Math.min(from, at)));
      pick.setAttribute("width", Math.abs(toX(at) - toX(from)));
    }
    const near = (points) => points.reduce((best, point) => (Math.abs(point[0] - (step ? step / 2 : 0) - at) < Math.abs((best?.[0] ?? Infinity) - (step ? step / 2 : 0) - at) ? point : best), null);
    const rows = series.map(({ name, points }) => [name, near(points)]).filter(([, point]) => point && Math.abs(point[0] - at) <= Math.max(step ?? 0, (end - start) / 60));
    hint.hidden = rows.length === 0;
    if (rows.length === 0) return;
    rows.sort((a, b) => b[1][1] - a[1][1]);
    hint.textContent = [new Date(rows[0][1][0] * 1000).toLocaleString(), ...rows.slice(0, 12).map(([name, point]) => `${name}  ${short(point[1])}${unit}`)].join("\n");
    const box = place.getBoundingClientRect();
    hint.style.left = `${Math.min(event.clientX - box.left + 14, box.width - hint.offsetWidth)}px`;
    hint.style.top = `${event.clientY - box.top + 10}px`;
  });
  svg.addEventListener("pointerleave", () => { hint.hidden = true; });
  if (!onPick) return;
  svg.addEventListener("pointerdown", (event) => { from = timeAt(event); svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointerup", (event) => {
    const to = timeAt(event);
    const picked = from;
    from = null;
    pick.setAttribute("width", 0);
    if (picked !== null && Math.abs(to - picked) > (end - start) / 100) onPick(Math.min(picked, to), Math.max(picked, to));
  });
}
