// Drives publish/assets/live.js through nights made by chance: a publisher,
// nodes that lose, repeat and reorder what the bus brings, connections that
// lose, repeat, reorder, stall and end, a bucket that is late, stale or gone,
// and pages that change nodes and transports. Everything that could happen in
// two orders (frames, digests, fetches, timers) happens in the order that the
// seed says: time is virtual, and nothing else is.
//
//   node live_seeds.mjs            seeds 1 to 10,000
//   SEEDS=100 FIRST=7 node live_seeds.mjs
//   SEED=42 node live_seeds.mjs    that one, step by step
//
// Whatever is handed to the page must have the hash of its version, versions
// must not go back within an epoch, and when the faults end, the page must hold
// the documents' bytes.

import { createHash } from "node:crypto";
import { follow } from "../publish/assets/live.js";

const immediately = globalThis.setImmediate;
const trace = process.env.SEED ? (...words) => console.log(...words) : () => {};
const sha = (text) => createHash("sha256").update(text).digest("hex");
const ids = ["contest/c", "county/x"];
const steps = 50; // with faults
const patience = 3000; // steps without faults until the end must be there

// Chance is a stream of numbers by a seed (mulberry32).
class Chance {
  constructor(seed) {
    this.state = Math.imul(seed, 0x9e3779b1) >>> 0;
  }
  real() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  below(n) {
    return Math.floor(this.real() * n);
  }
  oneIn(n) {
    return this.below(n) === 0;
  }
  of(list) {
    return list[this.below(list.length)];
  }
}

const textOf = (lines) => [...lines.keys()].sort().map((unit) => lines.get(unit) + "\n").join("");

// Publisher has the documents, tells of their changes, and publishes them.
class Publisher {
  constructor(chance) {
    this.chance = chance;
    this.epoch = 1;
    this.log = 0;
    this.micros = 0;
    this.docs = new Map(ids.map((id) => [id, { id, lines: new Map(), version: 0, told: 0, touched: new Set(), published: undefined }]));
    this.objects = new Map(); // the bucket
    this.truth = new Map(); // epoch/document/version -> hashes: one, as a rule
    this.right = new Set(); // document and hash, of any version
  }
  change(doc) {
    this.log++;
    doc.version = this.log;
    for (let n = 1 + this.chance.below(3); n > 0; n--) {
      const unit = "u" + this.chance.below(7);
      // Names that look like numbers: JSON.parse would reorder them.
      doc.lines.set(unit, `{"contest":"c","unit":"${unit}","reporting":${this.log},"units":9,"votes":{"b":[${this.log}],"10":[1],"2":[0]}}`);
      doc.touched.add(unit);
    }
  }
  note(doc, version) {
    const text = textOf(doc.lines);
    const hash = sha(text);
    this.truth.set(`${this.epoch}/${doc.id}/${version}`, new Set([hash]));
    this.right.add(doc.id + hash);
    return { text, hash };
  }
  delta(doc) {
    if (doc.told === doc.version) return undefined;
    const { hash } = this.note(doc, doc.version);
    const lines = new Map([...doc.touched].map((unit) => [unit, doc.lines.get(unit)]));
    const out = { kind: "delta", e: this.epoch, g: doc.id, b: doc.told, v: doc.version, n: this.log, ts: ++this.micros, h: hash, lines };
    doc.told = doc.version;
    doc.touched = new Set();
    return out;
  }
  publish(all) {
    const out = { kind: "published", e: this.epoch, n: this.log, d: [] };
    for (const doc of this.docs.values()) {
      const { text, hash } = this.note(doc, doc.version);
      this.objects.set(`documents/${hash}.ndjson`, text);
      if (all || doc.published?.h !== hash) out.d.push({ g: doc.id, v: doc.version, h: hash });
      doc.published = { v: doc.version, h: hash, n: this.log };
    }
    return out;
  }
  // restart begins an epoch, perhaps with a smaller log.
  restart() {
    this.epoch++;
    if (this.chance.oneIn(3)) this.log -= this.chance.below(Math.min(this.log, 4) + 1);
    for (const doc of this.docs.values()) {
      doc.version = Math.min(doc.version, this.log);
      doc.told = doc.version;
      doc.touched = new Set();
    }
    return this.publish(true);
  }
}

// Trail is what a node knows of a document, in the simplest way.
class Trail {
  constructor(id, publisher) {
    this.id = id;
    this.publisher = publisher;
    this.reset(0);
  }
  reset(epoch) {
    Object.assign(this, { epoch, head: 0, held: [], published: undefined, log: 0 });
  }
  delta(d) {
    if (d.e < this.epoch) return;
    if (d.e > this.epoch) {
      if (this.epoch === 0 && this.published?.v === d.b) {
        this.epoch = d.e; // taken for its, as nodes do: a late delta of an epoch that ended may be wrong about that
        this.publisher.truth.get(`${d.e}/${this.id}/${d.b}`)?.add(this.published.h);
      } else this.reset(d.e);
    }
    if (d.v <= this.head) return;
    if (d.b > this.head) this.held = [];
    this.held.push(d);
    this.head = d.v;
  }
  announce(epoch, a) {
    if (epoch < this.epoch) return;
    if (epoch > this.epoch) this.reset(epoch);
    if (this.published && a.v <= this.published.v) return;
    this.published = { v: a.v, h: a.h };
    if (a.v > this.head) {
      this.held = [];
      this.head = a.v;
    }
  }
  restate(log, a) {
    if (this.published?.h === a.h) {
      this.log = log;
      return;
    }
    const held = this.held.find((d) => d.h === a.h);
    if (held) return this.announce(this.epoch, { v: held.v, h: a.h });
    this.reset(0);
    Object.assign(this, { published: { v: a.v, h: a.h }, head: a.v, log });
  }
  // next leads on from a position {e, v}, or from nothing.
  next(at) {
    if (at && at.e === this.epoch) {
      if (at.v >= this.head) return undefined;
      const first = this.held.findIndex((d) => d.v > at.v);
      if (first >= 0 && this.held[first].b <= at.v) {
        const last = this.held.at(-1);
        const lines = new Map(this.held.slice(first).flatMap((d) => [...d.lines]));
        const text = [...lines.keys()].sort().map((unit) => lines.get(unit)).join(",");
        return {
          at: { e: this.epoch, v: last.v },
          text: `{"p":1,"t":"delta","e":${this.epoch},"g":"${this.id}","b":${this.held[first].b},"v":${last.v},"n":${last.n},"ts":${last.ts},"h":"${last.h}","l":[${text}]}`,
        };
      }
      if (!this.published || this.published.v <= at.v) return undefined;
    } else if (!this.published || (this.epoch === 0 && at && at.v > this.log)) return undefined;
    const { v, h } = this.published;
    return { at: { e: this.epoch, v }, text: `{"p":1,"t":"snap","e":${this.epoch},"g":"${this.id}","v":${v},"h":"${h}","u":"documents/${h}.ndjson"}` };
  }
}

// Night is one seed.
class Night {
  constructor(seed) {
    this.chance = new Chance(seed);
    this.publisher = new Publisher(this.chance);
    this.nodes = [1, 2].map((name) => ({ name, trails: new Map(ids.map((id) => [id, new Trail(id, this.publisher)])), bus: [], epoch: 0, log: 0 }));
    this.connections = [];
    this.later = []; // digests and fetches
    this.timers = new Set();
    this.now = 0;
    this.faults = true;
    this.shown = new Map(ids.map((id) => [id, new Map()]));
    this.at = new Map(); // document -> what was handed out last
    this.wrong = undefined;
    this.touched = true; // the page was told something
    this.states = { waiting: 0, events: 0 };
  }

  start() {
    globalThis.setTimeout = (run, delay = 0) => {
      const timer = { run, at: this.now + delay };
      this.timers.add(timer);
      return timer;
    };
    globalThis.clearTimeout = (timer) => this.timers.delete(timer);
    const night = this;
    const transport = (events) =>
      class {
        constructor(url) {
          if (night.faults && night.chance.oneIn(30)) throw new Error("refused by the browser");
          this.line = night.opened(this, url, events);
        }
        close() {
          this.line.closed = true;
        }
      };
    this.feed = follow({
      live: "https://live.test", bucket: "https://bucket.test/results", documents: ids,
      WebSocket: transport(false), EventSource: transport(true),
      fetch: (url) => this.fetched(String(url)),
      crypto: { subtle: { digest: (_, bytes) => this.digested(bytes) } },
      random: () => this.chance.real(),
      onLines: (id, lines, about) => this.handed(id, lines, about),
      onState: (state, about) => this.said(state, about),
    });
  }

  said(state, about) {
    trace(`  page is ${state} ${about.transport} ${about.error}`);
    if (state === "waiting") this.states.waiting++;
    if (state === "connecting" && about.transport === "events") this.states.events++;
  }

  handed(id, lines, about) {
    const shown = this.shown.get(id);
    if (about.whole) shown.clear();
    for (const line of lines) shown.set(line.unit, line);
    const document = this.feed.documents.get(id);
    const hash = sha([...document.lines.values()].map((line) => line + "\n").join(""));
    trace(`  page has ${id} ${about.epoch}/${about.version}${about.whole ? " whole" : ""}`);
    const truth = this.publisher.truth.get(`${about.epoch}/${id}/${about.version}`);
    if (about.epoch > 0 && !truth?.has(hash)) this.wrong = `${id} at ${about.epoch}/${about.version} has other bytes`;
    if (!this.publisher.right.has(id + hash)) this.wrong = `${id} has bytes that no version has`;
    const before = this.at.get(id);
    if (before?.epoch === about.epoch && before.version > about.version) this.wrong = `${id} went back from ${before.version} to ${about.version}`;
    this.at.set(id, about);
  }

  digested(bytes) {
    return new Promise((resolve) => {
      this.later.push(() => resolve(createHash("sha256").update(new Uint8Array(bytes)).digest()));
    });
  }

  fetched(url) {
    const key = url.replace("https://bucket.test/results/", "");
    return new Promise((resolve, reject) => {
      this.later.push(() => {
        trace(`  fetch of ${key.slice(10, 18)}`);
        const fault = this.faults ? this.chance.below(8) : 8;
        if (fault === 0) return reject(new Error("network"));
        let text = this.publisher.objects.get(key);
        if (fault === 1 || text === undefined) return resolve({ ok: false, status: 404 });
        if (fault === 2) text = text.replace(/\d/, "7") + "\n"; // others' bytes
        if (fault === 3) text = text.slice(0, text.length / 2); // cut off
        resolve({ ok: true, status: 200, arrayBuffer: () => new Promise((take) => this.later.push(() => take(new TextEncoder().encode(text).buffer))) });
      });
    });
  }

  // opened is a connection that the page makes, to any node.
  opened(socket, url, events) {
    const query = new URL(url).searchParams;
    const epoch = Number(query.get("e"));
    const versions = query.getAll("v");
    const position = new Map(query.getAll("g").map((id, i) => [id, versions[i] ? { e: epoch, v: Number(versions[i]) } : undefined]));
    const line = { socket, events, node: this.chance.of(this.nodes), position, frames: [], closed: false, deaf: false, accepted: false };
    trace(`  connection to node ${line.node.name}: ${query}`);
    this.connections.push(line);
    return line;
  }

  // push queues what a node has for a viewer.
  push(line) {
    if (line.closed || !line.accepted) return;
    for (const [id, trail] of line.node.trails) {
      for (let next; (next = trail.next(line.position.get(id))); ) {
        line.position.set(id, next.at);
        this.onWire(line, next.text);
      }
    }
  }

  // onWire is more than TCP would do.
  onWire(line, text) {
    const fault = this.faults ? this.chance.below(50) : 50;
    if (fault === 0) return; // lost
    if (fault === 1) line.frames.push(text); // twice
    if (fault === 2 && line.frames.length > 0) line.frames.splice(this.chance.below(line.frames.length), 0, text);
    else line.frames.push(text);
  }

  accept(line) {
    if (this.faults && this.chance.oneIn(9)) return this.cut(line, 1006);
    line.accepted = true;
    line.frames.push(`{"p":1,"t":"hello","e":${line.node.epoch},"n":${line.node.log},"s":1}`);
    this.push(line);
  }

  cut(line, code) {
    if (line.closed) return;
    line.closed = this.touched = true;
    trace(`  cut with ${code}`);
    if (line.events) line.socket.onerror();
    else line.socket.onclose({ code });
  }

  // arrive delivers one frame; now and then one to a page that has gone.
  arrive(line) {
    const text = line.frames.shift();
    if (line.closed && !(this.faults && this.chance.oneIn(2))) return;
    if (line.deaf) return;
    trace(`  frame ${text.slice(0, 75)}`);
    this.touched = true;
    line.socket.onmessage({ data: text });
  }

  // hear takes one message of the bus in.
  hear(node) {
    const at = this.faults && this.chance.oneIn(6) ? this.chance.below(node.bus.length) : 0;
    const message = node.bus.splice(at, 1)[0];
    if (this.faults && this.chance.oneIn(10)) return; // lost
    if (this.faults && this.chance.oneIn(15)) node.bus.push(message); // twice, the second time late
    trace(`  node ${node.name} hears ${message.kind} ${message.g ?? ""} ${message.b ?? ""}-${message.v ?? message.n} of ${message.e}`);
    if (message.kind === "delta") node.trails.get(message.g).delta(message);
    else for (const a of message.d) node.trails.get(a.g).announce(message.e, a);
    if (message.e >= node.epoch) Object.assign(node, { epoch: message.e, log: message.n });
    for (const line of this.connections) if (line.node === node) this.push(line);
  }

  // look takes in what the bucket has, as far as it is published.
  look(node) {
    for (const doc of this.publisher.docs.values()) {
      if (doc.published) node.trails.get(doc.id).restate(doc.published.n, doc.published);
    }
    for (const line of this.connections) if (line.node === node) this.push(line);
  }

  send(message) {
    if (message) for (const node of this.nodes) node.bus.push(message);
  }

  // happen is one thing in the world.
  happen() {
    const { chance, publisher } = this;
    const open = this.connections.filter((line) => !line.closed);
    const what = chance.below(40);
    if (what < 10) publisher.change(chance.of([...publisher.docs.values()]));
    else if (what < 20) for (const doc of publisher.docs.values()) this.send(publisher.delta(doc));
    else if (what < 22) this.send(publisher.publish(chance.oneIn(4)));
    else if (what < 24) return;
    else if (what === 24) this.send(publisher.restart());
    else if (what === 25) this.look(chance.of(this.nodes));
    else if (what === 26) for (const trail of chance.of(this.nodes).trails.values()) trail.reset(0); // a node begins anew
    else if (open.length === 0) return;
    else if (what === 27) this.cut(chance.of(open), 1006);
    else if (what === 28) this.onWire(chance.of(open), `{"p":1,"t":"bye","r":"drain","w":${chance.below(5000)}}`);
    else if (what === 29) chance.of(open).deaf = true; // stalls: the page must notice
    else if (what === 30) chance.of(open).frames.push(chance.of(["", "{", "null", '{"p":2,"t":"hello"}', '{"p":1,"t":"else"}', '{"p":1,"t":"delta","e":1,"g":"contest/c","b":0,"v":9}']));
    else chance.of(open).frames.push(`{"p":1,"t":"ping","e":1,"n":1,"s":1,"ts":1}`);
  }

  // answer ends a digest or a fetch.
  answer() {
    this.touched = true;
    this.later.splice(this.chance.below(this.later.length), 1)[0]();
  }

  // move does one of the things that are due; false: none is.
  move() {
    const { chance } = this;
    this.connections = this.connections.filter((line) => !line.closed || line.frames.length > 0);
    const moves = [];
    for (const node of this.nodes) if (node.bus.length > 0) moves.push(() => this.hear(node));
    for (const line of this.connections) {
      if (line.frames.length > 0) moves.push(() => this.arrive(line));
      if (!line.accepted && !line.closed) moves.push(() => this.accept(line));
    }
    for (let i = 0; i < Math.min(this.later.length, 4); i++) moves.push(() => this.answer());
    if (moves.length === 0) return false;
    chance.of(moves)();
    return true;
  }

  // wait lets the time pass until the next timer.
  wait() {
    let next;
    for (const timer of this.timers) if (!next || timer.at < next.at) next = timer;
    if (!next) return;
    this.timers.delete(next);
    this.touched = true;
    this.now = next.at;
    trace(`  time ${this.now}`);
    next.run();
  }

  // settle lets the page do what it can do now.
  async settle() {
    if (!this.touched) return;
    this.touched = false;
    await new Promise((resolve) => immediately(resolve));
    if (this.wrong) throw new Error(this.wrong);
    // A page may go to a node that is an epoch behind, and back with it.
    for (const [id, about] of this.at) if (this.feed.documents.get(id).epoch !== about.epoch) this.at.delete(id);
  }

  done() {
    return [...this.publisher.docs.values()].every((doc) => {
      const document = this.feed.documents.get(doc.id);
      return document.known && [...document.lines.values()].map((line) => line + "\n").join("") === textOf(doc.lines);
    });
  }

  // showing says whether what was handed out, put together, is the documents.
  showing() {
    const sorted = (lines) => JSON.stringify([...lines].map((line) => JSON.stringify(line)).sort());
    return [...this.publisher.docs.values()].every((doc) => sorted(this.shown.get(doc.id).values()) === sorted([...doc.lines.values()].map((line) => JSON.parse(line))));
  }

  async run() {
    this.start();
    for (let step = 0; step < steps; step++) {
      trace(`step ${step}`);
      if (this.chance.oneIn(60)) this.wait();
      else if (this.chance.oneIn(4) || !this.move()) this.happen();
      if (!this.feed.line && this.chance.oneIn(3)) this.wait(); // the page waits to connect again
      await this.settle();
    }
    await this.end();
    this.feed.close();
    return this.feed.about;
  }

  // end ends the faults: everything changes and is told once more.
  async end() {
    trace("the faults end");
    this.faults = false;
    for (const doc of this.publisher.docs.values()) {
      this.publisher.change(doc);
      this.send(this.publisher.delta(doc));
    }
    this.send(this.publisher.publish(true));
    for (let step = 0; step < patience; step++) {
      if (!this.move()) {
        if (this.done()) {
          if (this.showing()) return;
          throw new Error("the page does not show the documents");
        }
        this.wait();
      }
      await this.settle();
    }
    throw new Error("the page does not hold the documents' bytes");
  }
}

async function main() {
  const first = Number(process.env.SEED || process.env.FIRST || 1);
  const count = process.env.SEED ? 1 : Number(process.env.SEEDS || 10_000);
  const total = { seeds: 0, deltas: 0, fetches: 0, resyncs: 0, mismatches: 0, waiting: 0, events: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const night = new Night(seed);
    try {
      const about = await night.run();
      for (const name of ["deltas", "fetches", "resyncs", "mismatches"]) total[name] += about[name];
      for (const name of ["waiting", "events"]) total[name] += night.states[name];
      total.seeds++;
    } catch (error) {
      console.log(`seed ${seed}: ${error.message}\nreplay: SEED=${seed} node live_seeds.mjs`);
      if (process.env.SEED) console.log(error.stack);
      process.exitCode = 1;
      return;
    }
  }
  console.log(JSON.stringify(total));
}

await main();
