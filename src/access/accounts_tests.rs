use argon2::PasswordHasher;

use super::*;
use crate::access::settings::{AccountConfig, CertificateConfig, TokenConfig};

fn hash(password: &str) -> String {
    // Cheap parameters: the test is of the flow, not of argon2.
    let params = argon2::Params::new(64, 1, 1, None).expect("good parameters");
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password_with_salt(password.as_bytes(), b"somesaltsomesalt").expect("hashed").to_string()
}

fn config() -> AccessConfig {
    AccessConfig {
        accounts: vec![AccountConfig {
            name: "ana".to_owned(),
            password_hash: hash("s3cret"),
            scram: None,
            roles: vec!["dev".to_owned()],
        }],
        tokens: vec![TokenConfig {
            name: "ci".to_owned(),
            token_sha256: String::new(),
            token: "t0ken".to_owned(),
            roles: Vec::new(),
        }],
        certificates: vec![CertificateConfig { common_name: "agent-1".to_owned(), roles: Vec::new() }],
        roles: [("dev".to_owned(), Vec::new())].into(),
        ..AccessConfig::default()
    }
}

#[tokio::test]
async fn callers_are_recognised_by_what_they_show() {
    let access = Access::new(&config(), Clock::system()).expect("good settings");
    let password = |name: &str, password: &str| Credentials::Password { name: name.into(), password: password.into() };
    let cases = [
        (password("ana", "s3cret"), Ok("ana")),
        (password("ana", "s3cret"), Ok("ana")),
        (password("ana", "wrong"), Err("wrong name or password")),
        (password("bob", "s3cret"), Err("wrong name or password")),
        (Credentials::Token("t0ken".into()), Ok("ci")),
        (Credentials::Token("other".into()), Err("wrong token")),
        (Credentials::Certificate { common_name: "agent-1".into() }, Ok("agent-1")),
        (Credentials::Certificate { common_name: "agent-2".into() }, Err("wrong certificate")),
        (Credentials::Nothing, Err("authentication required")),
    ];
    for (credentials, expected) in cases {
        match (access.authenticate(&credentials).await, expected) {
            (Ok(principal), Ok(name)) => assert_eq!(principal.name(), name),
            (Err(Denied::Unauthenticated(text)), Err(start)) => assert!(text.starts_with(start), "{text}"),
            (got, expected) => panic!("{credentials:?}: {got:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn an_open_server_takes_everybody() {
    let access = Access::off();
    assert!(!access.is_on());
    let somebody = access.authenticate(&Credentials::Token("x".to_owned())).await.expect("anybody");
    assert_eq!(somebody.name(), "anonymous");
}

#[test]
fn problems_are_named_with_their_place() {
    let mut config = config();
    config.accounts[0].roles.push("nope".to_owned());
    config.accounts[0].password_hash = "plain".to_owned();
    config.tokens[0].token_sha256 = "ab".to_owned();
    let problems = Access::new(&config, Clock::system()).expect_err("bad settings");
    let starts = ["access.accounts[0].roles: no role nope", "access.accounts[0].password_hash: ", "access.tokens[0]: "];
    assert_eq!(problems.len(), starts.len(), "{problems:?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn a_token_may_be_given_as_its_digest() {
    let digest = token_digest("t0ken", "").expect("a digest");
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(token_digest("", &hex), Ok(digest));
    assert!(token_digest("", &hex[1..]).is_err());
    assert!(token_digest("", "").is_err());
}
