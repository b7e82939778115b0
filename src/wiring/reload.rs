//! Reading again what can be read again while the appliance runs, by signal or by an administrator: the certificate, and
//! `[protection]`. All of it or nothing: what cannot be used is said, and what is in use stays.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;

use super::protection::options;
use super::tls::Certificates;
use crate::causes;
use crate::config::{ProtectionSettings, Settings};
use crate::services::appliance::{Reload, Reloaded};
use crate::services::guard::Guard;

/// Reads the settings as they are now; why not, in words.
pub type Reread = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// What is read again, and what is told of it.
pub struct Reloading {
    certificates: Arc<Certificates>,
    reread: Reread,
    /// As the process began.
    begun: Settings,
    protection: Mutex<ProtectionSettings>,
    guard: OnceLock<Guard>,
}

impl Reloading {
    /// Of an appliance that begins with these settings.
    pub fn new(certificates: &Arc<Certificates>, settings: &Settings, reread: Reread) -> Arc<Self> {
        // As they are read, not as they were fitted to the host since.
        let begun = reread().unwrap_or_else(|_| settings.clone());
        Arc::new(Self {
            certificates: Arc::clone(certificates),
            reread,
            protection: Mutex::new(settings.protection.clone()),
            begun,
            guard: OnceLock::new(),
        })
    }

    /// Whose settings these are from now on.
    pub fn tell(&self, guard: &Guard) {
        let _ = self.guard.set(guard.clone());
    }

    /// To be asked.
    pub fn ask(self: &Arc<Self>) -> Reload {
        let reloading = Arc::clone(self);
        Arc::new(move || reloading.reload())
    }

    fn reload(&self) -> Reloaded {
        let now = match (self.reread)() {
            Ok(now) => now,
            Err(why) => return Reloaded::Kept(why),
        };
        let certificate = match self.certificates.reload() {
            Ok(None) => "there is no certificate to read again",
            Ok(Some(_)) => "new connections use the new certificate",
            Err(error) => return Reloaded::Kept(causes::chain(&error)),
        };
        let mut before = self.protection.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = differing(&*before, &now.protection);
        if let Some(guard) = self.guard.get() {
            guard.set(options(&now.protection));
            *before = now.protection.clone();
        }
        let protection = match changed.as_slice() {
            [] => "[protection] is as it was".to_owned(),
            changed => format!("[protection] applied: {}", changed.join(", ")),
        };
        let begun = Settings { protection: now.protection.clone(), ..self.begun.clone() };
        let waits = match differing(&begun, &now).as_slice() {
            [] => "no other setting was changed".to_owned(),
            sections => format!("what was changed in [{}] needs a restart", sections.join("], [")),
        };
        Reloaded::Done(format!("{certificate}; {protection}; {waits}"))
    }
}

/// The keys whose values differ.
fn differing<T: serde::Serialize>(before: &T, now: &T) -> Vec<String> {
    let fields = |settings: &T| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, now) = (fields(before), fields(now));
    now.into_iter().filter(|(key, value)| before.get(key) != Some(value)).map(|(key, _)| key).collect()
}

/// Tells the log how a reload by signal went.
pub fn log_reload(reloaded: &Reloaded) {
    match reloaded {
        Reloaded::Done(what) => tracing::info!("SIGHUP: {what}"),
        Reloaded::Kept(error) => tracing::error!(%error, "SIGHUP: nothing was changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_told_by_its_keys() {
        let (before, mut now) = (Settings::default(), Settings::default());
        assert!(differing(&before, &now).is_empty());
        now.protection.bans = false;
        now.protection.flood_factor = 3;
        now.log.level = serde_json::from_value("debug".into()).expect("a level");
        assert_eq!(differing(&before, &now), ["log", "protection"]);
        assert_eq!(differing(&before.protection, &now.protection), ["bans", "flood_factor"]);
    }
}
