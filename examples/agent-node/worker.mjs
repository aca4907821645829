// A worker in Node, without packages, to run beside `berth agent --http http://127.0.0.1:8080`.
//
// It counts, once a second and as primary only, for each Item that it holds: a stand-in for polling a feed.
// The protocol is in docs/agent.md: PUT and DELETE /items/NAME, GET /items.

import { createServer } from "node:http";

const port = Number(process.env.PORT ?? 8080);
const items = new Map(); // name -> { slot, primary, epoch, data, ticks, timer }

// How long what we were told surely holds: each request of the agent says so. If the agent dies, or cannot
// renew its Lease, nothing comes any more, and we stop by ourselves before others may begin.
let validUntil = 0;
const surelyOurs = () => performance.now() < validUntil;

function tick(name, item) {
  if (!item.primary || !surelyOurs()) return;
  item.ticks += 1;
  // What leaves the process should carry the epoch, for the far side to refuse an older one.
  console.log(JSON.stringify({ item: name, epoch: item.epoch, ticks: item.ticks }));
}

function put(name, { slot, primary, epoch, data }) {
  let item = items.get(name);
  if (!item) {
    item = { ticks: 0 };
    items.set(name, item);
    item.timer = setInterval(() => tick(name, item), Number(data?.intervalMs ?? 1000));
  }
  Object.assign(item, { slot, primary, epoch, data });
}

function drop(name) {
  const item = items.get(name);
  if (!item) return false;
  clearInterval(item.timer);
  return items.delete(name);
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

const server = createServer(async (request, response) => {
  const answer = (status, value) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(value === undefined ? "" : JSON.stringify(value));
  };
  const validFor = Number(request.headers["berth-valid-for"]);
  if (validFor > 0) validUntil = performance.now() + validFor * 1000;
  const { pathname } = new URL(request.url, "http://worker");
  try {
    if (pathname === "/items" && request.method === "GET") {
      answer(200, { items: [...items.keys()] });
    } else if (pathname.startsWith("/items/")) {
      const name = decodeURIComponent(pathname.slice("/items/".length));
      if (request.method === "PUT") {
        put(name, await body(request));
        answer(204);
      } else if (request.method === "DELETE") {
        answer(drop(name) ? 204 : 404);
      } else {
        answer(405, { error: "PUT or DELETE" });
      }
    } else {
      answer(404, { error: "no such path" });
    }
  } catch (error) {
    answer(400, { error: String(error) });
  }
});

server.listen(port, "127.0.0.1", () => console.error(`listening on ${server.address().port}`));
// The agent drains first, so there is nothing left to do when the pod ends.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
