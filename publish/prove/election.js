// An election's definition, and how counts lie in rows. A row is flat: for each
// section the report cell (of a unit 1 where it states the contest, of a county how
// many do), then count type by count type the selections in the definition's order,
// then undervotes and overvotes where the contest knows them. Section 0 is that of
// the ballots cast; contests follow, sorted by identifier.

import { byBytes, isIdentifier } from "./bytes.js";
import { listOf, object, optional, parse, shape } from "./strict.js";

export const ballots = -1; // contest index of the ballots cast
export const ballotsCast = "ballots-cast";
const maxCount = 99_999_999;

const isText = (v) => typeof v === "string";
const isFlag = (v) => typeof v === "boolean";
const between = (least, most) => (v) => Number.isInteger(v) && v >= least && v <= most;
const oneOf = (...words) => (v) => words.includes(v);
const isCountType = (v) =>
  ["absentee", "absentee-fwab", "absentee-in-person", "absentee-mail", "early", "election-day", "provisional", "uocava", "write-in", "other"].includes(v) ||
  (isText(v) && v.startsWith("other-") && v.length > 6 && isIdentifier(v));


function isDate(v) {
  if (!isText(v) || !/^\d{4}-\d\d-\d\d$/.test(v)) return false;
  const t = new Date(`${v}T00:00:00Z`);
  return !Number.isNaN(t.getTime()) && t.toISOString().startsWith(v);
}

const definitionMembers = {
  schema: oneOf("tallystream.definition/1"), election: isIdentifier, name: isText, date: isDate,
  origin: (v) => isText(v) && /^[!-*,-~]+$/.test(v),
  countTypes: listOf(isCountType, 1), partitions: between(1, 4096), signatures: between(1, 2),
  rules: object({
    ballots: isFlag, registered: isFlag,
    outliers: optional(object({
      history: optional(object({ percent: between(101, maxCount), least: between(0, maxCount) })),
      neighbours: optional(object({ percent: between(101, maxCount), least: between(0, maxCount), units: between(1, maxCount) })),
      twins: optional(object({ least: between(1, maxCount) })),
    })),
    // Read, and not followed: whoever meets a sealed leaf says so.
    suppression: optional(object({ below: between(2, maxCount) })),
  }),
  states: listOf(object({ id: isIdentifier, name: isText })),
  counties: listOf(object({ id: isIdentifier, name: isText, state: isIdentifier }), 1),
  contests: listOf(object({
    id: (v) => isIdentifier(v) && v !== ballotsCast, name: isText, kind: oneOf("candidate", "ballot-measure", "retention", "party"),
    votesAllowed: between(1, 100), residuals: oneOf("none", "total", "count-type"),
    selections: listOf(object({
      id: (v) => isIdentifier(v) && v !== "overvotes" && v !== "undervotes", name: isText, party: optional(isText), writeIn: optional(isFlag),
    }), 1),
  })),
  styles: listOf(object({ id: isIdentifier, contests: listOf(isIdentifier) })),
  units: listOf(object({
    id: isIdentifier, name: isText, county: isIdentifier, kind: oneOf("precinct", "administrative"), style: isIdentifier,
    registered: optional(between(0, maxCount)), history: optional(between(0, maxCount)),
  })),
};

// index maps identifiers to their places, and wants each once.
function index(what, ids) {
  const out = new Map(ids.map((id, i) => [id, i]));
  if (out.size !== ids.length) throw new Error(`definition: a ${what} stands twice`);
  return out;
}

function wanted(map, what, id) {
  const i = map.get(id);
  if (i === undefined) throw new Error(`definition: ${what} ${JSON.stringify(id)} is not defined`);
  return i;
}

// openElection reads a definition's exact bytes, whose SHA-256 is hash, and lays
// out the rows.
export function openElection(bytes, hash) {
  const d = parse(bytes);
  try {
    shape(d, definitionMembers);
  } catch (err) {
    throw new Error(`definition: ${err.message}`);
  }
  if (d.countTypes.length > 16) throw new Error("definition: more than 16 count types");
  const e = { definition: d, hash, types: d.countTypes.length };
  e.typeIndex = index("count type", d.countTypes);
  index("place", [d.election, ...d.states.map((s) => s.id), ...d.counties.map((c) => c.id)]);
  e.stateIndex = index("state", d.states.map((s) => s.id));
  e.countyIndex = index("county", d.counties.map((c) => c.id));
  e.contestIndex = index("contest", d.contests.map((c) => c.id));
  e.unitIndex = index("unit", d.units.map((u) => u.id));
  const styleIndex = index("style", d.styles.map((s) => s.id));
  for (const c of d.contests) {
    index("selection", c.selections.map((s) => s.id));
    if (c.residuals !== "none" && !d.rules.ballots) throw new Error(`definition: contest ${c.id}: residuals need rules.ballots`);
  }
  const styles = d.styles.map((s) => {
    s.contests.forEach((id, i) => {
      if (i > 0 && byBytes(s.contests[i - 1], id) >= 0) throw new Error(`definition: style ${s.id}: contests are not sorted`);
    });
    return layout(e, s.contests.map((id) => wanted(e.contestIndex, "contest", id)));
  });
  e.counties = d.counties.map((c, i) => ({ id: c.id, state: wanted(e.stateIndex, "state", c.state), partition: i % d.partitions, units: [] }));
  e.units = d.units.map((u, i) => {
    const county = wanted(e.countyIndex, "county", u.county);
    e.counties[county].units.push(i);
    const style = wanted(styleIndex, "style", u.style);
    return { id: u.id, county, kind: u.kind, registered: u.registered ?? 0, history: u.history ?? 0, styleNumber: style, style: styles[style] };
  });
  for (const county of e.counties) layCounty(e, county);
  return e;
}

// layout is the order of sections in a row of the contests, ballots first.
function layout(e, contests) {
  const d = e.definition;
  const sections = [];
  let cells = 0;
  for (const contest of [ballots, ...contests]) {
    const def = d.contests[contest];
    const selections = contest === ballots ? (d.rules.ballots ? 1 : 0) : def.selections.length;
    const residuals = contest !== ballots && def.residuals !== "none";
    const size = 1 + (selections + (residuals ? 2 : 0)) * e.types;
    sections.push({ contest, id: contest === ballots ? ballotsCast : def.id, offset: cells, selections, residuals, size, units: 0 });
    cells += size;
  }
  return { sections, cells };
}

// layCounty lays out a county's row: all contests that its units vote on, sorted;
// and where the sections of each of its styles lie in it.
function layCounty(e, county) {
  const voting = new Map(); // contest -> units
  for (const u of county.units) for (const s of e.units[u].style.sections) voting.set(s.contest, (voting.get(s.contest) ?? 0) + 1);
  const contests = [...voting.keys()].filter((c) => c !== ballots).sort((a, b) => byBytes(e.definition.contests[a].id, e.definition.contests[b].id));
  county.layout = layout(e, contests);
  county.of = new Map(county.layout.sections.map((s, i) => [s.contest, i]));
  for (const s of county.layout.sections) s.units = voting.get(s.contest) ?? 0;
  const at = new Map();
  for (const u of county.units) {
    const style = e.units[u].style;
    if (!at.has(style)) at.set(style, style.sections.map((s) => county.of.get(s.contest)));
    e.units[u].at = at.get(style); // the county's section of each section
  }
}

// selectionID names the k-th row of counts of a section.
export function selectionID(e, section, k) {
  if (section.contest === ballots) return "ballots";
  if (k < section.selections) return e.definition.contests[section.contest].selections[k].id;
  return k === section.selections ? "undervotes" : "overvotes";
}
