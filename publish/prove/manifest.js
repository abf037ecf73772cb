// The manifest of a snapshot: every object that it names, with hash and size.

import { byBytes, isDigest, text, utf8 } from "./bytes.js";
import { optional, parse, shape } from "./strict.js";

const size = (v) => Number.isInteger(v);
const isName = (v) => typeof v === "string" && v !== "";
const members = { name: isName, version: optional(size), key: isName, sha256: isDigest, bytes: size };

// parseManifest reads the entries, which are sorted by name and have each once.
export function parseManifest(bytes) {
  const lines = text(bytes).split("\n");
  if (lines.at(-1) === "") lines.pop();
  const out = lines.map((l, i) => {
    const entry = parse(utf8(l));
    try {
      shape(entry, members);
    } catch (err) {
      throw new Error(`manifest line ${i + 1}: ${err.message}`);
    }
    return entry;
  });
  out.forEach((entry, i) => {
    if (i > 0 && byBytes(out[i - 1].name, entry.name) >= 0) throw new Error("manifest: its names are not sorted, or stand twice");
  });
  return out;
}

// contentKey is where content lies by its hash.
export const contentKey = (folder, digest, extension) => `${folder}/${digest.slice(0, 2)}/${digest}${extension}`;

export const snapshotKey = (number) => `snapshots/${String(number).padStart(9, "0")}`;

// isKey refuses what could lead out of the bucket.
export const isKey = (key) => /^[^/\\\0]+(\/[^/\\\0]+)*$/.test(key) && !key.split("/").some((part) => part === "." || part === "..");
