//! Keys, logins, passwords and tokens: what proves somebody, from when, and until when.

use std::time::Duration;

use super::*;
use crate::services::error::Thing;
use crate::services::identity::{NewKey, NewLogin, Proof, RequestedScope, TokenRequest, UserChange};
use crate::services::signin::access_key::login_key;
use crate::services::signin::signature::Request;

impl World {
    async fn key(&self, user: Id) -> Result<NewKey, Error> {
        self.identity.create_key(&self.of(self.main(), Action::ManageKeys), user, String::new()).await
    }

    /// Signs in with an access key as docker does.
    async fn with_key(&self, key: &NewKey) -> Result<Id, SignInError> {
        let login = login_key(&key.key, &key.secret);
        self.identity.sign_in(&format!("region@{}", key.key), &login).await.map(|proof| proof.user)
    }

    async fn key_is_let_in(&self, key: &NewKey) -> bool {
        match self.with_key(key).await {
            Ok(_) => true,
            Err(SignInError::Wrong | SignInError::Void) => false,
            Err(other) => panic!("{other}"),
        }
    }

    /// A token of the registry.
    async fn token(&self, name: &str, password: &str) -> Secret {
        let login = Some((name.to_owned(), Secret::from(password.to_owned())));
        let scope = RequestedScope {
            kind: "repository".to_owned(),
            name: "library/a".to_owned(),
            actions: vec!["pull".to_owned()],
        };
        let request = TokenRequest { login, scopes: vec![scope] };
        self.identity.registry_token(request).await.expect("a token").0.token
    }

    async fn token_is_good(&self, token: &Secret) -> bool {
        let header = format!("Bearer {}", token.expose_text().expect("text"));
        match self.identity.registry_caller(&[header.as_bytes()]).await {
            Ok(caller) => matches!(caller.actor, Actor::User(_)) && !caller.expired,
            Err(SignInError::Wrong | SignInError::Void) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn change(&self, user: Id, change: UserChange) {
        let permit = self.of(self.main(), Action::ManageUsers);
        self.identity.update_user(&permit, user, change).await.expect("changed");
    }
}

#[tokio::test]
async fn a_user_has_two_keys_and_a_removed_one_makes_room() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let (one, other) = (world.key(ann).await.expect("one"), world.key(ann).await.expect("two"));
    assert!(matches!(world.key(ann).await, Err(Error::Limit { limit: 2, .. })));
    assert_eq!((world.with_key(&one).await.ok(), world.with_key(&other).await.ok()), (Some(ann), Some(ann)));
    let permit = world.of(world.main(), Action::ManageKeys);
    world.identity.delete_key(&permit, one.key.clone()).await.expect("removed");
    assert!(!world.key_is_let_in(&one).await && world.key_is_let_in(&other).await);
    world.key(ann).await.expect("there is room");
    let again = world.identity.delete_key(&permit, one.key).await;
    assert!(matches!(again, Err(Error::Missing(_))));
}

#[tokio::test]
async fn two_keys_asked_for_at_once_do_not_pass_the_limit() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let made = tokio::join!(world.key(ann), world.key(ann), world.key(ann), world.key(ann));
    let made = [made.0, made.1, made.2, made.3];
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2);
}

#[tokio::test]
async fn what_is_switched_off_is_off_at_the_next_request_and_on_again_later() {
    let world = World::new().await;
    let beta = world.account("beta").await.expect("made");
    let ann = world.user(beta, "ann").await.expect("made");
    let (keys, users) = (world.of(beta, Action::ManageKeys), world.of(beta, Action::ManageUsers));
    let accounts = world.registry(Action::ManageAccounts);
    let key = world.identity.create_key(&keys, ann, String::new()).await.expect("a key");
    let login = world.identity.create_login(&keys, ann, None).await.expect("a login");
    let login_secret = login.secret.expose_text().expect("text").to_owned();
    let token = world.token("beta/ann", PASSWORD).await;
    for what in ["user", "account"] {
        for on in [false, true] {
            match what {
                "user" => {
                    let change = UserChange { enabled: Some(on), ..UserChange::default() };
                    world.identity.update_user(&users, ann, change).await.expect("switched");
                }
                _ => world.identity.enable_account(&accounts, beta, on).await.expect("switched"),
            }
            assert_eq!(world.is_let_in("beta/ann", PASSWORD).await, on, "{what} {on}: password");
            assert_eq!(world.key_is_let_in(&key).await, on, "{what} {on}: key");
            assert_eq!(
                world.is_let_in(&format!("x@{}", login.key), &login_secret).await,
                on,
                "{what} {on}: login"
            );
            assert_eq!(world.token_is_good(&token).await, on, "{what} {on}: token");
        }
    }
    let of_key =
        world.token(&format!("x@{}", key.key), login_key(&key.key, &key.secret).expose_text().unwrap()).await;
    for on in [false, true] {
        world.identity.enable_key(&keys, key.key.clone(), on).await.expect("switched");
        assert_eq!(world.key_is_let_in(&key).await, on);
        assert_eq!(world.token_is_good(&of_key).await, on, "a token ends with the key it was got with");
        assert!(world.is_let_in("beta/ann", PASSWORD).await, "the password is another matter");
    }
    world.identity.delete_user(&users, ann).await.expect("removed");
    assert!(!world.is_let_in("beta/ann", PASSWORD).await && !world.key_is_let_in(&key).await);
    assert!(!world.token_is_good(&token).await && !world.token_is_good(&of_key).await);
}

#[tokio::test]
async fn who_has_no_programmatic_access_is_told_so_only_with_the_right_password() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    world.change(ann, UserChange { programmatic: Some(false), ..UserChange::default() }).await;
    assert!(matches!(world.sign_in("ann", PASSWORD).await, Err(SignInError::NotProgrammatic)));
    assert!(matches!(world.sign_in("ann", "wrong password").await, Err(SignInError::Wrong)));
}

#[tokio::test]
async fn a_new_password_voids_the_old_one_and_every_token_got_with_it() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let token = world.token("ann", PASSWORD).await;
    assert!(world.token_is_good(&token).await);
    world.change(ann, UserChange { description: Some("x".to_owned()), ..UserChange::default() }).await;
    assert!(world.token_is_good(&token).await, "another change voids nothing");
    let password = Some(Secret::from("another horse".to_owned()));
    world.change(ann, UserChange { password, ..UserChange::default() }).await;
    assert!(!world.token_is_good(&token).await, "though the clock stands");
    assert!(!world.is_let_in("ann", PASSWORD).await && world.is_let_in("ann", "another horse").await);
}

#[tokio::test]
async fn who_changes_his_own_password_must_know_it() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let permit =
        world.access.authorise(&Actor::User(ann), Action::ManageSelf, Resource::Registry).expect("may");
    let secret = |text: &str| Secret::from(text.to_owned());
    let wrong =
        world.identity.change_own_password(&permit, &secret("not this one"), secret("a new horse")).await;
    assert!(matches!(wrong, Err(Error::Invalid { field: "old_password", .. })));
    world
        .identity
        .change_own_password(&permit, &secret(PASSWORD), secret("a new horse"))
        .await
        .expect("changed");
    assert!(world.is_let_in("ann", "a new horse").await);
}

#[tokio::test]
async fn rotating_the_key_file_seals_every_key_anew_and_nobody_notices() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for n in 0..3 {
        let user = world.user(world.main(), &format!("user{n}")).await.expect("made");
        keys.push(world.key(user).await.expect("a key"));
    }
    let file = world.folder.path().join("keys");
    let sealed = |key: &NewKey| world.access.directory().access_key(&key.key).expect("there").sealed.clone();
    let (before, file_before): (Vec<_>, _) =
        (keys.iter().map(sealed).collect(), std::fs::read(&file).expect("read"));
    let permit = world.registry(Action::MaintainStore);
    for _ in 0..2 {
        assert_eq!(world.identity.rotate_secrets(&permit).await.expect("rotated"), 3);
        for key in &keys {
            world.with_key(key).await.expect("goes on");
        }
    }
    assert_ne!(std::fs::read(&file).expect("read"), file_before);
    assert!(keys.iter().map(sealed).zip(before).all(|(now, before)| now != before));
    // The file alone, read anew, opens them.
    let place = Place::at(&file);
    let anew = KeyStore::open(place, Arc::new(OsRandom), WhenMissing::Refuse).expect("a key file");
    for key in &keys {
        assert_eq!(anew.unseal(&sealed(key), key.key.as_bytes()).expect("unsealed"), key.secret);
    }
}

#[tokio::test]
async fn an_unknown_user_costs_a_check_of_a_password_as_a_known_one_does() {
    // One check at a time and no queue: whoever comes while one runs is told so.
    let one = password::Settings { memory_kib: 8 << 10, passes: 2, at_once: 1, waiting: 0, ..cheap() };
    let world = World::empty(one);
    world.initialise("main").await.expect("made");
    world.user(world.main(), "robot").await.expect("made");
    for (first, second) in [("nobody", "nobody"), ("main/nobody", "admin"), ("admin", "nobody@nowhere")] {
        let both =
            tokio::join!(world.sign_in(first, "wrong password"), world.sign_in(second, "wrong password"));
        assert!(matches!(both.0, Err(SignInError::Wrong)), "{first}");
        assert!(matches!(both.1, Err(SignInError::Busy)), "{first} took the only place from {second}");
    }
}

#[tokio::test]
async fn a_temporary_login_ends_by_the_clock_and_a_newer_one_does_not_end_it() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let permit = world.of(world.main(), Action::ManageKeys);
    let hour = Duration::from_secs(3600);
    let short = world.identity.create_login(&permit, ann, Some(hour)).await.expect("made");
    let usual = world.identity.create_login(&permit, ann, None).await.expect("made");
    assert_eq!((short.expires_at, usual.expires_at), (BEGIN + 3_600_000, BEGIN + 6 * 3_600_000));
    for lasts in [Duration::ZERO, 24 * hour + Duration::from_millis(1)] {
        let refused = world.identity.create_login(&permit, ann, Some(lasts)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{lasts:?}");
    }
    let rows =
        [(0, true, true), (3_599_999, true, true), (3_600_000, false, true), (6 * 3_600_000, false, false)];
    for (later, short_lives, usual_lives) in rows {
        world.clock.set(BEGIN + later);
        for (login, lives) in [(&short, short_lives), (&usual, usual_lives)] {
            let secret = login.secret.expose_text().expect("text");
            assert_eq!(world.is_let_in(&format!("region@{}", login.key), secret).await, lives, "{later}");
        }
        let ended = world.identity.remove_ended_logins().await.expect("removed");
        assert_eq!(ended, usize::from(matches!(later, 3_600_000 | 21_600_000)), "{later}");
    }
    assert!(world.meta.page::<LoginKey>(&[], None, 1).expect("read").is_empty());
}

#[tokio::test]
async fn when_a_key_was_used_is_seen_at_once_and_written_later() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let key = world.key(ann).await.expect("a key");
    let seen =
        || world.identity.keys(&world.of(world.main(), Action::ListUsers), ann).expect("listed")[0].used_at;
    let row =
        || world.meta.get(&AccessKeyUseKey { key: key.key.clone() }).expect("read").map(|row| row.used_at);
    assert_eq!((seen(), row()), (None, None));
    world.clock.set(BEGIN + 5);
    let wrong = Secret::from("0".repeat(64));
    assert!(world.identity.sign_in(&format!("x@{}", key.key), &wrong).await.is_err());
    assert_eq!(seen(), None, "a wrong secret is no use");
    world.with_key(&key).await.expect("signed in");
    assert_eq!((seen(), row()), (Some(BEGIN + 5), None));
    assert_eq!(world.identity.write_uses().await.expect("written"), 1);
    assert_eq!((seen(), row()), (Some(BEGIN + 5), Some(BEGIN + 5)));
    assert_eq!(world.identity.write_uses().await.expect("written"), 0, "nothing new");
    world.with_key(&key).await.expect("signed in");
    world
        .identity
        .delete_key(&world.of(world.main(), Action::ManageKeys), key.key.clone())
        .await
        .expect("removed");
    world.identity.write_uses().await.expect("written");
    assert_eq!(row(), None, "a key that went leaves no row");
}

impl World {
    fn own(&self, user: Id, action: Action) -> Permit {
        self.access.authorise(&Actor::User(user), action, Resource::Registry).expect("may")
    }

    async fn login_is_let_in(&self, login: &NewLogin) -> bool {
        self.is_let_in(&format!("x@{}", login.key), login.secret.expose_text().expect("text")).await
    }

    /// What proves a user who signs in with a key, or with his password without.
    async fn proof(&self, key: Option<&NewKey>) -> Proof {
        let (name, password) = match key {
            Some(key) => (format!("x@{}", key.key), login_key(&key.key, &key.secret)),
            None => ("ann".to_owned(), Secret::from(PASSWORD.to_owned())),
        };
        self.identity.sign_in(&name, &password).await.expect("signed in")
    }
}

#[tokio::test]
async fn a_temporary_login_ends_with_the_key_or_the_password_it_was_got_with() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let (keys, key) = (world.of(world.main(), Action::ManageKeys), world.key(ann).await.expect("a key"));
    let permit = world.own(ann, Action::CreateLoginSecret);
    let (by_key, by_password) = (world.proof(Some(&key)).await, world.proof(None).await);
    let of_key = world.identity.create_own_login(&permit, &by_key, None).await.expect("made");
    let of_password = world.identity.create_own_login(&permit, &by_password, None).await.expect("made");
    let of_admin = world.identity.create_login(&keys, ann, None).await.expect("made");
    let secret = of_key.secret.expose_text().expect("text");
    let token = world.token(&format!("x@{}", of_key.key), secret).await;
    for on in [false, true] {
        world.identity.enable_key(&keys, key.key.clone(), on).await.expect("switched");
        assert_eq!(world.login_is_let_in(&of_key).await, on, "the key is switched {on}");
        assert_eq!(world.token_is_good(&token).await, on, "and what was got with the login");
        assert!(world.login_is_let_in(&of_password).await && world.login_is_let_in(&of_admin).await);
    }
    world.identity.delete_key(&keys, key.key.clone()).await.expect("removed");
    assert!(!world.login_is_let_in(&of_key).await && !world.token_is_good(&token).await);
    let again = world.identity.create_own_login(&permit, &by_key, None).await;
    assert!(matches!(again, Err(Error::Missing(_))), "what proved him is gone: {again:?}");
    let password = Some(Secret::from("another horse".to_owned()));
    world.change(ann, UserChange { password, ..UserChange::default() }).await;
    assert!(!world.login_is_let_in(&of_password).await && !world.login_is_let_in(&of_admin).await);
}

#[tokio::test]
async fn a_login_is_never_got_with_another_login_nor_for_somebody_else() {
    let world = World::new().await;
    let (ann, bob) = (
        world.user(world.main(), "ann").await.expect("made"),
        world.user(world.main(), "bob").await.expect("ok"),
    );
    let permit = world.own(ann, Action::CreateLoginSecret);
    let proof = world.proof(None).await;
    let login = world.identity.create_own_login(&permit, &proof, None).await.expect("made");
    let by_login = Proof { access_key: Some(login.key), ..proof.clone() };
    let prolonged = world.identity.create_own_login(&permit, &by_login, None).await;
    assert!(matches!(prolonged, Err(Error::Missing(Thing::AccessKey(_)))), "{prolonged:?}");
    let bobs = world.own(bob, Action::CreateLoginSecret);
    let foreign = world.identity.create_own_login(&bobs, &proof, None).await;
    assert!(matches!(foreign, Err(Error::Bug(_))), "{foreign:?}");
}

#[tokio::test]
async fn what_is_got_with_a_proof_is_void_if_the_password_changed_in_between() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let (proof, permit) = (world.proof(None).await, world.own(ann, Action::CreateLoginSecret));
    let token = world.own(ann, Action::CreateLoginToken);
    let password = Some(Secret::from("another horse".to_owned()));
    world.change(ann, UserChange { password, ..UserChange::default() }).await;
    let login = world.identity.create_own_login(&permit, &proof, None).await.expect("made");
    assert!(!world.login_is_let_in(&login).await);
    let (api, _) = world.identity.api_token_for(&proof).expect("issued");
    let request = Request { method: "GET", path: "/", query: "", headers: &[], body: b"" };
    let caller = world.identity.api_caller(Some(&api.token), &[], &request);
    assert!(matches!(caller, Err(SignInError::Wrong | SignInError::Void)));
    let issued = world.identity.login_token(&token, &proof).expect("issued");
    let issued = issued.token.expose_text().expect("text").to_owned();
    assert!(!world.is_let_in("_token", &issued).await && !world.is_let_in("bearertoken", &issued).await);
}

#[tokio::test]
async fn a_users_logins_are_bounded_and_those_that_ended_make_room_and_all_can_be_ended() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let permit = world.of(world.main(), Action::ManageKeys);
    let hour = Some(Duration::from_secs(3600));
    for _ in 0..100 {
        world.identity.create_login(&permit, ann, hour).await.expect("made");
    }
    let more = world.identity.create_login(&permit, ann, hour).await;
    assert!(matches!(more, Err(Error::Limit { limit: 100, .. })), "{more:?}");
    world.clock.set(BEGIN + 3_600_000);
    let login = world.identity.create_login(&permit, ann, hour).await.expect("those that ended make room");
    assert_eq!(world.access.directory().logins_of(ann).len(), 1);
    assert_eq!(world.identity.end_logins(&permit, ann).await.expect("ended"), 1);
    assert!(!world.login_is_let_in(&login).await);
    let counter = CounterKey { name: format!("logins of {ann}") };
    assert_eq!(world.meta.get(&counter).expect("read"), None, "nothing is counted any more");
}

#[tokio::test]
async fn a_password_set_by_an_administrator_wins_over_the_users_own_change_at_the_same_time() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let permit = world.own(ann, Action::ManageSelf);
    for round in 0..5 {
        let secret = |text: &str| Secret::from(text.to_owned());
        let (own, set) = (format!("her own horse {round}"), format!("the set horse {round}"));
        let old = if round == 0 { PASSWORD.to_owned() } else { format!("the set horse {}", round - 1) };
        let old = secret(&old);
        let change = UserChange { password: Some(secret(&set)), ..UserChange::default() };
        let (_, ()) = tokio::join!(
            world.identity.change_own_password(&permit, &old, secret(&own)),
            world.change(ann, change),
        );
        assert!(world.is_let_in("ann", &set).await && !world.is_let_in("ann", &own).await, "{round}");
    }
}

#[tokio::test]
async fn a_rotation_that_was_cut_short_goes_on_and_leaves_nothing_under_the_old_key() {
    let world = World::new().await;
    let ann = world.user(world.main(), "ann").await.expect("made");
    let before = world.key(ann).await.expect("a key");
    world.identity.parts().secrets.begin_rotation().expect("begun");
    let between = world.key(ann).await.expect("a key");
    assert!(world.key_is_let_in(&before).await && world.key_is_let_in(&between).await, "both keys serve");
    let bob = world.user(world.main(), "bob").await.expect("made");
    let permit = world.registry(Action::MaintainStore);
    let (rotated, again, meanwhile) = tokio::join!(
        world.identity.rotate_secrets(&permit),
        world.identity.rotate_secrets(&permit),
        world.key(bob),
    );
    assert!(rotated.expect("rotated") >= 1 && again.expect("one after the other") >= 2);
    let meanwhile = meanwhile.expect("made meanwhile");
    let place = Place::at(&world.folder.path().join("keys"));
    let anew = KeyStore::open(place, Arc::new(OsRandom), WhenMissing::Refuse).expect("a key file");
    for key in [&before, &between, &meanwhile] {
        assert!(world.key_is_let_in(key).await);
        let record = world.access.directory().access_key(&key.key).expect("there").clone();
        assert!(!anew.needs_resealing(&record.sealed));
        assert_eq!(anew.unseal(&record.sealed, key.key.as_bytes()).expect("unsealed"), key.secret);
    }
}
