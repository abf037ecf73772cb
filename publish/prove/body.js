// A submission's body: read strictly (schemas/README.md) and spread over the
// unit's row.

import { isDigest, isIdentifier } from "./bytes.js";
import { maxRevision } from "./envelope.js";
import { listOf, object, optional, parse, shape } from "./strict.js";

const maxCount = 99_999_999;
const isCounts = (v) => Array.isArray(v) && v.length >= 1 && v.length <= 16 && v.every((n) => typeof n === "number" && n <= maxCount);
const isToken = (v) => typeof v === "string";
const isText = (v) => typeof v === "string" && [...v].length >= 1 && [...v].length <= 500;
const isReason = (v) => ["transcription", "equipment", "duplicate", "recount", "court-order"].includes(v);

const bodyMembers = {
  schema: (v) => v === "tallystream.submission/1", election: isToken, definition: isToken, unit: isToken,
  revision: (v) => Number.isInteger(v) && v >= 1 && v <= maxRevision,
  countTypes: listOf(isToken, 1, 16), ballots: optional(isCounts),
  contests: listOf(object({
    contest: isToken, votes: listOf(object({ selection: isToken, counts: isCounts }), 1, 512), undervotes: optional(isCounts), overvotes: optional(isCounts),
  }), 0, 512),
  correction: optional(object({ reason: isReason, text: isText })),
};

// readBody reads and checks the form alone.
export function readBody(bytes) {
  const v = parse(bytes, ["text"]);
  shape(v, bodyMembers);
  return v;
}

// resolve holds a body against the election: {unit, revision, correction,
// otherDefinition, cells}. It throws where no number of it can be counted.
export function resolve(e, body) {
  const d = e.definition;
  if (body.election !== d.election) throw new Error(`/election: want ${d.election}`);
  if (!isDigest(body.definition)) throw new Error("/definition: want a SHA-256");
  const unit = isIdentifier(body.unit) ? e.unitIndex.get(body.unit) : undefined;
  if (unit === undefined) throw new Error("/unit: is no unit of this election");
  const types = body.countTypes.map((t) => e.typeIndex.get(t) ?? -1);
  if (types.some((t, i) => t < 0 || (i > 0 && t <= types[i - 1]))) throw new Error("/countTypes: want those of the definition, in its order");
  const style = e.units[unit].style;
  const cells = new Uint32Array(style.cells);
  const spread = (at, counts, where) => {
    if (counts?.length !== types.length) throw new Error(`${where}: want one count for each of the ${types.length} count types stated`);
    for (let i = 0; i < types.length; i++) cells[at + types[i]] = counts[i];
  };
  cells[0] = 1;
  if (d.rules.ballots) spread(1, body.ballots, "/ballots");
  else if (body.ballots !== undefined) throw new Error("/ballots: this election does not count ballots");
  let next = 1;
  body.contests.forEach((c, i) => {
    while (next < style.sections.length && style.sections[next].id !== c.contest) next++;
    if (next === style.sections.length) throw new Error(`/contests/${i}: is not on the unit's ballot, stands twice or out of order`);
    spreadContest(e, style.sections[next++], c, cells, spread, `/contests/${i}`);
  });
  return { unit, revision: body.revision, correction: body.correction ?? null, otherDefinition: body.definition !== e.hash, cells };
}

function spreadContest(e, section, c, cells, spread, where) {
  const def = e.definition.contests[section.contest];
  if (c.votes.length !== def.selections.length) throw new Error(`${where}/votes: want the ${def.selections.length} selections of the definition`);
  let at = section.offset;
  cells[at++] = 1;
  c.votes.forEach((v, k) => {
    if (v.selection !== def.selections[k].id) throw new Error(`${where}/votes/${k}: want ${def.selections[k].id}`);
    spread(at, v.counts, `${where}/votes/${k}`);
    at += e.types;
  });
  if (section.residuals) {
    spread(at, c.undervotes, `${where}/undervotes`);
    spread(at + e.types, c.overvotes, `${where}/overvotes`);
  } else if (c.undervotes !== undefined || c.overvotes !== undefined) {
    throw new Error(`${where}: this contest states no undervotes and overvotes`);
  }
  votesFit(e, section, def, cells, where);
}

// votesFit refuses votes that the ballots cannot hold: by count type, or in all.
function votesFit(e, section, def, cells, where) {
  if (def.residuals === "none" || !e.definition.rules.ballots) return;
  let over = 0;
  for (let t = 0; t < e.types; t++) {
    let votes = 0;
    for (let k = 0; k < section.selections; k++) votes += cells[section.offset + 1 + k * e.types + t];
    const more = votes - cells[1 + t] * def.votesAllowed;
    if (more > 0 && def.residuals === "count-type") throw new Error(`${where}: more votes than the ballots can hold`);
    over += more;
  }
  if (over > 0) throw new Error(`${where}: more votes than the ballots can hold`);
}

