// The control "Prove these numbers" of a results page: what is proven is
// proof.js's, what the page shows is read here from the page itself.

import { prove, Wrong } from "./proof.js";
import { Website } from "./source.js";

const number = new Intl.NumberFormat("en-US");
const shownAs = (n) => number.format(n);
const sum = (counts) => counts.reduce((a, b) => a + b, 0);
const patience = 15_000; // for a snapshot with what a live page shows already
const pause = 1000;

const textOf = (el) => el?.textContent.trim();

// differences lists what an element shows otherwise than its line says.
export function differences(el, line) {
  const out = [];
  const hold = (what, cell, want) => {
    if (cell && textOf(cell) !== want) out.push(`${what} is shown as ${textOf(cell)}, the document says ${want}`);
  };
  hold("units reporting", el.querySelector("[data-r]"), shownAs(line.reporting));
  hold("units", el.querySelector("[data-n]"), shownAs(line.units));
  const lowered = line.corrections ?? 0;
  const told = el.querySelector("[data-c]");
  if (told) hold("how many corrections", told, `${shownAs(lowered)} ${lowered === 1 ? "correction" : "corrections"}`);
  else if (lowered > 0 && el.querySelector("[data-m]")) out.push(`corrections are not shown, the document says ${shownAs(lowered)}`);
  const row = (what, cells, counts) => {
    hold(`votes of ${what}`, cells.querySelector("[data-v]"), shownAs(sum(counts)));
    cells.querySelectorAll("[data-t]").forEach((cell, i) => hold(`votes of ${what}, count type ${i + 1}`, cell, shownAs(counts[i])));
  };
  for (const cells of el.querySelectorAll("[data-s]")) {
    const counts = line.votes[cells.dataset.s];
    if (counts) row(cells.dataset.s, cells, counts);
    else out.push(`${cells.dataset.s} is shown, and the document does not have it`);
  }
  for (const cells of el.querySelectorAll("[data-x]")) {
    const counts = line[cells.dataset.x];
    if (counts) row(cells.dataset.x, cells, counts);
    else out.push(`${cells.dataset.x} are shown, and the document does not have them`);
  }
  return out;
}

// keyOf chooses the key: the one that this browser remembers, or the first time the
// site's own.
async function keyOf(source, base, panel) {
  const config = JSON.parse(new TextDecoder().decode((await source.get("config.json")) ?? new Uint8Array()));
  if (typeof config.key !== "string") throw new Wrong("key", "config.json names no key");
  const name = `tallystream-key ${base}`;
  const remembered = recall(name);
  if (remembered === null) {
    keep(name, config.key);
    panel.step("key", "This is the first proof in this browser: the key is the one that this site itself names. Compare it with one from elsewhere, such as a newspaper: ", config.key);
  } else if (remembered !== config.key) {
    panel.shout(`The site names another key than when this browser first proved something here. The first one was ${remembered}, now it is ${config.key}. The proof goes on with the first one. Unless the authority announced a new key, do not believe this page.`, () => {
      keep(name, config.key);
    });
  } else {
    panel.step("key", "The key is the one that this browser remembers from its first proof here: ", config.key);
  }
  return remembered ?? config.key;
}

// A browser may forbid to keep anything; then each proof is the first.
function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name, key) {
  try {
    localStorage.setItem(name, key);
  } catch {
    // said above
  }
}

// Panel is where the steps are told.
class Panel {
  constructor(under) {
    this.el = document.createElement("section");
    this.el.className = "proof";
    this.el.setAttribute("aria-label", "Proof");
    this.verdict = document.createElement("p");
    this.verdict.className = "proof-verdict";
    this.verdict.setAttribute("role", "status");
    this.steps = document.createElement("ol");
    this.el.append(this.verdict, this.steps);
    under.after(this.el);
  }

  say(text, how = "") {
    this.verdict.textContent = text;
    this.el.dataset.proof = how;
  }

  clear() {
    this.steps.replaceChildren();
    this.warning?.remove();
  }

  // step tells one step, in the place of what was said of it before.
  step(name, text, code = "") {
    let item = [...this.steps.children].find((el) => el.dataset.step === name);
    if (!item) {
      item = document.createElement("li");
      item.dataset.step = name;
      this.steps.append(item);
    }
    item.replaceChildren(text);
    if (code) {
      const el = document.createElement("code");
      el.textContent = code;
      item.append(el);
    }
  }

  shout(text, accept) {
    this.warning = document.createElement("p");
    this.warning.className = "notice";
    this.warning.setAttribute("role", "alert");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "The new key was announced: remember it";
    button.addEventListener("click", () => {
      accept();
      this.warning.remove();
    });
    this.warning.append(text, " ", button);
    this.el.prepend(this.warning);
  }
}

// elements are those that show a line, by its name, "contest place".
function elements() {
  const out = new Map();
  for (const el of document.querySelectorAll("[data-line]")) out.set(el.dataset.line, [...(out.get(el.dataset.line) ?? []), el]);
  return out;
}

const documentsOf = () => (document.body.dataset.documents ?? "").split(" ").filter(Boolean);

// compare holds each part of the page against the snapshots that are proven, newest
// first: while a page is live, what it does not follow is of the page's own. It
// answers how many parts each has, and what is in none of them.
function compare(proofs) {
  const wrong = [];
  const parts = new Map(proofs.map((proof) => [proof, 0]));
  let shown = 0;
  for (const [name, list] of elements()) {
    for (const el of list) {
      shown++;
      const found = proofs.map((proof) => (proof.lines.has(name) ? differences(el, proof.lines.get(name)) : ["it is new to the page"]));
      const at = found.findIndex((f) => f.length === 0);
      if (at >= 0) parts.set(proofs[at], parts.get(proofs[at]) + 1);
      else wrong.push(`${name.replace(" ", " in ")}: ${found[0].join("; ")}`);
    }
  }
  return { shown, wrong, parts: [...parts].filter(([, n]) => n > 0) };
}

// snapshots are those whose numbers the page may show, one after the other: the
// newest, the page's own, and while time is left newer ones, since a page that is
// live is ahead of what is signed.
async function* snapshots() {
  const until = Date.now() + patience;
  yield 0;
  const own = Number(document.querySelector("[data-snapshot]")?.dataset.snapshot ?? 0);
  if (own > 0) yield own;
  while (Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    yield 0;
  }
}

let panel;

// start proves the page, and tells under the element how it went.
export async function start(under, base) {
  panel ??= new Panel(under);
  panel.clear();
  panel.say("Checking …", "running");
  try {
    await proveShown(base);
  } catch (err) {
    if (err instanceof Wrong) {
      panel.step(err.step, `WRONG: ${err.message}.`);
      panel.say(`Not proven: ${err.message}.`, "failed");
    } else {
      panel.say(`Nothing could be proven, and nothing is known: ${err.message}.`, "unknown");
    }
  }
}

async function proveShown(base) {
  // Past what the browser keeps: a proof of an old copy says nothing of now.
  const source = new Website(base, { cache: "no-cache" });
  const key = await keyOf(source, base, panel);
  const proofs = [];
  let found;
  for await (const number of snapshots()) {
    const steps = new Map();
    const done = (step, words) => {
      steps.set(step, words);
      if (proofs.length === 0) panel.step(step, words);
    };
    const proof = { ...(await prove({ source, key, number, documents: documentsOf(), wanted: [...elements().keys()], done })), steps };
    if (!proofs.some((p) => p.number === proof.number)) proofs.push(proof);
    proofs.sort((a, b) => b.number - a.number);
    found = compare(proofs);
    if (found.wrong.length === 0) break;
    panel.step("page", "The page shows other numbers than that snapshot; a live page is ahead of it. Waiting for the next one …");
  }
  conclude(base, proofs, found);
}

// conclude tells what holds for all that the page shows.
function conclude(base, proofs, { shown, wrong, parts }) {
  if (wrong.length > 0) throw new Wrong("page", `${wrong.length} of ${shown} parts of this page show other numbers than snapshot ${proofs[0].number}; the first is ${wrong[0]}`);
  const [[first, n], ...older] = parts;
  for (const [step, words] of first.steps) panel.step(step, words);
  const all = shown === 1 ? "the one part" : older.length > 0 ? `${n} of the ${shown} parts` : `all ${shown} parts`;
  panel.step("page", `Every count of votes, ballots, units and corrections in ${all} of this page is that of its line; shares are made of them.`);
  for (const [proof, m] of older) {
    panel.step(`older ${proof.number}`, `${m} parts do not change while the page is live: they are those of snapshot ${proof.number}, leaf ${proof.index}, of which the same was checked.`);
  }
  panel.step("limits", "This code came from the same site as the page. Who trusts neither asks the program of another: ", `tallystream verify ${base}`);
  const or = older.length > 0 ? `snapshots ${[first, ...older.map(([p]) => p)].map((p) => p.number).join(" and ")}` : `snapshot ${first.number}`;
  panel.say(`This page’s numbers are in ${or}, signed by ${first.signer}, in the log at leaf ${first.index} of ${first.size}.`, "proven");
}
