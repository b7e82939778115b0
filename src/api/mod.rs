//! One folder or file a public surface: parse, authorise, call one service, render.
//! Must not name a store.

pub mod admin;
mod failure;
mod guarded;
pub mod health;
pub mod iam;
pub mod metrics;
mod openapi;
mod pattern;
mod recorder;
pub mod registry;
mod signed;
pub mod swr;
pub mod token;
pub mod trust;

pub use guarded::Gate;
pub use recorder::Recorder;

/// Every operation of the surfaces that the audit trail knows.
#[cfg(test)]
pub fn operations() -> Vec<&'static crate::services::audit::Operation> {
    [token::operations(), iam::operations(), registry::operations(), admin::operations()].concat()
}

/// Surface, method and path of every route there is, from the tables the surfaces route by: what a walk
/// over all of them has to visit. `/metrics` has a listener of its own and no sign-in.
#[cfg(test)]
pub fn routes() -> Vec<(&'static str, hyper::Method, String)> {
    let get = |path: &&str| (hyper::Method::GET, (*path).to_owned());
    let surfaces = [
        ("health", health::PATHS.iter().map(get).collect()),
        ("trust", vec![get(&trust::PATH)]),
        ("token", token::routes()),
        ("iam", iam::routes()),
        ("registry", registry::routes()),
        ("swr", swr::routes()),
        ("admin", admin::routes()),
    ];
    let named = |(surface, routes): (&'static str, Vec<(hyper::Method, String)>)| {
        routes.into_iter().map(move |(method, path)| (surface, method, path))
    };
    surfaces.into_iter().flat_map(named).collect()
}
