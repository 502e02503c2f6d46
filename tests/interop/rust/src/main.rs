//! Timestamp verifiers written in Rust, on the tokens of a folder: one line of JSON for each verdict.
//!
//! The folder is described in tests/interop/case_folder.py. A verifier's own words are passed on as they are.

use std::error::Error;
use std::fs;
use std::path::Path;

use cryptographic_message_syntax::SignedData;
use cryptographic_message_syntax::asn1::rfc3161::TstInfo;
use sigstore_tsa::{TsaAuthority, verify_timestamp_for_authority};
use sigstore_types::{DerCertificate, SignatureBytes, TimestampToken};

type Verdict = Result<(), Box<dyn Error>>;

/// `artifact` is the name of a file in `folder`, `place` is the folder of one token.
type Client = fn(folder: &Path, place: &Path, artifact: &str) -> Verdict;

const CLIENTS: [(&str, Client); 2] = [("sigstore-rust", sigstore), ("cryptographic-message-syntax", cms)];

fn sigstore(folder: &Path, place: &Path, artifact: &str) -> Verdict {
    let certificate = |name: &str| fs::read(place.join(name)).map(DerCertificate::new);
    let authority = TsaAuthority::new(
        certificate("signer.der")?,
        vec![certificate("intermediate.der")?],
        certificate("root.der")?,
        None,
    );
    let token = TimestampToken::new(fs::read(place.join("reply.tsr"))?);
    let data = SignatureBytes::new(fs::read(folder.join(artifact))?);
    verify_timestamp_for_authority(&token, &data, &authority)?;
    Ok(())
}

/// The library checks signature and digests; the imprint is its caller's, and it follows no path to a root.
fn cms(folder: &Path, place: &Path, artifact: &str) -> Verdict {
    let signed = SignedData::parse_ber(&fs::read(place.join("token.der"))?)?;
    let content = signed.signed_content().ok_or("no content")?.to_vec();
    let info = bcder::decode::Constructed::decode(content.as_slice(), bcder::Mode::Der, TstInfo::take_from)?;
    let digest = fs::read(folder.join(format!("{artifact}.sha256")))?;
    if info.message_imprint.hashed_message.to_bytes() != digest {
        return Err("the imprint is of another artifact".into());
    }
    for signer in signed.signers() {
        signer.verify_message_digest_with_signed_data(&signed)?;
        signer.verify_signature_with_signed_data(&signed)?;
    }
    Ok(())
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for one in text.chars() {
        match one {
            '"' | '\\' => quoted.extend(['\\', one]),
            one if one < ' ' => quoted.push(' '),
            one => quoted.push(one),
        }
    }
    quoted + "\""
}

fn main() -> Verdict {
    let folder = std::env::args_os().nth(1).ok_or("usage: interop FOLDER")?;
    let folder = Path::new(&folder);
    for entry in fs::read_dir(folder)? {
        let place = entry?.path();
        if !place.join("reply.tsr").exists() {
            continue;
        }
        let key = place.file_name().ok_or("no name")?.to_string_lossy().into_owned();
        for (client, verify) in CLIENTS {
            for artifact in ["artifact", "other"] {
                let error = match verify(folder, &place, artifact) {
                    Ok(()) => "null".to_string(),
                    Err(error) => quote(&error.to_string()),
                };
                println!(
                    "{{\"client\":{},\"key\":{},\"artifact\":{},\"error\":{}}}",
                    quote(client), quote(&key), quote(artifact), error
                );
            }
        }
    }
    Ok(())
}
