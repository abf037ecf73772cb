// The log's tree: hashes of RFC 6962, proofs, and the tiles that hold them
// (https://c2sp.org/tlog-tiles).

import { equal, fromBase64, text, whole } from "./bytes.js";
import { sha256 } from "./crypto.js";
import { parseCheckpoint, parseNote } from "./note.js";

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

export const tileWidth = 256;
const hashSize = 32;

export const leafHash = (leaf) => sha256(leafPrefix, leaf);
export const nodeHash = (left, right) => sha256(nodePrefix, left, right);
export const emptyRoot = () => sha256(new Uint8Array());

// Frontier is the right edge of a tree that grows: the roots of its full
// subtrees, largest first.
export class Frontier {
  size = 0;
  roots = [];

  // push adds a leaf's hash; full(level, root) hears of each subtree that it
  // completes, level 1 being two leaves.
  async push(hash, full) {
    let [h, level] = [hash, 0];
    for (let n = this.size; n % 2 === 1; n = (n - 1) / 2) {
      h = await nodeHash(this.roots.pop(), h);
      await full?.(++level, h);
    }
    this.roots.push(h);
    this.size++;
  }

  async root() {
    if (this.size === 0) return emptyRoot();
    let h = this.roots.at(-1);
    for (let i = this.roots.length - 2; i >= 0; i--) h = await nodeHash(this.roots[i], h);
    return h;
  }
}

// split is the largest power of two below n (n > 1).
function split(n) {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

// inclusionRoot is the root to which a proof leads from a leaf's hash; it
// throws where the proof has not the length that it must have.
export async function inclusionRoot(size, index, hash, proof) {
  if (!(index >= 0 && index < size)) throw new Error(`leaf ${index} is not in a tree of ${size}`);
  const hashes = [...proof];
  const up = async (lo, hi) => {
    if (hi - lo === 1) return hash;
    const middle = lo + split(hi - lo);
    const inner = index < middle ? await up(lo, middle) : await up(middle, hi);
    const sibling = hashes.shift();
    if (!sibling) throw new Error("the proof has too few hashes");
    return index < middle ? nodeHash(inner, sibling) : nodeHash(sibling, inner);
  };
  const root = await up(0, size);
  if (hashes.length > 0) throw new Error("the proof has too many hashes");
  return root;
}

// checkInclusion throws unless the proof leads from the leaf to the root.
export async function checkInclusion(size, root, index, hash, proof) {
  if (!equal(await inclusionRoot(size, index, hash, proof), root)) throw new Error(`the proof of leaf ${index} does not lead to the root`);
}

// checkConsistency throws unless the tree of size old is the beginning of the
// other.
export async function checkConsistency(size, root, old, oldRoot, proof) {
  if (!(old >= 1 && old <= size)) throw new Error(`a tree of ${old} leaves cannot be the beginning of one of ${size}`);
  const hashes = [...proof];
  const next = () => {
    const h = hashes.shift();
    if (!h) throw new Error("the proof has too few hashes");
    return h;
  };
  // Both roots of the range, of which the old tree ends at old; whole says that
  // it is the beginning of the old tree and its root is known.
  const up = async (lo, hi, whole) => {
    if (hi === old) {
      const h = whole ? oldRoot : next();
      return [h, h];
    }
    const middle = lo + split(hi - lo);
    if (old <= middle) {
      const [a, b] = await up(lo, middle, whole);
      return [a, await nodeHash(b, next())];
    }
    const [a, b] = await up(middle, hi, false);
    const left = next();
    return [await nodeHash(left, a), await nodeHash(left, b)];
  };
  const [a, b] = await up(0, size, true);
  if (hashes.length > 0) throw new Error("the proof has too many hashes");
  if (!equal(a, oldRoot) || !equal(b, root)) throw new Error(`the tree of ${old} leaves is not the beginning of that of ${size}`);
}

// tileKey is where a tile lies; level -1 is a bundle of entries.
export function tileKey(level, n, width) {
  let path = String(n % 1000).padStart(3, "0");
  for (let k = Math.floor(n / 1000); k > 0; k = Math.floor(k / 1000)) path = `x${String(k % 1000).padStart(3, "0")}/${path}`;
  return `tile/${level < 0 ? "entries" : level}/${path}${width < tileWidth ? `.p/${width}` : ""}`;
}

// widthAt is how many hashes (entries) of tile n are in a tree of a size.
export function widthAt(size, level, n) {
  return Math.max(0, Math.min(tileWidth, Math.floor(size / tileWidth ** Math.max(level, 0)) - n * tileWidth));
}

// parseBundle cuts a bundle into its leaves: each behind two bytes of length.
export function parseBundle(bytes) {
  const out = [];
  for (let at = 0; at < bytes.length; ) {
    const size = (bytes[at] << 8) | bytes[at + 1];
    if (out.length === tileWidth || !(size > 0) || at + 2 + size > bytes.length) throw new Error(`entry bundle: entry ${out.length} is cut off or one too many`);
    out.push(bytes.subarray(at + 2, at + 2 + size));
    at += 2 + size;
  }
  if (out.length === 0) throw new Error("entry bundle: no entries");
  return out;
}

// getTile reads a tile, or the wider one that took its place, and cuts it to
// the width; null where there is none. A snapshot commits to the tree before
// its own leaf, whose tile lies there one wider.
export async function getTile(source, level, n, width) {
  const widths = [width, width + 1, tileWidth].filter((w) => w >= width && w <= tileWidth);
  for (const w of new Set(widths)) {
    const key = tileKey(level, n, w);
    const bytes = await source.get(key);
    if (bytes) return { key, bytes, width: w };
  }
  return null;
}

// Tree reads the tiles of a tree. Nothing that it returns is proven; proofs
// that it makes are checked against a signed root.
export class Tree {
  constructor(source, size) {
    this.source = source;
    this.size = size;
    this.tiles = new Map();
  }

  async tile(level, n) {
    const width = widthAt(this.size, level, n);
    const name = `${level}/${n}`;
    if (!this.tiles.has(name)) this.tiles.set(name, getTile(this.source, level, n, width));
    const tile = await this.tiles.get(name);
    if (!tile) throw new Error(`${tileKey(level, n, width)} is not there: the log promises it`);
    if (tile.bytes.length !== tile.width * hashSize) throw new Error(`${tile.key} has ${tile.bytes.length} bytes, want ${tile.width * hashSize}`);
    return tile.bytes;
  }

  // subtree is the root of leaves [lo, hi) where that is a full subtree.
  async subtree(lo, hi) {
    let [level, n, count] = [0, lo, hi - lo];
    for (; count >= tileWidth; count /= tileWidth, n /= tileWidth) level++;
    const bytes = await this.tile(level, Math.floor(n / tileWidth));
    let hashes = Array.from({ length: count }, (_, i) => bytes.subarray(((n % tileWidth) + i) * hashSize, ((n % tileWidth) + i + 1) * hashSize));
    for (; hashes.length > 1; ) hashes = await Promise.all(hashes.filter((_, i) => i % 2 === 0).map((h, i) => nodeHash(h, hashes[2 * i + 1])));
    return hashes[0];
  }

  async range(lo, hi) {
    const n = hi - lo;
    if (n === 1 || (split(n) * 2 === n && lo % n === 0)) return this.subtree(lo, hi);
    const middle = lo + split(n);
    return nodeHash(await this.range(lo, middle), await this.range(middle, hi));
  }

  // inclusion makes the proof of a leaf, from the leaf upward.
  async inclusion(index) {
    const proof = [];
    let [lo, hi] = [0, this.size];
    while (hi - lo > 1) {
      const middle = lo + split(hi - lo);
      if (index < middle) {
        proof.push(await this.range(middle, hi));
        hi = middle;
      } else {
        proof.push(await this.range(lo, middle));
        lo = middle;
      }
    }
    return proof.reverse();
  }

  // consistency makes the proof that the tree of size old is this one's beginning.
  async consistency(old) {
    const up = async (lo, hi, whole) => {
      if (hi === old) return whole ? [] : [await this.range(lo, hi)];
      const middle = lo + split(hi - lo);
      if (old <= middle) return [...(await up(lo, middle, whole)), await this.range(middle, hi)];
      return [...(await up(middle, hi, false)), await this.range(lo, middle)];
    };
    return up(0, this.size, true);
  }

  // leaf reads one leaf, unproven.
  async leaf(index) {
    const n = Math.floor(index / tileWidth);
    const bundle = await getTile(this.source, -1, n, widthAt(this.size, 0, n));
    if (!bundle) throw new Error(`${tileKey(-1, n, widthAt(this.size, 0, n))} is not there: the log promises it`);
    const leaf = parseBundle(bundle.bytes)[index % tileWidth];
    if (!leaf) throw new Error(`${bundle.key} has no leaf ${index}`);
    return leaf;
  }
}

const proofKind = "c2sp.org/tlog-proof@v1";

// parseProof reads a proof bundle (https://c2sp.org/tlog-proof); it verifies
// nothing.
export function parseProof(bytes) {
  const all = text(bytes);
  const cut = all.indexOf("\n\n");
  if (bytes.length > (32 << 10) + (128 << 10) || cut < 0) throw new Error("proof: want at most 160 KiB, and an empty line before the checkpoint");
  const lines = all.slice(0, cut).split("\n");
  if (lines.shift() !== proofKind) throw new Error(`proof: line 1: want ${proofKind}`);
  if (lines[0]?.startsWith("extra ") && !fromBase64(lines.shift().slice("extra ".length))) throw new Error("proof: want base64 after extra");
  const index = lines[0]?.startsWith("index ") ? whole(lines.shift().slice("index ".length)) : NaN;
  if (Number.isNaN(index)) throw new Error("proof: want index and a number");
  const hashes = lines.map(fromBase64);
  if (hashes.length > 63 || hashes.some((h) => h?.length !== hashSize)) throw new Error("proof: want at most 63 hashes of 32 bytes in base64");
  const checkpoint = bytes.subarray(bytes.length - new TextEncoder().encode(all.slice(cut + 2)).length);
  const { size } = parseCheckpoint(parseNote(checkpoint).text);
  if (index >= size) throw new Error(`proof: index ${index} is not in a tree of ${size} leaves`);
  return { index, hashes, checkpoint };
}

