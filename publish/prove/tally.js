// The count: leaves in their order, decided by the rules anew. What the log
// says of an entry is only compared.

import { lowered, outlier, releasable, ruled, twinKey } from "./rules.js";
import { selectionID } from "./election.js";

// Tally is the count so far. find(check, where, what) takes findings.
export class Tally {
  constructor(election, find) {
    this.election = election;
    this.find = find;
    this.units = election.units.map(() => ({ revision: 0, cells: null, seen: [], holds: [], fallen: null }));
    this.rows = election.counties.map((c) => new Float64Array(c.layout.cells));
    this.fallen = election.counties.map((c) => new Float64Array(c.layout.sections.length)); // movements, by section
    this.dirty = election.counties.map(() => true);
    this.sizes = new Array(election.definition.partitions).fill(0);
    this.twins = election.counties.map(() => new Map()); // key -> units whose counted rows have it
    this.counts = { counted: 0, superseded: 0, released: 0, lapsed: 0 };
    this.held = {};
    this.holds = []; // all of them, as holds.ndjson lists them
    this.movements = []; // likewise corrections.ndjson
  }

  // take counts one entry.
  take(index, x) {
    const where = `leaf ${index}`;
    if (x.partition >= this.sizes.length) {
      this.find("leaf", where, `the election has no partition ${x.partition}`);
      return;
    }
    if (x.seq !== this.sizes[x.partition] + 1) {
      this.find("leaf", where, `it is entry ${x.seq} of partition ${x.partition}, want ${this.sizes[x.partition] + 1}: entries are missing, repeated or out of order`);
    }
    this.sizes[x.partition] = x.seq;
    if (x.outcome === "held" && x.addressed !== (x.revision !== 0)) this.find("leaf", where, "the hold names a unit and its record does not, or the other way round");
    const want = this.judge(where, x);
    this.compare(where, x, want);
    if (x.unsigned !== "" && x.code !== "poison") this.find("signature", where, `unit ${x.unitID} revision ${x.revision}: ${x.unsigned}`);
    if (x.outcome === "held") this.held[x.code] = (this.held[x.code] ?? 0) + 1;
    else this.counts[x.outcome]++;
    this.apply(x, want);
  }

  // judge says what the rules make of an entry: {outcome, code, ...}.
  judge(where, x) {
    if (!x.addressed) return held("poison");
    if (x.isRelease) return this.judgeRelease(where, x);
    const u = this.units[x.unit];
    const before = u.seen.filter((s) => s.revision === x.noted.revision);
    if (before.length > 0) {
      if (before.some((s) => s.digest === x.noted.digest)) {
        this.find("decision", where, `unit ${x.unitID} revision ${x.revision} has a leaf before this one: it must stand in the log once`);
      }
      return held("revision-conflict");
    }
    if (x.poison !== "") return held("poison");
    if (x.noted.revision < u.revision) return { outcome: "superseded", code: "" };
    if (x.own !== "") return held(x.own);
    return x.correction ? { outcome: "counted", code: "" } : this.judgeBeside(x, u);
  }

  // judgeBeside holds an ordinary submission against what counts already.
  judgeBeside(x, u) {
    const code = u.cells ? lowered(this.election, x.unit, u.cells, x.cells) : "";
    if (code !== "") return held(code);
    const twin = this.twinOf(x.unit, x.cells);
    if (twin !== "") return { ...held("same-as-another"), twin };
    const finding = outlier(this.election, x.unit, this.rows[this.election.units[x.unit].county], u.cells, x.cells);
    return finding ? { ...held("outlier"), finding } : { outcome: "counted", code: "" };
  }

  // judgeRelease looks for the hold that a release names. It counts unless a later
  // revision counts already.
  judgeRelease(where, x) {
    const u = this.units[x.unit];
    const hold = u.holds.find((h) => h.revision === x.noted.revision && h.digest === x.noted.digest && releasable(h.code));
    if (hold?.settled) {
      this.find("decision", where, `unit ${x.unitID} revision ${x.revision} was released before: a release must stand in the log once`);
      return { outcome: x.outcome, code: x.code };
    }
    if (!hold) return held("release-of-nothing");
    if (hold.revision < u.revision) return { outcome: "lapsed", code: "", hold };
    return hold.cells ? { outcome: "released", code: "", hold } : held("release-of-nothing");
  }

  // twinOf is another unit of the county whose counted row is the same; the first
  // by its identifier's place in the definition.
  twinOf(unit, cells) {
    const key = twinKey(this.election, unit, cells);
    const others = key === "" ? [] : [...(this.twins[this.election.units[unit].county].get(key) ?? [])].filter((u) => u !== unit);
    return others.length === 0 ? "" : this.election.units[Math.min(...others)].id;
  }

  // compare holds the log's word against the rules'.
  compare(where, x, want) {
    const same = x.outcome === want.outcome && x.code === want.code && (!want.hold || want.hold.seq === x.holdSeq);
    if (same || (x.outcome === "held" && !ruled.includes(x.code))) return;
    const name = (v) => (v.code ? `${v.outcome} (${v.code})` : v.outcome);
    const unit = x.addressed ? `unit ${this.election.units[x.unit].id} revision ${x.revision}` : "an unknown unit";
    const more = want.hold && want.hold.seq !== x.holdSeq ? `, of entry ${want.hold.seq}, not ${x.holdSeq}` : "";
    this.find("decision", where, `${unit} is ${name(x)} in the log, by the rules it is ${name(want)}${more}${x.poison ? `: ${x.poison}` : ""}`);
  }

  // apply makes the sums follow the rules, not the log's word: what counts against
  // them is a finding, and then a difference in every document that it is in.
  apply(x, want) {
    if (x.addressed && !x.isRelease && x.revision !== 0) this.units[x.unit].seen.push(x.noted);
    const believed = x.outcome === "held" && !ruled.includes(x.code);
    if (want.outcome === "counted" && !believed) this.replace(x, x.cells, x.noted.revision, x.correction ? "correction" : "adjudication", x.correction);
    if (want.hold) this.settle(x, want);
    if (x.outcome === "held") this.hold(x, want);
  }

  settle(x, want) {
    want.hold.settled = true;
    want.hold.state = want.outcome;
    if (want.outcome === "released") this.replace(x, want.hold.cells, want.hold.revision, "release", x);
    want.hold.cells = null;
  }

  // hold remembers what is held.
  hold(x, want) {
    const u = x.addressed && x.revision !== 0 ? this.units[x.unit] : null;
    const h = {
      unit: u ? x.unit : -1, revision: x.revision, code: x.code, digest: x.digest, partition: x.partition, seq: x.seq,
      state: u && x.revision < u.revision ? "superseded" : "open", settled: false,
      cells: x.isRelease || !releasable(x.code) ? null : x.cells,
      finding: x.code === want.code ? want.finding : undefined, twin: x.code === want.code ? want.twin : undefined,
    };
    this.holds.push(h);
    u?.holds.push(h);
  }

  // replace makes cells what counts for the unit of an entry.
  replace(x, cells, revision, kind, why) {
    const e = this.election;
    const u = this.units[x.unit];
    const { county, style, at } = e.units[x.unit];
    const row = this.rows[county];
    const changes = [];
    style.sections.forEach((s, i) => {
      const to = e.counties[county].layout.sections[at[i]].offset - s.offset;
      let fell = false;
      for (let k = s.offset; k < s.offset + s.size; k++) {
        const was = u.cells ? u.cells[k] : 0;
        row[to + k] += cells[k] - was;
        if (cells[k] >= was) continue;
        fell = true;
        changes.push(this.change(s, k - s.offset, was, cells[k]));
      }
      if (!fell) return;
      this.fallen[county][at[i]]++;
      u.fallen ??= new Float64Array(style.sections.length);
      u.fallen[i]++;
    });
    if (changes.length > 0) this.movements.push(this.movement(x, u.revision, revision, kind, why, changes));
    this.retwin(x.unit, u.cells, cells);
    u.cells = cells;
    u.revision = revision;
    for (const h of u.holds) if (h.revision < revision && h.state === "open") h.state = "superseded";
    this.dirty[county] = true;
  }

  // change is a cell that fell; the report cell, where a contest is not stated any
  // more, has no count type.
  change(s, k, before, after) {
    if (k === 0) return { contest: s.id, selection: "reporting", before, after };
    const { types, definition } = this.election;
    return { contest: s.id, selection: selectionID(this.election, s, Math.floor((k - 1) / types)), countType: definition.countTypes[(k - 1) % types], before, after };
  }

  movement(x, replaces, revision, kind, why, changes) {
    const unit = this.election.units[x.unit];
    const said = why ? { reason: why.reason, text: why.text } : {};
    return {
      unit: unit.id, county: this.election.counties[unit.county].id, revision, replaces, kind, ...said, signers: x.signers, partition: x.partition, seq: x.seq, changes,
    };
  }

  retwin(unit, before, after) {
    const keys = this.twins[this.election.units[unit].county];
    const old = before ? twinKey(this.election, unit, before) : "";
    if (old !== "") keys.get(old)?.delete(unit);
    const key = twinKey(this.election, unit, after);
    if (key === "") return;
    if (!keys.has(key)) keys.set(key, new Set());
    keys.get(key).add(unit);
  }

  // entries counts what snapshots state: accepted is all that is no hold.
  get accepted() {
    return Object.values(this.counts).reduce((a, b) => a + b, 0);
  }

  get heldAll() {
    return Object.values(this.held).reduce((a, b) => a + b, 0);
  }
}

const held = (code) => ({ outcome: "held", code });
