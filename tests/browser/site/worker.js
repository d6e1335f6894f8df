"use strict";
importScripts("site.js");

onmessage = async ({ data }) => {
  const socket = await opened(data.resource);
  socket.binaryType = "arraybuffer";
  socket.send(data.message);
  const answer = await socket.next("message");
  socket.close(1000, "done");
  postMessage({ answer, closed: await socket.next("close") });
};
