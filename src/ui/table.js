// A table from rows of plain values.

/** Rows that are shown; more would slow the page and help nobody. */
const ROWS_MAX = 2000;

export function table(columns, rows) {
  const made = document.createElement("table");
  made.className = "data";
  const head = made.createTHead().insertRow();
  for (const name of columns) {
    head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  }
  const body = made.createTBody();
  for (const values of rows.slice(0, ROWS_MAX)) {
    const row = body.insertRow();
    for (const value of values) {
      const cell = row.insertCell();
      if (value instanceof Node) cell.append(value);
      else cell.textContent = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
      if (typeof value === "number") cell.className = "number";
    }
  }
  if (rows.length > ROWS_MAX) {
    made.createCaption().textContent = `The first ${ROWS_MAX.toLocaleString()} of ${rows.length.toLocaleString()} rows`;
  }
  return made;
}
