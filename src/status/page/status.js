// Shows what the server tells each second. No library, no build step.
"use strict";

const MOST_SAMPLES = 300;
const MOST_RECORDS = 500;
const AGAIN_AFTER = 1000; // ms

const $ = (id) => document.getElementById(id);
const samples = [];

// ---- numbers and times, as people read them

const count = (value) => Math.round(value).toLocaleString("en");
const rate = (value) => (value > 0 && value < 10 ? value.toFixed(1) : count(value));

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

// The times are upper ends of intervals.
function micros(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1000) return `< ${value} µs`;
  if (value < 1e6) return `< ${(value / 1000).toPrecision(2)} ms`;
  return `< ${(value / 1e6).toPrecision(2)} s`;
}

const clock = (millis) => new Date(millis).toTimeString().slice(0, 8);

// ---- elements; text is never taken for markup

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null));
  return made;
}

const cell = (className, ...children) => element("td", className, ...children);
const row = (...cells) => element("tr", "", ...cells);

// Fills a table, unless it would look as before: what is selected or opened stays so.
const shown = new Map();
function fill(id, data, rows, columns, nothing) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  const opened = new Set([...$(id).querySelectorAll("details[open]")].map((details) => details.dataset.key));
  const made = rows();
  if (!made.length) {
    const none = cell("empty", nothing);
    none.colSpan = columns;
    made.push(row(none));
  }
  $(id).replaceChildren(...made);
  for (const details of $(id).querySelectorAll("details")) details.open = opened.has(details.dataset.key);
}

function problem(key, error) {
  const summary = element("summary", "bad", error.message);
  if (!error.traceback) return element("p", "bad", error.message);
  const details = element("details", "", summary, element("pre", "", error.traceback));
  details.dataset.key = key;
  return details;
}

// ---- plots

function path(values) {
  let line = "";
  let pen = false;
  values.forEach((value, i) => {
    if (value === null || value === undefined) {
      pen = false;
      return;
    }
    const x = 600 - (values.length - 1 - i) * (600 / (MOST_SAMPLES - 1));
    // A point alone is drawn as a short line.
    line += `${pen ? "L" : "M"}${x.toFixed(1)} ${(156 - value * 148).toFixed(1)}${pen ? "" : "h1"}`;
    pen = true;
  });
  return line;
}

function draw(id, series, scale, label) {
  const highest = Math.max(0, ...series.flat().filter((value) => value !== null && value !== undefined));
  const svg = $(id);
  const lines = [["grid", "M0 8H600M0 82H600"]];
  ["in", "out"].forEach((name, i) => {
    const scaled = series[i].map((value) => (value === null || value === undefined ? null : scale(value, highest)));
    lines.push([name, path(scaled)]);
  });
  svg.replaceChildren(...lines.map(([name, line]) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
    made.setAttribute("class", name);
    made.setAttribute("d", line);
    return made;
  }));
  const peak = highest ? `peak ${label(highest)}` : "nothing yet";
  svg.setAttribute("aria-label", `${svg.id}, ${peak}`);
  svg.parentElement.querySelector(".peak").textContent = peak;
}

const linear = (value, highest) => (highest ? value / highest : 0);
const logarithmic = (value, highest) => Math.log2(Math.max(1, value)) / Math.max(1, Math.log2(highest));

function drawPlots() {
  const of = (name) => samples.map((sample) => sample[name]);
  draw("throughput", [of("messages_received_per_second"), of("messages_sent_per_second")], linear,
    (value) => `${rate(value)}/s`);
  draw("latency", [of("handler_micros_p50"), of("handler_micros_p99")], logarithmic, micros);
}

// ---- the report

function showHandlers(handlers) {
  const failed = handlers.filter((handler) => handler.error).length;
  $("handler-count").textContent = `${handlers.length} files${failed ? `, ${failed} with errors` : ""}`;
  fill("handlers", handlers, () => handlers.map((handler) => {
    const names = [handler.resource ?? "(none)", ...handler.aliases].join(", ");
    const state = element("span", handler.error ? "bad" : "good", handler.state);
    const old = handler.old_connections ? ` + ${handler.old_connections} old` : "";
    const { path, error } = handler;
    return row(
      cell("", element("code", "", names)),
      cell("", state, error && problem(path, error)),
      cell("", element("code", "", path)),
      cell("number", String(handler.version || "–")),
      cell("nowrap", handler.loaded_at ? clock(handler.loaded_at) : "never"),
      cell("number", `${handler.open_connections}${old}`),
    );
  }), 6, "no handler files");
}

function showConnections(report) {
  const { connections } = report;
  const hidden = report.open_connections - connections.length;
  $("connection-count").textContent = `${count(report.open_connections)} open${hidden > 0 ? `, the newest ${connections.length} shown` : ""}`;
  const newest = connections.toReversed?.() ?? connections.slice().reverse();
  fill("connections", connections, () => newest.map((one) => row(
    cell("number", String(one.number)),
    cell("", element("code", "", one.resource)),
    cell("nowrap", element("code", "", one.peer)),
    cell("", one.state),
    cell("number", span(one.age_seconds)),
    cell("number", `${count(one.messages_received)} / ${count(one.messages_sent)}`),
    cell("number", `${bytes(one.bytes_received)} / ${bytes(one.bytes_sent)}`),
  )), 7, "nobody is connected");
}

function showReloads(reloads) {
  $("reload-count").textContent = reloads.length ? `the last ${reloads.length}` : "";
  fill("reloads", reloads, () => reloads.slice().reverse().map((reload) => {
    const parts = ["changed", "added", "removed"].filter((kind) => reload[kind].length)
      .map((kind) => element("p", "", `${kind} `, element("code", "", reload[kind].join(", "))));
    const failures = reload.failed.map(({ path, error }) =>
      element("div", "", element("code", "", path), " ", problem(`${reload.at} ${path}`, error)));
    const took = reload.took_seconds * 1000;
    return row(
      cell("nowrap", clock(reload.at)),
      cell("number", `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`),
      cell("", ...parts, ...failures),
    );
  }), 3, "no handler has changed since the start");
}

function showLog(records) {
  const worse = ["WARNING", "ERROR", "CRITICAL"];
  for (const { time, level, logger, message } of records) {
    $("log").append(row(
      cell("", time.slice(11, 23)),
      cell(worse.includes(level) ? "bad" : "", level),
      cell("", `${logger}: ${message}`),
    ));
  }
  while ($("log").rows.length > MOST_RECORDS) $("log").deleteRow(0);
  if (records.length && $("follow").checked) $("log-scroll").scrollTop = $("log-scroll").scrollHeight;
}

function show(report) {
  $("about").textContent = `version ${report.version}, process ${report.process}, up ${span(report.uptime_seconds)}`;
  samples.push(...report.samples);
  samples.splice(0, samples.length - MOST_SAMPLES);
  const last = samples.at(-1);
  $("open").value = count(report.open_connections);
  $("all").textContent = count(report.totals.connections);
  if (last) {
    $("in").value = rate(last.messages_received_per_second);
    $("out").value = rate(last.messages_sent_per_second);
    $("p50").value = micros(last.handler_micros_p50);
    $("p99").textContent = micros(last.handler_micros_p99);
    $("bytes-in").textContent = `${bytes(last.bytes_received_per_second)}/s, ${bytes(report.totals.bytes_received)} in all`;
    $("bytes-out").textContent = `${bytes(last.bytes_sent_per_second)}/s, ${bytes(report.totals.bytes_sent)} in all`;
  }
  drawPlots();
  showHandlers(report.handlers);
  showConnections(report);
  showReloads(report.reloads);
  showLog(report.log);
}

// ---- the connection

function tell(text, className) {
  $("state").textContent = text;
  $("state").className = className;
}

let source = null;
let again = 0;

function disconnect() {
  clearTimeout(again);
  source?.close();
  source = null;
}

function connect() {
  disconnect();
  source = new EventSource("live");
  let isFirst = true;
  source.onmessage = ({ data }) => {
    if (isFirst) {
      // Everything comes again, from a server that may have been started anew.
      samples.length = 0;
      $("log").replaceChildren();
      isFirst = false;
      tell("live", "live");
    }
    show(JSON.parse(data));
  };
  // A browser tries again by itself after some errors, and not after others. We do after all of them.
  source.onerror = () => {
    tell("no connection; trying again", "lost");
    disconnect();
    again = setTimeout(connect, AGAIN_AFTER);
  };
}

// A browser has six connections for all pages of a server: one that nobody sees takes none of them.
function follow() {
  if (document.hidden) disconnect();
  else connect();
}

drawPlots();
document.addEventListener("visibilitychange", follow);
follow();
