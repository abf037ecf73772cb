// Everything that a snapshot names, held against the count, byte for byte.

import { equal, text, utf8 } from "./bytes.js";
import { digest } from "./crypto.js";
import { difference, table, unitLines } from "./documents.js";
import { contentKey, isKey, parseManifest } from "./manifest.js";
import { corrections, holds } from "./notices.js";

const objectsAtOnce = 8;

// notices are files that stand beside the documents, as of the same leaf.
const notices = { "corrections.ndjson": { folder: "corrections", make: corrections }, "holds.ndjson": { folder: "holds", make: holds } };

const isReport = (name) => name === "results.cdf.json.gz" || name.startsWith("cdf/");
const isFile = (name) => name === "results.csv" || name.startsWith("csv/") || name.startsWith("units/") || isReport(name);

async function eachOf(list, work) {
  for (let i = 0; i < list.length; i += objectsAtOnce) await Promise.all(list.slice(i, i + objectsAtOnce).map(work));
}

// manifestOf reads what a snapshot names; null, and a finding, where it cannot.
async function manifestOf(v, s) {
  const key = contentKey("manifests", s.manifest, ".ndjson");
  const bytes = await v.source.get(key);
  if (!bytes) {
    v.find("manifest", key, `is not there, and snapshot ${s.number} names it`);
    return null;
  }
  const got = await digest(bytes);
  if (got !== s.manifest) {
    v.find("manifest", key, `has the SHA-256 ${got}: it is not what snapshot ${s.number} signed`);
    return null;
  }
  try {
    return parseManifest(bytes);
  } catch (err) {
    v.find("manifest", key, err.message);
    return null;
  }
}

// expectFiles notes which files of the newest snapshot are as of which leaf, so
// that they are compared when the count comes by.
export async function expectFiles(v) {
  for (const entry of (await manifestOf(v, v.latest)) ?? []) {
    if (!isFile(entry.name)) continue;
    const version = entry.version ?? 0;
    v.due.set(version, [...(v.due.get(version) ?? []), entry]);
  }
}

// compareFilesDue compares the files that are as of this snapshot.
export async function compareFilesDue(v, s) {
  const files = v.due.get(s.log) ?? [];
  v.due.delete(s.log);
  await eachOf(files, (entry) => compareFile(v, s, entry));
}

// compareSnapshot holds all that a snapshot names against the count, which
// stands at its log.
export async function compareSnapshot(v, s) {
  const entries = await manifestOf(v, s);
  if (!entries) return;
  v.sheets.refresh();
  const files = new Map();
  const documents = [];
  for (const entry of entries) {
    if (v.plan.names.has(entry.name) || Object.hasOwn(notices, entry.name)) documents.push(entry);
    else if (isFile(entry.name)) files.set(entry.name, entry);
    else if (entry.name === "definition.json") sameFile(v, s, entry, v.definition);
    else if (entry.name === "roster.json") sameFile(v, s, entry, v.roster);
    else v.find("manifest", entry.name, `snapshot ${s.number} names it, and no rule says what it is`);
  }
  await eachOf(documents, (entry) => compareDocument(v, s, entry));
  const named = new Set(entries.map((entry) => entry.name));
  for (const name of [...v.plan.names.keys(), ...Object.keys(notices)]) if (!named.has(name)) v.find("manifest", name, `snapshot ${s.number} does not name it`);
  if (v.all) await compareNewFiles(v, s, files);
  v.named = files;
  v.compared = s.number;
}

// compareNewFiles compares the files that are new with this snapshot; the others
// must be those that were there before.
async function compareNewFiles(v, s, files) {
  const fresh = [];
  for (const [name, entry] of files) {
    const before = v.named.get(name);
    if (before && before.version === entry.version && before.key === entry.key && before.sha256 === entry.sha256 && before.bytes === entry.bytes) continue;
    if (entry.version === s.log) fresh.push(entry);
    else v.find("file", name, `snapshot ${s.number} of ${s.log} leaves names it as of ${entry.version}, and no snapshot did before`);
  }
  await eachOf(fresh, (entry) => compareFile(v, s, entry));
}

function sameFile(v, s, entry, inForce) {
  if (entry.sha256 !== inForce.digest || entry.bytes !== inForce.bytes.length) {
    v.find("manifest", entry.name, `snapshot ${s.number} names one with SHA-256 ${entry.sha256}, in force is ${inForce.digest}`);
  }
}

// compareDocument holds a document against what the log gives.
async function compareDocument(v, s, entry) {
  const notice = Object.hasOwn(notices, entry.name) ? notices[entry.name] : null;
  const want = notice ? notice.make(v.tally) : v.sheets.document(entry.name);
  const bytes = utf8(want);
  v.report.documents++;
  v.report.lines += want.split("\n").length - 1;
  v.report.bytes += bytes.length;
  if ((entry.version ?? 0) > s.log) v.find("manifest", entry.name, `snapshot ${s.number} of ${s.log} leaves names it as of ${entry.version}`);
  const right = entry.sha256 === (await digest(bytes)) && entry.bytes === bytes.length;
  v.fetched ??= new Set();
  if (right && v.fetched.has(entry.sha256)) return; // these bytes lie there: they were fetched for an earlier snapshot
  const key = contentKey(notice ? notice.folder : "documents", entry.sha256, ".ndjson");
  const published = await objectOf(v, "document", s, entry, key, want);
  if (!right) {
    const how = published ? difference(text(published), want) : `SHA-256 is to be ${await digest(bytes)}`;
    v.find("document", entry.name, `snapshot ${s.number}: it is not what the log's submissions add up to: ${how}`);
  } else if (published) {
    v.fetched.add(entry.sha256);
  }
}

// objectOf reads what a manifest names and holds it against hash and size; null,
// and a finding, where it does not fit. key is where it must lie; "" anywhere.
async function objectOf(v, check, s, entry, key, want) {
  if (key !== "" && entry.key !== key) v.find(check, entry.name, `snapshot ${s.number} says that it lies at ${entry.key}, by its hash it lies at ${key}`);
  if (!isKey(entry.key)) {
    v.find(check, entry.name, `snapshot ${s.number} says that it lies at ${JSON.stringify(entry.key)}, which is no key`);
    return null;
  }
  const bytes = await v.source.get(entry.key);
  if (!bytes) {
    v.find(check, entry.name, `${entry.key} is not there, and snapshot ${s.number} names it`);
    return null;
  }
  const got = await digest(bytes);
  if (got === entry.sha256 && bytes.length === entry.bytes) return bytes;
  let what = `${entry.key} has ${bytes.length} bytes with SHA-256 ${got}, snapshot ${s.number} names ${entry.bytes} with ${entry.sha256}`;
  if (want !== undefined) what += `: ${difference(new TextDecoder().decode(bytes), want)}`;
  v.find(check, entry.name, what);
  return null;
}

// compareFile holds a table against the count, which stands at the snapshot that
// first named it. Reports in the common data format are held against their hash.
async function compareFile(v, s, entry) {
  const key = entry.name.startsWith("units/") ? contentKey("units", entry.sha256, ".ndjson") : "";
  const published = await objectOf(v, "file", s, entry, key);
  if (!published) return;
  if (isReport(entry.name)) {
    v.hashed = (v.hashed ?? 0) + 1;
    return;
  }
  v.report.files++;
  v.report.bytes += entry.bytes;
  const pieces = piecesOf(v, entry.name);
  if (!pieces) {
    v.find("file", entry.name, "no file of this election has that name");
    return;
  }
  let [at, lines] = [0, 0];
  for (const piece of pieces) {
    const want = utf8(piece);
    const got = published.subarray(at, at + want.length);
    if (!equal(got, want)) {
      const how = difference(new TextDecoder().decode(published.subarray(at, at + want.length + 200)), piece);
      v.find("file", entry.name, `${entry.key}: it is not what the log's submissions say: behind line ${lines}, ${how}`);
      return;
    }
    at += want.length;
    lines += piece.split("\n").length - 1;
  }
  if (at !== published.length) v.find("file", entry.name, `${entry.key}: it is not what the log's submissions say: ${published.length - at} bytes are too many`);
}

// piecesOf makes a table of the tally, piece by piece; null where no rule makes
// one of that name.
function piecesOf(v, name) {
  const { counties, countyIndex } = v.election;
  if (name === "results.csv") return table(v.tally, counties.keys());
  const [folder, file] = [name.slice(0, name.indexOf("/")), name.slice(name.indexOf("/") + 1)];
  const county = countyIndex.get(folder === "csv" && file.endsWith(".csv") ? file.slice(0, -".csv".length) : folder === "units" ? file : "");
  if (county === undefined) return null;
  return folder === "csv" ? table(v.tally, [county]) : [unitLines(v.tally, county)];
}
