// Which documents there are, which lines stand in them, and every byte of both
// (publish/README.md); and the tables by unit.

import { byBytes } from "./bytes.js";
import { ballots, selectionID } from "./election.js";

// Plan follows from the definition alone.
export class Plan {
  constructor(election) {
    this.election = election;
    const d = election.definition;
    const peopled = new Map(); // counties with units, by state
    for (const c of election.counties) if (c.units.length > 0) peopled.set(c.state, (peopled.get(c.state) ?? 0) + 1);
    this.contests = [ballots, ...d.contests.keys()].map((contest) => this.#contest(contest, peopled));
    this.front = this.contests.filter((k) => k.front);
    this.names = new Map([["election", { kind: "election" }]]); // documents by name
    election.counties.forEach((c, i) => this.names.set(`county/${c.id}`, { kind: "county", county: i }));
    for (const k of this.contests) if (k.places.length > 1) this.names.set(`contest/${k.id}`, { kind: "contest", contest: k });
    this.order = election.counties.map((c) => c.layout.sections.map((_, i) => i).sort((a, b) => byBytes(c.layout.sections[a].id, c.layout.sections[b].id)));
  }

  #contest(contest, peopled) {
    const e = this.election;
    const id = contest === ballots ? "ballots-cast" : e.definition.contests[contest].id;
    const places = [];
    const voting = new Map(); // counties with units that vote on it, by state
    e.counties.forEach((c, county) => {
      const section = c.of.get(contest);
      if (section === undefined) return;
      places.push({ county, section });
      if (c.units.length > 0) voting.set(c.state, (voting.get(c.state) ?? 0) + 1);
    });
    const whole = [...voting].every(([state, n]) => n === peopled.get(state));
    return {
      contest, id, places,
      states: e.definition.states.length > 1 ? [...voting.keys()] : [],
      front: (voting.size > 0 && whole) || (contest === ballots && places.length > 0),
    };
  }
}

// line writes a document line. cells begins with the section's report cell.
export function line(e, section, place, units, corrections, cells) {
  const { types } = e;
  const counts = (k) => `[${cells.slice(1 + k * types, 1 + (k + 1) * types).join()}]`;
  let out = `{"contest":"${section.id}","unit":"${place}","reporting":${cells[0]},"units":${units}`;
  if (corrections > 0) out += `,"corrections":${corrections}`;
  const votes = Array.from({ length: section.selections }, (_, k) => `"${selectionID(e, section, k)}":${counts(k)}`);
  out += `,"votes":{${votes.join()}}`;
  if (section.residuals) out += `,"undervotes":${counts(section.selections)},"overvotes":${counts(section.selections + 1)}`;
  return `${out}}\n`;
}

// Sheets are the counties' lines, made again where a county changed.
export class Sheets {
  constructor(plan, tally) {
    this.plan = plan;
    this.tally = tally;
    this.lines = plan.election.counties.map(() => null); // by county, by section
    this.made = new Map(); // documents, since the last change
  }

  // refresh makes the lines of counties that changed.
  refresh() {
    const { tally, plan } = this;
    const e = plan.election;
    const changed = tally.dirty.flatMap((dirty, c) => (dirty || !this.lines[c] ? [c] : []));
    if (changed.length === 0) return;
    for (const c of changed) {
      const county = e.counties[c];
      this.lines[c] = county.layout.sections.map((s, i) => line(e, s, county.id, s.units, tally.fallen[c][i], tally.rows[c].subarray(s.offset, s.offset + s.size)));
      tally.dirty[c] = false;
    }
    const stale = new Set(changed);
    for (const [name] of this.made) {
      const d = plan.names.get(name);
      if (d.kind === "election" || (d.kind === "county" ? stale.has(d.county) : d.contest.places.some((p) => stale.has(p.county)))) this.made.delete(name);
    }
  }

  // document is the text of a document, as the count stands at the last refresh.
  document(name) {
    if (!this.made.has(name)) this.made.set(name, this.#make(this.plan.names.get(name)));
    return this.made.get(name);
  }

  #make(d) {
    if (d.kind === "county") return this.plan.order[d.county].map((i) => this.lines[d.county][i]).join("");
    if (d.kind === "election") return joined(this.plan.front.flatMap((k) => this.#sums(k)));
    const { contest } = d;
    const places = contest.places.map((p) => ({ contest: contest.id, place: this.plan.election.counties[p.county].id, text: this.lines[p.county][p.section] }));
    return joined([...this.#sums(contest), ...places]);
  }

  // sums are a contest's lines over counties: by state where there are several,
  // and in all.
  #sums(k) {
    const e = this.plan.election;
    const d = e.definition;
    const within = (name, wanted) => {
      let [units, corrections, cells, section] = [0, 0, null, null];
      for (const { county, section: i } of k.places) {
        const c = e.counties[county];
        section = c.layout.sections[i];
        cells ??= new Float64Array(section.size);
        if (!wanted(c)) continue;
        units += section.units;
        corrections += this.tally.fallen[county][i];
        for (let n = 0; n < section.size; n++) cells[n] += this.tally.rows[county][section.offset + n];
      }
      return { contest: k.id, place: name, text: line(e, section, name, units, corrections, cells) };
    };
    return [within(d.election, () => true), ...k.states.map((s) => within(d.states[s].id, (c) => c.state === s && c.units.length > 0))];
  }
}

function joined(lines) {
  return lines.sort((a, b) => byBytes(a.contest, b.contest) || byBytes(a.place, b.place)).map((l) => l.text).join("");
}

const tableHead = "county,unit,contest,selection,count_type,votes\n";

// table is results.csv, or one county's file: for each unit that reported, each
// contest that it states, each selection and count type, zeros included. It
// yields pieces, because a large election's does not fit one string.
export function* table(tally, counties) {
  const e = tally.election;
  const names = new Map(); // section ids -> "contest,selection,type," by cell
  const namesOf = (s) => {
    if (!names.has(s.id)) {
      const n = (s.size - 1) / e.types;
      names.set(s.id, Array.from({ length: n * e.types }, (_, i) => `${s.id},${selectionID(e, s, Math.floor(i / e.types))},${e.definition.countTypes[i % e.types]},`));
    }
    return names.get(s.id);
  };
  yield tableHead;
  for (const c of counties) {
    for (const u of e.counties[c].units) {
      const { cells } = tally.units[u];
      if (!cells) continue;
      const head = `${e.counties[c].id},${e.units[u].id},`;
      let out = "";
      for (const s of e.units[u].style.sections) {
        if (cells[s.offset] === 0) continue;
        namesOf(s).forEach((name, i) => {
          out += `${head}${name}${cells[s.offset + 1 + i]}\n`;
        });
      }
      yield out;
    }
  }
}

// unitLines is a county's file of lines by unit: of each contest that it states, or
// stated and does not any more.
export function unitLines(tally, c) {
  const e = tally.election;
  const lines = [];
  for (const u of e.counties[c].units) {
    const { cells, fallen } = tally.units[u];
    if (!cells) continue;
    e.units[u].style.sections.forEach((s, i) => {
      const corrections = fallen?.[i] ?? 0;
      if (cells[s.offset] === 0 && corrections === 0) return;
      lines.push({ contest: s.id, place: e.units[u].id, text: line(e, s, e.units[u].id, 1, corrections, cells.subarray(s.offset, s.offset + s.size)) });
    });
  }
  return joined(lines);
}

// difference says in which line what is published differs first from what the
// log gives.
export function difference(published, want) {
  const [a, b] = [published.split("\n"), want.split("\n")];
  const i = a.findIndex((l, k) => l !== b[k]);
  const at = i < 0 ? a.length : i;
  return `line ${at + 1} is ${clip(a[at])}, the log gives ${clip(b[at])}`;
}

const clip = (s) => (s === undefined || s === "" ? "nothing" : JSON.stringify(s.length > 160 ? `${s.slice(0, 160)}...` : s));
