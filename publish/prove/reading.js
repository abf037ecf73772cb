// One leaf as far as it can be read by itself, in any order: whose it is, what it
// counts, who signed it. What depends on the leaves before it is the tally's.

import { hex } from "./bytes.js";
import { readBody, resolve } from "./body.js";
import { decodeLeaf } from "./leaf.js";
import { claimsRelease, parseRelease } from "./envelope.js";
import { seatsOf, unauthorized } from "./roster.js";
import { implausible } from "./rules.js";
import { leafHash } from "./tlog.js";

const entries = ["submission", "hold", "release"];

// readLeaf reads a leaf against an election and the roster thought to be in
// force. The result is plain data, so that a worker can hand it over.
export async function readLeaf(e, ring, bytes) {
  const x = { hash: await leafHash(bytes), size: bytes.length };
  let leaf;
  try {
    leaf = await decodeLeaf(bytes);
  } catch (err) {
    return { ...x, error: err.message, unknownKind: err.unknownKind === true };
  }
  x.kind = leaf.kind;
  if (!entries.includes(leaf.kind)) return x;
  Object.assign(x, {
    outcome: leaf.outcome ?? "held", code: leaf.code ?? "", partition: leaf.partition, seq: leaf.seq, unitID: leaf.unit, revision: leaf.revision,
    digest: leaf.digest, holdSeq: leaf.hold ?? 0, addressed: false, poison: "", correction: null, cells: null, own: "", unsigned: "", signers: [],
  });
  const note = await addressed(e, x, leaf);
  if (note) await judgeAlone(e, ring, x, note);
  return x;
}

// addressed finds the signed note of an entry, and its unit; where it names none
// of this partition, it says why in x.poison.
async function addressed(e, x, leaf) {
  let note = leaf.envelope ?? leaf.release;
  if (!note && leaf.record && claimsRelease(leaf.record)) {
    try {
      note = parseRelease(leaf.record);
    } catch (err) {
      x.poison = err.message;
      return null;
    }
  }
  if (!note) {
    x.poison = "its record is no envelope, or too long for the log";
    return null;
  }
  const unit = e.unitIndex.get(note.unit);
  x.isRelease = note.body === undefined;
  if (note.origin !== e.definition.origin) x.poison = `it is for ${JSON.stringify(note.origin)}`;
  else if (unit === undefined) x.poison = `${JSON.stringify(note.unit)} is no unit of this election`;
  else if (e.counties[e.units[unit].county].partition !== x.partition) x.poison = "its unit belongs to another partition";
  else if (x.isRelease && note.signatures.length < 2) x.poison = "it has fewer signatures than it needs";
  if (x.poison !== "") return null;
  x.addressed = true;
  x.unit = unit;
  return note;
}

async function judgeAlone(e, ring, x, note) {
  x.noted = { revision: note.revision, digest: x.isRelease ? note.digest : hex(note.digest) };
  if (x.isRelease) {
    x.reason = note.reason;
    x.text = note.text;
  } else {
    count(e, x, note);
  }
  const seats = seatsOf(e, x.isRelease || x.correction !== null);
  const { county } = e.units[x.unit];
  x.unsigned = await unauthorized(ring, seats, county, note.signed, note.signatures);
  x.signers = [...new Set(note.signatures.map((s) => s.name))];
}

// count reads the body into a row of cells, or says in x.poison why it cannot be
// counted.
function count(e, x, envelope) {
  try {
    const body = readBody(envelope.body);
    x.correction = body.correction ?? null;
    const statement = resolve(e, body);
    if (statement.unit !== x.unit || statement.revision !== envelope.revision) throw new Error("names another unit or revision than its note");
    if (envelope.signatures.length < seatsOf(e, x.correction !== null).length) throw new Error("has fewer signatures than it needs");
    x.cells = statement.cells;
    x.own = implausible(e, statement);
  } catch (err) {
    x.poison = `its body: ${err.message}`;
  }
}
