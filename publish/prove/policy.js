// Policies (https://c2sp.org/tlog-policy): whose logs, and how many of which
// witnesses must have seen a checkpoint.

import { equal, whole } from "./bytes.js";
import { cosignedAt, openCheckpoint, openKey, signedBy, typeCosignature } from "./note.js";

const maxPolicy = 128 << 10;
const maxNames = 512;
const maxLogs = 128;

// parsePolicy reads {logs, witnesses, quorum}; quorum is a voter, or null.
export async function parsePolicy(bytes) {
  if (bytes.length > maxPolicy) throw new Error(`policy: ${bytes.length} bytes, want at most ${maxPolicy}`);
  const policy = { logs: [], witnesses: [], names: new Map(), quorum: undefined };
  const lines = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).split("\n");
  if (lines.pop() !== "") throw new Error("policy: want a newline at the end");
  for (const [i, line] of lines.entries()) {
    try {
      await readLine(policy, line);
    } catch (err) {
      throw new Error(`policy line ${i + 1}: ${err.message}`);
    }
  }
  if (policy.quorum === undefined) throw new Error("policy: want a quorum line");
  return policy;
}

async function readLine(policy, line) {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(line)) throw new Error("control character");
  const [word, ...rest] = line.split(/[ \t]+/).filter(Boolean);
  if (word === undefined || word.startsWith("#")) return;
  const read = { log: readLog, witness: readWitness, group: readGroup, quorum: readQuorum }[word];
  if (!read) throw new Error("want log, witness, group or quorum");
  await read(policy, rest);
}

async function readLog(policy, words) {
  if (words.length < 1 || words.length > 2) throw new Error("want: log <verifier key> [<URL>]");
  const key = await openKey(words[0]);
  if (policy.logs.some((k) => equal(k.public, key.public))) throw new Error("the same public key stands in an earlier log line");
  if (policy.logs.push(key) > maxLogs) throw new Error(`more than ${maxLogs} logs`);
}

async function readWitness(policy, words) {
  if (words.length < 2 || words.length > 3) throw new Error("want: witness <name> <verifier key> [<URL>]");
  const key = await openKey(words[1], typeCosignature);
  if (policy.witnesses.some((w) => equal(w.key.public, key.public))) throw new Error("the same public key stands in an earlier witness line");
  const witness = { name: words[0], key };
  define(policy, words[0], { satisfied: (seen) => seen.has(witness) });
  policy.witnesses.push(witness);
}

function define(policy, name, voter) {
  if (name === "none" || policy.names.has(name)) throw new Error(`${JSON.stringify(name)} is reserved or defined twice`);
  if (policy.names.set(name, voter).size > maxNames) throw new Error(`more than ${maxNames} witnesses and groups`);
}

function readGroup(policy, words) {
  if (words.length < 3) throw new Error("want: group <name> all|any|<number> <name>...");
  const members = words.slice(2).map((name) => {
    const voter = policy.names.get(name);
    if (!voter || voter.used) throw new Error(`${JSON.stringify(name)} is not defined on an earlier line, or is in a group already`);
    voter.used = true;
    return voter;
  });
  const need = words[1] === "all" ? members.length : words[1] === "any" ? 1 : whole(words[1], 1, members.length);
  if (Number.isNaN(need)) throw new Error(`want all, any or a number from 1 to ${members.length}`);
  define(policy, words[0], { satisfied: (seen) => members.filter((m) => m.satisfied(seen)).length >= need });
}

function readQuorum(policy, words) {
  if (words.length !== 1) throw new Error("want: quorum <name>|none");
  if (policy.quorum !== undefined) throw new Error("a second quorum line");
  policy.quorum = words[0] === "none" ? null : policy.names.get(words[0]);
  if (policy.quorum === undefined) throw new Error(`${JSON.stringify(words[0])} is not defined on an earlier line`);
}

// evaluate accepts a checkpoint of a log of the policy, or of a key that is
// known from elsewhere, that a quorum of witnesses cosigned. It returns the
// checkpoint and who cosigned when (seconds since 1970).
export async function evaluate(policy, bytes, known = []) {
  const checkpoint = await openCheckpoint(bytes, [...known, ...policy.logs]);
  const seen = new Map();
  for (const witness of policy.witnesses) {
    if (!(await signedBy(checkpoint.note, witness.key))) continue;
    const line = checkpoint.note.signatures.find((s) => s.name === witness.key.name && s.hash === witness.key.hash);
    seen.set(witness, cosignedAt(line.bytes));
  }
  const names = [...seen.keys()].map((w) => w.name);
  if (policy.quorum && !policy.quorum.satisfied(seen)) throw new Error(`the quorum is not reached: cosigned by ${names.join(", ") || "nobody"}`);
  return { checkpoint, witnesses: [...seen].map(([w, at]) => ({ name: w.name, at })) };
}
