// Reads many strange inputs in one process, for tests that hold the two
// implementations' readers against each other. The first line of JSON is
// {definition: base64}; each other one {kind, bytes: base64} is answered by a line
// {ok, said}: whether it was read, and what it says.

import { createInterface } from "node:readline";

import { hex, toBase64 } from "./bytes.js";
import { readBody, resolve } from "./body.js";
import { digest } from "./crypto.js";
import { openElection } from "./election.js";
import { parseEnvelope, parseRelease } from "./envelope.js";
import { decodeLeaf } from "./leaf.js";
import { parseCheckpoint, parseNote, parseSnapshot } from "./note.js";
import { parsePolicy } from "./policy.js";
import { openRoster } from "./roster.js";
import { implausible } from "./rules.js";
import { parseManifest } from "./manifest.js";

let election;

const readers = {
  async body(b) {
    const s = resolve(election, readBody(b));
    const correction = s.correction ? `${s.correction.reason} ${s.correction.text}` : "";
    return [election.units[s.unit].id, s.revision, s.cells.join(), implausible(election, s), correction].join("|");
  },
  async envelope(b) {
    const v = await parseEnvelope(b);
    return [v.origin, v.unit, v.revision, hex(v.digest), ...v.signatures.map((s) => `${s.name} ${s.hash} ${toBase64(s.bytes)}`)].join("|");
  },
  async release(b) {
    const v = parseRelease(b);
    return [v.origin, v.unit, v.revision, v.digest, v.reason, v.text, v.signatures.length].join("|");
  },
  async leaf(b) {
    return (await decodeLeaf(b)).kind;
  },
  async snapshot(b) {
    const s = parseSnapshot(parseNote(b).text);
    return [s.origin, s.number, s.log, s.root, s.manifest, s.previous, s.accepted, s.held, s.time].join("|");
  },
  async checkpoint(b) {
    const c = parseCheckpoint(parseNote(b).text);
    return [c.origin, c.size, toBase64(c.root)].join("|");
  },
  async definition(b) {
    const e = openElection(b, await digest(b));
    return [e.units.length, e.counties.length, e.counties.map((c) => c.layout.cells).join()].join("|");
  },
  async roster(b) {
    return String((await openRoster(b, election)).size);
  },
  async manifest(b) {
    return String(parseManifest(b).length);
  },
  async policy(b) {
    return String((await parsePolicy(b)).witnesses.length);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { definition, kind, bytes } = JSON.parse(line);
  if (definition) {
    const b = new Uint8Array(Buffer.from(definition, "base64"));
    election = openElection(b, await digest(b));
    continue;
  }
  let answer;
  try {
    answer = { ok: true, said: await readers[kind](new Uint8Array(Buffer.from(bytes ?? "", "base64"))) };
  } catch (err) {
    answer = { ok: false, said: err.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
