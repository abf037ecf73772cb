// Reads bundles in worker threads of node: decoding and signatures on all cores,
// the count in order. The same file is both ends.

import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { fileURLToPath } from "node:url";

import { useWebCrypto } from "./crypto.js";
import { openElection } from "./election.js";
import { openRoster } from "./roster.js";
import { InlineReader } from "./verify.js";

export class Workers {
  #threads = [];
  #waiting = new Map(); // id -> {resolve, reject}
  #next = 0;

  constructor(n, webcrypto) {
    for (let i = 0; i < n; i++) {
      const thread = new Worker(fileURLToPath(import.meta.url));
      thread.on("message", ({ id, answer, error }) => {
        const { resolve, reject } = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error) reject(new Error(error));
        else resolve(answer);
      });
      thread.on("error", (err) => {
        for (const { reject } of this.#waiting.values()) reject(err);
      });
      thread.postMessage({ id: -1, webcrypto: Boolean(webcrypto) });
      this.#threads.push(thread);
    }
  }

  // prepare does not wait: a thread takes its messages in order.
  async prepare(ringNumber, definition, roster, revoked) {
    for (const thread of this.#threads) thread.postMessage({ id: -1, ringNumber, definition, roster, revoked });
  }

  read(ringNumber, bytes, width) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#threads[id % this.#threads.length].postMessage({ id, ringNumber, bytes, width });
    return answer;
  }

  async close() {
    await Promise.all(this.#threads.map((t) => t.terminate()));
  }
}

if (!isMainThread && parentPort) {
  const reader = new InlineReader();
  let ready = Promise.resolve();
  const prepare = async ({ ringNumber, definition, roster, revoked }) => {
    const election = openElection(definition.bytes, definition.digest);
    await reader.prepare(ringNumber, null, null, null, { election, ring: await openRoster(roster.bytes, election, revoked) });
  };
  parentPort.on("message", (m) => {
    ready = ready.then(async () => {
      if (m.webcrypto !== undefined) {
        if (m.webcrypto) useWebCrypto();
      } else if (m.definition) {
        await prepare(m);
      } else {
        try {
          parentPort.postMessage({ id: m.id, answer: await reader.read(m.ringNumber, m.bytes, m.width) });
        } catch (err) {
          parentPort.postMessage({ id: m.id, error: err.message });
        }
      }
    });
  });
}
