//! Hashes, turns and memory of passwords.

use super::*;
use crate::seams::{OsRandom, TestClock};

/// Cheap hashes: what is tested is not argon2.
fn settings() -> Settings {
    Settings { memory_kib: 64, passes: 1, ..Settings::default() }
}

fn passwords(settings: Settings) -> (Passwords, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let passwords = Passwords::new(settings, Arc::new(OsRandom), Arc::<TestClock>::clone(&clock)).unwrap();
    (passwords, clock)
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

const JOE: Id = Id::from_bytes([1; 16]);

#[tokio::test]
async fn the_default_hash_is_argon2id_of_19_mib_and_two_passes() {
    let (passwords, _) = passwords(Settings::default());
    let hash = passwords.hash(&secret("correct horse")).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(hash != passwords.hash(&secret("correct horse")).await.unwrap(), "salted");
    assert!(passwords.verify(Some((JOE, &hash)), &secret("correct horse")).await.unwrap());
    assert!(!passwords.verify(Some((JOE, &hash)), &secret("correct horsf")).await.unwrap());
}

#[tokio::test]
async fn only_the_right_password_of_somebody_who_has_one_is_right() {
    let (passwords, _) = passwords(settings());
    let hash = passwords.hash(&secret("right")).await.unwrap();
    let greedy =
        "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ";
    let other_costs = {
        let costly = self::passwords(Settings { memory_kib: 128, ..settings() }).0;
        costly.hash(&secret("right")).await.unwrap()
    };
    let cases = [
        ("right", Some((JOE, hash.as_str())), "right", true),
        ("wrong", Some((JOE, &hash)), "wrong", false),
        ("empty", Some((JOE, &hash)), "", false),
        ("nobody", None, "right", false),
        ("made with other costs", Some((JOE, &other_costs)), "right", true),
        ("a hash that is none", Some((JOE, "right")), "right", false),
        ("a hash that asks for 4 GiB", Some((JOE, greedy)), "right", false),
    ];
    for (name, stored, given, right) in cases {
        assert_eq!(passwords.verify(stored, &secret(given)).await.unwrap(), right, "{name}");
    }
}

/// With all places taken only an answer that is remembered comes.
async fn is_remembered(passwords: &Passwords, hash: &str, password: &str) -> bool {
    let all = passwords.running.acquire_many(2).await.unwrap();
    let answer = passwords.verify(Some((JOE, hash)), &secret(password)).await;
    drop(all);
    answer.unwrap_or(false)
}

#[tokio::test]
async fn a_right_password_is_remembered_until_it_is_changed_forgotten_or_old() {
    let (passwords, clock) = passwords(Settings { waiting: 0, ..settings() });
    let hash = passwords.hash(&secret("right")).await.unwrap();
    let check = async |password: &str| passwords.verify(Some((JOE, &hash)), &secret(password)).await.unwrap();
    assert!(!is_remembered(&passwords, &hash, "right").await);
    assert!(check("right").await && is_remembered(&passwords, &hash, "right").await);
    assert!(!check("wrong").await && !is_remembered(&passwords, &hash, "wrong").await);
    clock.set(299_999);
    assert!(is_remembered(&passwords, &hash, "right").await);
    clock.set(300_000);
    assert!(!is_remembered(&passwords, &hash, "right").await);
    assert!(check("right").await && is_remembered(&passwords, &hash, "right").await);
    passwords.forget(JOE);
    assert!(!is_remembered(&passwords, &hash, "right").await);
    assert!(check("right").await);
    let changed = passwords.hash(&secret("other")).await.unwrap();
    assert!(!is_remembered(&passwords, &changed, "right").await);
}

#[tokio::test]
async fn checks_beyond_those_that_run_and_wait_are_told_that_it_is_busy() {
    let (passwords, _) = passwords(Settings { at_once: 1, waiting: 1, ..settings() });
    let hash = passwords.hash(&secret("right")).await.unwrap();
    let passwords = &passwords;
    let right = secret("right");
    let check = || passwords.verify(Some((JOE, &hash)), &right);
    let running = passwords.running.acquire().await.unwrap();
    {
        let waits = check();
        let mut waits = std::pin::pin!(waits);
        assert!(is_pending(waits.as_mut()).await, "the first waits");
        assert!(matches!(check().await, Err(PasswordError::Busy)), "the second may not");
    }
    let nobody = passwords.verify(None, &right);
    assert!(is_pending(std::pin::pin!(nobody)).await, "nobody's password waits for its turn as well");
    let waits = check();
    let mut waits = std::pin::pin!(waits);
    assert!(is_pending(waits.as_mut()).await, "one that gave up leaves its place");
    drop(running);
    assert!(waits.await.unwrap());
}

async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[test]
fn a_new_password_is_not_short_long_unprintable_or_easily_guessed() {
    let cases = [
        ("good", "correct horse", Ok(())),
        ("the shortest", "pässwör7", Ok(())),
        ("seven characters of fourteen bytes", "äöüäöüä", Err(PasswordRule::TooShort)),
        ("empty", "", Err(PasswordRule::TooShort)),
        ("the longest", &"ab".repeat(64), Ok(())),
        ("longer", &"a".repeat(129), Err(PasswordRule::TooLong)),
        ("a newline", "correct\nhorse", Err(PasswordRule::NotText)),
        ("the name", "Joe.Blogs", Err(PasswordRule::Name)),
        ("the name backwards", "sgolb.eoj", Err(PasswordRule::Name)),
        ("the name and more", "joe.blogs1", Ok(())),
        ("one character", "aaaaaaaa", Err(PasswordRule::Repeated)),
    ];
    for (name, password, expected) in cases {
        assert_eq!(check_new(&secret(password), "joe.blogs"), expected, "{name}");
    }
    assert_eq!(check_new(&Secret::new(vec![0xff; 10]), "joe"), Err(PasswordRule::NotText));
}

#[test]
fn costs_out_of_range_are_refused_at_the_start() {
    let cases = [
        ("no memory", 0, 1),
        ("no passes", 64, 0),
        ("too much memory", 1 << 20, 1),
        ("too many passes", 64, 100),
    ];
    for (name, memory_kib, passes) in cases {
        let settings = Settings { memory_kib, passes, ..Settings::default() };
        let made = Passwords::new(settings, Arc::new(OsRandom), Arc::new(TestClock::default()));
        assert!(matches!(made, Err(PasswordError::Settings)), "{name}");
    }
}

#[tokio::test]
async fn many_requests_with_one_password_at_once_cost_one_check() {
    let (passwords, _) = passwords(Settings { at_once: 1, ..settings() });
    let hash = passwords.hash(&secret("right")).await.unwrap();
    let running = passwords.running.acquire().await.unwrap();
    let given = secret("what no check would find right");
    let mut waits = std::pin::pin!(passwords.verify(Some((JOE, &hash)), &given));
    assert!(is_pending(waits.as_mut()).await);
    passwords.verified.remember(JOE, &hash, &given, 0);
    drop(running);
    assert!(waits.await.unwrap(), "what another found meanwhile is asked for before the hash");
}
