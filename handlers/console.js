// The console: one connection, and a log of all that happens on it. No library, no build step.
"use strict";

const MOST_ROWS = 1000;      // older ones go, or a busy connection would fill the memory
const MOST_CHARACTERS = 4096; // of one message, in the log
const MOST_BYTES = 256;       // of one binary message, in the log
const MOST_REMEMBERED = 50;   // messages and addresses that were used, kept over reloads
const RECONNECT_AFTER = 1000; // ms
const ROUND_TRIPS = 10;
const ROUND_TRIP_TIME = 5000; // ms that one may take

const $ = (id) => document.getElementById(id);
const bytesOf = (text) => new TextEncoder().encode(text);

let socket = null;
let timer = null;   // of a connection that will be tried again
let sentAt = null;  // when the last message went, until something comes back

// ---- what was used before

function remembered(kind) {
  try {
    return JSON.parse(localStorage.getItem(`console.${kind}`)) ?? [];
  } catch {
    return []; // no storage, or not ours
  }
}

function remember(kind, text) {
  const list = [...remembered(kind).filter((known) => known !== text), text].slice(-MOST_REMEMBERED);
  try {
    localStorage.setItem(`console.${kind}`, JSON.stringify(list));
  } catch {
    // Private windows may have no storage, and large messages no room: then it is not remembered.
  }
}

// Arrow keys walk through earlier messages, newest first, and back to what was being typed.
const walk = { back: 0, typed: "" };

function recall(step) {
  const list = remembered("messages");
  const back = Math.min(Math.max(walk.back + step, 0), list.length);
  if (back === walk.back) return;
  if (walk.back === 0) walk.typed = $("data").value;
  walk.back = back;
  $("data").value = back ? list[list.length - back] : walk.typed;
}

function offerAddresses() {
  const known = new Set(Array.from($("resources").options, (option) => option.value));
  for (const address of remembered("addresses")) {
    if (!known.has(address)) $("resources").append(new Option("used before", address));
  }
}

// ---- the log

function log(className, event, size, data) {
  const row = $("log").insertRow();
  row.className = className;
  const now = new Date();
  const time = document.createElement("time");
  time.dateTime = now.toISOString();
  time.textContent = now.toTimeString().slice(0, 8) + "." + String(now.getMilliseconds()).padStart(3, "0");
  row.insertCell().append(time);
  row.insertCell().textContent = event;
  row.insertCell().textContent = size ?? "";
  row.insertCell().textContent = data;
  while ($("log").rows.length > MOST_ROWS) $("log").deleteRow(0);
  if ($("follow").checked) $("scroll").scrollTop = $("scroll").scrollHeight;
}

function logMessage(direction, data) {
  const arrow = direction === "sent" ? "→ sent" : "← received";
  const took = direction === "received" && sentAt !== null ? `, ${milliseconds(performance.now() - sentAt)}` : "";
  sentAt = direction === "sent" ? performance.now() : null;
  if (typeof data === "string") {
    const cut = data.length > MOST_CHARACTERS;
    log(direction, `${arrow} text${took}`, bytesOf(data).length, data.slice(0, MOST_CHARACTERS) + (cut ? " …" : ""));
  } else {
    const bytes = new Uint8Array(data);
    const cut = bytes.length > MOST_BYTES;
    const hex = Array.from(bytes.subarray(0, MOST_BYTES), (byte) => byte.toString(16).padStart(2, "0"));
    log(direction, `${arrow} binary${took}`, bytes.length, hex.join(" ") + (cut ? " …" : ""));
  }
}

const milliseconds = (time) => `${time.toFixed(1)} ms`;
const problem = (text) => log("problem", "× problem", null, text);

// ---- the connection

function show(state, className = "") {
  $("state").textContent = state;
  $("state").className = className;
  const open = state === "open";
  $("sending").disabled = !open;
  $("closer").disabled = !open;
  $("connect").textContent = socket || timer ? "Disconnect" : "Connect";
}

// "/echo" and "echo" are resources of this server; anything else is a whole address.
function target() {
  const typed = $("address").value.trim();
  if (/^wss?:/i.test(typed)) return typed;
  const base = location.protocol.startsWith("http") ? location.href : "http://localhost:9998/";
  const url = new URL(typed, new URL("/", base));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function connect() {
  clearTimeout(timer);
  timer = null;
  const protocols = $("protocols").value.split(",").map((name) => name.trim()).filter(Boolean);
  let opened = false;
  sentAt = null;
  let connection;
  try {
    connection = new WebSocket(target(), protocols);
  } catch (error) {
    problem(error.message);
    return;
  }
  socket = connection;
  connection.binaryType = "arraybuffer";
  connection.onopen = () => {
    opened = true;
    remember("addresses", $("address").value.trim());
    offerAddresses();
    const details = [
      connection.url,
      connection.protocol && `subprotocol ${connection.protocol}`,
      connection.extensions && `extensions ${connection.extensions}`,
    ];
    log("received", "● open", null, details.filter(Boolean).join("\n"));
    show("open", "open");
    $("data").focus();
  };
  connection.onmessage = (event) => logMessage("received", event.data);
  connection.onclose = (event) => {
    socket = null;
    const how = event.wasClean ? "clean" : "not clean";
    const reason = event.reason && `, reason ${JSON.stringify(event.reason)}`;
    const hint = opened ? "" : "; it never opened: is there a handler for the resource, and does it take these subprotocols?";
    const good = opened && event.wasClean;
    log(good ? "received" : "problem", "○ closed", null, `code ${event.code}${reason}, ${how}${hint}`);
    if ($("reconnect").checked && !connection.isWanted) {
      timer = setTimeout(connect, RECONNECT_AFTER);
      show("closed; trying again", "failed");
    } else {
      show("closed", good ? "" : "failed");
    }
  };
  log("sent", "… connecting", null, connection.url);
  show("connecting");
}

function send(data) {
  socket.send(data);
  logMessage("sent", data);
}

// Who closes a connection does not want it back.
function close(...how) {
  if (timer) {
    clearTimeout(timer);
    timer = null;
    show("closed");
    return;
  }
  socket.close(...how);
  socket.isWanted = true;
}

// Browsers do not let pages ping, so messages are timed, which an echo sends back.
async function measure() {
  const connection = socket;
  const text = $("data").value || "ping";
  const times = [];
  $("measure").disabled = true;
  try {
    for (let i = 0; i < ROUND_TRIPS; i++) {
      const start = performance.now();
      await new Promise((resolve, reject) => {
        connection.addEventListener("message", resolve, { once: true });
        connection.addEventListener("close", () => reject(new Error("closed before the answer")), { once: true });
        setTimeout(() => reject(new Error(`no answer within ${ROUND_TRIP_TIME / 1000} s`)), ROUND_TRIP_TIME);
        connection.send(text);
      });
      times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    const [least, middle, most] = [times[0], times[times.length >> 1], times.at(-1)].map(milliseconds);
    log("sent", "⇄ timed", bytesOf(text).length, `${ROUND_TRIPS} round trips: least ${least}, median ${middle}, most ${most}`);
  } catch (error) {
    problem(error.message);
  }
  $("measure").disabled = false;
}

function fromHex(text) {
  const digits = text.replace(/0x|[\s,:]/gi, "");
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) {
    throw new Error("hexadecimal digits come in pairs, such as 48 65 6c 6c 6f");
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16)).buffer;
}

// ---- the page

$("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket || timer) close();
  else connect();
});

$("message").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("data").value;
  try {
    switch ($("kind").value) {
      case "text": send(text); break;
      case "binary": send(bytesOf(text).buffer); break;
      case "hex": send(fromHex(text)); break;
    }
    if (text) remember("messages", text);
    walk.back = 0;
    $("data").select();
  } catch (error) {
    problem(error.message);
  }
});

$("data").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("message").requestSubmit();
  } else if (["ArrowUp", "ArrowDown"].includes(event.key) && !event.shiftKey) {
    // Inside a text of several lines they move the cursor.
    const { value, selectionStart, selectionEnd } = $("data");
    const isUp = event.key === "ArrowUp";
    const rest = isUp ? value.slice(0, selectionStart) : value.slice(selectionEnd);
    if (!rest.includes("\n")) {
      event.preventDefault();
      recall(isUp ? 1 : -1);
    }
  }
});

$("measure").addEventListener("click", measure);

$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (!file) return;
  try {
    send(await file.arrayBuffer());
  } catch (error) {
    problem(error.message);
  }
  $("file").value = ""; // so that the same file can be sent again
});

$("closing").addEventListener("submit", (event) => {
  event.preventDefault();
  const [code, reason] = [$("code").value, $("reason").value];
  try {
    if (code || reason) close(code ? Number(code) : 1000, reason);
    else close();
    log("sent", "→ closing", null, [code, reason].filter(Boolean).join(" "));
    show("closing");
  } catch (error) {
    problem(error.message);
  }
});

$("clear").addEventListener("click", () => $("log").replaceChildren());

$("copy").addEventListener("click", async () => {
  const lines = Array.from($("log").rows, (row) => Array.from(row.cells, (cell) => cell.textContent).join("\t"));
  try {
    await navigator.clipboard.writeText(lines.join("\n"));
  } catch {
    // Only pages from https and localhost may write to the clipboard; a selection can be copied anywhere.
    getSelection().selectAllChildren($("log"));
  }
});

$("address").value = new URLSearchParams(location.search).get("resource") ?? "/echo";
offerAddresses();
show("closed");
