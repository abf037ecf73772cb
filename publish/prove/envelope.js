// What is signed by people: submissions in their envelopes, and releases
// (schemas/README.md). Exact bytes are signed, so all of this works on bytes.

import { indexOf, isDigest, isIdentifier, text, toBase64, whole } from "./bytes.js";
import { sha256 } from "./crypto.js";
import { parseSignature } from "./note.js";

export const maxBody = 48 << 10;
const maxText = 2 << 10;
const maxSignatures = 4;
export const maxRevision = 1_000_000;

const emptyLine = Uint8Array.of(0x0a, 0x0a);
// A first line is only compared with others: it may hold anything.
const loosely = new TextDecoder("utf-8", { ignoreBOM: true });

// submissionSignatures reads one to four lines, each of 64 bytes.
function submissionSignatures(lines) {
  const spelled = text(lines).split("\n");
  if (spelled.pop() !== "" || spelled.length === 0 || spelled.length > maxSignatures) throw new Error(`want 1 to ${maxSignatures} signature lines`);
  const out = spelled.map(parseSignature);
  for (const s of out) {
    // eslint-disable-next-line no-control-regex
    if (s.bytes.length !== 64 || /[\u0000-\u0020\u007f]/.test(s.name)) throw new Error("want key ID and signature of 68 bytes in base64");
  }
  return out;
}

// parseEnvelope reads a submission and checks that length and digest are those
// of its body. It checks no signature.
export async function parseEnvelope(bytes) {
  if (bytes.length > maxText + 1 + maxBody) throw new Error(`envelope: ${bytes.length} bytes, want at most ${maxText + 1 + maxBody}`);
  const first = indexOf(bytes, emptyLine);
  const second = first < 0 ? -1 : indexOf(bytes, emptyLine, first + 2);
  if (second < 0) throw new Error("envelope: want a signed note, an empty line and the body");
  if (second + 2 > maxText + 1) throw new Error(`envelope: want at most ${maxText} bytes before the body`);
  const body = bytes.subarray(second + 2);
  const signatures = submissionSignatures(bytes.subarray(first + 2, second + 1));
  const signed = bytes.subarray(0, first + 1);
  const lines = loosely.decode(signed).split("\n");
  if (lines.length !== 6) throw new Error("envelope: want five lines: origin, unit, revision, length, SHA-256");
  if (!lines[0].endsWith("/submission/v1")) throw new Error("envelope: want a first line that ends in /submission/v1");
  const revision = whole(lines[2], 1, maxRevision);
  if (Number.isNaN(revision)) throw new Error(`envelope: revision: want 1 to ${maxRevision}`);
  if (whole(lines[3], 1, maxBody) !== body.length) throw new Error(`envelope: length: the body has ${body.length} bytes`);
  const digest = await sha256(body);
  if (toBase64(digest) !== lines[4]) throw new Error("envelope: its SHA-256 is not that of the body");
  return { origin: lines[0].slice(0, -"/submission/v1".length), unit: lines[1], revision, body, digest, signed, signatures };
}

const releaseReasons = ["checked", "registration-list", "equipment", "duplicate", "recount", "court-order"];

// claimsRelease looks at the first line only.
export function claimsRelease(bytes) {
  const end = bytes.indexOf(0x0a);
  return end >= 0 && loosely.decode(bytes.subarray(Math.max(0, end - 11), end)) === "/release/v1";
}

// parseRelease reads what two supervisors signed. It checks no signature.
export function parseRelease(bytes) {
  if (bytes.length > maxText) throw new Error(`release: ${bytes.length} bytes, want at most ${maxText}`);
  const first = indexOf(bytes, emptyLine);
  if (first < 0) throw new Error("release: no empty line after its text");
  const signatures = submissionSignatures(bytes.subarray(first + 2));
  const signed = bytes.subarray(0, first + 1);
  const end = signed.indexOf(0x0a);
  const lines = [loosely.decode(signed.subarray(0, end)), ...text(signed.subarray(end + 1)).split("\n")];
  const fields = ["unit", "revision", "sha256", "reason", "text"];
  if (lines.length !== 7 || !lines[0].endsWith("/release/v1")) throw new Error("release: want six lines, the first ending in /release/v1");
  const value = {};
  fields.forEach((field, i) => {
    if (!lines[i + 1].startsWith(`${field} `)) throw new Error(`release: line ${i + 2}: want ${field}`);
    value[field] = lines[i + 1].slice(field.length + 1);
  });
  const revision = whole(value.revision, 1, maxRevision);
  if (!isIdentifier(value.unit) || Number.isNaN(revision) || !isDigest(value.sha256)) throw new Error("release: want a unit, a revision and a SHA-256");
  if (!releaseReasons.includes(value.reason)) throw new Error(`release: reason: want one of ${releaseReasons.join(", ")}`);
  const length = [...value.text].length;
  if (length < 1 || length > 500 || /\p{Cc}/u.test(value.text)) throw new Error("release: text: want 1 to 500 characters, none of control");
  return { origin: lines[0].slice(0, -"/release/v1".length), unit: value.unit, revision, digest: value.sha256, reason: value.reason, text: value.text, signed, signatures };
}

