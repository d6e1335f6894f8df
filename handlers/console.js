// The console: one connection, and a log of all that happens on it. No library, no build step.
"use strict";

const MOST_ROWS = 1000;      // older ones go, or a busy connection would fill the memory
const MOST_CHARACTERS = 4096; // of one message, in the log
const MOST_BYTES = 256;       // of one binary message, in the log

const $ = (id) => document.getElementById(id);
const bytesOf = (text) => new TextEncoder().encode(text);

let socket = null;

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
  if (typeof data === "string") {
    const cut = data.length > MOST_CHARACTERS;
    log(direction, `${arrow} text`, bytesOf(data).length, data.slice(0, MOST_CHARACTERS) + (cut ? " …" : ""));
  } else {
    const bytes = new Uint8Array(data);
    const cut = bytes.length > MOST_BYTES;
    const hex = Array.from(bytes.subarray(0, MOST_BYTES), (byte) => byte.toString(16).padStart(2, "0"));
    log(direction, `${arrow} binary`, bytes.length, hex.join(" ") + (cut ? " …" : ""));
  }
}

const problem = (text) => log("problem", "× problem", null, text);

// ---- the connection

function show(state, className = "") {
  $("state").textContent = state;
  $("state").className = className;
  const open = state === "open";
  $("sending").disabled = !open;
  $("closer").disabled = !open;
  $("connect").textContent = socket ? "Disconnect" : "Connect";
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
  const protocols = $("protocols").value.split(",").map((name) => name.trim()).filter(Boolean);
  let opened = false;
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
    show("closed", good ? "" : "failed");
  };
  log("sent", "… connecting", null, connection.url);
  show("connecting");
}

function send(data) {
  socket.send(data);
  logMessage("sent", data);
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
  if (socket) socket.close();
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
    $("data").select();
  } catch (error) {
    problem(error.message);
  }
});

$("data").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("message").requestSubmit();
  }
});

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
    if (code || reason) socket.close(code ? Number(code) : 1000, reason);
    else socket.close();
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
show("closed");
