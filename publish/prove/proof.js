// Proves what a results page shows: that its numbers are in a document, the
// document in a manifest, the manifest in a signed snapshot, and the snapshot in the
// public log.

import { concat, text, utf8 } from "./bytes.js";
import { digest } from "./crypto.js";
import { contentKey, parseManifest, snapshotKey } from "./manifest.js";
import { openCheckpoint, openKey, openSnapshot } from "./note.js";
import { checkConsistency, checkInclusion, leafHash, Tree } from "./tlog.js";

// Wrong is a check that failed; step says which.
export class Wrong extends Error {
  constructor(step, what) {
    super(what);
    this.step = step;
  }
}

async function must(source, step, key) {
  const bytes = await source.get(key);
  if (!bytes) throw new Wrong(step, `${key} is not there`);
  return bytes;
}

// attempt names the step that an error belongs to.
async function attempt(step, work) {
  try {
    return await work();
  } catch (err) {
    throw err instanceof Wrong ? err : new Wrong(step, err.message);
  }
}

// hexBytes reads hexadecimal that was checked before.
const hexBytes = (s) => Uint8Array.from(s.match(/../g), (d) => parseInt(d, 16));

// prove checks snapshot number (0: the newest) with a verifier key and fetches the
// documents that have the lines wanted, each "contest place". done(step, words) hears
// of each step as it holds. It answers {number, signer, index, size, lines}, lines
// by "contest place"; it throws Wrong where something does not hold.
export async function prove({ source, key: spelled, number, documents, wanted, done }) {
  const key = await attempt("key", () => openKey(spelled));
  const note = await must(source, "snapshot", number ? snapshotKey(number) : "latest");
  const snapshot = await attempt("snapshot", () => openSnapshot(note, [key]));
  if (number && snapshot.number !== number) throw new Wrong("snapshot", `${snapshotKey(number)} is snapshot ${snapshot.number}`);
  if (snapshot.origin !== key.name) throw new Wrong("snapshot", `it is of ${snapshot.origin}, the key speaks for ${key.name}`);
  done("snapshot", `Snapshot ${snapshot.number} of ${snapshot.time} is signed by ${key.name}.`);
  const size = await inLog(source, key, snapshot, note, done);
  const entries = await manifestOf(source, snapshot);
  const lines = await linesOf(source, entries, documents, wanted);
  done("documents", `The lines of this page lie in ${lines.documents.length === 1 ? "one document" : `${lines.documents.length} documents`} that the snapshot names, unchanged to the byte.`);
  return { number: snapshot.number, time: snapshot.time, signer: key.name, index: snapshot.log, size, lines: lines.byName };
}

// inLog proves that the snapshot's own leaf is in the log, and that the log it
// speaks of is that log’s beginning.
async function inLog(source, key, snapshot, note, done) {
  const checkpoint = await attempt("log", async () => openCheckpoint(await must(source, "log", "checkpoint"), [key]));
  if (checkpoint.size <= snapshot.log) throw new Wrong("log", `the checkpoint has ${checkpoint.size} leaves, and the snapshot is leaf ${snapshot.log}: it is not in it`);
  const tree = new Tree(source, checkpoint.size);
  await attempt("log", async () => {
    const leaf = concat(utf8(`tallystream/leaf/snapshot/v1\nbytes ${note.length}\n\n`), note);
    await checkInclusion(checkpoint.size, checkpoint.root, snapshot.log, await leafHash(leaf), await tree.inclusion(snapshot.log));
    await checkConsistency(checkpoint.size, checkpoint.root, snapshot.log, hexBytes(snapshot.root), await tree.consistency(snapshot.log));
  });
  const witnesses = checkpoint.note.signatures.length - 1;
  const seen = witnesses > 0 ? ` ${witnesses} more signed that checkpoint; who they are, this page does not check.` : "";
  done("log", `It is leaf ${snapshot.log} of the public log, whose signed checkpoint has ${checkpoint.size} leaves; the log that it commits to is that log’s beginning.${seen}`);
  return checkpoint.size;
}

async function manifestOf(source, snapshot) {
  const bytes = await must(source, "documents", contentKey("manifests", snapshot.manifest, ".ndjson"));
  if ((await digest(bytes)) !== snapshot.manifest) throw new Wrong("documents", "the manifest is not the one that was signed");
  const entries = await attempt("documents", () => parseManifest(bytes));
  return new Map(entries.map((entry) => [entry.name, entry]));
}

// linesOf fetches the documents until each wanted line is found: those that the
// page follows, then the contest's, then the place's.
async function linesOf(source, entries, documents, wanted) {
  const byName = new Map();
  const fetched = [];
  const fetchOnce = async (name) => {
    if (fetched.includes(name) || !entries.has(name)) return;
    fetched.push(name);
    const { key, sha256 } = entries.get(name);
    const bytes = await must(source, "documents", key);
    if ((await digest(bytes)) !== sha256) throw new Wrong("documents", `${name} is not the document that the snapshot names`);
    for (const l of text(bytes).split("\n").filter(Boolean)) {
      const line = JSON.parse(l);
      byName.set(`${line.contest} ${line.unit}`, line);
    }
  };
  await Promise.all(documents.map(fetchOnce));
  for (const name of wanted) {
    const [contest, place] = name.split(" ");
    for (const document of [`contest/${contest}`, `county/${place}`]) if (!byName.has(name)) await fetchOnce(document);
    if (!byName.has(name)) throw new Wrong("documents", `no document that the snapshot names has a line of ${contest} in ${place}`);
  }
  return { byName, documents: fetched };
}

