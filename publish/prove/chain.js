// The snapshots, one after the other, and what can only be told at the end of
// the log.

import { equal, hex } from "./bytes.js";
import { compareFilesDue, compareSnapshot } from "./compare.js";
import { digest } from "./crypto.js";
import { snapshotKey } from "./manifest.js";
import { openCheckpoint, openSnapshot, parseNote, parseSnapshot } from "./note.js";
import { ruled } from "./rules.js";

const noSnapshot = "0".repeat(64);

// takeSnapshot holds a snapshot's leaf against the log before it and the snapshot
// before it, and where they are due its documents and files.
export async function takeSnapshot(v, index, leaf) {
  const number = v.notes.length + 1;
  const wrong = (what) => v.find("chain", `snapshot ${number} (leaf ${index})`, what);
  const previous = v.notes.at(-1) ?? noSnapshot;
  v.notes.push(await digest(leaf.record));
  let s;
  try {
    s = await openSnapshot(leaf.record, v.auth.at(index).keys.snapshot);
  } catch (err) {
    wrong(`is not signed by a key that may sign it: ${err.message}`);
    return;
  }
  const root = hex(await v.frontier.root());
  if (s.number !== number) wrong(`has the number ${s.number}, want ${number}`);
  if (s.origin !== v.report.origin) wrong(`is of ${JSON.stringify(s.origin)}`);
  if (s.previous !== previous) wrong(`names ${s.previous} as the snapshot before it, which is ${previous}`);
  if (s.log !== index || s.root !== root) wrong(`commits to a log of ${s.log} leaves with root ${s.root}, here it has ${index} with ${root}`);
  if (s.accepted !== v.tally.accepted || s.held !== v.tally.heldAll) {
    wrong(`says ${s.accepted} accepted and ${s.held} held, in the log are ${v.tally.accepted} and ${v.tally.heldAll}`);
  }
  if (v.last && s.time < v.last.time) wrong(`was made at ${s.time}, before the one before it at ${v.last.time}`);
  v.last = s;
  if (v.all || (s.number === v.latest?.number && equal(leaf.record, v.latestNote))) await compareSnapshot(v, s);
  await compareFilesDue(v, s);
}

// closeChain checks what can only be told at the end.
export async function closeChain(v) {
  v.report.snapshots = v.notes.length;
  for (const code of Object.keys(v.tally.held).sort()) {
    if (!ruled.includes(code)) v.report.remark(`${v.tally.held[code]} submissions are held as ${code}, which does not follow from the log alone: that is believed`);
  }
  const powers = v.auth.at(v.size);
  try {
    await openCheckpoint(v.checkpoint, powers.keys.log);
  } catch (err) {
    v.find("authority", "checkpoint", `is signed by no key that the log itself puts in force: ${err.message}`);
  }
  await closeRoster(v);
  for (const [version, files] of v.due) for (const f of files) v.find("file", f.name, `is said to be as of ${version} leaves, where there is no snapshot`);
  if (v.latest) await closeLatest(v);
  await compareNotes(v);
  if (v.hashed > 0) v.report.remark(`${v.hashed} reports in the common data format were held against their signed hashes; their numbers were not made again here`);
}

// closeRoster holds roster.json against the log. A change of the roster is found
// there a moment before its file is, and the next snapshot follows both.
async function closeRoster(v) {
  if (v.current && equal(v.current, v.roster.bytes)) return;
  const named = v.current && (await digest(v.current));
  if (v.latest && v.auth.since(v.latest.log).some((p) => p.roster.digest === named)) v.report.leave("roster.json: another roster came into the log meanwhile: verify again");
  else v.find("authority", "roster.json", `is not the roster in force, whose SHA-256 is ${v.roster.digest}`);
}

// closeLatest holds the newest published snapshot against the log, which is one
// ahead while a publisher writes.
async function closeLatest(v) {
  const { number } = v.latest;
  v.report.snapshot = number;
  if (!(number >= 1 && number <= v.notes.length)) {
    v.find("chain", "latest", `is snapshot ${number}, which is not in the log: it has ${v.notes.length}`);
    return;
  }
  if ((await digest(v.latestNote)) !== v.notes[number - 1]) {
    v.find("chain", "latest", `is another snapshot ${number} than the log's: two have one number`);
    return;
  }
  if (number < v.notes.length) {
    const now = await latestNumber(v);
    if (now + 1 < v.notes.length) v.find("chain", "latest", `is snapshot ${number}, an old one: the log has ${v.notes.length}`);
    else v.report.leave(`snapshot ${v.notes.length} came into the log meanwhile: verify again for its documents`);
  }
  if (v.compared < number) v.report.leave(`the documents of snapshot ${number}`);
}

async function latestNumber(v) {
  try {
    return parseSnapshot(parseNote(await v.source.get("latest")).text).number;
  } catch {
    return 0;
  }
}

const notesAtOnce = 16;

// compareNotes holds every snapshot's own object against its leaf.
async function compareNotes(v) {
  const one = async (number) => {
    const key = snapshotKey(number);
    const bytes = await v.source.get(key);
    if (!bytes) {
      if (!v.latest || number <= v.latest.number) v.find("chain", key, "is not there, and the log has it"); // else it is being written
    } else if ((await digest(bytes)) !== v.notes[number - 1]) {
      v.find("chain", key, `is another snapshot ${number} than the log's: two have one number`);
    }
  };
  for (let from = 1; from <= v.notes.length; from += notesAtOnce) {
    await Promise.all(Array.from({ length: Math.min(notesAtOnce, v.notes.length - from + 1) }, (_, i) => one(from + i)));
  }
}

