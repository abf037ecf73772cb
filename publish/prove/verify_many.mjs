// Verifies many variants of one published night in one process, for tests of the
// other implementation. Lines of JSON come in: {objects: {key: base64}} is the
// night; then {name, verifier, all, changed: {key: base64}, gone: [key]} are
// variants of it. For each variant a line {name, report} goes out.

import { createInterface } from "node:readline";

import { useWebCrypto } from "./crypto.js";
import { readLeaf } from "./reading.js";
import { parseBundle } from "./tlog.js";
import { verify } from "./verify.js";

if (process.env.WEBCRYPTO) useWebCrypto();

const opened = (objects) => Object.entries(objects).map(([key, b]) => [key, new Uint8Array(Buffer.from(b ?? "", "base64"))]);

// Remembering is a reader that reads a leaf once for all variants which have it,
// as long as the roster is the same. What it reads is never changed.
const read = new Map();

class Remembering {
  async prepare(ringNumber, definition, roster, revoked, opened) {
    Object.assign(this, { ...opened, about: `${definition.digest} ${roster.digest} ${revoked.join()} ` });
  }

  async read(ringNumber, bytes, width) {
    const { election, ring, about } = this;
    const readings = parseBundle(bytes).slice(0, width).map((leaf) => {
      const name = about + Buffer.from(leaf).toString("latin1");
      if (!read.has(name)) read.set(name, readLeaf(election, ring, leaf));
      return read.get(name);
    });
    return { ringNumber, readings: await Promise.all(readings) };
  }

  async close() {}
}

let night;
for await (const line of createInterface({ input: process.stdin })) {
  const v = JSON.parse(line);
  if (!night) {
    night = new Map(opened(v.objects));
    continue;
  }
  const site = new Map([...night, ...opened(v.changed ?? {})]);
  for (const key of v.gone ?? []) site.delete(key);
  const source = { get: async (key) => site.get(key)?.slice() ?? null };
  const report = await verify({ source, key: v.verifier, all: v.all, readers: () => new Remembering() });
  process.stdout.write(`${JSON.stringify({ name: v.name, report })}\n`);
}
