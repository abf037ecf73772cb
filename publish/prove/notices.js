// corrections.ndjson and holds.ndjson: what lowered a published number, and what
// is held and what became of it.

const bySeq = (a, b) => a.partition - b.partition || a.seq - b.seq;

// lineOf spells a line: JSON without white space, but for two line separators
// as it is.
const lineOf = (v) => `${JSON.stringify(v).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029")}\n`;

// corrections lists the movements.
export function corrections(tally) {
  return [...tally.movements].sort(bySeq).map(lineOf).join("");
}

const explanations = {
  "other-definition": "It was made for another edition of the ballot definition.",
  "same-as-another": "Another unit of the county has exactly the same numbers.",
  outlier: "The numbers are far above what this unit or its neighbours would lead one to expect.",
  "release-of-nothing": "A release that names nothing that is held.",
  "identity-broken": "Votes, undervotes and overvotes do not add up to the ballots cast.",
  "ballots-over-registered": "More ballots than registered voters.",
  "count-lowered": "A count is lower than before, and the submission is not a correction.",
  "contest-missing": "A contest that was reported before is missing.",
  "revision-conflict": "The same revision arrived before with other contents.",
  poison: "The record could not be read after it was accepted.",
};

// holds lists all that was ever held.
export function holds(tally) {
  const e = tally.election;
  return [...tally.holds]
    .sort(bySeq)
    .map((h) => {
      const unit = h.unit < 0 ? {} : { unit: e.units[h.unit].id, county: e.counties[e.units[h.unit].county].id, revision: h.revision };
      const more = { ...(h.finding && { finding: h.finding }), ...(h.twin && { twin: h.twin }) };
      return lineOf({ ...unit, code: h.code, why: explanations[h.code] ?? h.code, sha256: h.digest, partition: h.partition, seq: h.seq, state: h.state, ...more });
    })
    .join("");
}
