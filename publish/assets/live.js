// Follows documents of an election live, by the protocol that schemas/live.go
// describes: over WebSocket, or over Server-Sent Events where a network lets
// no WebSocket through. What it hands out was checked: the bytes of the
// document have the SHA-256 that the server stated for its version.
//
//   const feed = follow({
//     live: "wss://live.example.org",       // "" is the host of bucket
//     bucket: "https://example.org/",       // where snapshots lie
//     documents: ["contest/president"],
//     onLines(document, lines, about) {},   // lines as objects; about: whole, version, epoch, log, ts, checked
//     onState(state, about) {},             // "connecting", "live", "waiting" (to connect again), "closed"
//   });
//   feed.close();
//
// Numbers of a line never pass through floating point on the way to the hash:
// lines are kept as the text that was published.

const protocol = 1;
const lineStart = '{"contest":"';
const silence = 60_000; // three pings: then the connection is dead
const leastRetry = 500;
const mostRetry = 30_000;
const mostWaiting = 200; // frames of a document that wait for its snapshot
const attemptsBeforeEvents = 2; // of WebSocket, without a hello

// follow connects, and connects again as often as it must, until close().
export function follow(options) {
  return new Feed(options);
}

// keyOf is the part of a line that names its contest and unit.
export function keyOf(line) {
  const match = /^\{"contest":"[^"]*","unit":"[^"]*"/.exec(line);
  if (!match) throw new Error("not a document line");
  return match[0];
}

// linesOf takes the lines of a delta frame apart without changing a byte.
// Within a line no object follows a comma, so the cut is certain.
export function linesOf(frame) {
  const start = frame.indexOf('"l":[');
  if (start < 0 || !frame.endsWith("]}")) throw new Error("not a delta frame");
  const joined = frame.slice(start + 5, -2);
  if (joined === "") return [];
  return joined.split("," + lineStart).map((part, i) => (i === 0 ? part : lineStart + part));
}

// Document is one document by the client rule.
export class Document {
  constructor(id, subtle) {
    this.id = id;
    this.subtle = subtle; // none: nothing can be checked
    this.forget();
  }

  forget() {
    this.known = false;
    this.epoch = 0;
    this.version = 0;
    this.hash = "";
    this.lines = new Map(); // key -> line, sorted by key
    this.turn = (this.turn || 0) + 1; // of changes: hashing takes its time, and another connection may be faster
  }

  // apply takes a delta in: "applied", "dropped", "missing" or "mismatch".
  async apply(delta, text) {
    if (this.known && delta.e < this.epoch) return "dropped";
    if (!this.known || delta.e > this.epoch || delta.b > this.version) return "missing";
    if (delta.v <= this.version) return "dropped";
    const changed = linesOf(text);
    const next = merged(this.lines, changed);
    const turn = this.turn;
    const right = await this.has(bytesOf(next), delta.h);
    if (this.turn !== turn) return "dropped";
    if (!right) return "mismatch";
    this.turn++;
    this.lines = next;
    this.version = delta.v;
    this.hash = delta.h;
    this.changed = changed;
    return "applied";
  }

  // relabel takes a snap in whose bytes are not needed: the document has them,
  // or what came after them.
  relabel(snap) {
    if (!this.known) return false;
    if (snap.e === this.epoch && snap.v < this.version) return true;
    if (this.hash !== snap.h) return false;
    this.turn++;
    this.epoch = snap.e;
    this.version = snap.v;
    return true;
  }

  // replace takes in the bytes that a snap names: "replaced", "dropped" or
  // "mismatch".
  async replace(snap, bytes) {
    const turn = this.turn;
    const right = await this.has(bytes, snap.h);
    if (this.turn !== turn) return "dropped";
    if (!right) return "mismatch";
    this.turn++;
    const text = new TextDecoder().decode(bytes);
    this.lines = new Map();
    for (const line of text.split("\n")) {
      if (line !== "") this.lines.set(keyOf(line), line);
    }
    this.known = true;
    this.epoch = snap.e;
    this.version = snap.v;
    this.hash = snap.h;
    return "replaced";
  }

  async has(bytes, hash) {
    if (!this.subtle) return true;
    const digest = new Uint8Array(await this.subtle.digest("SHA-256", bytes));
    return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("") === hash;
  }
}

function bytesOf(lines) {
  let text = "";
  for (const line of lines.values()) text += line + "\n";
  return new TextEncoder().encode(text);
}

// merged puts lines into a sorted map. Identifiers are ASCII, so the order of
// strings is that of the published bytes.
function merged(lines, changed) {
  const next = new Map(lines);
  let sorted = true;
  for (const line of changed) {
    const key = keyOf(line);
    sorted &&= next.has(key);
    next.set(key, line); // keeps the place of a key that is there
  }
  if (sorted) return next;
  return new Map([...next].sort(([a], [b]) => (a < b ? -1 : 1)));
}

class Feed {
  constructor({ live = "", bucket, documents, onLines = () => {}, onState = () => {}, ...given }) {
    const from = (name) => (name in given ? given[name] : globalThis[name]);
    this.WebSocket = from("WebSocket");
    this.EventSource = from("EventSource");
    this.fetch = given.fetch || ((...args) => globalThis.fetch(...args));
    this.random = given.random || Math.random;
    this.bucket = new URL(bucket, globalThis.location?.href);
    if (!this.bucket.pathname.endsWith("/")) this.bucket.pathname += "/";
    this.live = new URL(live || this.bucket.origin, this.bucket);
    // Browsers offer SHA-256 to pages of https and of this machine only.
    const subtle = from("crypto")?.subtle;
    this.documents = new Map(documents.map((id) => [id, new Document(id, subtle)]));
    this.onLines = onLines;
    this.onState = onState;
    this.about = {
      transport: "", epoch: 0, log: 0, snapshot: 0, paused: false, checked: Boolean(subtle),
      deltas: 0, fetches: 0, resyncs: 0, mismatches: 0, retry: 0, error: "",
    };
    this.attempt = 0;
    this.refused = 0; // connections of the transport at hand without a hello
    this.events = !this.WebSocket;
    this.closed = false;
    this.connect();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.hangUp();
    this.say("closed");
  }

  say(state, change = {}) {
    Object.assign(this.about, change);
    this.onState(state, { ...this.about });
  }

  // address says which versions are here already. They are of one epoch;
  // documents of an earlier one begin anew, and cost no fetch if their bytes
  // are still the same.
  address(path) {
    const url = new URL(path, this.live);
    const scheme = { "ws:": "http:", "wss:": "https:" }[url.protocol] || url.protocol;
    const secure = scheme === "https:";
    const start = this.events ? (secure ? "https:" : "http:") : secure ? "wss:" : "ws:";
    const all = [...this.documents.values()];
    const epoch = Math.max(...all.map((d) => d.epoch));
    const query = new URLSearchParams();
    for (const d of all) query.append("g", d.id);
    query.set("e", epoch);
    for (const d of all) query.append("v", d.known && d.epoch === epoch ? d.version : "");
    return `${start}//${url.host}${url.pathname}?${query}`;
  }

  connect() {
    if (this.closed) return;
    // Each connection has an object of its own: what an old one still says
    // is not heard.
    const line = { greeted: false, chains: new Map(), waiting: new Map() };
    this.line = line;
    this.say("connecting", { transport: this.events ? "events" : "websocket", retry: 0 });
    this.listen(line);
    const take = (event) => this.line === line && this.take(line, event.data);
    const lost = (why) => this.line === line && this.lost(line, why);
    try {
      if (this.events) {
        line.socket = new this.EventSource(this.address("/v1/events"));
        line.socket.onmessage = take;
        line.socket.onerror = () => lost("event stream ended");
      } else {
        line.socket = new this.WebSocket(this.address("/v1/live"));
        line.socket.onmessage = take;
        line.socket.onclose = (event) => lost(`closed with ${event.code}`);
        line.socket.onerror = () => lost("connection failed");
      }
    } catch (error) {
      lost(String(error));
    }
  }

  // listen gives a connection up that says nothing, not even a ping.
  listen(line) {
    clearTimeout(line.dead);
    line.dead = setTimeout(() => this.line === line && this.lost(line, "silent"), silence);
  }

  hangUp() {
    const line = this.line;
    this.line = undefined;
    clearTimeout(line?.dead);
    line?.socket?.close();
  }

  // lost ends a connection, and makes another one later: soon after a good
  // one, later and later after bad ones, at a random moment so that viewers
  // who were cut off together do not come back together.
  lost(line, why, wait) {
    this.hangUp();
    if (line.good) this.attempt = 0;
    if (line.greeted) {
      this.refused = 0;
    } else if (++this.refused >= (this.events ? 1 : attemptsBeforeEvents)) {
      this.refused = 0;
      const other = this.events ? this.WebSocket : this.EventSource;
      if (other) this.events = !this.events;
    }
    const most = Math.min(leastRetry * 2 ** this.attempt++, mostRetry);
    const retry = wait ?? most / 2 + (this.random() * most) / 2;
    this.say("waiting", { retry, error: why });
    this.timer = setTimeout(() => this.connect(), retry);
  }

  take(line, text) {
    this.listen(line);
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return this.lost(line, "unreadable frame");
    }
    if (frame?.p !== protocol) return this.lost(line, "another protocol");
    switch (frame.t) {
      case "hello":
        line.greeted = true;
        this.say("live", { epoch: frame.e, log: frame.n, snapshot: frame.s, paused: frame.x === true, error: "" });
        break;
      case "ping":
        line.good = true;
        this.say("live", { epoch: frame.e, log: frame.n, snapshot: frame.s, paused: frame.x === true });
        break;
      case "bye":
        this.lost(line, frame.r, frame.w);
        break;
      case "snap":
      case "delta":
        this.enqueue(line, frame, text);
    }
  }

  // enqueue handles the frames of a document one after the other: hashing and
  // fetching take their time.
  enqueue(line, frame, text) {
    const document = this.documents.get(frame.g);
    if (!document) return;
    const waiting = (line.waiting.get(frame.g) || 0) + 1;
    if (waiting > mostWaiting) return this.lost(line, "cannot keep up");
    line.waiting.set(frame.g, waiting);
    const before = line.chains.get(frame.g) || Promise.resolve();
    const step = before
      .then(() => this.line === line && (frame.t === "snap" ? this.snap(line, document, frame) : this.delta(line, document, frame, text)))
      .catch((error) => this.line === line && this.lost(line, String(error)))
      .finally(() => line.waiting.set(frame.g, line.waiting.get(frame.g) - 1));
    line.chains.set(frame.g, step);
  }

  async delta(line, document, frame, text) {
    const outcome = await document.apply(frame, text);
    switch (outcome) {
      case "applied":
        this.about.deltas++;
        // Even if the connection ended meanwhile: the document has it.
        this.hand(document, document.changed, { whole: false, log: frame.n, ts: frame.ts });
        break;
      case "mismatch":
        if (this.line !== line) return;
        this.about.mismatches++;
        document.forget(); // what is shown stays until the snapshot is here
        this.resync(line, "wrong hash");
        break;
      case "missing":
        if (this.line !== line) return;
        this.resync(line, "gap");
    }
  }

  // resync begins anew with what is here.
  resync(line, why) {
    this.about.resyncs++;
    line.good = false; // so that the same trouble comes less and less often
    this.lost(line, why);
  }

  async snap(line, document, frame) {
    if (document.relabel(frame)) return;
    this.about.fetches++;
    const answer = await this.fetch(new URL(frame.u, this.bucket));
    if (!answer.ok) throw new Error(`snapshot: ${answer.status}`);
    const bytes = await answer.arrayBuffer();
    if (this.line !== line) return;
    switch (await document.replace(frame, bytes)) {
      case "replaced":
        this.hand(document, [...document.lines.values()], { whole: true, log: frame.v, ts: 0 });
        break;
      case "mismatch":
        if (this.line !== line) return;
        this.about.mismatches++;
        this.resync(line, "wrong hash");
    }
  }

  // hand gives out what was checked.
  hand(document, lines, about) {
    if (this.closed) return;
    if (this.line) this.line.good = true;
    this.onLines(document.id, lines.map((line) => JSON.parse(line)), {
      ...about, epoch: document.epoch, version: document.version, checked: this.about.checked,
    });
  }
}
