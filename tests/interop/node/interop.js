// Timestamp verifiers written in JavaScript, on the tokens of a folder: one line of JSON for each verdict.
//
// The folder is described in tests/interop/case_folder.py. A verifier's own words are passed on as they are.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import * as pkijs from "pkijs";

const require = createRequire(import.meta.url);

// The function is exported only as a part of the verification of a whole bundle.
function sigstore(core, verify) {
  const { RFC3161Timestamp, X509Certificate } = require(core);
  const { verifyRFC3161Timestamp } = require(`${verify}/dist/timestamp/tsa.js`);
  return async (token, artifact) => {
    const certChain = [token.signer, token.intermediate, token.root].map((der) => X509Certificate.parse(der));
    const validFor = { start: certChain[0].notBefore, end: certChain[0].notAfter };
    verifyRFC3161Timestamp(RFC3161Timestamp.parse(token.reply), artifact, [{ certChain, validFor }]);
  };
}

async function pki(token, artifact) {
  const response = pkijs.TimeStampResp.fromBER(token.reply);
  const trusted = (der) => pkijs.Certificate.fromBER(der);
  const good = await response.verify({ signer: 0, trustedCerts: [trusted(token.root)], data: new Uint8Array(artifact).buffer });
  if (good !== true) throw new Error(`verify returned ${good}`);
}

const clients = {
  "sigstore-js": sigstore("@sigstore/core", "@sigstore/verify"),
  "sigstore-js-1": sigstore("sigstore-core-1", "sigstore-verify-1"),
  pkijs: pki,
};

const folder = process.argv[2];
for (const key of readdirSync(folder)) {
  const read = (name) => readFileSync(join(folder, key, name));
  if (!existsSync(join(folder, key, "reply.tsr"))) continue;
  const token = {
    reply: read("reply.tsr"),
    signer: read("signer.der"),
    intermediate: read("intermediate.der"),
    root: read("root.der"),
  };
  for (const [client, verify] of Object.entries(clients)) {
    for (const artifact of ["artifact", "other"]) {
      let error = null;
      try {
        await verify(token, readFileSync(join(folder, artifact)));
      } catch (caught) {
        error = String(caught?.message ?? caught) || "an error without a text";
      }
      console.log(JSON.stringify({ client, key, artifact, error }));
    }
  }
}
