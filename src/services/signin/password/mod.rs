//! Passwords: argon2id hashes, made and checked on blocking threads, few at a time.
//!
//! A check takes 19 MiB and about 20 ms of a core, on purpose. At most [`Settings::at_once`] run;
//! up to [`Settings::waiting`] more wait; the next is told that the appliance is busy, so that a
//! flood of guesses can take neither memory nor every core. A password found right is remembered for
//! a while (`verified`). An unknown user, or one without a password, costs the same check of a hash
//! that no password has.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use pierhead_storage_format::identity::Id;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::Secret;
use super::verified::Verified;
use crate::seams::{Clock, Random, tasks};

/// The fewest characters of a new password.
pub const MIN_CHARACTERS: usize = 8;
/// The most bytes of a new password.
pub const MAX_BYTES: usize = 128;

/// What a stored hash may ask for, so that a damaged row cannot take the host's memory.
const MAX_MEMORY_KIB: u32 = 256 << 10;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 8;
const SALT_LEN: usize = 16;

/// How much passwords may cost.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Memory of a new hash, in KiB.
    pub memory_kib: u32,
    /// Passes of a new hash.
    pub passes: u32,
    /// Checks that run at a time.
    pub at_once: usize,
    /// Checks that wait for one of them to end.
    pub waiting: usize,
    /// How long a password found right is remembered.
    pub remember: Duration,
    /// Users of whom one is remembered.
    pub remembered: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            at_once: 2,
            waiting: 64,
            remember: Duration::from_secs(300),
            remembered: 10_000,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many checks are under way; one can be tried again in a second.
    #[error("too many passwords are being checked")]
    Busy,
    /// The settings of the hash are out of range.
    #[error("the cost of passwords is set out of range")]
    Settings,
    /// The host gives no random bytes.
    #[error("no random bytes")]
    Random(#[source] io::Error),
    /// A fault of ours.
    #[error("a password could not be hashed")]
    Bug,
}

/// What is wrong with a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRule {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("a password has at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// More than [`MAX_BYTES`].
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    /// Not UTF-8, or with control characters, which no client can be made to send alike.
    #[error("a password is text without control characters")]
    NotText,
    /// The user's own name, or that backwards.
    #[error("a password is not the name of its user")]
    Name,
    /// One character, again and again.
    #[error("a password is not one character repeated")]
    Repeated,
}

/// Whether `password` may become that of the user `name`.
pub fn check_new(password: &Secret, name: &str) -> Result<(), PasswordRule> {
    if password.expose().len() > MAX_BYTES {
        return Err(PasswordRule::TooLong);
    }
    let text = password.expose_text().ok_or(PasswordRule::NotText)?;
    if text.chars().any(char::is_control) {
        return Err(PasswordRule::NotText);
    }
    if text.chars().count() < MIN_CHARACTERS {
        return Err(PasswordRule::TooShort);
    }
    let (lowered, name) = (Zeroizing::new(text.to_lowercase()), name.to_lowercase());
    if *lowered == name || lowered.chars().rev().eq(name.chars()) {
        return Err(PasswordRule::Name);
    }
    let first = text.chars().next();
    if text.chars().all(|character| Some(character) == first) {
        return Err(PasswordRule::Repeated);
    }
    Ok(())
}

/// Makes and checks password hashes.
pub struct Passwords {
    argon2: Argon2<'static>,
    random: Arc<dyn Random>,
    clock: Arc<dyn Clock>,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    may_wait: usize,
    verified: Verified,
    /// A hash of 256 random bits.
    nobody: Arc<str>,
}

impl Passwords {
    /// Takes a key and a hash for unknown users from `random`. Blocks for one hash.
    pub fn new(
        settings: Settings,
        random: Arc<dyn Random>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PasswordError> {
        let params = Params::new(settings.memory_kib, settings.passes, 1, None);
        let params = params.ok().filter(within_bounds).ok_or(PasswordError::Settings)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let (mut key, mut nobody) = (Zeroizing::new([0; 32]), vec![0; 32]);
        random.fill(&mut *key).map_err(PasswordError::Random)?;
        random.fill(&mut nobody).map_err(PasswordError::Random)?;
        let nobody = hash(&argon2, &Secret::new(nobody), &salt(&*random)?)?;
        let keep = u64::try_from(settings.remember.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            verified: Verified::new(&key, keep, settings.remembered),
            running: Arc::new(Semaphore::new(settings.at_once.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            may_wait: settings.waiting,
            nobody: nobody.into(),
            argon2,
            random,
            clock,
        })
    }

    /// The hash of a new password, to be stored.
    pub async fn hash(&self, password: &Secret) -> Result<String, PasswordError> {
        let (argon2, password, salt) = (self.argon2.clone(), password.clone(), salt(&*self.random)?);
        run(self.turn().await?, move || hash(&argon2, &password, &salt)).await?
    }

    /// Whether `password` is the one of `stored`: a user and his hash, `None` if nobody is known by
    /// the name given or he has no password. An answer that is remembered comes at once; any other
    /// takes as long for nobody as for a wrong password. Dropping the future lets the check run out.
    pub async fn verify(&self, stored: Option<(Id, &str)>, password: &Secret) -> Result<bool, PasswordError> {
        let known = || {
            let now = self.clock.monotonic_ms();
            stored.is_some_and(|(user, hash)| self.verified.knows(user, hash, password, now))
        };
        if known() {
            return Ok(true);
        }
        let turn = self.turn().await?;
        // A client that opens many connections asks for all of them at once: one check is enough.
        if known() {
            return Ok(true);
        }
        let hash: Option<Arc<str>> = stored.map(|(_, hash)| hash.into());
        let (argon2, given, nobody) = (self.argon2.clone(), password.clone(), Arc::clone(&self.nobody));
        let right = run(turn, move || is_right(&argon2, &given, hash.as_deref(), &nobody)).await?;
        match stored {
            Some((user, hash)) if right => {
                self.verified.remember(user, hash, password, self.clock.monotonic_ms());
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Forgets that a password of this user was right: for a change of the user. (That a hash was
    /// replaced is noticed without.)
    pub fn forget(&self, user: Id) {
        self.verified.forget(user);
    }

    /// Waits until one more may run.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let running = Arc::clone(&self.running);
        match Arc::clone(&running).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                let _place = Place::take(&self.waiting, self.may_wait)?;
                running.acquire_owned().await.map_err(|_| PasswordError::Bug)
            }
        }
    }
}

/// Runs `work` on a blocking thread. The permit goes with it: it may outlive its caller.
async fn run<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    let work = move || {
        let _permit = permit;
        work()
    };
    tasks::blocking(work).await.map_err(|_| PasswordError::Bug)
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Result<Self, PasswordError> {
        let taken =
            waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| (now < most).then(|| now + 1));
        taken.map(|_| Self(waiting)).map_err(|_| PasswordError::Busy)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn salt(random: &dyn Random) -> Result<[u8; SALT_LEN], PasswordError> {
    let mut salt = [0; SALT_LEN];
    random.fill(&mut salt).map_err(PasswordError::Random)?;
    Ok(salt)
}

fn hash(argon2: &Argon2<'_>, password: &Secret, salt: &[u8]) -> Result<String, PasswordError> {
    let hash = argon2.hash_password_with_salt(password.expose(), salt).map_err(|_| PasswordError::Bug)?;
    Ok(hash.to_string())
}

fn within_bounds(params: &Params) -> bool {
    params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES
}

/// With the costs the hash itself names. Without one, or with one that cannot be used, the same is
/// done for nobody's, and no password is right.
fn is_right(argon2: &Argon2<'_>, password: &Secret, hash: Option<&str>, nobody: &str) -> bool {
    let own = hash.and_then(usable);
    if hash.is_some() && own.is_none() {
        tracing::error!("a stored password hash cannot be used: set the password anew");
    }
    let right = |hash: &PasswordHash| argon2.verify_password(password.expose(), hash).is_ok();
    match own {
        Some(own) => right(&own),
        None => {
            let _ = usable(nobody).is_some_and(|nobody| right(&nobody));
            false
        }
    }
}

/// A stored hash, if it can be read and does not ask for too much.
fn usable(hash: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(hash).ok()?;
    Params::try_from(&hash).is_ok_and(|params| within_bounds(&params)).then_some(hash)
}
