// What a verification found.

const mostListed = 200;

// Report collects findings; unchecked is what could not be checked, remarks what
// a reader should know.
export class Report {
  constructor() {
    Object.assign(this, {
      verdict: "", election: "", origin: "", key: "", firstUse: false, witnesses: [], leaves: 0, root: "", counted: 0, superseded: 0, released: 0, lapsed: 0,
      held: {}, open: 0, movements: 0, snapshots: 0, snapshot: 0, documents: 0, lines: 0, files: 0, bytes: 0, findings: [], found: 0, unchecked: [], remarks: [], seconds: 0,
    });
  }

  find(check, where, what) {
    this.found++;
    if (this.findings.length < mostListed) this.findings.push({ check, where, what });
  }

  leave(what) {
    if (this.unchecked.length < mostListed) this.unchecked.push(what);
  }

  remark(what) {
    if (this.remarks.length < mostListed) this.remarks.push(what);
  }

  finish(seconds) {
    this.seconds = seconds;
    this.verdict = this.found > 0 ? "failed" : this.unchecked.length > 0 ? "incomplete" : "verified";
  }

  // text is the report for people.
  text() {
    const held = Object.values(this.held).reduce((a, b) => a + b, 0);
    const lines = [
      this.origin,
      `  log        ${this.leaves} leaves, root ${this.root}`,
      `  counted    ${this.counted}, superseded ${this.superseded}, held ${held}, released ${this.released}, lapsed ${this.lapsed}`,
      `  corrected  numbers were lowered by ${this.movements} entries; ${this.open} holds are open`,
      `  snapshots  ${this.snapshots} in the log, the newest published is ${this.snapshot}`,
      `  compared   ${this.documents} documents of ${this.lines} lines, ${this.files} files; ${this.bytes} bytes in all`,
      `  key        ${this.key}`,
      ...this.witnesses.map((w) => `  witness    ${w}`),
      ...this.remarks.map((s) => `  note       ${s}`),
      ...this.unchecked.map((s) => `  UNCHECKED  ${s}`),
      ...this.findings.map((f) => `  WRONG      ${f.check}: ${f.where}: ${f.what}`),
    ];
    if (this.found > this.findings.length) lines.push(`  WRONG      and ${this.found - this.findings.length} more`);
    const took = this.seconds.toFixed(1);
    lines.push(
      {
        verified: `VERIFIED in ${took} s: what is published is what was signed and logged, to the byte.`,
        failed: `NOT VERIFIED: ${this.found} checks failed (${took} s).`,
        incomplete: `INCOMPLETE: nothing wrong was found, but not everything could be checked (${took} s).`,
      }[this.verdict],
    );
    return `${lines.join("\n")}\n`;
  }
}
