// The whole verification, in its order: see publish/verify/README.md for what
// each check proves. Nothing that is read is trusted but the key and the policy.

import { equal, hex, text } from "./bytes.js";
import { Authority } from "./authority.js";
import { closeChain, takeSnapshot } from "./chain.js";
import { expectFiles } from "./compare.js";
import { digest } from "./crypto.js";
import { Plan, Sheets } from "./documents.js";
import { openElection } from "./election.js";
import { decodeLeaf } from "./leaf.js";
import { openCheckpoint, openKey, parseNote, parseSnapshot } from "./note.js";
import { refuseMove, takePause } from "./pauses.js";
import { evaluate } from "./policy.js";
import { readLeaf } from "./reading.js";
import { Report } from "./report.js";
import { openRoster } from "./roster.js";
import { contentKey } from "./manifest.js";
import { Tally } from "./tally.js";
import { Frontier, getTile, parseBundle, tileKey, tileWidth, widthAt } from "./tlog.js";

// Stopped ends a verification that cannot go on; why is in the report.
class Stopped extends Error {}

// bundlesAhead are read while earlier ones are counted.
const bundlesAhead = 8;

// verify checks everything that is published. options: source; key (of the
// checkpoint; else the one in config.json, which vouches for nothing); policy; all
// (documents of every snapshot); progress(leaves, of); readers(leaves), which
// makes what reads bundles (else an InlineReader).
export async function verify(options) {
  const begun = performance.now();
  const report = new Report();
  const v = {
    ...options, report, auth: new Authority(), frontier: new Frontier(), tiles: [], notes: [], noteTimes: [], due: new Map(), named: new Map(), compared: 0,
    reader: null,
    find: (check, where, what) => report.find(check, where, what),
  };
  try {
    await openLatest(v);
    v.current = await v.source.get("roster.json"); // at least of latest, at most of the checkpoint that comes next
    await openLog(v);
    await openFirstLeaf(v);
    if (!v.all && v.latest) await expectFiles(v);
    await takeLeaves(v);
    await closeChain(v);
  } catch (err) {
    if (err instanceof Stopped) {
      if (report.found === 0 && report.unchecked.length === 0) report.leave("everything behind that");
    } else if (report.found > 0) {
      report.leave(`everything behind that: ${err.message}`); // who is found out must not get away with hanging up
    } else {
      throw err;
    }
  } finally {
    await v.reader?.close();
  }
  if (v.tally) Object.assign(report, v.tally.counts, { held: v.tally.held, movements: v.tally.movements.length, open: v.tally.holds.filter((h) => h.state === "open").length });
  report.finish((performance.now() - begun) / 1000);
  return report;
}

// stop makes a finding and ends the run.
function stop(v, check, where, what) {
  v.find(check, where, what);
  throw new Stopped(what);
}

// must reads an object that must be there.
async function must(v, check, key) {
  const bytes = await v.source.get(key);
  if (!bytes) stop(v, check, key, "is not there");
  return bytes;
}

// openLatest reads which snapshot is the newest before the checkpoint, which then
// covers it. Its signature is checked with its leaf.
async function openLatest(v) {
  v.latestNote = await v.source.get("latest");
  if (!v.latestNote) {
    v.find("chain", "latest", "is not there: no snapshot is published");
    return;
  }
  try {
    v.latest = parseSnapshot(parseNote(v.latestNote).text);
  } catch (err) {
    v.find("chain", "latest", err.message);
  }
}

async function chooseKey(v) {
  if (v.key) return v.key;
  let config = {};
  try {
    config = JSON.parse(text(await must(v, "checkpoint", "config.json")));
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err;
  }
  if (typeof config.key !== "string") stop(v, "checkpoint", "config.json", "names no key, and none was given");
  v.report.firstUse = true;
  v.report.remark("the key is the one that the site itself names: compare it with one from elsewhere, and give it with --key");
  return config.key;
}

async function openLog(v) {
  v.report.key = await chooseKey(v);
  let checkpoint;
  try {
    v.anchor = await openKey(v.report.key);
  } catch (err) {
    stop(v, "checkpoint", "the key", err.message);
  }
  v.checkpoint = await must(v, "checkpoint", "checkpoint");
  try {
    checkpoint = await openCheckpoint(v.checkpoint, [v.anchor]);
  } catch (err) {
    stop(v, "checkpoint", "checkpoint", `${err.message} (key ${v.report.key})`);
  }
  if (v.policy) {
    try {
      v.report.witnesses = (await evaluate(v.policy, v.checkpoint, [v.anchor])).witnesses.map((w) => w.name);
    } catch (err) {
      v.find("checkpoint", "checkpoint", err.message);
    }
  }
  Object.assign(v, { size: checkpoint.size, root: checkpoint.root });
  Object.assign(v.report, { origin: checkpoint.origin, leaves: v.size, root: hex(v.root) });
  if (v.size === 0) stop(v, "checkpoint", "checkpoint", "the log is empty");
}

// openFirstLeaf reads the definition and the roster that the first leaf names.
// That it is in the tree is found when all leaves are read.
async function openFirstLeaf(v) {
  const width = widthAt(v.size, 0, 0);
  const bundle = await getTile(v.source, -1, 0, width);
  if (!bundle) stop(v, "tree", tileKey(-1, 0, width), "is not there: the log promises it");
  let leaves;
  try {
    leaves = parseBundle(bundle.bytes);
  } catch (err) {
    stop(v, "tree", bundle.key, err.message);
  }
  try {
    await v.auth.found(await decodeLeaf(leaves[0]));
  } catch (err) {
    stop(v, "authority", "leaf 0", err.message);
  }
  const powers = v.auth.at(0);
  if (powers.origin !== v.report.origin) v.find("authority", "leaf 0", `is of ${JSON.stringify(powers.origin)}, the checkpoint of ${JSON.stringify(v.report.origin)}`);
  v.definition = { bytes: await namedFile(v, "definition.json", powers.definition), digest: powers.definition.digest };
  try {
    v.election = openElection(v.definition.bytes, v.definition.digest);
  } catch (err) {
    stop(v, "authority", "definition.json", err.message);
  }
  v.report.election = v.election.definition.election;
  if (v.election.definition.origin !== powers.origin) v.find("authority", "definition.json", `is of ${JSON.stringify(v.election.definition.origin)}, the log of ${JSON.stringify(powers.origin)}`);
  v.plan = new Plan(v.election);
  v.tally = new Tally(v.election, v.find);
  v.sheets = new Sheets(v.plan, v.tally);
  v.reader = v.readers?.(v.size) ?? new InlineReader();
  await openRosterInForce(v, powers);
}

// openRosterInForce reads the roster of powers, for the leaves from here on.
async function openRosterInForce(v, powers) {
  const key = contentKey("rosters", powers.roster.digest, ".json");
  v.roster = { bytes: await namedFile(v, key, powers.roster), digest: powers.roster.digest };
  try {
    v.ring = await openRoster(v.roster.bytes, v.election, powers.revoked);
  } catch (err) {
    stop(v, "authority", key, err.message);
  }
  v.ringNumber = (v.ringNumber ?? 0) + 1;
  await v.reader.prepare(v.ringNumber, v.definition, v.roster, powers.revoked, { election: v.election, ring: v.ring });
}

async function namedFile(v, key, file) {
  const bytes = await must(v, "authority", key);
  const got = await digest(bytes);
  if (got !== file.digest || bytes.length !== file.bytes) stop(v, "authority", key, `has ${bytes.length} bytes with SHA-256 ${got}, the log names one of ${file.bytes} with ${file.digest}`);
  return bytes;
}

// takeLeaves reads all bundles, some ahead, and counts their leaves in order.
async function takeLeaves(v) {
  const count = Math.ceil(v.size / tileWidth);
  const ahead = [];
  for (let n = 0; n < count; n++) {
    while (ahead.length < bundlesAhead && n + ahead.length < count) {
      const next = readBundle(v, n + ahead.length);
      next.catch(() => {}); // it is awaited below, in its turn
      ahead.push(next);
    }
    const bundle = await ahead.shift();
    for (const [i, x] of bundle.readings.entries()) await take(v, n * tileWidth + i, x, bundle);
    v.progress?.(v.frontier.size, v.size);
  }
  for (let level = 1; level < v.tiles.length; level++) await checkTile(v, level, Math.floor(v.tiles[level].count / tileWidth));
  const root = await v.frontier.root();
  if (!equal(root, v.root)) stop(v, "tree", "the leaves", `hashed again they have the root ${hex(root)}, the checkpoint says ${hex(v.root)}`);
}

// readBundle reads a bundle's leaves and holds their hashes against the tile.
async function readBundle(v, n) {
  const width = widthAt(v.size, 0, n);
  const [bundle, tile] = await Promise.all([getTile(v.source, -1, n, width), getTile(v.source, 0, n, width)]);
  for (const [what, level] of [[bundle, -1], [tile, 0]]) {
    if (!what) stop(v, "tree", tileKey(level, n, width), "is not there: the log promises it");
  }
  let all;
  try {
    all = await v.reader.read(v.ringNumber, bundle.bytes, width);
  } catch (err) {
    stop(v, "tree", bundle.key, err.message);
  }
  if (all.readings.length < width) stop(v, "tree", bundle.key, `has ${all.readings.length} leaves, want ${width}`);
  const readings = all.readings.slice(0, width);
  const wrong = readings.findIndex((x, i) => !equal(x.hash, tile.bytes.subarray(i * 32, i * 32 + 32)));
  if (wrong >= 0) stop(v, "tree", `leaf ${n * tileWidth + wrong} in ${bundle.key}`, `its hash is not the one in ${tile.key}`);
  return { bytes: bundle.bytes, readings, ringNumber: all.ringNumber };
}

// push grows the tree, and checks each tile above the leaves when it is full.
async function push(v, hash) {
  await v.frontier.push(hash, async (level, h) => {
    if (level % 8 !== 0) return;
    const row = (v.tiles[level / 8] ??= { count: 0, hashes: [] });
    row.hashes.push(h);
    row.count++;
    if (row.hashes.length === tileWidth) await checkTile(v, level / 8, row.count / tileWidth - 1);
  });
}

// checkTile holds a published tile above the leaves against what they hash to.
async function checkTile(v, level, n) {
  const row = v.tiles[level];
  const width = row.hashes.length;
  if (width === 0) return;
  const tile = await getTile(v.source, level, n, width);
  if (!tile) stop(v, "tree", tileKey(level, n, width), "is not there: the log promises it");
  const wrong = row.hashes.findIndex((h, i) => !equal(h, tile.bytes.subarray(i * 32, i * 32 + 32)));
  if (wrong >= 0) stop(v, "tree", tile.key, `its hash ${wrong} is not that of the leaves below it`);
  row.hashes = [];
}

// take counts one leaf.
async function take(v, index, x, bundle) {
  if (x.unknownKind) {
    v.find("leaf", `leaf ${index}`, x.error); // nobody knows what it changes
    throw new Stopped(x.error);
  }
  if (x.error) stop(v, "leaf", `leaf ${index}`, x.error);
  const bytes = () => parseBundle(bundle.bytes)[index % tileWidth];
  switch (x.kind) {
    case "submission":
    case "hold":
    case "release":
      refuseMove(v, index);
      // The reader ran ahead, and may have known an older roster.
      v.tally.take(index, bundle.ringNumber === v.ringNumber ? x : await readLeaf(v.election, v.ring, bytes()));
      break;
    case "snapshot":
      await takeSnapshot(v, index, await decodeLeaf(bytes()));
      break;
    case "pause":
    case "resume":
      await takePause(v, index, await decodeLeaf(bytes()));
      break;
    case "definition":
      if (index !== 0) v.find("authority", `leaf ${index}`, "the definition is the first leaf and no other");
      break;
    case "roster":
    case "key":
    case "roots":
    case "amendment":
      await empower(v, index, await decodeLeaf(bytes()));
      break;
    default:
      v.report.leave(`leaf ${index} is of kind ${x.kind}, whose effect this version does not know`);
      throw new Stopped(x.kind);
  }
  await push(v, x.hash);
}

// empower takes in a statement of the root keys.
async function empower(v, index, leaf) {
  try {
    await v.auth.apply(index, leaf);
  } catch (err) {
    v.find("authority", `leaf ${index}`, err.message); // it takes no effect
    return;
  }
  if (leaf.kind === "amendment") {
    v.report.leave(`leaf ${index} amends the definition, which this version does not follow`);
    throw new Stopped(leaf.kind);
  }
  if (leaf.kind !== "roots") await openRosterInForce(v, v.auth.at(index + 1));
}

// InlineReader reads bundles where it is called. Another one may do it in
// workers: prepare tells it the definition and the roster from now on, read
// answers {ringNumber, readings}, the ring being the one that it used.
export class InlineReader {
  async prepare(ringNumber, definition, roster, revoked, opened) {
    Object.assign(this, { ringNumber, ...opened });
  }

  async read(ringNumber, bytes, width) {
    const { election, ring } = this;
    return { ringNumber, readings: await Promise.all(parseBundle(bytes).slice(0, width).map((leaf) => readLeaf(election, ring, leaf))) };
  }

  async close() {}
}
