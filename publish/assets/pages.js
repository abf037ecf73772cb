// Puts newer numbers into a page that is right without this script. A line of
// a document names a contest and a place; every element with that pair in its
// data-line shows the line. live.js brings the lines and checks their hashes.

const body = document.body;
const root = new URL(body.dataset.root || "./", location.href);
const heartbeat = Number(body.dataset.heartbeat || 60) * 1000;
const pollEvery = 15000; // for latest, and for the page itself while not live
const pagesFollow = 6000; // pages are written some seconds after latest
const state = (name) => document.querySelector(`[data-state="${name}"]`);
const number = new Intl.NumberFormat("en-US");

// percent rounds like the publisher: one decimal, half up.
function percent(part, whole) {
  if (whole <= 0) return "–";
  const tenths = Math.floor((2000 * part + whole) / (2 * whole));
  return `${Math.floor(tenths / 10)}.${tenths % 10}%`;
}

const sum = (counts) => counts.reduce((a, b) => a + b, 0);

// quietly: what catches up with the past is not marked as a change.
let quietly = false;

function put(el, text) {
  if (!el || el.textContent === text) return;
  el.textContent = text;
  if (quietly) return;
  el.classList.remove("changed");
  requestAnimationFrame(() => el.classList.add("changed"));
}

let places = new Map(); // "contest place" -> elements

function collect() {
  places = new Map();
  for (const el of document.querySelectorAll("[data-line]")) {
    const list = places.get(el.dataset.line);
    if (list) list.push(el);
    else places.set(el.dataset.line, [el]);
  }
}

// show puts one line into every element that shows it.
function show(line) {
  for (const el of places.get(`${line.contest} ${line.unit}`) || []) {
    showReporting(el, line);
    showCorrections(el, line);
    showVotes(el, line);
    for (const name of ["undervotes", "overvotes"]) {
      const row = line[name] && el.querySelector(`[data-x="${name}"]`);
      if (row) showCounts(row, line[name]);
    }
  }
}

function showReporting(el, line) {
  put(el.querySelector("[data-r]"), number.format(line.reporting));
  put(el.querySelector("[data-n]"), number.format(line.units));
  put(el.querySelector("[data-q]"), percent(line.reporting, line.units));
  const bar = el.querySelector("[data-b]");
  if (bar) bar.value = line.reporting;
}

// showCorrections says that numbers of the line were lowered, and leads to why.
// Most never are: the link is made once there is something to say.
function showCorrections(el, line) {
  const many = line.corrections || 0;
  let link = el.querySelector("[data-c]");
  if (!link) {
    const at = el.querySelector("[data-m]");
    if (many === 0 || !at) return;
    link = document.createElement("a");
    link.className = "corrected";
    link.dataset.c = "";
    at.append(" ", link);
  }
  link.href = new URL(`corrections.html#at-${line.unit}`, root);
  put(link, `${number.format(many)} ${many === 1 ? "correction" : "corrections"}`);
}

function showVotes(el, line) {
  const totals = Object.fromEntries(Object.entries(line.votes).map(([id, counts]) => [id, sum(counts)]));
  const all = sum(Object.values(totals));
  const allowed = Number(el.dataset.allowed || 0);
  for (const row of el.querySelectorAll("[data-s]")) {
    const mine = totals[row.dataset.s];
    if (mine === undefined) continue;
    showCounts(row, line.votes[row.dataset.s]);
    put(row.querySelector("[data-p]"), percent(mine, all));
    const width = row.querySelector("[data-w]");
    if (width) width.setAttribute("width", all > 0 ? Math.round((100 * mine) / all) : 0);
    const above = Object.values(totals).filter((n) => n > mine).length;
    if (allowed > 0) showLead(row, mine > 0 && above < allowed);
  }
  const voters = el.querySelector("[data-g]");
  if (voters) put(el.querySelector("[data-o]"), percent(totals.ballots || 0, Number(voters.dataset.g)));
}

function showLead(row, leads) {
  row.classList.toggle("leads", leads);
  const head = row.querySelector("th");
  const badge = head && head.querySelector(".lead");
  if (leads && head && !badge) {
    const span = document.createElement("span");
    span.className = "lead";
    span.textContent = "leading";
    head.append(" ", span);
  } else if (!leads && badge) {
    badge.remove();
  }
}

function showCounts(row, counts) {
  put(row.querySelector("[data-v]"), number.format(sum(counts)));
  row.querySelectorAll("[data-t]").forEach((cell, i) => put(cell, number.format(counts[i] || 0)));
}

// What the page says of itself. Screen readers hear it: keep it calm.
let live = false;

function say(text) {
  const el = state("live");
  if (!el) return;
  if (el.textContent !== text) el.textContent = text;
  el.classList.toggle("is-live", live);
}

function warn(text) {
  const el = state("notice");
  if (!el) return;
  el.hidden = !text;
  if (el.textContent !== text) el.textContent = text;
}

// showPause says why publication rests, in the words of the signed statement,
// or that it goes on.
let pauseShown; // undefined: as the page was rendered

async function showPause(paused) {
  if (paused === pauseShown) return;
  pauseShown = paused;
  const el = state("pause");
  if (!el) return;
  if (!paused) {
    el.hidden = true;
    return;
  }
  if (el.hidden) el.textContent = "Publication is paused.";
  el.hidden = false;
  const answer = await fetch(new URL("pause", root), { cache: "no-cache" });
  if (!answer.ok) throw new Error(`pause: ${answer.status}`);
  const note = await answer.text();
  if (pauseShown !== paused || el !== state("pause")) return; // it ended meanwhile, or the page was renewed
  const part = (name) => (note.match(new RegExp(`^${name} (.+)$`, "m")) || [])[1] || "";
  const [at, text] = [part("time"), part("text")];
  if (!Date.parse(at) || !text) throw new Error("pause: not a statement");
  const since = document.createElement("time");
  since.dateTime = at;
  since.textContent = `${at.slice(0, 19).replace("T", " ")} UTC`; // as pages are rendered
  el.replaceChildren("Publication is paused since ", since, `: ${text}`);
}

// seen is the newest snapshot that the page followed. What a live page was loaded
// with is put right by its first lines; any other may be behind from the start.
let seen = body.dataset.documents ? "" : state("page")?.dataset.snapshot || "";

// watchLatest says so when nothing new was published for two heartbeats, and
// while not live takes over the page's newer edition. The server's clock
// counts, not the reader's.
async function watchLatest() {
  try {
    const answer = await fetch(new URL("latest", root), { cache: "no-cache" });
    if (!answer.ok) throw new Error(`latest: ${answer.status}`);
    const note = await answer.text();
    const snapshot = (note.match(/^number (\d+)$/m) || [])[1];
    const time = Date.parse((note.match(/^time (.+)$/m) || [])[1]);
    const now = Date.parse(answer.headers.get("Date")) || Date.now();
    if (now - time > 2 * heartbeat) {
      warn(`Nothing was published since: the last snapshot is number ${number.format(snapshot)} of ${new Date(time).toLocaleString()}. What is shown stays valid as of then.`);
    } else {
      warn("");
    }
    if (!live && seen && seen !== snapshot) {
      await renew();
      setTimeout(() => live || renew().catch(() => {}), pagesFollow);
    }
    seen = snapshot;
  } catch {
    warn("This page cannot reach its server; the numbers below may be out of date.");
  }
}

async function renew() {
  const answer = await fetch(location.href, { cache: "no-cache" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (!fresh || live) return; // live lines are newer
  const wanted = location.hash.slice(1);
  const missed = wanted && !document.getElementById(wanted);
  document.querySelector("main").replaceWith(fresh);
  if (missed) document.getElementById(wanted)?.scrollIntoView();
  const said = page.querySelector('[data-state="page"]');
  if (said) state("page").replaceWith(said);
  const paused = page.querySelector('[data-state="pause"]');
  if (paused && state("pause")) state("pause").replaceWith(paused);
  collect();
}

async function goLive() {
  const documents = (body.dataset.documents || "").split(" ").filter(Boolean);
  if (!body.dataset.live || documents.length === 0) return;
  const [{ follow }, config] = await Promise.all([
    import(new URL(body.dataset.live, root)),
    fetch(new URL("config.json", root)).then((answer) => answer.json()),
  ]);
  follow({
    live: config.live || "",
    bucket: root.href,
    documents,
    onLines(_document, lines, about) {
      quietly = about.whole;
      lines.forEach(show);
      quietly = false;
    },
    onState(now, about) {
      live = now === "live";
      if (live) showPause(about.paused).catch(() => { pauseShown = undefined; });
      if (live && about.paused) say("Live: numbers change again when publication goes on.");
      else if (live) say(about.checked ? "Live: numbers change as they come in, and each change is checked against its published hash." : "Live: numbers change as they come in.");
      else say(now === "waiting" ? "Connection lost, connecting again …" : "Connecting to live results …");
    },
  });
}

// offerProof puts a control on the page; its code is fetched when somebody wants
// it, or came by a link that ends in #prove.
function offerProof() {
  if (!body.dataset.prove || !document.querySelector("[data-line]")) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "prove";
  button.textContent = "Prove these numbers";
  const run = async () => {
    button.disabled = true;
    try {
      const { start } = await import(new URL(body.dataset.prove, root));
      await start(button, root.href);
    } catch {
      warn("The code that proves these numbers could not be fetched.");
    }
    button.disabled = false;
  };
  button.addEventListener("click", run);
  document.querySelector("header").append(button);
  if (location.hash === "#prove") run();
}

function filterLists() {
  for (const input of document.querySelectorAll("[data-filter]")) {
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const item of document.getElementById(input.dataset.filter).children) {
        item.hidden = !item.textContent.toLowerCase().includes(wanted);
      }
    });
  }
}

collect();
filterLists();
offerProof();
watchLatest();
setInterval(watchLatest, pollEvery);
goLive().catch(() => say("Live results are not available; this page renews itself."));
