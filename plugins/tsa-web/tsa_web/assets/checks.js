// The checks of a timestamp, each with a result: passed, failed, or unchecked with the reason why.

import { equal, hex, read } from "./der.js";
import { Sha256, sha256OfFile } from "./sha256.js";
import { Unsupported, subtle, verify } from "./signatures.js";
import { HASHES, OID, isNamed } from "./token.js";

const MAX_WHOLE_FILE = 512 * 1024 * 1024;

export const NOT_CHECKED = "Not checked here: whether a certificate was revoked, and the rules for certificate paths "
  + "beyond signatures, validity and the key's purpose. timestamp-cli verify checks them.";

// Hashes bytes; only SHA-256 is there on a page without HTTPS.
async function digest(name, bytes) {
  return name === "SHA-256" ? new Sha256().update(bytes).digest() : new Uint8Array(await subtle().digest(name, bytes));
}

// The hash of a file by the algorithm that a timestamp names.
export async function hashFile(file, oid, progress) {
  const name = HASHES[oid];
  if (!name) throw new Unsupported(`this page does not know the hash ${oid}`);
  if (name === "SHA-256") return sha256OfFile(file, progress);
  if (file.size > MAX_WHOLE_FILE) throw new Unsupported(`browsers hash files by ${name} up to 512 MB only`);
  return digest(name, new Uint8Array(await file.arrayBuffer()));
}

// Runs all checks of a token. `fileDigest` is the file's by the hash `fileHash`, an OID. Without a `nonce` there is no
// request to compare with; `chains` are null when they could not be fetched.
export async function runChecks(token, { fileDigest, fileHash, hashProblem, nonce, chains }) {
  const results = [];
  const check = async (name, work) => {
    try {
      const [passed, detail, digests] = await work();
      results.push({ name, result: passed ? "passed" : "failed", detail, digests });
    } catch (error) {
      if (error instanceof Unsupported) results.push({ name, result: "unchecked", detail: `${error.message}.` });
      else results.push({ name, result: "failed", detail: "It cannot be read." });
    }
  };
  const { tst, signer } = token;
  const label = HASHES[tst.hashOid] ?? tst.hashOid;

  await check("File", async () => {
    if (hashProblem) throw hashProblem;
    if (fileHash !== tst.hashOid) return [false, `It is about a ${label}, which nobody asked for.`];
    return equal(fileDigest, tst.digest)
      ? [true, `The file's ${label} is the one that was timestamped.`]
      : [false, `It is another file, or it has changed. The file's ${label}, and the one that was timestamped:`, [hex(fileDigest), hex(tst.digest)]];
  });
  if (nonce !== undefined) {
    await check("Request", async () => (tst.nonce === nonce
      ? [true, "It repeats the random number of the request."]
      : [false, "The random number of the request is missing, or another."]));
  }
  let certificate = null;
  let problem = null;
  try {
    certificate = await signerCertificate(token, chains);
  } catch (error) {
    problem = error;
  }
  const needCertificate = () => { if (problem) throw problem; };
  await check("Signed content", async () => {
    const attribute = signer.attributes.get(OID.messageDigest);
    const type = signer.attributes.get(OID.contentType);
    const name = HASHES[signer.digestOid];
    if (!attribute || !type || type.oid !== OID.tstInfo) return [false, "A signed attribute is missing or wrong."];
    if (!name) throw new Unsupported(`this page does not know the hash ${signer.digestOid}`);
    const same = equal(await digest(name, token.tstBytes), attribute.as(0x04).content);
    return [same, same ? "The signature is over this time and this hash." : "The signature is over something else."];
  });
  await check("Signature", async () => {
    needCertificate();
    if (!certificate) return [false, "The signer's certificate is neither in the timestamp nor among this authority's."];
    const right = await verify(certificate.key, signer.algorithm, signer.digestOid, signer.signature, signer.signed);
    return [right, right ? `By the key of ${certificate.name}.` : `It is not by the key of ${certificate.name}.`];
  });
  await check("Certificate", async () => {
    needCertificate();
    if (!certificate) return [false, "There is no certificate."];
    const usage = certificate.extensions.get(OID.extendedKeyUsage);
    const usages = usage ? read(usage.value).children.map((node) => node.oid) : [];
    if (!usage?.critical || usages.length !== 1 || usages[0] !== OID.timeStamping) return [false, "Its certificate is not for timestamps alone."];
    const at = tst.time.date;
    const valid = certificate.notBefore <= at && at <= certificate.notAfter;
    const until = certificate.notAfter.toISOString().slice(0, 10);
    return [valid, valid ? `Its certificate was valid then, until ${until}.` : "Its certificate was not valid at that time."];
  });
  await check("Root", async () => {
    needCertificate();
    return pathToRoot(certificate, tst.time.date, chains);
  });
  return { results, certificate };
}

// The certificate that the signature names and the signing-certificate attribute binds (RFC 5035); null without one.
async function signerCertificate(token, chains) {
  const { attributes, id } = token.signer;
  const second = attributes.get(OID.signingCertificateV2);
  const bound = second ?? attributes.get(OID.signingCertificate);
  if (!bound) return null;
  const fields = bound.as(0x30).children[0].as(0x30).children[0].as(0x30).children;
  let name = second ? "SHA-256" : "SHA-1";
  if (second && fields[0].tag === 0x30) name = HASHES[fields.shift().children[0].oid];
  const wanted = fields[0].as(0x04).content;
  if (!name) throw new Unsupported("this page does not know the hash that binds the certificate");
  for (const candidate of [...token.certificates, ...(chains ?? []).flat()]) {
    if (isNamed(candidate, id) && equal(await digest(name, candidate.bytes), wanted)) return candidate;
  }
  return null;
}

async function pathToRoot(certificate, time, chains) {
  if (!chains) throw new Unsupported("the authority's certificates could not be fetched");
  const chain = chains.find((each) => certificate && equal(each[0].bytes, certificate.bytes));
  if (!chain) return [false, "Another authority has signed it, or this one with a key that it no longer publishes."];
  const root = chain[chain.length - 1];
  for (let index = 0; index < chain.length; index++) {
    const issuer = chain[Math.min(index + 1, chain.length - 1)];
    const { name, algorithm, signature, tbs, notBefore, notAfter } = chain[index];
    if (!equal(chain[index].issuer.raw, issuer.subject.raw)) return [false, `${name} was not issued by ${issuer.name}.`];
    if (!(await verify(issuer.key, algorithm, null, signature, tbs))) return [false, `The signature on ${name} is wrong.`];
    if (time < notBefore || time > notAfter) return [false, `${name} was not valid at that time.`];
  }
  const fingerprint = hex(new Sha256().update(root.bytes).digest());
  return [true, `${root.name}. Compare its SHA-256 with what the operator has published elsewhere:`, [fingerprint]];
}
