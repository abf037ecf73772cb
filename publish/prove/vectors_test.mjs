// node --test vectors_test.mjs: this reader of the log's formats against the
// vectors that the other implementation wrote. VECTORS names another file,
// WEBCRYPTO=1 goes the browsers' way.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Authority } from "./authority.js";
import { equal, fromBase64, toBase64, utf8 } from "./bytes.js";
import { useWebCrypto } from "./crypto.js";
import { decodeLeaf, opensSeal } from "./leaf.js";
import { openCheckpoint, openKey } from "./note.js";
import { evaluate, parsePolicy } from "./policy.js";
import { checkConsistency, checkInclusion, Frontier, leafHash, parseBundle, parseProof, tileKey, Tree } from "./tlog.js";

if (process.env.WEBCRYPTO) useWebCrypto();
const vectors = JSON.parse(readFileSync(process.env.VECTORS ?? new URL("../log/testdata/vectors.json", import.meta.url)));
const bytes = (s) => fromBase64(s) ?? new Uint8Array();
const leafOf = (i) => utf8(`leaf ${i}`);
const source = { get: async (key) => (vectors.objects[key] ? bytes(vectors.objects[key]) : null) };

// succeeds reports whether a check does not throw.
async function succeeds(check) {
  try {
    await check();
    return true;
  } catch {
    return false;
  }
}

test("every good leaf is read and hashed, every bad one refused", async () => {
  assert.ok(vectors.leaves.length >= 15 && vectors.badLeaves.length >= 45);
  for (const { name, leaf, hash } of vectors.leaves) {
    const l = await decodeLeaf(bytes(leaf)).catch((err) => assert.fail(`${name}: ${err.message}`));
    assert.ok(new TextDecoder().decode(bytes(leaf)).startsWith(`tallystream/leaf/${l.kind}/v1\n`), name);
    assert.equal(toBase64(await leafHash(bytes(leaf))), hash, name);
  }
  for (const { name, leaf } of vectors.badLeaves) assert.equal(await succeeds(() => decodeLeaf(bytes(leaf))), false, name);
});

test("no leaf with one byte changed, left out or put in is read as it was", async () => {
  // A changed leaf may still be one (another digit in a number), never the same.
  for (const { name, leaf } of vectors.leaves) {
    const b = bytes(leaf);
    const whole = JSON.stringify(await decodeLeaf(b));
    for (let at = 0; at < b.length; at += 7) {
      const changed = b.slice();
      changed[at] ^= 1 << (at % 7);
      for (const other of [changed, new Uint8Array([...b.slice(0, at), ...b.slice(at + 1)]), new Uint8Array([...b.slice(0, at), b[at], ...b.slice(at)])]) {
        if (equal(other, b)) continue;
        const read = await decodeLeaf(other).catch(() => null);
        if (read) assert.notEqual(JSON.stringify(read), whole, `${name}, byte ${at}`);
      }
    }
  }
});

test("a seal is opened by its own leaf and salt, and by nothing else", async () => {
  const sealed = await decodeLeaf(bytes(vectors.seal.sealed));
  const [salt, leaf] = [bytes(vectors.seal.salt), bytes(vectors.seal.submission)];
  assert.equal(await opensSeal(sealed, salt, leaf), true);
  assert.equal(await opensSeal(sealed, salt.map((b, i) => (i === 9 ? b ^ 1 : b)), leaf), false);
  assert.equal(await opensSeal(sealed, salt, leaf.map((b, i) => (i === leaf.length - 1 ? b ^ 1 : b))), false);
});

test("trees have their roots, proofs lead to them, and no other proof does", async () => {
  const frontier = new Frontier();
  const roots = new Map([[0, toBase64(await frontier.root())]]);
  for (let i = 0; i < 300; i++) {
    await frontier.push(await leafHash(leafOf(i)));
    roots.set(i + 1, toBase64(await frontier.root()));
  }
  for (const { size, root } of vectors.trees) assert.equal(roots.get(size), root, `size ${size}`);
  for (const { size, root, index, hashes } of vectors.inclusion) {
    const proof = hashes.map(bytes);
    await checkInclusion(size, bytes(root), index, await leafHash(leafOf(index)), proof);
    const wrong = [[...proof, new Uint8Array(32)]];
    if (proof.length > 0) wrong.push(proof.slice(1), proof.with(0, proof[0].map((b) => b ^ 1)));
    for (const p of wrong) {
      assert.equal(await succeeds(async () => checkInclusion(size, bytes(root), index, await leafHash(leafOf(index)), p)), false, `leaf ${index} of ${size}`);
    }
    assert.equal(await succeeds(async () => checkInclusion(size, bytes(root), index, await leafHash(leafOf(index + 1)), proof)), false);
  }
  for (const { size, root, old, oldRoot, hashes } of vectors.consistency) {
    const proof = hashes.map(bytes);
    await checkConsistency(size, bytes(root), old, bytes(oldRoot), proof);
    assert.equal(await succeeds(() => checkConsistency(size, bytes(root), old, bytes(oldRoot), [...proof, new Uint8Array(32)])), false);
    if (old < size) assert.equal(await succeeds(() => checkConsistency(size, bytes(root), old, bytes(root), proof)), false, `${old} of ${size}`);
  }
});

test("tiles lie where they must, hold the leaves, and give the same proofs", async () => {
  for (const { level, n, width, key } of vectors.tileKeys) assert.equal(tileKey(level, n, width), key);
  const leaves = ["tile/entries/000", "tile/entries/001.p/44"].flatMap((key) => parseBundle(bytes(vectors.objects[key])));
  assert.deepEqual(leaves.map((l) => new TextDecoder().decode(l)), Array.from({ length: 300 }, (_, i) => `leaf ${i}`));
  const tree = new Tree(source, 300);
  const whole = vectors.inclusion.filter((v) => v.size === 300);
  assert.ok(whole.length > 3);
  for (const { index, hashes } of whole) {
    assert.deepEqual((await tree.inclusion(index)).map(toBase64), hashes, `leaf ${index}`);
    assert.deepEqual(await tree.leaf(index), leafOf(index));
  }
  for (const { old, hashes } of vectors.consistency.filter((v) => v.size === 300)) {
    assert.deepEqual((await tree.consistency(old)).map(toBase64), hashes, `from ${old}`);
  }
});

test("checkpoints, policies and proof bundles are taken or refused as the vectors say", async () => {
  const key = await openKey(vectors.keys.log);
  for (const { name, note, good } of vectors.checkpoints) assert.equal(await succeeds(() => openCheckpoint(utf8(note), [key])), good, name);
  for (const [i, { policy, note, good }] of vectors.policies.entries()) {
    assert.equal(await succeeds(async () => evaluate(await parsePolicy(utf8(policy)), utf8(note))), good, `policy ${i}`);
  }
  const verify = async ({ proof, leaf }) => {
    const p = parseProof(utf8(proof));
    const c = await openCheckpoint(p.checkpoint, [key]);
    await checkInclusion(c.size, c.root, p.index, await leafHash(bytes(leaf)), p.hashes);
  };
  for (const v of vectors.proofs) assert.equal(await succeeds(() => verify(v)), v.good, v.name);
});

test("a verifier key has one spelling", async () => {
  const { log } = vectors.keys;
  for (const bad of [log.toUpperCase(), `${log} `, log.replace("+d", "+D"), log.replace("+A", "+B"), `x${log}`, log.slice(0, -1), `${log.slice(0, -1)}\n${log.at(-1)}`]) {
    assert.equal(await succeeds(() => openKey(bad)), false, bad);
  }
});

test("who may sign what changes as the vectors say", async () => {
  const a = new Authority();
  for (const { index, leaf, good, name } of vectors.authority.leaves) {
    const l = await decodeLeaf(bytes(leaf));
    assert.equal(await succeeds(() => (index === 0 ? a.found(l) : a.apply(index, l))), good, name);
  }
  for (const { at, log, snapshot, roster, revoked } of vectors.authority.powers) {
    const p = a.at(at);
    const got = { log: p.keys.log.map((k) => k.spelled), snapshot: p.keys.snapshot.map((k) => k.spelled), roster: p.roster.digest, revoked: p.revoked };
    assert.deepEqual(got, { log, snapshot, roster, revoked }, `at ${at}`);
  }
});
