// Who may sign what at which index of the log, from its leaves alone
// (publish/log/README.md).

import { openKey, signedBy } from "./note.js";

const maxKeys = 64;

// Authority is fed the leaves that change powers and answers at(index).
export class Authority {
  #steps = []; // {from, powers}, from rising

  // found takes in the first leaf.
  async found(l) {
    if (l.kind !== "definition" || this.#steps.length > 0) throw new Error("the definition is the first leaf and no other");
    const keys = { log: [], snapshot: [], receipt: [] };
    for (const k of l.keys) keys[k.role].push(await openKey(k.key));
    const roots = await Promise.all(l.roots.map((k) => openKey(k)));
    this.#steps.push({ from: 0, powers: { origin: l.origin, definition: l.definition, roster: l.roster, threshold: l.threshold, statements: 0, roots, keys, revoked: [] } });
  }

  // at is who may sign the leaf at an index, and checkpoints and snapshots of a
  // tree of that size.
  at(index) {
    return this.#steps.findLast((s) => s.from <= index)?.powers;
  }

  // since is who may sign at an index, and who may behind each later change.
  since(index) {
    const at = this.#steps.findLastIndex((s) => s.from <= index);
    return this.#steps.slice(Math.max(at, 0)).map((s) => s.powers);
  }

  // apply takes in a statement of the root keys. It throws where that is invalid;
  // then nothing has changed.
  async apply(index, l) {
    const before = this.#steps.at(-1).powers;
    if (before.threshold === 0) throw new Error("the election has no root keys: roster and keys are fixed");
    if (l.origin !== before.origin) throw new Error(`the statement is of ${JSON.stringify(l.origin)}, want ${JSON.stringify(before.origin)}`);
    if (l.number !== before.statements + 1) throw new Error(`statements are numbered from 1 without gaps: number ${l.number}, want ${before.statements + 1}`);
    await wantThreshold(l.note, before.roots, before.threshold);
    const next = { ...before, keys: { ...before.keys }, statements: l.number };
    await changes[l.kind](next, l);
    this.#steps.push({ from: index + 1, powers: next });
  }
}

async function wantThreshold(note, keys, threshold) {
  let n = 0;
  for (const key of keys) if (await signedBy(note, key)) n++;
  if (n < threshold) throw new Error(`too few root keys signed: ${n}, want ${threshold} of ${keys.length}`);
}

const sameFile = (a, b) => a.digest === b.digest && a.bytes === b.bytes;
const noChange = () => new Error("the statement changes nothing");

const changes = {
  roster(p, l) {
    if (sameFile(p.roster, l.file)) throw noChange();
    p.roster = l.file;
  },
  amendment(p, l) {
    if (sameFile(p.definition, l.file)) throw noChange();
    p.definition = l.file;
  },
  async roots(p, l) {
    const roots = await Promise.all(l.roots.map((k) => openKey(k)));
    await wantThreshold(l.note, roots, l.threshold); // so that nobody hands over to keys that cannot sign
    p.roots = roots;
    p.threshold = l.threshold;
  },
  async key(p, l) {
    if (l.role === "roster") {
      if (p.revoked.includes(l.key)) throw noChange();
      p.revoked = [...p.revoked, l.key].sort();
      return;
    }
    const held = p.keys[l.role];
    const there = held.some((k) => k.spelled === l.key);
    if (there === (l.change === "add")) throw noChange();
    if (l.change === "add" && held.length === maxKeys) throw new Error(`more than ${maxKeys} keys of role ${l.role}`);
    if (l.change === "revoke" && held.length === 1) throw new Error("the last key of a role cannot be revoked");
    p.keys[l.role] = l.change === "add" ? [...held, await openKey(l.key)] : held.filter((k) => k.spelled !== l.key);
  },
};
