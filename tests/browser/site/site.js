// What the tests use in the page and in a worker.
"use strict";

// Functions, not constants: drivers that run scripts beside the page see only those.
function resource(name) {
  return `${location.origin.replace("http", "ws")}/${name}`;
}

// A socket that keeps its events in order: `events` has [type, data] of each.
function follow(socket) {
  socket.events = [];
  const waiting = [];
  const check = () => waiting.filter((one) => one.test()).forEach((one) => one.resolve());
  for (const type of ["open", "message", "error", "close"]) {
    socket.addEventListener(type, (event) => {
      const details = {
        message: () => event.data,
        close: () => ({ code: event.code, reason: event.reason, wasClean: event.wasClean }),
      };
      socket.events.push([type, details[type]?.()]);
      check();
    });
  }
  // Waits for `count` events of a type; gives what the last one carried.
  socket.next = async (type, count = 1) => {
    const those = () => socket.events.filter(([each]) => each === type);
    if (those().length < count) {
      await new Promise((resolve) => waiting.push({ test: () => those().length >= count, resolve }));
    }
    return those()[count - 1][1];
  };
  return socket;
}

function connect(name, ...rest) {
  return follow(new WebSocket(resource(name), ...rest));
}

async function opened(name, ...rest) {
  const socket = connect(name, ...rest);
  const first = await Promise.race([socket.next("open").then(() => "open"), socket.next("close")]);
  if (first !== "open") throw new Error(`${name} did not open: ${JSON.stringify(first)}`);
  return socket;
}

// The name of the exception that `call` raises.
function raised(call) {
  try {
    call();
  } catch (error) {
    return error.name;
  }
  return null;
}
