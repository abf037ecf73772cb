// Pauses: between the statement of one and that of its end no number moves.

import { parseNote, signedBy } from "./note.js";

// takePause takes in a statement that publication rests, or goes on: by a key
// that may sign snapshots, and never what is so already.
export async function takePause(v, index, leaf) {
  const wrong = (what) => v.find("pause", `leaf ${index}`, what);
  if (leaf.origin !== v.report.origin) wrong(`is of ${JSON.stringify(leaf.origin)}`);
  if (!(await signedByAny(leaf.record, v.auth.at(index).keys.snapshot))) {
    wrong("is not signed by a key that may sign it");
    return; // it takes no effect
  }
  const paused = leaf.kind === "pause";
  if (paused === Boolean(v.paused)) {
    wrong(`${leaf.kind} states what is so already`);
    return;
  }
  v.paused = paused;
  v.report.remark(`publication ${paused ? "was paused" : "went on"} at ${leaf.time} (leaf ${index}): ${leaf.reason}: ${leaf.text}`);
}

async function signedByAny(record, keys) {
  for (const key of keys) {
    try {
      if (await signedBy(parseNote(record), key)) return true;
    } catch {
      continue; // a line that claims to be the key's and is not
    }
  }
  return false;
}

// refuseMove is called for each entry: none may come while publication rests.
export function refuseMove(v, index) {
  if (v.paused) v.find("pause", `leaf ${index}`, "counts while publication is paused");
}
