#!/usr/bin/env node
// node publish/prove/cli.mjs URL|DIR: the same checks as `tallystream verify`, by
// the code that the results pages prove themselves with.

import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

import { useWebCrypto } from "./crypto.js";
import { Directory } from "./directory.mjs";
import { openKey } from "./note.js";
import { parsePolicy } from "./policy.js";
import { Website } from "./source.js";
import { verify } from "./verify.js";
import { Workers } from "./workers.mjs";

const help = `Usage: node publish/prove/cli.mjs <url|dir> [flags]

Checks an election's results from public files alone, by code that shares nothing
with the publisher's: signatures, the log's tree, every decision, the chain of
snapshots, and every document and table, byte for byte.

      --key=NAME+HASH+KEY   Verifier key that the checkpoint must be signed by.
                            Empty: the one in config.json, with a warning.
      --policy=FILE         C2SP tlog-policy: which witnesses must have cosigned.
      --all                 Compare the documents and files of every snapshot, not
                            of the newest only.
      --json                Print the report as JSON.
  -q, --quiet               Show no progress.
      --workers=N           Threads that read leaves, 0 for none beside the main
                            one; else one a core, for a log of 20,000 leaves.
      --webcrypto           Hash and verify by WebCrypto, as browsers do.
  -h, --help                Show this page.

Exit status: 0 if everything is verified, 1 if a check failed, 2 for bad flags, 3
if something could not be read or not everything could be checked, 130 after
Ctrl-C.

Example:

  node publish/prove/cli.mjs https://results.example.org/ --key 'results.example.org/2026+c0ffee00+AZ...'
`;

const flags = {
  key: { type: "string", default: "" }, policy: { type: "string" }, all: { type: "boolean" }, json: { type: "boolean" },
  quiet: { type: "boolean", short: "q" }, workers: { type: "string" }, webcrypto: { type: "boolean" },
  help: { type: "boolean", short: "h" },
};

// worthThreads is from how many leaves on threads are worth their beginning.
const worthThreads = 20_000;

class Usage extends Error {}

// options reads the flags and what they name.
async function options() {
  let parsed;
  try {
    parsed = parseArgs({ options: flags, allowPositionals: true });
  } catch (err) {
    throw new Usage(err.message);
  }
  const { values, positionals } = parsed;
  if (values.help) return { values };
  if (positionals.length !== 1) throw new Usage("want one URL or directory (--help)");
  if (!/^\d{0,3}$/.test(values.workers ?? "")) throw new Usage("--workers: want a number");
  try {
    if (values.key) await openKey(values.key);
    const policy = values.policy ? await parsePolicy(await readFile(values.policy)) : null;
    return { values, policy, source: await open(positionals[0]) };
  } catch (err) {
    throw new Usage(err.message);
  }
}

async function open(location) {
  if (!location.includes("://")) return Directory.open(location);
  const url = new URL(location);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error(`${location}: want a directory or a URL of http or https`);
  return new Website(location);
}

// shower shows progress on stderr: on a terminal in place, else each tenth.
function shower() {
  const begun = performance.now();
  let [last, tenth] = [0, 0];
  return (leaves, of) => {
    const now = performance.now();
    const line = `${leaves} of ${of} leaves, ${((now - begun) / 1000).toFixed(0)} s`;
    if (process.stderr.isTTY) {
      if (now - last < 100 && leaves < of) return;
      last = now;
      process.stderr.write(`\r\u001b[K${line}${leaves === of ? "\n" : ""}`);
    } else if (Math.floor((10 * leaves) / of) > tenth) {
      tenth = Math.floor((10 * leaves) / of);
      process.stderr.write(`${line}\n`);
    }
  };
}

async function run() {
  const { values, policy, source } = await options();
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  if (values.webcrypto) useWebCrypto();
  const readers = (leaves) => {
    const workers = values.workers ? Number(values.workers) : leaves < worthThreads ? 0 : availableParallelism();
    return workers > 0 ? new Workers(workers, values.webcrypto) : null;
  };
  const report = await verify({ source, key: values.key, policy, all: values.all, readers, progress: values.quiet ? null : shower() });
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : report.text());
  return { verified: 0, failed: 1, incomplete: 3 }[report.verdict];
}

process.on("SIGINT", () => process.exit(130));
try {
  process.exitCode = await run();
} catch (err) {
  process.stderr.write(`prove: ${err.message}\n`);
  process.exitCode = err instanceof Usage ? 2 : 3;
}
