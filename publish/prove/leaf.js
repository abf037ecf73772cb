// What the leaves of the log say, byte by byte (publish/log/README.md). A leaf
// has one spelling; whatever has another is refused.

import { equal, hex, indexOf, isDigest, isIdentifier, isText, text, utf8, whole } from "./bytes.js";
import { sha256 } from "./crypto.js";
import { claimsRelease, maxRevision, parseEnvelope, parseRelease } from "./envelope.js";
import { isTime, maxNote, openKey, parseNote, parseSnapshot } from "./note.js";

export const maxLeaf = 0xffff;
export const maxPayload = 64_000;
const maxRoots = 32;
const maxKeys = 64;
const newline = Uint8Array.of(0x0a);

// Lines reads lines "field value", each in its turn.
export class Lines {
  constructor(bytes, line = 1) {
    this.bytes = bytes;
    this.at = 0;
    this.line = line;
  }

  fail(want) {
    throw new Error(`line ${this.line}: ${want}`);
  }

  has(field) {
    const head = utf8(`${field} `);
    return equal(this.bytes.subarray(this.at, this.at + head.length), head);
  }

  value(field) {
    this.line++;
    const end = indexOf(this.bytes, newline, this.at);
    if (end < 0 || !this.has(field)) this.fail(`want ${field} and its value`);
    const bytes = this.bytes.subarray(this.at + utf8(field).length + 1, end);
    if (!isText(bytes)) this.fail(`${field}: want UTF-8`);
    this.at = end + 1;
    return text(bytes);
  }

  number(field, least, most) {
    const n = whole(this.value(field), least, most);
    if (Number.isNaN(n)) this.fail(`${field}: want a whole number from ${least} to ${most ?? "2^53"}`);
    return n;
  }

  one(field, right, want) {
    const v = this.value(field);
    if (!right(v)) this.fail(`${field}: want ${want}`);
    return v;
  }

  identifier(field) {
    return this.one(field, isIdentifier, "an identifier");
  }

  file(field) {
    return { digest: this.one(field, isDigest, "a SHA-256 in hexadecimal"), bytes: this.number(`${field}-bytes`, 1) };
  }

  // payload takes the exact bytes behind an empty line, to the end.
  payload(size) {
    this.line++;
    if (this.bytes[this.at] !== 0x0a) this.fail(`want an empty line and then ${size} bytes`);
    const b = this.bytes.subarray(this.at + 1);
    if (b.length !== size) this.fail(`${b.length} bytes follow, want the ${size} that are stated`);
    this.at = this.bytes.length;
    return b;
  }

  note() {
    return this.payload(this.number("bytes", 1, maxNote));
  }

  end() {
    if (this.at !== this.bytes.length) throw new Error(`more than ${this.line} lines`);
  }
}

const prefix = "tallystream/leaf/";

// readers by kind, the first line without its prefix and version.
const readers = {
  definition: readDefinition, submission: readSubmission, sealed: readSealed, hold: readHold, release: readReleaseLeaf,
  roster: readStatement, key: readStatement, roots: readStatement, amendment: readStatement,
  pause: readPause, resume: readPause, snapshot: readSnapshot,
};

// decodeLeaf reads a leaf: {kind, ...}. An unknown kind is an error with
// unknownKind set: what was meant cannot be known.
export async function decodeLeaf(bytes) {
  if (bytes.length > maxLeaf) throw new Error(`leaf: ${bytes.length} bytes, want at most ${maxLeaf}`);
  const end = bytes.indexOf(0x0a);
  const first = end < 0 || end > 100 || !isText(bytes.subarray(0, end)) ? "" : text(bytes.subarray(0, end));
  const kind = first.startsWith(prefix) && first.endsWith("/v1") ? first.slice(prefix.length, -"/v1".length) : "";
  if (!Object.hasOwn(readers, kind)) throw Object.assign(new Error(`leaf: unknown kind ${JSON.stringify(first)}`), { unknownKind: true });
  const lines = new Lines(bytes.subarray(end + 1));
  try {
    const leaf = await readers[kind](lines, kind);
    lines.end();
    return { kind, ...leaf };
  } catch (err) {
    throw new Error(`${kind} leaf: ${err.message}`);
  }
}

const isOrigin = (s) => s !== "" && utf8(s).length <= 255 && !/[\u0000-\u0020\u007f-\u00a0+\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/.test(s); // eslint-disable-line no-control-regex

async function readDefinition(r) {
  const l = { origin: r.one("origin", isOrigin, "a URL without its scheme"), election: r.identifier("election") };
  l.definition = r.file("definition");
  l.roster = r.file("roster");
  l.threshold = r.number("threshold", 0, maxRoots);
  l.roots = await readRoots(r, l.threshold);
  l.keys = [];
  while (r.has("key")) {
    const spelled = r.value("key");
    const cut = spelled.indexOf(" ");
    const k = { role: spelled.slice(0, cut), key: spelled.slice(cut + 1) };
    if (cut < 0 || !["log", "snapshot", "receipt"].includes(k.role)) r.fail("key: want log, snapshot or receipt, and a verifier key");
    await openKey(k.key);
    if (l.keys.some((other) => other.role === k.role && other.key === k.key)) r.fail("a key stands twice");
    if (l.keys.push(k) > maxKeys) r.fail(`more than ${maxKeys} keys`);
  }
  return l;
}

// readRoots reads different keys of different names, of which threshold sign.
async function readRoots(r, threshold) {
  const keys = [];
  while (r.has("root")) {
    const key = await openKey(r.value("root"));
    if (keys.some((k) => k.name === key.name || equal(k.public, key.public))) r.fail("a root key or its name stands twice");
    if (keys.push(key) > maxRoots) r.fail(`more than ${maxRoots} root keys`);
  }
  if (threshold > keys.length || (threshold === 0) !== (keys.length === 0)) r.fail(`threshold ${threshold} of ${keys.length} root keys`);
  return keys.map((k) => k.spelled);
}

// readPlace reads where an entry stands in its ledger, and of what it is.
function readPlace(r) {
  return { partition: r.number("partition", 0, 0xffff), seq: r.number("seq", 1), unit: r.identifier("unit"), revision: r.number("revision", 1, maxRevision) };
}

const oneOf = (...words) => (s) => words.includes(s);

async function readSubmission(r) {
  const l = { outcome: r.one("outcome", oneOf("counted", "superseded"), "counted or superseded"), ...readPlace(r) };
  l.record = r.payload(r.number("bytes", 1, 51_201));
  l.envelope = await recordOf(l, l.record);
  l.digest = hex(l.envelope.digest);
  return l;
}

// recordOf parses a record and checks that it is of the unit and revision.
async function recordOf(l, record) {
  const v = await parseEnvelope(record);
  if (v.unit !== l.unit || v.revision !== l.revision) throw new Error("its record is of another unit or revision");
  return v;
}

const outcomes = ["counted", "superseded", "held", "released", "lapsed"];

// readSealed reads what stands for a submission, a hold or a release.
function readSealed(r) {
  const l = { outcome: r.one("outcome", oneOf(...outcomes), `one of ${outcomes.join(", ")}`) };
  if (l.outcome === "held") l.code = r.identifier("code");
  if (l.outcome === "released" || l.outcome === "lapsed") l.hold = r.number("hold", 1);
  Object.assign(l, readHeldPlace(r), { commitment: r.one("commitment", isDigest, "a SHA-256 in hexadecimal") });
  checkUnnamed(r, l);
  if (l.hold >= l.seq) r.fail("hold: want an entry before this one");
  return l;
}

// readHeldPlace is readPlace for what may name no unit.
function readHeldPlace(r) {
  const l = { partition: r.number("partition", 0, 0xffff), seq: r.number("seq", 1) };
  const unit = r.one("unit", (s) => s === "-" || isIdentifier(s), "an identifier, or -");
  l.unit = unit === "-" ? "" : unit;
  l.revision = r.number("revision", 0, maxRevision);
  return l;
}

function checkUnnamed(r, l) {
  if ((l.unit === "") !== (l.revision === 0) || (l.unit === "" && l.code !== "poison")) {
    r.fail("only poison may name no unit, and then no revision");
  }
}

async function readHold(r) {
  const l = { code: r.identifier("code"), ...readHeldPlace(r) };
  l.digest = r.one("sha256", isDigest, "a SHA-256 in hexadecimal");
  l.bytes = r.number("bytes", 0, 0xffffffff);
  checkUnnamed(r, l);
  if (l.bytes > maxPayload) {
    if (l.code !== "poison") r.fail(`${l.bytes} bytes, want at most ${maxPayload} of what is no poison`);
    r.payload(0);
    return { ...l, record: null };
  }
  l.record = r.payload(l.bytes);
  if ((await holdDigest(l)) !== l.digest) throw new Error("its record has another digest");
  return l;
}

// holdDigest is the digest that a hold must state: of the body, of the body
// that a release names, or of a record that is no envelope.
async function holdDigest(l) {
  if (l.unit !== "" && claimsRelease(l.record)) {
    const release = parseRelease(l.record);
    if (release.unit !== l.unit || release.revision !== l.revision) throw new Error("its record is of another unit or revision");
    l.release = release;
    return release.digest;
  }
  if (l.unit !== "") {
    l.envelope = await recordOf(l, l.record);
    return hex(l.envelope.digest);
  }
  try {
    l.envelope = await parseEnvelope(l.record);
    return hex(l.envelope.digest);
  } catch {
    return hex(await sha256(l.record));
  }
}

function readReleaseLeaf(r) {
  const l = { outcome: r.one("outcome", oneOf("released", "lapsed"), "released or lapsed"), ...readPlace(r) };
  l.hold = r.number("hold", 1);
  if (l.hold >= l.seq) r.fail("hold: want an entry before the release");
  l.record = r.note();
  l.release = parseRelease(l.record);
  if (l.release.unit !== l.unit || l.release.revision !== l.revision) throw new Error("its note is of another unit or revision");
  l.digest = l.release.digest;
  return l;
}

// readStatement reads what the holders of root keys signed.
async function readStatement(r, kind) {
  const record = r.note();
  const note = parseNote(record);
  const { origin, lines } = firstLine(note.text, `/${kind}/v1`);
  const l = { origin, record, note, number: lines.number("number", 1) };
  if (kind === "roster") l.file = lines.file("roster");
  if (kind === "amendment") l.file = lines.file("definition");
  if (kind === "roots") {
    l.threshold = lines.number("threshold", 1, maxRoots);
    l.roots = await readRoots(lines, l.threshold);
  }
  if (kind === "key") {
    l.change = lines.one("change", oneOf("add", "revoke"), "add or revoke");
    l.role = lines.one("role", oneOf("log", "snapshot", "receipt", "roster"), "log, snapshot, receipt or roster");
    l.key = (await openKey(lines.value("key"))).spelled;
    if (l.role === "roster" && l.change === "add") throw new Error("a key is added to the roster by a new roster");
  }
  lines.end();
  return l;
}

// firstLine cuts a note's text behind its first line, which ends in suffix.
function firstLine(bytes, suffix) {
  const end = bytes.indexOf(0x0a);
  const first = text(bytes.subarray(0, end));
  const origin = first.slice(0, -suffix.length);
  if (!first.endsWith(suffix) || !isOrigin(origin)) throw new Error(`its note: want a first line that ends in ${suffix}`);
  return { origin, lines: new Lines(bytes.subarray(end + 1)) };
}

function readPause(r, kind) {
  const record = r.note();
  const { origin, lines } = firstLine(parseNote(record).text, `/${kind}/v1`);
  const l = { origin, record, time: lines.one("time", isTime, "2006-01-02T15:04:05.000Z"), reason: lines.identifier("reason") };
  l.text = lines.one("text", (s) => s !== "" && utf8(s).length <= 2000, "1 to 2000 bytes");
  lines.end();
  return l;
}

function readSnapshot(r) {
  const record = r.note();
  return { record, snapshot: parseSnapshot(parseNote(record).text) };
}

// opensSeal reports whether a salt and the bytes of a leaf are what a sealed leaf
// commits to, and that both say the same of it.
export async function opensSeal(sealed, salt, bytes) {
  if (salt.length !== 32 || hex(await sha256(utf8("tallystream/seal/v1\n"), salt, bytes)) !== sealed.commitment) return false;
  const l = await decodeLeaf(bytes);
  if (!["submission", "hold", "release"].includes(l.kind)) return false;
  const own = l.kind === "hold" ? { ...l, outcome: "held" } : l;
  return ["outcome", "code", "hold", "partition", "seq", "unit", "revision"].every((field) => own[field] === sealed[field]);
}
