//! What credentials prove: every form in which somebody says who he is, and how each is checked.
//!
//! Words: *AK*, *SK* - an access key and its secret; *login key* - what docker is given in place of
//! the SK, an HMAC of the AK under it; *login* - the form of a user name; *signature* - of one
//! request, as Huawei's SDKs make it; *token* - signed by the appliance itself, for docker or the
//! management API.
//!
//! S1: a check takes as long for an unknown user as for a wrong secret.
//! S2: secrets are compared in constant time and printed nowhere ([`Secret`]).
//! S3: what is parsed is bounded before it is parsed; nothing a client sends makes this room panic.
//! S4: a token says who somebody was; whether he still is, and what he may do, is asked of `access`
//! at every request.
//!
//! Pure but for the cache of [`password::Passwords`]. Must not know who there is, nor any transport: headers
//! come as names and bytes. Start at [`authorization`] and [`login`].

pub mod access_key;
pub mod authorization;
mod hex;
pub mod login;
pub mod password;
pub mod signature;
pub mod token;
mod verified;

pub use crate::stores::secrets::Secret;
