// Pushes with the public winston-loki client, JSON and protobuf. usage: winston_loki.js URL LINES
const winston = require("winston");
const LokiTransport = require("winston-loki");

const [url, lines] = [process.argv[2], Number(process.argv[3])];
let failed;
const transports = [true, false].map(
  (json) =>
    new LokiTransport({
      host: url,
      json,
      labels: { client: "winston-loki", encoding: json ? "json" : "protobuf" },
      interval: 1,
      batching: true,
      gracefulShutdown: false,
      onConnectionError: (error) => { failed = error; },
    }),
);
const logger = winston.createLogger({ level: "info", format: winston.format.simple(), transports });
for (let at = 0; at < lines; at++) logger.info(`winston line ${at}`);
setTimeout(async () => {
  await Promise.all(transports.map((transport) => transport.flush()));
  if (failed) {
    console.error("refused:", failed);
    process.exit(1);
  }
  process.exit(0);
}, 1500);
