// Drives the page at / in a headless Chromium: `node page.js URL SCREENSHOTS_OR_EMPTY`. Prints JSON of what it saw.
"use strict";
const { chromium } = require("playwright-core");

const [base, screenshots] = process.argv.slice(2);
const seen = { foreign: [], errors: [] };

function check(holds, what) {
  if (!holds) throw new Error(what);
}

async function shot(page, name) {
  if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png` });
}

async function run(page, query) {
  await page.fill("#query textarea", query);
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => /lines|series/.test(document.getElementById("said").textContent) && !/Running/.test(document.getElementById("said").textContent));
}

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.MILLRACE_TEST_CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.on("request", (request) => { if (!request.url().startsWith(base) && !request.url().startsWith("data:")) seen.foreign.push(request.url()); });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error" && !/404|400/.test(message.text())) seen.errors.push(message.text()); });

  await page.goto(`${base}/`);
  await page.waitForSelector("#labels button");
  check((await page.textContent("#labels")).includes("inference-gateway"), "the labels are offered");

  // Completion: labels, then values, then a line filter typed by hand.
  await page.keyboard.press("/");
  await page.keyboard.type("{serv");
  await page.waitForSelector(".choices:not([hidden]) li");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => [...document.querySelectorAll(".choices li")].some((item) => item.textContent.startsWith("page-test")));
  await page.keyboard.type("page-t");
  await page.waitForFunction(() => document.querySelectorAll(".choices li").length === 1);
  await page.keyboard.press("Tab");
  await page.keyboard.type("}");
  seen.query = await page.inputValue("#query textarea");
  seen.colours = await page.$$eval("#query pre span", (spans) => [...new Set(spans.map((span) => span.className))]);

  // Ten thousand lines: how long until they are there, and whether scrolling stays smooth.
  await page.selectOption("#limit", "10000");
  const started = Date.now();
  await page.keyboard.press("Escape");
  await page.focus("#query textarea");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => /^10,000 lines/.test(document.getElementById("said").textContent), null, { timeout: 60000 });
  seen.msUntilLines = Date.now() - started;
  seen.rowsInDocument = await page.$$eval(".line", (rows) => rows.length);
  seen.scroll = await page.evaluate(async () => {
    const list = document.getElementById("lines");
    const frames = [];
    let last = performance.now();
    for (let at = 0; at < 60; at++) {
      list.scrollTop = (list.scrollHeight * at) / 60;
      await new Promise((done) => requestAnimationFrame(done));
      const now = performance.now();
      frames.push(now - last);
      last = now;
    }
    frames.sort((a, b) => a - b);
    return { medianMs: frames[30], worstMs: frames[59] };
  });
  await page.waitForSelector("#volume svg rect");
  seen.bars = await page.$$eval("#volume svg rect", (bars) => bars.length);

  // Keys: to a line, open it, filter by one of its fields.
  await page.focus("#lines");
  await page.keyboard.press("Home");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".fields table");
  seen.fields = await page.$$eval(".fields td:first-child", (cells) => cells.map((cell) => cell.textContent));
  await shot(page, "page-logs");
  await page.click(".fields tr:has(td:text-is('level')) button:text-is('=')");
  await page.waitForFunction(() => document.querySelector("#query textarea").value.includes('level="'));
  seen.filtered = await page.inputValue("#query textarea");

  // A metric query draws lines.
  await run(page, 'sum by (level) (rate({service="page-test"}[1m]))');
  await page.waitForSelector("#plot svg path");
  await shot(page, "page-metric");

  // A mistake is told in the server's words.
  await page.fill("#query textarea", "{service=");
  await page.keyboard.press("Control+Enter");
  await page.waitForSelector("#said.bad");
  seen.mistake = await page.textContent("#said");

  // Live: a line pushed now appears.
  await page.fill("#query textarea", '{service="live-test"}');
  await page.keyboard.press("Escape");
  await page.click("#live");
  await page.waitForFunction(() => document.getElementById("live").getAttribute("aria-pressed") === "true");
  await page.waitForTimeout(300);
  await page.evaluate(() => fetch("/loki/api/v1/push", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ streams: [{ stream: { service: "live-test" }, values: [[`${Date.now()}000000`, "level=error msg=\"it is live\""]] }] }),
  }));
  await page.waitForFunction(() => document.getElementById("lines").textContent.includes("it is live"));
  seen.liveLevel = await page.$eval(".line", (row) => row.className);
  await page.click("#live");

  // SQL: a table and a chart.
  await page.click("#tab-sql");
  await page.click("#sql .primary");
  await page.waitForSelector("#sql-table table tbody tr");
  seen.sqlColumns = await page.$$eval("#sql-table th", (cells) => cells.map((cell) => cell.textContent));
  await page.selectOption("#sql-as", "chart");
  await page.waitForSelector("#sql-chart svg path");
  await shot(page, "page-sql");

  await page.click("#tab-rules");
  await page.waitForFunction(() => document.getElementById("rules-said").textContent !== "");
  seen.rules = await page.textContent("#rules-said");
  await page.click("#tab-server");
  await page.waitForSelector("#storage .tiles b");
  seen.storage = await page.textContent("#storage");

  // Dark, and the way back.
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goBack();
  await page.goto(`${base}/#explore?q=${encodeURIComponent('{service="page-test"}')}&range=1h`);
  await page.reload();
  await page.waitForSelector(".line");
  seen.dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await shot(page, "page-dark");
  seen.unlabelled = await page.$$eval("button, select, input, textarea", (all) => all.filter((one) => !one.labels?.length && !one.textContent.trim() && !one.ariaLabel && !one.title).map((one) => one.outerHTML));
  await browser.close();
  process.stdout.write(`${JSON.stringify(seen)}\n`);
}

main().catch((error) => {
  process.stdout.write(`${JSON.stringify(seen)}\n`);
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
