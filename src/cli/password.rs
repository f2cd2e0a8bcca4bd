//! `millrace password`: what to write into the settings for a password.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use argon2::{Argon2, PasswordHasher};
use clap::Args;

use crate::access::scram::{ITERATIONS, Verifier};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Also what the Postgres wire checks the password by without seeing it. It is cheaper to guess from, if stolen.
    #[arg(long)]
    scram: bool,
}

impl PasswordArgs {
    pub fn run(&self) -> ExitCode {
        match self.hash(&mut std::io::stdin().lock(), &mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "millrace: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn hash(&self, from: &mut impl BufRead, to: &mut impl Write) -> Result<(), AnyError> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let password = line.trim_end_matches(['\n', '\r']);
        if password.is_empty() {
            return Err("no password: give it as a line on standard input".into());
        }
        let salt = uuid::Uuid::new_v4();
        let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), salt.as_bytes());
        writeln!(to, "password_hash: '{}'", hash.map_err(|error| error.to_string())?)?;
        if self.scram {
            let salt = uuid::Uuid::new_v4();
            writeln!(to, "scram: '{}'", Verifier::of_password(password, salt.as_bytes(), ITERATIONS))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_becomes_settings() {
        let mut said = Vec::new();
        PasswordArgs { scram: true }.hash(&mut &b"s3cret\n"[..], &mut said).expect("hashed");
        let said = String::from_utf8(said).expect("text");
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("password_hash: '$argon2id$"), "{said}");
        let verifier = lines[1].trim_start_matches("scram: '").trim_end_matches('\'');
        assert!(Verifier::parse(verifier).is_ok(), "{said}");
        assert!(PasswordArgs { scram: false }.hash(&mut &b"\n"[..], &mut Vec::new()).is_err());
    }
}
