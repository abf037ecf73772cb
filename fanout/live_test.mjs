// Tests of publish/assets/live.js, run by live_test.go with
// node --experimental-websocket --test. LIVE is the address of a real server;
// without it only what needs none is tested.

import assert from "node:assert/strict";
import { createHash, webcrypto } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Document, follow, keyOf, linesOf } from "../publish/assets/live.js";

const live = process.env.LIVE;
const line = (unit, n) => `{"contest":"c","unit":"${unit}","reporting":1,"units":9,"votes":{"b":[${n}],"10":[1],"2":[0]}}`;
const sha = (text) => createHash("sha256").update(text).digest("hex");
const bytes = (text) => new TextEncoder().encode(text);

// frames as the server writes them.
const delta = (e, b, v, body, ...lines) =>
  `{"p":1,"t":"delta","e":${e},"g":"contest/c","b":${b},"v":${v},"n":${v},"ts":5,"h":"${sha(body)}","l":[${lines.join(",")}]}`;

test("lines keep their bytes, even with names that JSON.parse would reorder", () => {
  const lines = [line("a", 1), line("b", 2)];
  assert.deepEqual(linesOf(delta(1, 0, 1, "", ...lines)), lines);
  assert.deepEqual(linesOf(delta(1, 0, 1, "")), []);
  assert.equal(keyOf(lines[0]), '{"contest":"c","unit":"a"');
  assert.throws(() => linesOf("{}"));
  assert.throws(() => keyOf("{}"));
});

test("the client rule", async () => {
  const d = new Document("contest/c", webcrypto.subtle);
  const apply = (text) => d.apply(JSON.parse(text), text);
  const one = line("a", 1) + "\n" + line("c", 1) + "\n";
  assert.equal(await apply(delta(1, 0, 1, one, line("a", 1))), "missing");
  const snap = { e: 1, g: "contest/c", v: 5, h: sha(one) };
  assert.equal(await d.replace(snap, bytes(one + " ")), "mismatch");
  assert.equal(d.known, false);
  assert.equal(await d.replace(snap, bytes(one)), "replaced");
  assert.equal(await apply(delta(1, 4, 5, one, line("a", 1))), "dropped");
  assert.equal(await apply(delta(0, 9, 10, one, line("a", 1))), "dropped");
  assert.equal(await apply(delta(1, 6, 7, one, line("a", 1))), "missing");
  assert.equal(await apply(delta(2, 5, 7, one, line("a", 1))), "missing");
  const two = line("a", 1) + "\n" + line("b", 3) + "\n" + line("c", 4) + "\n";
  assert.equal(await apply(delta(1, 5, 7, one, line("b", 3), line("c", 4))), "mismatch");
  assert.equal(d.version, 5);
  assert.equal(await apply(delta(1, 3, 7, two, line("b", 3), line("c", 4))), "applied");
  assert.equal(d.version, 7);
  assert.equal([...d.lines.values()].join("\n") + "\n", two);
  assert.equal(d.relabel({ e: 1, v: 6, h: sha(one) }), true); // older than what is here
  assert.deepEqual([d.epoch, d.version], [1, 7]);
  assert.equal(d.relabel({ e: 2, v: 3, h: sha(one) }), false);
  assert.equal(d.relabel({ e: 2, v: 3, h: sha(two) }), true);
  assert.deepEqual([d.epoch, d.version], [2, 3]);
});

// Events is EventSource as far as live.js uses it.
class Events {
  constructor(url) {
    this.stop = new AbortController();
    this.run(url).catch(() => !this.stop.signal.aborted && this.onerror());
  }
  async run(url) {
    const answer = await fetch(url, { signal: this.stop.signal });
    if (!answer.ok) throw new Error(String(answer.status));
    let text = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      text += part;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).split("\n").filter((l) => l.startsWith("data: ")).map((l) => l.slice(6)).join("\n");
        if (data && !this.stop.signal.aborted) this.onmessage({ data });
      }
    }
    throw new Error("ended");
  }
  close() {
    this.stop.abort();
  }
}

// Blocked is a WebSocket in a network that lets none through.
class Blocked {
  constructor() {
    setTimeout(() => this.onerror(), 1);
  }
  close() {}
}

// until asks again, as long as a busy machine may need.
async function until(ok) {
  for (let i = 0; !ok() && i < 3000; i++) await sleep(20);
}

// watch follows a document of the real server until its hash is that of the
// bytes at /body, after /play has made the server's documents change.
async function watch(options, before = () => {}) {
  const states = [];
  const shown = new Map();
  let last;
  const feed = follow({
    live, bucket: live, documents: ["contest/c", "election"], EventSource: Events, random: () => 0,
    onState: (state, about) => states.push({ state, ...about }),
    onLines: (document, lines, about) => {
      if (document !== "contest/c") return;
      if (about.whole) shown.clear();
      for (const l of lines) shown.set(l.unit, l);
      last = about;
    },
    ...options,
  });
  await until(() => [...feed.documents.values()].every((d) => d.known)); // the snapshots are here
  await before(feed);
  await fetch(`${live}/play`, { method: "POST" });
  const want = await (await fetch(`${live}/body`)).text();
  const wanted = want.trim().split("\n").map((l) => JSON.parse(l));
  const document = () => feed.documents.get("contest/c");
  await until(() => document().hash === sha(want));
  feed.close();
  assert.equal([...document().lines.values()].join("\n") + "\n", want);
  assert.deepEqual([...shown.values()].sort((a, b) => (a.unit < b.unit ? -1 : 1)), wanted);
  return { states, last, about: states.at(-1) };
}

test("hello and ping say whether publication is paused", async () => {
  let socket;
  class Socket {
    constructor() { socket = this; }
    close() {}
  }
  const paused = [];
  const feed = follow({ live: "ws://x", bucket: "http://x/", documents: ["contest/c"], WebSocket: Socket, onState: (state, about) => state === "live" && paused.push(about.paused) });
  for (const frame of ['{"p":1,"t":"hello","e":1,"n":4,"s":2}', '{"p":1,"t":"ping","e":1,"n":4,"s":3,"ts":5,"x":true}', '{"p":1,"t":"ping","e":1,"n":4,"s":4,"ts":6}']) socket.onmessage({ data: frame });
  feed.close();
  assert.deepEqual(paused, [false, true, false]);
});

test("a document is followed over WebSocket", { skip: !live, timeout: 120_000 }, async () => {
  const { states, about } = await watch({});
  assert.equal(about.transport, "websocket");
  assert.equal(about.mismatches, 0);
  assert.ok(about.deltas > 0, JSON.stringify(about));
  assert.ok(about.checked);
  assert.deepEqual([states[0].state, states[1].state, states.at(-1).state], ["connecting", "live", "closed"]);
});

test("and over events where WebSocket is blocked", { skip: !live, timeout: 120_000 }, async () => {
  const { about } = await watch({ WebSocket: Blocked });
  assert.equal(about.transport, "events");
  assert.ok(about.deltas > 0, JSON.stringify(about));
});

test("and where the browser has no WebSocket at all", { skip: !live, timeout: 120_000 }, async () => {
  const { about } = await watch({ WebSocket: undefined });
  assert.equal(about.transport, "events");
});

test("a page that cannot check hashes says so", { skip: !live, timeout: 120_000 }, async () => {
  const { about, last } = await watch({ crypto: {} });
  assert.equal(about.checked, false);
  assert.equal(last.checked, false);
});

test("a connection that is cut is made again and resumes", { skip: !live, timeout: 120_000 }, async () => {
  const { states, about } = await watch({}, async (feed) => {
    for (let cuts = 0; cuts < 3; cuts++) {
      const line = feed.line;
      line.socket.close();
      await until(() => feed.line && feed.line !== line && feed.line.greeted);
    }
    assert.equal(feed.about.fetches, 2, "a resumed document is not fetched again");
  });
  assert.equal(about.mismatches, 0);
  assert.ok(states.filter((s) => s.state === "connecting").length >= 4);
});

test("a snapshot with other bytes is never shown", { skip: !live, timeout: 120_000 }, async () => {
  let lies = 0;
  const lying = async (url) => {
    const answer = await fetch(url);
    if (!String(url).includes("documents/") || lies++ > 1) return answer;
    return new Response(`${line("z", 9)}\n`);
  };
  const { about } = await watch({ fetch: lying });
  assert.ok(about.mismatches >= 1);
});
