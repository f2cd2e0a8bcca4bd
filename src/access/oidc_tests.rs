use jsonwebtoken::{EncodingKey, Header, encode};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const NOW_S: i64 = 1_768_480_000;

/// A key pair of an issuer: the private key, and its public half as the issuer publishes it.
struct Keys {
    private: EncodingKey,
    public: Value,
}

fn keys(id: &str) -> Keys {
    let random = ring::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
    let point = pair.public_key().as_ref();
    let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
        "x": coordinate(&point[1..33]), "y": coordinate(&point[33..65])});
    Keys { private: EncodingKey::from_ec_der(pkcs8.as_ref()), public }
}

fn token(keys: &Keys, id: &str, claims: &Value) -> String {
    let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::ES256) };
    encode(&header, claims, &keys.private).expect("a token")
}

fn claims() -> Value {
    json!({"iss": "https://issuer", "aud": "millrace", "sub": "ana", "exp": NOW_S + 60, "groups": ["devs", "others"],
        "realm": {"roles": ["devs"]}})
}

fn issuer(jwks_url: String, clock: Clock) -> Issuer {
    let config = OidcConfig {
        issuer: "https://issuer".to_owned(),
        audience: "millrace".to_owned(),
        jwks_url,
        name_claim: "sub".to_owned(),
        groups_claim: "groups".to_owned(),
        roles: Vec::new(),
        roles_of_groups: BTreeMap::new(),
    };
    let role = Arc::new(Role { name: "developer".to_owned(), grants: Vec::new() });
    Issuer::new(config, Vec::new(), [("devs".to_owned(), vec![role])].into(), clock)
}

/// A server of key sets: each request gets what is in `published` then. Counts requests.
async fn publish(published: Arc<RwLock<Option<Value>>>) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let set = published.read().clone();
            let (status, body) = match set {
                Some(set) => ("200 OK", set.to_string()),
                None => ("503 Service Unavailable", String::new()),
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, asked)
}

#[tokio::test]
async fn tokens_are_taken_by_signature_audience_and_time() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (ours, theirs) = (keys("k1"), keys("k1"));
    let published = Arc::new(RwLock::new(Some(json!({"keys": [{"kty": "unheard-of"}, ours.public]}))));
    let (url, _) = publish(published).await;
    let clock = Clock::manual(UnixNanos(NOW_S * 1_000_000_000));
    let issuer = issuer(url, clock);
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let ana = issuer.verify(&token(&ours, "k1", &claims())).await.expect("good");
    assert_eq!((ana.name(), ana.role_names().collect::<Vec<_>>()), ("ana", vec!["developer"]));
    let refused = [
        (token(&theirs, "k1", &claims()), "InvalidSignature"),
        (token(&ours, "k2", &claims()), "not among those"),
        (token(&ours, "k1", &with("aud", json!("other"))), "InvalidAudience"),
        (token(&ours, "k1", &with("iss", json!("https://other"))), "InvalidIssuer"),
        (token(&ours, "k1", &with("exp", json!(NOW_S - 61))), "expired"),
        (token(&ours, "k1", &with("nbf", json!(NOW_S + 61))), "not valid yet"),
        (token(&ours, "k1", &with("sub", json!(null))), "no claim sub"),
        ("a.b.c".to_owned(), "not a JSON Web Token"),
    ];
    for (token, why) in refused {
        let text = issuer.verify(&token).await.expect_err(why).to_string();
        assert!(text.contains(why), "{text}, not {why}");
    }
    // A public key is no shared secret.
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let forged = encode(&header, &claims(), &EncodingKey::from_secret(ours.public.to_string().as_bytes()));
    assert!(issuer.verify(&forged.expect("a token")).await.is_err());
    assert!(issuer.issued(&token(&ours, "k1", &claims())));
    assert!(!issuer.issued("not.a.token") && !issuer.issued("t0ken"));
}

#[tokio::test]
async fn keys_are_fetched_again_when_they_change_and_kept_when_the_issuer_is_away() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (first, second) = (keys("k1"), keys("k2"));
    let published = Arc::new(RwLock::new(Some(json!({"keys": [first.public]}))));
    let (url, asked) = publish(published.clone()).await;
    let clock = Clock::manual(UnixNanos(NOW_S * 1_000_000_000));
    let issuer = issuer(url, clock.clone());
    let later = |seconds: i64| clock.set(UnixNanos((NOW_S + seconds) * 1_000_000_000));
    let fetches = || asked.load(std::sync::atomic::Ordering::SeqCst);
    let mut claims = claims();
    claims["exp"] = json!(NOW_S + 100_000);
    let (of_first, of_second) = (token(&first, "k1", &claims), token(&second, "k2", &claims));
    assert!(issuer.verify(&of_first).await.is_ok() && issuer.verify(&of_first).await.is_ok());
    assert_eq!(fetches(), 1);
    *published.write() = Some(json!({"keys": [first.public, second.public]}));
    assert!(issuer.verify(&of_second).await.is_err(), "asked again too soon");
    assert_eq!(fetches(), 1);
    later(11);
    assert!(issuer.verify(&of_second).await.is_ok());
    assert_eq!(fetches(), 2);
    *published.write() = None;
    later(4000);
    assert!(issuer.verify(&of_first).await.is_ok(), "the issuer is away");
    assert_eq!(fetches(), 3);
}

#[test]
fn claims_are_found_by_path() {
    assert_eq!(claim(&claims(), "realm.roles"), Some(&json!(["devs"])));
    assert_eq!(claim(&json!({"a.b": 1, "a": {"b": 2}}), "a.b"), Some(&json!(1)));
    assert_eq!(claim(&claims(), "no.such"), None);
}
