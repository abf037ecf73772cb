// Bytes and their spellings. Whatever is read here has one spelling: what was
// read, written again, gives the same characters.

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text) => encoder.encode(text);

// text decodes UTF-8 and throws where it is none.
export const text = (bytes) => decoder.decode(bytes);

// isText reports whether bytes are UTF-8.
export function isText(bytes) {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

export function concat(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export function equal(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

// indexOf finds the first place of a few bytes from a place on, or -1.
export function indexOf(bytes, wanted, from = 0) {
  for (let i = bytes.indexOf(wanted[0], from); i >= 0; i = bytes.indexOf(wanted[0], i + 1)) {
    let k = 1;
    while (k < wanted.length && bytes[i + k] === wanted[k]) k++;
    if (k === wanted.length) return i;
  }
  return -1;
}

const hexDigits = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

export function hex(bytes) {
  let out = "";
  for (const b of bytes) out += hexDigits[b];
  return out;
}

export const isDigest = (s) => typeof s === "string" && /^[0-9a-f]{64}$/.test(s);

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const values = new Int8Array(256).fill(-1);
for (let i = 0; i < 64; i++) values[alphabet.charCodeAt(i)] = i;

// fromBase64 reads standard base64 with padding and without stray bits; null
// for anything else.
export function fromBase64(s) {
  if (s.length % 4 !== 0 || s.length === 0) return null;
  const pad = s.endsWith("==") ? 2 : s.endsWith("=") ? 1 : 0;
  const out = new Uint8Array((s.length / 4) * 3 - pad);
  let at = 0;
  for (let i = 0; i < s.length; i += 4) {
    const last = i + 4 === s.length;
    let group = 0;
    for (let k = 0; k < 4; k++) {
      const c = s.charCodeAt(i + k);
      const v = last && k >= 4 - pad ? 0 : c < 256 ? values[c] : -1;
      if (v < 0) return null;
      group = (group << 6) | v;
    }
    if (last && ((pad === 1 && group & 0xff) || (pad === 2 && group & 0xffff))) return null;
    for (let k = 16; k >= 0 && at < out.length; k -= 8) out[at++] = group >> k;
  }
  return out;
}

export function toBase64(bytes) {
  let out = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const n = (bytes[i] << 16) | ((bytes[i + 1] || 0) << 8) | (bytes[i + 2] || 0);
    const rest = bytes.length - i;
    out += alphabet[n >> 18] + alphabet[(n >> 12) & 63] + (rest > 1 ? alphabet[(n >> 6) & 63] : "=") + (rest > 2 ? alphabet[n & 63] : "=");
  }
  return out;
}

export const uint32 = (b, at = 0) => ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;

// whole reads the only spelling of a whole number from least to most; NaN for
// anything else. What a double does not hold exactly is refused: no election
// counts that far.
export function whole(s, least = 0, most = Number.MAX_SAFE_INTEGER) {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(s)) return NaN;
  const n = Number(s);
  return n >= least && n <= Math.min(most, Number.MAX_SAFE_INTEGER) ? n : NaN;
}

export const isIdentifier = (s) => typeof s === "string" && /^[a-z0-9][a-z0-9._-]{0,95}$/.test(s);

// byBytes orders identifiers, which are ASCII, as their bytes sort.
export const byBytes = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
