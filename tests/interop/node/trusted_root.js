// Verifies a token as sigstore-js does, with the timestamp authorities of a TrustedRoot: ROOT.json REPLY ARTIFACT.
import { RFC3161Timestamp } from "@sigstore/core";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toTrustMaterial } from "@sigstore/verify";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { verifyRFC3161Timestamp } = createRequire(import.meta.url)("@sigstore/verify/dist/timestamp/tsa.js");
const [root, reply, artifact] = process.argv.slice(2).map((name) => readFileSync(name));
const { timestampAuthorities } = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(root)));
verifyRFC3161Timestamp(RFC3161Timestamp.parse(reply), artifact, timestampAuthorities);
console.log(timestampAuthorities.length);
