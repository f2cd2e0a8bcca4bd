//! Hashes, in hexadecimal digits.

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;

use super::Function;
use super::Parameter::Text;

/// Promtail's: the salt goes before the text.
pub(super) static PROMTAIL: &[Function] = &[
    Function::text("Hash", &[Text, Text], |call, out| {
        push_hash::<Sha3_256>(&[call.bytes(0), call.bytes(1)], out);
        Ok(())
    }),
    Function::text("Sha2Hash", &[Text, Text], |call, out| {
        push_hash::<Sha256>(&[call.bytes(0), call.bytes(1)], out);
        Ok(())
    }),
];

pub(super) static SPRIG: &[Function] = &[
    Function::text("sha1sum", &[Text], |call, out| {
        push_hash::<Sha1>(&[call.bytes(0)], out);
        Ok(())
    }),
    Function::text("sha256sum", &[Text], |call, out| {
        push_hash::<Sha256>(&[call.bytes(0)], out);
        Ok(())
    }),
    Function::text("sha512sum", &[Text], |call, out| {
        push_hash::<Sha512>(&[call.bytes(0)], out);
        Ok(())
    }),
    Function::text("adler32sum", &[Text], |call, out| {
        out.extend_from_slice(adler32(call.bytes(0)).to_string().as_bytes());
        Ok(())
    }),
];

fn push_hash<D: Digest>(parts: &[&[u8]], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut hash = D::new();
    parts.iter().for_each(|part| hash.update(part));
    for byte in hash.finalize() {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1, 0);
    for byte in bytes {
        a = (a + u32::from(*byte)) % MODULUS;
        b = (b + a) % MODULUS;
    }
    b << 16 | a
}
