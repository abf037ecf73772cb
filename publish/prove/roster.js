// The roster: who may sign submissions and releases, and whether they did.

import { equal, isIdentifier } from "./bytes.js";
import { openKey } from "./note.js";
import { listOf, object, optional, parse, shape } from "./strict.js";

// openRoster reads a roster's bytes into keys by name, without those (verifier
// keys) that were revoked one by one.
export async function openRoster(bytes, e, revoked = []) {
  const r = parse(bytes);
  const entry = { key: (v) => typeof v === "string", role: (v) => ["official", "approver", "supervisor"].includes(v), county: optional((v) => v === "" || isIdentifier(v)) };
  shape(r, { schema: (v) => v === "tallystream.roster/1", election: (v) => v === e.definition.election, keys: listOf(object(entry)) });
  const ring = new Map();
  for (const k of r.keys) {
    if (revoked.includes(k.key)) continue;
    const key = await openKey(k.key);
    const county = k.county ? e.countyIndex.get(k.county) : undefined;
    if (k.county && county === undefined) throw new Error(`roster: county ${k.county} is not defined`);
    if (ring.has(key.name)) throw new Error(`roster: the name ${key.name} stands twice`);
    ring.set(key.name, { ...key, role: k.role, county });
  }
  return ring;
}

// seatsOf lists the roles that must sign: two supervisors a correction or a
// release, else an official, and an approver where the election asks for two.
export function seatsOf(e, supervised) {
  if (supervised) return ["supervisor", "supervisor"];
  return e.definition.signatures === 2 ? ["official", "approver"] : ["official"];
}

// unauthorized says why signatures over text do not suffice, or "". Lines by keys
// that are unknown, or may not sign this, are passed over; no key fills two
// seats, under whatever names; a line that fills a seat must verify.
export async function unauthorized(ring, seats, county, signed, signatures) {
  const filled = seats.map(() => null);
  const lines = [];
  for (const line of signatures) {
    const key = ring.get(line.name);
    if (!key || key.hash !== line.hash || filled.some((f) => f && equal(f.public, key.public))) continue;
    const free = seats.findIndex((role, i) => !filled[i] && role === key.role && (key.county === undefined || key.county === county));
    if (free < 0) continue;
    filled[free] = key;
    lines[free] = line;
    if (filled.every(Boolean)) break;
  }
  const missing = seats.filter((_, i) => !filled[i]);
  if (missing.length > 0) return `wants a signature by ${missing.join(" and ")} of the unit's county`;
  for (const [i, key] of filled.entries()) if (!(await key.verify(signed, lines[i].bytes))) return `the signature by ${key.name} does not verify`;
  return "";
}
