// Checks signatures by WebCrypto, with the key of a certificate.

import { concat, read } from "./der.js";
import { HASHES } from "./token.js";

// What this browser, or this page, cannot check.
export class Unsupported extends Error {}

const CURVES = { "1.2.840.10045.3.1.7": ["P-256", 32], "1.3.132.0.34": ["P-384", 48], "1.3.132.0.35": ["P-521", 66] };
const HASH_OF = {
  "1.2.840.113549.1.1.5": "SHA-1",
  "1.2.840.113549.1.1.11": "SHA-256",
  "1.2.840.113549.1.1.12": "SHA-384",
  "1.2.840.113549.1.1.13": "SHA-512",
  "1.2.840.10045.4.3.2": "SHA-256",
  "1.2.840.10045.4.3.3": "SHA-384",
  "1.2.840.10045.4.3.4": "SHA-512",
};
const RSA = "1.2.840.113549.1.1.1";
const RSA_PSS = "1.2.840.113549.1.1.10";
const EC = "1.2.840.10045.2.1";
const ED25519 = "1.3.101.112";

export function subtle() {
  if (!globalThis.crypto?.subtle) throw new Unsupported("browsers check signatures on pages with HTTPS only");
  return crypto.subtle;
}

// Says whether `signature` over `message` is by the key. `digestOid` is the hash where the algorithm names none.
export async function verify(key, algorithm, digestOid, signature, message) {
  const [type, parameters] = algorithm.children;
  const [keyType, curve] = key.children[0].children;
  const scheme = schemeOf(type.oid, parameters, keyType.oid, curve, digestOid);
  let bytes = signature;
  if (scheme.raw) bytes = rawEcdsa(signature, scheme.raw);
  if (!bytes) return false;
  const engine = subtle();
  let imported;
  try {
    imported = await engine.importKey("spki", key.raw, scheme.import, false, ["verify"]);
    return await engine.verify(scheme.verify, imported, bytes, message);
  } catch (error) {
    if (error.name === "NotSupportedError" || (error.name === "DataError" && scheme.rare)) throw new Unsupported(`this browser knows no ${scheme.label}`);
    throw error;
  }
}

function schemeOf(oid, parameters, keyOid, curve, digestOid) {
  const hash = HASH_OF[oid] ?? HASHES[digestOid];
  if (keyOid === EC && curve && CURVES[curve.oid]) {
    const [namedCurve, size] = CURVES[curve.oid];
    needHash(hash);
    return { import: { name: "ECDSA", namedCurve }, verify: { name: "ECDSA", hash }, raw: size, label: `ECDSA with ${namedCurve}`, rare: true };
  }
  if (keyOid === ED25519) return { import: { name: "Ed25519" }, verify: { name: "Ed25519" }, label: "Ed25519", rare: true };
  if (keyOid === RSA && oid === RSA_PSS) {
    const found = pssParameters(parameters);
    return { import: { name: "RSA-PSS", hash: found.hash }, verify: { name: "RSA-PSS", saltLength: found.salt }, label: "RSA-PSS", rare: true };
  }
  if (keyOid === RSA && (oid === RSA || HASH_OF[oid])) {
    needHash(hash);
    return { import: { name: "RSASSA-PKCS1-v1_5", hash }, verify: "RSASSA-PKCS1-v1_5", label: "RSA" };
  }
  throw new Unsupported(`this page cannot check the signature algorithm ${oid}`);
}

function needHash(hash) {
  if (!hash) throw new Unsupported("this page does not know the signature's hash");
}

function pssParameters(parameters) {
  const fields = new Map((parameters?.children ?? []).map((node) => [node.tag, node.children[0]]));
  const hash = fields.has(0xa0) ? HASHES[fields.get(0xa0).children[0].oid] : "SHA-1";
  needHash(hash);
  return { hash, salt: fields.has(0xa2) ? Number(fields.get(0xa2).integer) : 20 };
}

// r and s of fixed size, as WebCrypto wants them; null for what is no signature of that size.
function rawEcdsa(signature, size) {
  const parts = read(signature).as(0x30).children.map((node) => {
    let bytes = node.as(0x02).content;
    while (bytes.length > 1 && bytes[0] === 0) bytes = bytes.subarray(1);
    return bytes;
  });
  if (parts.length !== 2 || parts.some((part) => part.length > size)) return null;
  return concat(parts.map((part) => concat([new Uint8Array(size - part.length), part])));
}
