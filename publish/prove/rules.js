// What becomes of a submission, by its own numbers and by those that count
// already: the rules in words are in publish/verify/README.md and
// schemas/README.md.

import { ballots } from "./election.js";

// ruled are the holds that follow from the log alone.
export const ruled = [
  "other-definition", "identity-broken", "ballots-over-registered", "count-lowered", "contest-missing", "same-as-another", "outlier", "revision-conflict",
  "release-of-nothing", "poison",
];

// releasable: all but those whose record states no numbers that could count.
export const releasable = (code) => code !== "poison" && code !== "release-of-nothing";

const sum = (cells, from, n) => {
  let total = 0;
  for (let i = from; i < from + n; i++) total += cells[i];
  return total;
};

// sectionVotes adds up a section of a row, without residuals.
const sectionVotes = (e, s, cells, offset = s.offset) => sum(cells, offset + 1, s.selections * e.types);

// implausible is the hold that a statement's own numbers ask for, or "".
export function implausible(e, statement) {
  if (statement.otherDefinition) return "other-definition";
  if (!e.definition.rules.ballots) return "";
  const unit = e.units[statement.unit];
  const { cells } = statement;
  if (e.definition.rules.registered && unit.registered > 0 && sum(cells, 1, e.types) > unit.registered) return "ballots-over-registered";
  const broken = unit.style.sections.some((s) => s.residuals && cells[s.offset] === 1 && !addsUp(e, s, cells));
  return broken ? "identity-broken" : "";
}

// addsUp: votes and residuals are the ballots times the votes allowed, for each
// count type or in all.
function addsUp(e, s, cells) {
  const def = e.definition.contests[s.contest];
  let gap = 0;
  for (let t = 0; t < e.types; t++) {
    let marks = -cells[1 + t] * def.votesAllowed;
    for (let k = 0; k < s.selections + 2; k++) marks += cells[s.offset + 1 + k * e.types + t];
    if (marks !== 0 && def.residuals === "count-type") return false;
    gap += marks;
  }
  return gap === 0;
}

// lowered compares with the row that counts: a contest that is missing says more
// than a lower count; undervotes and overvotes may fall.
export function lowered(e, unit, before, after) {
  let fell = false;
  for (const s of e.units[unit].style.sections) {
    if (after[s.offset] < before[s.offset]) return "contest-missing";
    for (let k = s.offset + 1; k <= s.offset + s.selections * e.types; k++) fell ||= after[k] < before[k];
  }
  return fell ? "count-lowered" : "";
}

// twinKey is equal for two rows that say the same of the same ballot style; "" where
// the rule does not apply, or the row has too few votes for it.
export function twinKey(e, unit, cells) {
  const rule = e.definition.rules.outliers?.twins;
  if (!rule) return "";
  const { style, styleNumber } = e.units[unit];
  let votes = 0;
  for (const s of style.sections) if (s.contest !== ballots) votes += sectionVotes(e, s, cells);
  return votes < rule.least ? "" : `${styleNumber}:${cells.join()}`;
}

// outlier is the first rule against history and neighbours that a row breaks:
// {rule, contest, value, against, percent}; null where it breaks none. county is
// the county's row as it stands, of which before (or null) is the unit's part.
export function outlier(e, unit, county, before, after) {
  const rules = e.definition.rules.outliers;
  const u = e.units[unit];
  if (!rules || u.kind === "administrative") return null;
  const known = e.definition.rules.ballots;
  if (rules.history && u.history > 0 && known) {
    const { percent, least } = rules.history;
    const value = sectionVotes(e, u.style.sections[0], after);
    if (value > least && value * 100 > u.history * percent) return { rule: "history", contest: u.style.sections[0].id, value, against: u.history, percent };
  }
  if (!rules.neighbours) return null;
  // Ballots say it best; without them each contest is asked.
  const asked = known ? u.style.sections.slice(0, 1) : u.style.sections;
  for (const s of asked) {
    const at = e.counties[u.county].layout.sections[u.at[u.style.sections.indexOf(s)]].offset;
    const found = aboveNeighbours(e, s, county, at, before, after, rules.neighbours);
    if (found) return found;
  }
  return null;
}

// aboveNeighbours compares a section with its mean over the other units that
// state it.
function aboveNeighbours(e, s, county, at, before, after, rule) {
  const others = county[at] - (before ? before[s.offset] : 0);
  const votes = sectionVotes(e, s, county, at) - (before ? sectionVotes(e, s, before) : 0);
  const value = sectionVotes(e, s, after);
  // Products of counts and percents may exceed what a double holds exactly.
  const much = BigInt(value) * 100n * BigInt(others) > BigInt(votes) * BigInt(rule.percent);
  if (others < rule.units || votes === 0 || value <= rule.least || !much) return null;
  return { rule: "neighbours", contest: s.id, value, against: Math.floor(votes / others), percent: rule.percent };
}
