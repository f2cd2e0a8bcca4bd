//! SCRAM-SHA-256 for callers who prove a password without showing it.
//!
//! ```text
//! client-first ─▶ begin ─▶ server-first (salt, iterations, nonce) ─▶ client-final ─▶ end ─▶ server-final
//! ```
//!
//! A verifier is written as Postgres writes it: `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`. It proves nothing to others
//! who steal it, but each guess at the password costs them only the iterations.
//! Source: RFC 5802, RFC 7677. Channels are not bound.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

/// The name of the mechanism.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// What Postgres does by default.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not 0");

const KEY_BYTES: usize = 32;

/// What a server keeps of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

/// An exchange that has begun.
pub struct Exchange {
    verifier: Verifier,
    binding: String,
    nonce: String,
    /// What both sides have said so far.
    said: String,
}

/// Why an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("a message that is not one of SCRAM-SHA-256")]
    Malformed,
    #[error("the channel cannot be bound here")]
    Binding,
    #[error("the password is wrong")]
    Wrong,
}

impl Verifier {
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(['$', ':']).collect();
        let [MECHANISM, iterations, salt, stored, server] = parts.as_slice() else {
            return Err(format!("written as {MECHANISM}$iterations:salt$StoredKey:ServerKey"));
        };
        let bytes = |name: &str, text: &str| STANDARD.decode(text).map_err(|_| format!("{name} is not base64"));
        let key = |name: &str, text: &str| {
            <[u8; KEY_BYTES]>::try_from(bytes(name, text)?).map_err(|_| format!("{name} has not {KEY_BYTES} bytes"))
        };
        Ok(Verifier {
            iterations: iterations.parse().map_err(|_| "iterations: a number above 0".to_owned())?,
            salt: bytes("salt", salt)?,
            stored_key: key("StoredKey", stored)?,
            server_key: key("ServerKey", server)?,
        })
    }

    /// Of a password; ASCII as it is, other texts should be normalised before (RFC 4013).
    pub fn of_password(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = [0; KEY_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: hash(&client_key),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// Answers a client's first message; `nonce` is one that nobody can guess, without commas.
    ///
    /// # Errors
    /// When it is none, or wants the channel to be bound.
    pub fn begin(&self, client_first: &[u8], nonce: &str) -> Result<(Exchange, String), ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (flag, name, bare) = (parts.next(), parts.next(), parts.next());
        let (Some(flag), Some(name), Some(bare)) = (flag, name, bare) else { return Err(ScramError::Malformed) };
        match flag {
            "n" | "y" => {}
            flag if flag.starts_with("p=") => return Err(ScramError::Binding),
            _ => return Err(ScramError::Malformed),
        }
        let theirs = value(bare, "r=").filter(|nonce| !nonce.is_empty()).ok_or(ScramError::Malformed)?;
        let nonce = format!("{theirs}{nonce}");
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&self.salt), self.iterations);
        let binding = STANDARD.encode(format!("{flag},{name},"));
        let said = format!("{bare},{server_first}");
        Ok((Exchange { verifier: self.clone(), binding, nonce, said }, server_first))
    }
}

impl Exchange {
    /// Checks a client's last message; the answer proves to it that this server knows the verifier.
    ///
    /// # Errors
    /// `Wrong` for a proof that is none.
    pub fn end(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        if value(without_proof, "c=") != Some(&self.binding) || value(without_proof, "r=") != Some(&self.nonce) {
            return Err(ScramError::Malformed);
        }
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        let proof = <[u8; KEY_BYTES]>::try_from(proof).map_err(|_| ScramError::Wrong)?;
        let said = format!("{},{without_proof}", self.said);
        let mut client_key = sign(&self.verifier.stored_key, said.as_bytes());
        client_key.iter_mut().zip(proof).for_each(|(signed, proven)| *signed ^= proven);
        if hash(&client_key) != self.verifier.stored_key {
            return Err(ScramError::Wrong);
        }
        Ok(format!("v={}", STANDARD.encode(sign(&self.verifier.server_key, said.as_bytes()))))
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|key| STANDARD.encode(key));
        write!(f, "{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Secrets are not for logs.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

fn value<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|attribute| attribute.strip_prefix(name))
}

fn sign(key: &[u8], text: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn hash(bytes: &[u8]) -> [u8; KEY_BYTES] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677: user `user`, password `pencil`.
    const CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const CLIENT_FINAL: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn verifier(password: &str) -> Verifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        Verifier::of_password(password, &salt, ITERATIONS)
    }

    #[test]
    fn the_example_of_the_rfc_is_let_in() {
        let (exchange, said) = verifier("pencil").begin(CLIENT_FIRST, NONCE).expect("a first message");
        assert_eq!(said, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let said = exchange.end(CLIENT_FINAL.as_bytes());
        assert_eq!(said.as_deref(), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn what_is_not_proven_is_refused() {
        let check = |password: &str, first: &[u8], last: &str, expected: ScramError| {
            let ended = verifier(password).begin(first, NONCE).and_then(|(exchange, _)| exchange.end(last.as_bytes()));
            assert_eq!(ended, Err(expected), "{last}");
        };
        check("pen", CLIENT_FIRST, CLIENT_FINAL, ScramError::Wrong);
        check("pencil", CLIENT_FIRST, &CLIENT_FINAL.replace("dHzb", "eHzb"), ScramError::Wrong);
        check("pencil", CLIENT_FIRST, &CLIENT_FINAL.replace("hvYD", "hvYE"), ScramError::Malformed);
        check("pencil", CLIENT_FIRST, &CLIENT_FINAL.replace("biws", "eSws"), ScramError::Malformed);
        check("pencil", b"p=tls-server-end-point,,n=user,r=x", CLIENT_FINAL, ScramError::Binding);
        check("pencil", b"n,,n=user", CLIENT_FINAL, ScramError::Malformed);
        check("pencil", CLIENT_FIRST, "c=biws", ScramError::Malformed);
    }

    #[test]
    fn verifiers_are_written_and_read_alike() {
        let written = verifier("pencil").to_string();
        assert!(written.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{written}");
        assert_eq!(Verifier::parse(&written).as_ref(), Ok(&verifier("pencil")));
        for bad in ["", "SCRAM-SHA-256$0:W22Z$AA==:AA==", "SCRAM-SHA-1$4096:a$b:c", "pencil"] {
            assert!(Verifier::parse(bad).is_err(), "{bad}");
        }
    }
}
