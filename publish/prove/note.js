// Signed notes (https://c2sp.org/signed-note), checkpoints
// (https://c2sp.org/tlog-checkpoint) and cosignatures
// (https://c2sp.org/tlog-cosignature).

import { concat, fromBase64, isText, text, uint32, utf8, whole } from "./bytes.js";
import { sha256, verifier } from "./crypto.js";

export const maxNote = 32 << 10;
const maxSignatures = 100;
const dash = "\u2014 ";
const spaces = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

export const typeEd25519 = 1;
export const typeCosignature = 4;

const isKeyName = (name) => name !== "" && !spaces.test(name) && !name.includes("+");

// checkText refuses what no note may hold.
function checkText(bytes) {
  if (!isText(bytes)) throw new Error("note: want UTF-8");
  const at = bytes.findIndex((c) => c < 0x20 && c !== 0x0a);
  if (at >= 0) throw new Error(`note: control character at byte ${at}`);
}

// parseNote reads {text, signatures} and checks no signature.
export function parseNote(bytes) {
  if (bytes.length > maxNote) throw new Error(`note: ${bytes.length} bytes, want at most ${maxNote}`);
  checkText(bytes);
  let split = -1;
  for (let i = bytes.length - 2; i >= 0 && split < 0; i--) if (bytes[i] === 0x0a && bytes[i + 1] === 0x0a) split = i;
  if (split < 0) throw new Error("note: no empty line between the text and its signatures");
  return { text: bytes.subarray(0, split + 1), signatures: parseSignatures(text(bytes.subarray(split + 2))) };
}

function parseSignatures(lines) {
  if (lines === "") throw new Error("note: no signature");
  if (!lines.endsWith("\n")) throw new Error("note: the last signature does not end in a newline");
  const out = lines.slice(0, -1).split("\n").map(parseSignature);
  if (out.length > maxSignatures) throw new Error(`note: more than ${maxSignatures} signatures`);
  return out;
}

// parseSignature reads one line: em dash, name, base64 of key ID and signature.
export function parseSignature(line, i = 0) {
  const [mark, name, base64, ...more] = line.split(" ");
  const raw = base64 === undefined || more.length > 0 ? null : fromBase64(base64);
  if (mark !== dash.trim() || !isKeyName(name ?? "") || !raw || raw.length < 5) {
    throw new Error(`note: signature ${i + 1}: want an em dash, a key name and base64`);
  }
  return { name, hash: uint32(raw), bytes: raw.subarray(4) };
}

// keyID is the first four bytes of SHA-256 of name, newline, type and key.
const keyID = async (name, type, publicKey) => uint32(await sha256(utf8(`${name}\n`), Uint8Array.of(type), publicKey));

// openKey reads a verifier key, "name+hash+key", of the type wanted, in its
// only spelling.
export async function openKey(spelled, type = typeEd25519) {
  const first = spelled.indexOf("+");
  const second = spelled.indexOf("+", first + 1);
  const [name, id] = [spelled.slice(0, first), spelled.slice(first + 1, second)];
  const raw = second < 0 ? null : fromBase64(spelled.slice(second + 1));
  if (!raw || raw.length !== 33 || raw[0] !== type || !isKeyName(name)) {
    throw new Error(`verifier key ${JSON.stringify(spelled.slice(0, 100))}: want name+hash+key of Ed25519 (type ${type})`);
  }
  const publicKey = raw.subarray(1);
  const hash = await keyID(name, type, publicKey);
  if (id !== hash.toString(16).padStart(8, "0")) throw new Error(`verifier key ${name}: its hash is not that of the key`);
  const check = verifier(publicKey);
  return {
    name, hash, public: publicKey, spelled,
    verify: type === typeCosignature ? (message, signature) => verifyCosignature(check, message, signature) : check,
  };
}

// verifyCosignature: eight bytes of time stand before the signature, and the
// time before the text.
function verifyCosignature(check, message, signature) {
  if (signature.length !== 72) return false;
  const seconds = cosignedAt(signature);
  if (seconds > 0x7fffffffffffffffn) return false;
  return check(concat(utf8(`cosignature/v1\ntime ${seconds}\n`), message), signature.subarray(8));
}

export const cosignedAt = (signature) => (BigInt(uint32(signature)) << 32n) | BigInt(uint32(signature, 4));

// signedBy reports whether a key signed the note. A line that claims to be the
// key's and does not verify refuses the whole note.
export async function signedBy(note, key) {
  const line = note.signatures.find((s) => s.name === key.name && s.hash === key.hash);
  if (!line) return false;
  if (!(await key.verify(note.text, line.bytes))) throw new Error(`the signature by ${key.name} does not verify`);
  return true;
}

// emptyRoot is the SHA-256 of nothing.
const emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

// parseCheckpoint reads the three lines of a checkpoint's text.
export function parseCheckpoint(bytes) {
  const lines = text(bytes).split("\n");
  if (lines.length !== 4 || lines[3] !== "" || lines[0] === "") throw new Error("checkpoint: want three lines: origin, size, root hash");
  const size = whole(lines[1]);
  const root = fromBase64(lines[2]);
  if (Number.isNaN(size)) throw new Error("checkpoint: line 2: want a whole number without leading zeros");
  if (root?.length !== 32) throw new Error("checkpoint: line 3: want 32 bytes in base64");
  if (size === 0 && lines[2] !== emptyRoot) throw new Error("checkpoint: line 3: an empty tree has another root hash");
  return { origin: lines[0], size, root };
}

// openCheckpoint reads a checkpoint that one of the keys signed; a key speaks
// for the origin that it is named by and for no other.
export async function openCheckpoint(bytes, keys) {
  const note = parseNote(bytes);
  const checkpoint = parseCheckpoint(note.text);
  let signed = false;
  for (const key of keys) if (key.name === checkpoint.origin) signed = (await signedBy(note, key)) || signed;
  if (!signed) throw new Error(`checkpoint of ${JSON.stringify(checkpoint.origin)}: not signed by a known key`);
  return { ...checkpoint, note };
}

// statementLines cuts a note's text into its first line's origin and the
// lines behind it.
export function statementLines(bytes, kind) {
  const lines = text(bytes).split("\n");
  if (lines.pop() !== "" || !lines[0].endsWith(kind)) throw new Error(`its note: want a first line that ends in ${kind}`);
  return { origin: lines[0].slice(0, -kind.length), lines: lines.slice(1) };
}

const snapshotFields = ["number", "log", "root", "manifest", "previous", "accepted", "held", "time"];

// parseSnapshot reads the text of a snapshot's note.
export function parseSnapshot(bytes) {
  const { origin, lines } = statementLines(bytes, "/snapshot/v1");
  if (lines.length !== snapshotFields.length) throw new Error(`snapshot: ${lines.length + 1} lines, want ${snapshotFields.length + 1}`);
  const s = { origin };
  snapshotFields.forEach((field, i) => {
    if (!lines[i].startsWith(`${field} `)) throw new Error(`snapshot: line ${i + 2}: want ${field}`);
    const value = lines[i].slice(field.length + 1);
    if (["root", "manifest", "previous"].includes(field)) {
      if (!/^[0-9a-f]{64}$/.test(value)) throw new Error(`snapshot: ${field}: want a SHA-256 in hexadecimal`);
      s[field] = value;
    } else if (field === "time") {
      if (!isTime(value)) throw new Error("snapshot: time: want 2006-01-02T15:04:05.000Z");
      s.time = value;
    } else if (Number.isNaN((s[field] = whole(value)))) {
      throw new Error(`snapshot: ${field}: want a whole number`);
    }
  });
  return s;
}

// isTime reports whether s is a time of the layout of snapshots.
export function isTime(s) {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(s)) return false;
  const t = new Date(s);
  return !Number.isNaN(t.getTime()) && t.toISOString() === s;
}

// openSnapshot reads a snapshot that one of the keys signed; key is which.
export async function openSnapshot(bytes, keys) {
  const note = parseNote(bytes);
  for (const key of keys) if (await signedBy(note, key)) return { ...parseSnapshot(note.text), key };
  throw new Error("snapshot: not signed by a known key");
}

