// Tests of src/ui/logql.js: what may come at the caret, colours, filters. Run: node logql_test.js
"use strict";
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const source = readFileSync(join(__dirname, "../../src/ui/logql.js"), "utf8");

import(`data:text/javascript,${encodeURIComponent(source)}`).then(({ contextAt, isMetric, needles, tokens, withFilter }) => {
  // The caret is at the bar.
  const at = (text) => {
    const caret = text.indexOf("¦");
    const context = contextAt(text.replace("¦", ""), caret);
    return context && `${context.kind} ${context.typed} ${context.label ?? ""} ${context.selector ?? ""}`.trim();
  };
  for (const [text, expected] of [
    ["{¦", "label"], ["{ser¦", "label ser"], ['{a="1", b¦', "label b"],
    ['{service="¦', "value  service"], ['{env="x", service=~"in¦', 'value in service {env="x"}'], ['{service="a"¦', null],
    ['{a="1"} | js¦', "stage js"], ["sum by (le¦", "label le"], ["ra¦", "function ra"], ["sum(¦", "function"],
    ['{a="1"} |= "te¦', null],
  ]) assert.equal(at(text), expected, text);

  for (const query of ['sum by (level) (rate({a="b c"} |= `x` | json | latency_ms > 1.5 [5m])) # note', '{a="open', "日本 {"]) {
    assert.equal(tokens(query).map(({ text }) => text).join(""), query, "no character is lost");
  }
  const kinds = Object.fromEntries(tokens('sum(rate({level="error"}[5m]))').map(({ kind, text }) => [text, kind]));
  assert.deepEqual([kinds.sum, kinds.rate, kinds.level, kinds['"error"'], kinds["5m"]], ["word", "word", "label", "text", "number"]);
  assert.equal(Object.fromEntries(tokens('{rate="1"}').map(({ kind, text }) => [text, kind])).rate, "label", "a label may have a function's name");

  assert.deepEqual([isMetric('{a="1"}'), isMetric('# x\nrate({a="1"}[1m])'), isMetric("")], [false, true, false]);
  assert.deepEqual(needles('{a="1"} |= "x\\"y" |= `z` != "no"'), ['x"y', "z"]);
  assert.equal(withFilter('{a="1"} | json', "b", "=", 'q"', true), '{a="1", b="q\\""} | json');
  assert.equal(withFilter("{}", "b", "!=", "1", true), '{b!="1"}');
  assert.equal(withFilter('{a="1"} | json ', "b", "!=", "2", false), '{a="1"} | json | b!="2"');
  process.stdout.write("ok\n");
}).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
