//! What a token says, for how long, and what is no token of ours.

use proptest::prelude::*;

use super::*;
use crate::seams::{OsRandom, TestClock};
use crate::stores::secrets::{KeyStore, Place, WhenMissing};

const NOW: u64 = 1_795_000_000;
const JOE: Id = Id::from_bytes([1; 16]);

struct Bench {
    tokens: Tokens,
    clock: Arc<TestClock>,
    store: KeyStore,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(&folder.path().join("k"));
        let store = KeyStore::open(place, Arc::new(OsRandom), WhenMissing::Make).unwrap();
        let clock = Arc::new(TestClock::default());
        clock.set(NOW * 1000);
        let seam: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
        let tokens = Tokens::new(&store.derive(PURPOSE), Lifetimes::default(), seam);
        Self { tokens, clock, store, _folder: folder }
    }

    fn issue(&self, grant: Grant) -> Secret {
        self.tokens.issue(joe(), grant).unwrap().token
    }

    fn at(&self, seconds: u64) {
        self.clock.set(seconds * 1000);
    }

    /// A token with this header and body and a right signature.
    fn signed(&self, header: &str, body: &str) -> Secret {
        let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        let signed = format!("{}.{}", encode(header), encode(body));
        let derived = self.store.derive(PURPOSE);
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.iter().next().unwrap().1);
        let tag = Base64UrlUnpadded::encode_string(hmac::sign(&key, signed.as_bytes()).as_ref());
        Secret::from(format!("{signed}.{tag}"))
    }
}

fn joe() -> Bearer {
    Bearer { user: Some(JOE), access_key: Some("AK".into()), password_at: 7 }
}

fn pull() -> Grant {
    let access = Access { kind: "repository".into(), name: "acme/web".into(), actions: vec!["pull".into()] };
    Grant::Registry(vec![access])
}

#[test]
fn a_token_says_what_was_put_into_it_until_it_expires_and_whose_it_was_after() {
    let bench = Bench::new();
    let grants = [
        (pull(), 900),
        (Grant::Registry(vec![]), 900),
        (Grant::Api { project: Id::from_bytes([2; 16]) }, 86_400),
        (Grant::Login, 86_400),
    ];
    for (grant, lasts) in grants {
        bench.at(NOW);
        let Issued { token, issued_at, expires_in } = bench.tokens.issue(joe(), grant.clone()).unwrap();
        assert_eq!((issued_at, expires_in), (NOW, lasts));
        let audience = grant.audience();
        let claims = Claims { bearer: joe(), grant, issued_at: NOW, expires_at: NOW + lasts };
        for at in [NOW - LEEWAY_S, NOW, NOW + lasts - 1] {
            bench.at(at);
            assert_eq!(bench.tokens.verify(&token, audience), Verdict::Valid(claims.clone()), "{at}");
        }
        for at in [NOW + lasts, NOW * 2] {
            bench.at(at);
            assert_eq!(bench.tokens.verify(&token, audience), Verdict::Expired(claims.clone()), "{at}");
        }
        bench.at(NOW - LEEWAY_S - 1);
        assert_eq!(bench.tokens.verify(&token, audience), Verdict::Invalid, "from the future");
    }
}

#[test]
fn a_token_is_a_jwt_that_clients_can_read() {
    let token = Bench::new().issue(pull());
    let parts: Vec<&str> = token.expose_text().unwrap().split('.').collect();
    let read = |part: &str| -> serde_json::Value {
        serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).unwrap()).unwrap()
    };
    assert_eq!(read(parts[0]), serde_json::json!({"alg": "HS256", "typ": "JWT", "kid": "1"}));
    let expected = serde_json::json!({
        "iss": "pierhead", "aud": "registry", "sub": "01010101010101010101010101010101",
        "iat": NOW, "nbf": NOW, "exp": NOW + 900, "access_key": "AK", "password_at": 7,
        "access": [{"type": "repository", "name": "acme/web", "actions": ["pull"]}],
    });
    assert_eq!(read(parts[1]), expected);
}

#[test]
fn what_is_not_ours_or_not_for_this_is_invalid() {
    let bench = Bench::new();
    let header = r#"{"alg":"HS256","typ":"JWT","kid":"1"}"#;
    let body = |aud: &str, more: &str| {
        format!(
            r#"{{"iss":"pierhead","aud":"{aud}","iat":{NOW},"nbf":{NOW},"exp":{},"password_at":0{more}}}"#,
            NOW + 60
        )
    };
    let anonymous = body("registry", r#","access":[]"#);
    let good = bench.signed(header, &anonymous);
    assert!(matches!(bench.tokens.verify(&good, Audience::Registry), Verdict::Valid(_)), "the stage is set");
    let long = anonymous.replace(&(NOW + 60).to_string(), &(NOW + 90_000).to_string());
    let backwards = anonymous.replace(&(NOW + 60).to_string(), &(NOW - 60).to_string());
    let text = good.expose_text().unwrap();
    let (signed, _) = text.rsplit_once('.').unwrap();
    let cases = [
        ("no algorithm", bench.signed(r#"{"alg":"none","typ":"JWT","kid":"1"}"#, &anonymous)),
        ("another algorithm", bench.signed(r#"{"alg":"HS384","typ":"JWT","kid":"1"}"#, &anonymous)),
        ("another key", bench.signed(r#"{"alg":"HS256","typ":"JWT","kid":"2"}"#, &anonymous)),
        ("another key of that number", Bench::new().signed(header, &anonymous)),
        ("another issuer", bench.signed(header, &anonymous.replace("pierhead", "somebody"))),
        ("for the API", bench.signed(header, &body("api", ""))),
        ("anonymous, for the API", bench.signed(header, &body("api", &format!(r#","project":"{JOE}""#)))),
        ("no access", bench.signed(header, &body("registry", ""))),
        ("an unknown field", bench.signed(header, &body("registry", r#","access":[],"admin":true"#))),
        ("longer than any", bench.signed(header, &long)),
        ("over before it began", bench.signed(header, &backwards)),
        ("no signature", Secret::from(format!("{signed}."))),
        ("no parts", Secret::from("abc".to_owned())),
        ("padded", Secret::from(format!("{text}="))),
        ("too long", Secret::from(format!("{}{text}", "a".repeat(MAX_LEN)))),
    ];
    for (name, token) in cases {
        for audience in [Audience::Registry, Audience::Api, Audience::Login] {
            assert_eq!(bench.tokens.verify(&token, audience), Verdict::Invalid, "{name}, {audience:?}");
        }
    }
    assert_eq!(bench.tokens.verify(&good, Audience::Api), Verdict::Invalid);
    for at in 0..text.len() {
        let mut changed = text.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let verdict = bench.tokens.verify(&Secret::new(changed), Audience::Registry);
        assert_eq!(verdict, Verdict::Invalid, "character {at}");
    }
}

#[test]
fn a_rotation_ends_old_tokens_when_it_is_finished_and_not_before() {
    let bench = Bench::new();
    let worth = |token: &Secret| matches!(bench.tokens.verify(token, Audience::Registry), Verdict::Valid(_));
    let old = bench.issue(pull());
    bench.store.begin_rotation().unwrap();
    bench.tokens.rekey(&bench.store.derive(PURPOSE));
    let new = bench.issue(pull());
    assert!(worth(&old) && worth(&new));
    bench.store.finish_rotation().unwrap();
    bench.tokens.rekey(&bench.store.derive(PURPOSE));
    assert!(!worth(&old) && worth(&new));
}

#[test]
fn lifetimes_stay_within_what_clients_understand() {
    let lifetimes =
        Lifetimes { registry: Duration::ZERO, api: Duration::MAX, login: Duration::from_secs(3600) };
    assert_eq!(
        [Audience::Registry, Audience::Api, Audience::Login].map(|audience| lifetimes.seconds(audience)),
        [60, 86_400, 3600]
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), body in ".{0,100}") {
        let bench = Bench::new();
        for token in [Secret::new(bytes), bench.signed(r#"{"alg":"HS256","typ":"JWT","kid":"1"}"#, &body)] {
            prop_assert_eq!(bench.tokens.verify(&token, Audience::Registry), Verdict::Invalid);
        }
    }
}
