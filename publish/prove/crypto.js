// SHA-256 and Ed25519, by WebCrypto. Where node's own module is at hand it
// does the same without a promise for each hash; useWebCrypto goes the
// browsers' way there too, which the tests do.

import { concat, hex } from "./bytes.js";

const native = globalThis.process?.versions?.node ? await import("node:crypto") : null;
let quick = native;

// useWebCrypto turns node's own module off.
export function useWebCrypto() {
  quick = null;
}

// subtle is there in secure contexts only: https, or this machine.
function subtle() {
  const s = globalThis.crypto?.subtle;
  if (!s) throw new Error("this browser offers no WebCrypto here: the page must come over https");
  return s;
}

// sha256 hashes the parts, one behind the other. Await it: with node's module it
// is the hash, else a promise of it.
export function sha256(...parts) {
  if (quick) {
    const h = quick.createHash("sha256");
    for (const p of parts) h.update(p);
    return new Uint8Array(h.digest());
  }
  return subtle()
    .digest("SHA-256", parts.length === 1 ? parts[0] : concat(...parts))
    .then((b) => new Uint8Array(b));
}

export const digest = async (bytes) => hex(await sha256(bytes));

const spki = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

// verifier makes a function (message, signature) -> boolean or a promise of one,
// for a raw public key of Ed25519.
export function verifier(publicKey) {
  let nodeKey, webKey;
  return (message, signature) => {
    if (signature.length !== 64) return false;
    if (quick) {
      nodeKey ??= quick.createPublicKey({ key: concat(spki, publicKey), format: "der", type: "spki" });
      return quick.verify(null, message, nodeKey, signature);
    }
    webKey ??= subtle()
      .importKey("raw", publicKey, "Ed25519", false, ["verify"])
      .catch((err) => {
        throw new Error(`this browser cannot check Ed25519 signatures: ${err.message}`);
      });
    return webKey.then((key) => subtle().verify("Ed25519", key, signature, message));
  };
}
