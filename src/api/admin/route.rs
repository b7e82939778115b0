//! The table of this surface: everything that must agree about an operation is in its row. Routing,
//! the answer 405, metrics, tests, the index at `/api/v1` and, later, the API's document are made from it.

use std::pin::Pin;

use hyper::{Method, header};

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::subject::{ACCOUNT, ORGANISATION, REGISTRY, REPOSITORY};
use super::{
    Admin, Call, accounts, audit, bans, check, collection, credentials, deletes, document, grants, groups,
    holds, index, jobs, organisations, policies, quotas, reload, repositories, retention, scrub, shares,
    status, uploads, users,
};
use crate::api::pattern::{self, NotFound, Params, Routed};
use crate::services::access::{Action, Resource};
use crate::services::audit::Operation;

/// What a handler gives.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// A handler: parses the rest of the request, calls one service, renders.
pub type Handler = for<'a> fn(&'a Admin, Call<'a>) -> Answer<'a>;

/// What a request is done to, from the path's parameters.
pub type Subject = fn(&Admin, &Params) -> Result<Resource, Failure>;

/// Whether an operation takes a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: one that comes is refused.
    Nothing,
    /// JSON, [`super::body::LIMIT`] bytes at most.
    Json,
}

/// An operation.
pub struct Row {
    /// Its name in metrics and logs.
    pub name: &'static str,
    /// How it is asked for.
    pub method: Method,
    /// Where: a part in braces is a parameter.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub action: Action,
    /// To what.
    pub resource: Subject,
    /// Its body.
    pub takes: Takes,
    /// What it is in the audit trail.
    pub audit: Operation,
    /// One line for people: what it does and answers.
    pub summary: &'static str,
    /// Does it.
    pub handler: Handler,
}

/// Every operation.
#[rustfmt::skip]
pub static ROUTES: &[Row] = &[
    Row { name: "index", method: Method::GET, path: "/api/v1", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::NONE,
          summary: "every operation of this API", handler: |a, c| Box::pin(index::list(a, c)) },
    Row { name: "openapi", method: Method::GET, path: "/api/v1/openapi.json", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::NONE,
          summary: "this API as an OpenAPI document", handler: |a, c| Box::pin(document::show(a, c)) },
    Row { name: "status", method: Method::GET, path: "/api/v1/status", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showStatus", "appliance"),
          summary: "how the appliance is: version, addresses, metadata, space, uploads", handler: |a, c| Box::pin(status::show(a, c)) },
    Row { name: "reload", method: Method::POST, path: "/api/v1/reload", action: Action::Reload, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("reload", "appliance", 200),
          summary: "read the certificate and the settings of [protection] again, as SIGHUP does; says what was applied", handler: |a, c| Box::pin(reload::reload(a, c)) },
    Row { name: "uploads-list", method: Method::GET, path: "/api/v1/uploads", action: Action::ListUploads, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listUploads", "upload"),
          summary: "upload sessions by id; query: repository, limit, after", handler: |a, c| Box::pin(uploads::list(a, c)) },
    Row { name: "uploads-abort", method: Method::POST, path: "/api/v1/uploads/abort", action: Action::AbortUpload, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("abortUploads", "upload", 200),
          summary: "end the upload sessions that fit all of: repository, older_than_ms, idle_for_ms; dry_run only lists them", handler: |a, c| Box::pin(uploads::abort_all(a, c)) },
    Row { name: "upload-show", method: Method::GET, path: "/api/v1/uploads/{id}", action: Action::ListUploads, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showUpload", "upload"),
          summary: "one upload session", handler: |a, c| Box::pin(uploads::show(a, c)) },
    Row { name: "upload-abort", method: Method::DELETE, path: "/api/v1/uploads/{id}", action: Action::AbortUpload, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("abortUpload", "upload", 200),
          summary: "end an upload session and free its space, though a request is writing it; answers what it was", handler: |a, c| Box::pin(uploads::abort(a, c)) },
    Row { name: "gc-show", method: Method::GET, path: "/api/v1/gc", action: Action::ShowCollection, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showCollection", "appliance"),
          summary: "the collector: whether it runs, waits or is paused, and what it did", handler: |a, c| Box::pin(collection::show(a, c)) },
    Row { name: "gc-outlook", method: Method::GET, path: "/api/v1/gc/outlook", action: Action::ShowCollection, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showCollection", "appliance"),
          summary: "what a run of the collector would remove now", handler: |a, c| Box::pin(collection::outlook(a, c)) },
    Row { name: "gc-run", method: Method::POST, path: "/api/v1/gc/run", action: Action::ManageCollection, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("runCollection", "appliance", 200),
          summary: "have the collector run now; accept_clock believes a clock that jumped. GET /api/v1/gc tells when it has ended", handler: |a, c| Box::pin(collection::run(a, c)) },
    Row { name: "gc-pause", method: Method::POST, path: "/api/v1/gc/pause", action: Action::ManageCollection, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("pauseCollection", "appliance", 200),
          summary: "remove nothing until it is resumed, also after a restart", handler: |a, c| Box::pin(collection::pause(a, c)) },
    Row { name: "gc-resume", method: Method::POST, path: "/api/v1/gc/resume", action: Action::ManageCollection, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("resumeCollection", "appliance", 200),
          summary: "let the collector go on", handler: |a, c| Box::pin(collection::resume(a, c)) },
    Row { name: "init", method: Method::POST, path: "/api/v1/init", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("createAccount", "account", 200),
          summary: "make the first account, the operator's: name, administrator; refused if there is one", handler: |a, c| Box::pin(accounts::initialise(a, c)) },
    Row { name: "secrets-rotate", method: Method::POST, path: "/api/v1/secrets/rotate", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("rotateSecrets", "keyfile", 200),
          summary: "seal every secret under a new key of the key file, and drop the old one", handler: |a, c| Box::pin(credentials::rotate(a, c)) },
    Row { name: "accounts-list", method: Method::GET, path: "/api/v1/accounts", action: Action::ListAccounts, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listAccounts", "account"),
          summary: "every account, by name", handler: |a, c| Box::pin(accounts::list(a, c)) },
    Row { name: "account-create", method: Method::POST, path: "/api/v1/accounts", action: Action::ManageAccounts, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("createAccount", "account", 200),
          summary: "make an account with its administrator: name, administrator", handler: |a, c| Box::pin(accounts::create(a, c)) },
    Row { name: "account-show", method: Method::GET, path: "/api/v1/accounts/{account}", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("showAccount", "account"),
          summary: "one account, by id or name", handler: |a, c| Box::pin(accounts::show(a, c)) },
    Row { name: "account-update", method: Method::PATCH, path: "/api/v1/accounts/{account}", action: Action::ManageAccounts, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("updateAccount", "account", 200),
          summary: "switch an account on or off: enabled", handler: |a, c| Box::pin(accounts::update(a, c)) },
    Row { name: "account-delete", method: Method::DELETE, path: "/api/v1/accounts/{account}", action: Action::ManageAccounts, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("deleteAccount", "account", 200),
          summary: "remove an account that owns no organisation, with all its users", handler: |a, c| Box::pin(accounts::delete(a, c)) },
    Row { name: "users-list", method: Method::GET, path: "/api/v1/accounts/{account}/users", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("listUsers", "user"),
          summary: "the users of an account, by name", handler: |a, c| Box::pin(users::list(a, c)) },
    Row { name: "user-create", method: Method::POST, path: "/api/v1/accounts/{account}/users", action: Action::ManageUsers, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("createUser", "user", 200),
          summary: "make a user: name, description, password, programmatic, console, roles", handler: |a, c| Box::pin(users::create(a, c)) },
    Row { name: "user-show", method: Method::GET, path: "/api/v1/accounts/{account}/users/{user}", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("showUser", "user"),
          summary: "one user, by id or name", handler: |a, c| Box::pin(users::show(a, c)) },
    Row { name: "user-update", method: Method::PATCH, path: "/api/v1/accounts/{account}/users/{user}", action: Action::ManageUsers, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("updateUser", "user", 200),
          summary: "change a user: description, password, programmatic, console, enabled, roles, policies", handler: |a, c| Box::pin(users::update(a, c)) },
    Row { name: "user-delete", method: Method::DELETE, path: "/api/v1/accounts/{account}/users/{user}", action: Action::ManageUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::change("deleteUser", "user", 200),
          summary: "remove a user with keys, logins and grants", handler: |a, c| Box::pin(users::delete(a, c)) },
    Row { name: "keys-list", method: Method::GET, path: "/api/v1/accounts/{account}/users/{user}/keys", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("listAccessKeys", "accesskey"),
          summary: "the access keys of a user, without secrets", handler: |a, c| Box::pin(credentials::keys(a, c)) },
    Row { name: "key-create", method: Method::POST, path: "/api/v1/accounts/{account}/users/{user}/keys", action: Action::ManageKeys, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("createAccessKey", "accesskey", 200),
          summary: "make an access key: description; the secret is in the answer and never shown again", handler: |a, c| Box::pin(credentials::create_key(a, c)) },
    Row { name: "key-update", method: Method::PATCH, path: "/api/v1/accounts/{account}/keys/{key}", action: Action::ManageKeys, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("updateAccessKey", "accesskey", 200),
          summary: "switch an access key on or off: enabled", handler: |a, c| Box::pin(credentials::enable_key(a, c)) },
    Row { name: "key-delete", method: Method::DELETE, path: "/api/v1/accounts/{account}/keys/{key}", action: Action::ManageKeys, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::change("deleteAccessKey", "accesskey", 200),
          summary: "remove an access key", handler: |a, c| Box::pin(credentials::delete_key(a, c)) },
    Row { name: "login-create", method: Method::POST, path: "/api/v1/accounts/{account}/users/{user}/logins", action: Action::ManageKeys, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("createDockerConfig", "dockerlogincmd", 200),
          summary: "make a temporary login: lasts_ms, host; answers login commands", handler: |a, c| Box::pin(credentials::create_login(a, c)) },
    Row { name: "groups-list", method: Method::GET, path: "/api/v1/accounts/{account}/groups", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("listGroups", "group"),
          summary: "the groups of an account, by name", handler: |a, c| Box::pin(groups::list(a, c)) },
    Row { name: "group-create", method: Method::POST, path: "/api/v1/accounts/{account}/groups", action: Action::ManageGroups, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("createGroup", "group", 200),
          summary: "make a group: name, description, roles", handler: |a, c| Box::pin(groups::create(a, c)) },
    Row { name: "group-show", method: Method::GET, path: "/api/v1/accounts/{account}/groups/{group}", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("showGroup", "group"),
          summary: "one group, by id or name", handler: |a, c| Box::pin(groups::show(a, c)) },
    Row { name: "group-update", method: Method::PATCH, path: "/api/v1/accounts/{account}/groups/{group}", action: Action::ManageGroups, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("updateGroup", "group", 200),
          summary: "change a group: description, roles, policies", handler: |a, c| Box::pin(groups::update(a, c)) },
    Row { name: "group-delete", method: Method::DELETE, path: "/api/v1/accounts/{account}/groups/{group}", action: Action::ManageGroups, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::change("deleteGroup", "group", 200),
          summary: "remove a group; its members stay users", handler: |a, c| Box::pin(groups::delete(a, c)) },
    Row { name: "group-join", method: Method::POST, path: "/api/v1/accounts/{account}/groups/{group}/members", action: Action::ManageGroups, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("addGroupMembers", "group", 200),
          summary: "put users into a group, all or none: users", handler: |a, c| Box::pin(groups::join(a, c)) },
    Row { name: "group-leave", method: Method::DELETE, path: "/api/v1/accounts/{account}/groups/{group}/members/{user}", action: Action::ManageGroups, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::change("removeGroupMember", "group", 200),
          summary: "take a user out of a group", handler: |a, c| Box::pin(groups::leave(a, c)) },
    Row { name: "policies-list", method: Method::GET, path: "/api/v1/accounts/{account}/policies", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("listPolicies", "policy"),
          summary: "the policies of an account, by name", handler: |a, c| Box::pin(policies::list(a, c)) },
    Row { name: "policy-create", method: Method::POST, path: "/api/v1/accounts/{account}/policies", action: Action::ManagePolicies, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("createPolicy", "policy", 200),
          summary: "make a policy: name, description, document", handler: |a, c| Box::pin(policies::create(a, c)) },
    Row { name: "policy-show", method: Method::GET, path: "/api/v1/accounts/{account}/policies/{policy}", action: Action::ListUsers, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("showPolicy", "policy"),
          summary: "one policy, by id or name", handler: |a, c| Box::pin(policies::show(a, c)) },
    Row { name: "policy-update", method: Method::PATCH, path: "/api/v1/accounts/{account}/policies/{policy}", action: Action::ManagePolicies, resource: ACCOUNT, takes: Takes::Json,
          audit: Operation::change("updatePolicy", "policy", 200),
          summary: "change a policy: description, document", handler: |a, c| Box::pin(policies::update(a, c)) },
    Row { name: "policy-delete", method: Method::DELETE, path: "/api/v1/accounts/{account}/policies/{policy}", action: Action::ManagePolicies, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::change("deletePolicy", "policy", 200),
          summary: "remove a policy that nobody has", handler: |a, c| Box::pin(policies::delete(a, c)) },
    Row { name: "organisations-list", method: Method::GET, path: "/api/v1/organisations", action: Action::ListOrganisations, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listUserNamespaces", "usernamespace"),
          summary: "every organisation, by name", handler: |a, c| Box::pin(organisations::list(a, c)) },
    Row { name: "organisation-create", method: Method::PUT, path: "/api/v1/organisations/{organisation}", action: Action::CreateOrganisation, resource: ORGANISATION, takes: Takes::Json,
          audit: Operation::change("createUserNamespace", "usernamespace", 200),
          summary: "make an organisation: account; refused if it is there", handler: |a, c| Box::pin(organisations::create(a, c)) },
    Row { name: "organisation-show", method: Method::GET, path: "/api/v1/organisations/{organisation}", action: Action::ShowOrganisation, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::read("showUserNamespace", "usernamespace"),
          summary: "one organisation", handler: |a, c| Box::pin(organisations::show(a, c)) },
    Row { name: "organisation-frees", method: Method::GET, path: "/api/v1/organisations/{organisation}/frees", action: Action::ShowOrganisation, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::read("showFrees", "usernamespace"),
          summary: "what deleting the organisation would do: how many repositories are in the way", handler: |a, c| Box::pin(organisations::frees(a, c)) },
    Row { name: "organisation-delete", method: Method::DELETE, path: "/api/v1/organisations/{organisation}", action: Action::DeleteOrganisation, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::change("deleteUserNamesapce", "usernamespace", 200),
          summary: "remove an organisation without repositories, and the rights in it", handler: |a, c| Box::pin(organisations::delete(a, c)) },
    Row { name: "quotas-list", method: Method::GET, path: "/api/v1/quotas/organisations", action: Action::ListOrganisations, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listQuotas", "quota"),
          summary: "what every organisation holds and may hold, by name; query: limit, after", handler: |a, c| Box::pin(quotas::list(a, c)) },
    Row { name: "account-quotas-list", method: Method::GET, path: "/api/v1/quotas/accounts", action: Action::ListAccounts, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listQuotas", "quota"),
          summary: "what the organisations of every account hold and may hold together, by name; query: limit, after", handler: |a, c| Box::pin(quotas::accounts(a, c)) },
    Row { name: "organisation-quota", method: Method::GET, path: "/api/v1/organisations/{organisation}/quota", action: Action::ShowStorageQuota, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::read("getNamespaceStorageQuota", "usernamespace"),
          summary: "what an organisation holds and may hold", handler: |a, c| Box::pin(quotas::show(a, c)) },
    Row { name: "organisation-quota-set", method: Method::PUT, path: "/api/v1/organisations/{organisation}/quota", action: Action::UpdateStorageQuota, resource: ORGANISATION, takes: Takes::Json,
          audit: Operation::change("updateNamespaceStorageQuota", "usernamespace", 200),
          summary: "set what an organisation may hold: bytes; what it holds stays, even if that is more", handler: |a, c| Box::pin(quotas::set(a, c)) },
    Row { name: "organisation-quota-clear", method: Method::DELETE, path: "/api/v1/organisations/{organisation}/quota", action: Action::UpdateStorageQuota, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::change("updateNamespaceStorageQuota", "usernamespace", 200),
          summary: "let an organisation hold anything", handler: |a, c| Box::pin(quotas::clear(a, c)) },
    Row { name: "account-quota", method: Method::GET, path: "/api/v1/accounts/{account}/quota", action: Action::ListAccounts, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showAccountQuota", "account"),
          summary: "what the organisations of an account hold and may hold together", handler: |a, c| Box::pin(quotas::show_account(a, c)) },
    Row { name: "account-quota-set", method: Method::PUT, path: "/api/v1/accounts/{account}/quota", action: Action::ManageAccounts, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("updateAccountQuota", "account", 200),
          summary: "set what the organisations of an account may hold together: bytes", handler: |a, c| Box::pin(quotas::set_account(a, c)) },
    Row { name: "account-quota-clear", method: Method::DELETE, path: "/api/v1/accounts/{account}/quota", action: Action::ManageAccounts, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("updateAccountQuota", "account", 200),
          summary: "let the organisations of an account hold anything", handler: |a, c| Box::pin(quotas::clear_account(a, c)) },
    Row { name: "organisation-grants", method: Method::GET, path: "/api/v1/organisations/{organisation}/grants", action: Action::ShowOrganisationGrants, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::read("showUserNamespaceAuth", "usernamespaceauth"),
          summary: "who was granted what in an organisation", handler: |a, c| Box::pin(grants::list(a, c)) },
    Row { name: "organisation-grant", method: Method::PUT, path: "/api/v1/organisations/{organisation}/grants/{user}", action: Action::CreateOrganisationGrant, resource: ORGANISATION, takes: Takes::Json,
          audit: Operation::change("createUserNamespaceAuth", "usernamespaceauth", 200),
          summary: "let a user do something in an organisation: level (read, edit, manage)", handler: |a, c| Box::pin(grants::put(a, c)) },
    Row { name: "organisation-revoke", method: Method::DELETE, path: "/api/v1/organisations/{organisation}/grants/{user}", action: Action::DeleteOrganisationGrant, resource: ORGANISATION, takes: Takes::Nothing,
          audit: Operation::change("deleteUserNamespaceAuth", "usernamespaceauth", 200),
          summary: "take a user's rights in an organisation away", handler: |a, c| Box::pin(grants::delete(a, c)) },
    Row { name: "repository-create", method: Method::PUT, path: "/api/v1/repositories/{repository}", action: Action::CreateRepository, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("createImageRepository", "imagerepository", 200),
          summary: "make an empty repository: public, category, description, immutable_tags; refused if it is there", handler: |a, c| Box::pin(repositories::create(a, c)) },
    Row { name: "repository-show", method: Method::GET, path: "/api/v1/repositories/{repository}", action: Action::ShowRepository, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("showImageRepository", "imagerepository"),
          summary: "the attributes of a repository; write / in its name as %2F", handler: |a, c| Box::pin(repositories::show(a, c)) },
    Row { name: "repository-update", method: Method::PATCH, path: "/api/v1/repositories/{repository}", action: Action::UpdateRepository, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("updateImageRepository", "imagerepository", 200),
          summary: "change attributes of a repository: public, category, description, immutable_tags", handler: |a, c| Box::pin(repositories::update(a, c)) },
    Row { name: "repository-frees", method: Method::GET, path: "/api/v1/repositories/{repository}/frees", action: Action::ShowRepository, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("showFrees", "imagerepository"),
          summary: "what deleting the repository, or with reference a tag or manifest of it, would free", handler: |a, c| Box::pin(deletes::frees(a, c)) },
    Row { name: "repository-delete", method: Method::DELETE, path: "/api/v1/repositories/{repository}", action: Action::DeleteRepository, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("deleteImageRepository", "imagerepository", 200),
          summary: "remove a repository with all in it; its manifests can be restored for a while", handler: |a, c| Box::pin(deletes::repository(a, c)) },
    Row { name: "tag-delete", method: Method::DELETE, path: "/api/v1/repositories/{repository}/tags/{tag}", action: Action::DeleteVersion, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("deleteImageTag", "imagetag", 200),
          summary: "remove a tag; its manifest stays", handler: |a, c| Box::pin(deletes::tag(a, c)) },
    Row { name: "manifest-delete", method: Method::DELETE, path: "/api/v1/repositories/{repository}/manifests/{digest}", action: Action::DeleteVersion, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("deleteImageTag", "imagetag", 200),
          summary: "remove a manifest and its tags; it can be restored for a while", handler: |a, c| Box::pin(deletes::manifest(a, c)) },
    Row { name: "manifest-restore", method: Method::POST, path: "/api/v1/repositories/{repository}/trash/{number}/restore", action: Action::RestoreVersion, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("restoreManifest", "imagetag", 200),
          summary: "bring a deleted manifest back, with those of its tags that are free", handler: |a, c| Box::pin(deletes::restore(a, c)) },
    Row { name: "trash-list", method: Method::GET, path: "/api/v1/trash", action: Action::ListDeleted, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listTrash", "imagetag"),
          summary: "deleted manifests that can be restored, the oldest first; query: repository, limit, after", handler: |a, c| Box::pin(deletes::list(a, c)) },
    Row { name: "trash-empty", method: Method::POST, path: "/api/v1/trash/empty", action: Action::EmptyTrash, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("emptyTrash", "imagetag", 200),
          summary: "give up deleted manifests, of one repository or all; dry_run only counts them", handler: |a, c| Box::pin(deletes::empty(a, c)) },
    Row { name: "repository-grants", method: Method::GET, path: "/api/v1/repositories/{repository}/grants", action: Action::ShowRepositoryGrants, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("showUserRepositoryAuth", "userrepositoryauth"),
          summary: "who was granted what in a repository", handler: |a, c| Box::pin(grants::list(a, c)) },
    Row { name: "repository-grant", method: Method::PUT, path: "/api/v1/repositories/{repository}/grants/{user}", action: Action::CreateRepositoryGrant, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("createUserRepositoryAuth", "userrepositoryauth", 200),
          summary: "let a user do something in a repository: level (read, edit, manage)", handler: |a, c| Box::pin(grants::put(a, c)) },
    Row { name: "repository-revoke", method: Method::DELETE, path: "/api/v1/repositories/{repository}/grants/{user}", action: Action::DeleteRepositoryGrant, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("deleteUserRepositoryAuth", "userrepositoryauth", 200),
          summary: "take a user's rights in a repository away", handler: |a, c| Box::pin(grants::delete(a, c)) },
    Row { name: "shares-list", method: Method::GET, path: "/api/v1/repositories/{repository}/shares", action: Action::ListShares, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("listImageRepositoryAccessDomains", "imagerepositoryaccessdomain"),
          summary: "the accounts a repository is shared with", handler: |a, c| Box::pin(shares::list(a, c)) },
    Row { name: "share-create", method: Method::POST, path: "/api/v1/repositories/{repository}/shares/{account}", action: Action::CreateShare, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("createImageRepositoryAccessDomain", "imagerepositoryaccessdomain", 200),
          summary: "share a private repository with another account: until, description", handler: |a, c| Box::pin(shares::create(a, c)) },
    Row { name: "share-update", method: Method::PUT, path: "/api/v1/repositories/{repository}/shares/{account}", action: Action::UpdateShare, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("updateImageRepositoryAccessDomain", "imagerepositoryaccessdomain", 200),
          summary: "change the terms of a share, all of them: until, description", handler: |a, c| Box::pin(shares::update(a, c)) },
    Row { name: "share-delete", method: Method::DELETE, path: "/api/v1/repositories/{repository}/shares/{account}", action: Action::DeleteShare, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("deleteImageRepositoryAccessDomain", "imagerepositoryaccessdomain", 200),
          summary: "end a share", handler: |a, c| Box::pin(shares::delete(a, c)) },
    Row { name: "bans-list", method: Method::GET, path: "/api/v1/bans", action: Action::ListBans, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listBans", "ban"),
          summary: "who is banned, and who was not long ago; query: limit, after", handler: |a, c| Box::pin(bans::list(a, c)) },
    Row { name: "ban-create", method: Method::POST, path: "/api/v1/bans", action: Action::ManageBans, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("createBan", "ban", 200),
          summary: "ban an address or a user from now on: subject, duration_ms, note", handler: |a, c| Box::pin(bans::create(a, c)) },
    Row { name: "ban-lift", method: Method::DELETE, path: "/api/v1/bans/{subject}", action: Action::ManageBans, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("deleteBan", "ban", 200),
          summary: "lift a ban and forget it", handler: |a, c| Box::pin(bans::lift(a, c)) },
    Row { name: "exemptions-list", method: Method::GET, path: "/api/v1/ban-exemptions", action: Action::ListBans, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listBanExemptions", "banexemption"),
          summary: "who is exempt from bans and rates", handler: |a, c| Box::pin(bans::exemptions(a, c)) },
    Row { name: "exemption-create", method: Method::POST, path: "/api/v1/ban-exemptions", action: Action::ManageBans, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("createBanExemption", "banexemption", 200),
          summary: "exempt a network or a user from rates, and from bans the appliance makes itself: subject, note", handler: |a, c| Box::pin(bans::exempt(a, c)) },
    Row { name: "exemption-end", method: Method::DELETE, path: "/api/v1/ban-exemptions/{subject}", action: Action::ManageBans, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("deleteBanExemption", "banexemption", 200),
          summary: "end an exemption", handler: |a, c| Box::pin(bans::end_exemption(a, c)) },
    Row { name: "audit-list", method: Method::GET, path: "/api/v1/audit", action: Action::ListEvents, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listTraces", "trace"),
          summary: "what was done, by whomever, newest first; query: user, resource_type, resource, trace_name, rating, from, until, order, limit, after", handler: |a, c| Box::pin(audit::list(a, c)) },
    Row { name: "account-audit", method: Method::GET, path: "/api/v1/accounts/{account}/audit", action: Action::ListAccountEvents, resource: ACCOUNT, takes: Takes::Nothing,
          audit: Operation::read("listTraces", "trace"),
          summary: "what was done in an account; query as for /api/v1/audit", handler: |a, c| Box::pin(audit::list(a, c)) },
    Row { name: "retentions-list", method: Method::GET, path: "/api/v1/retention", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listRetentions", "imageretention"),
          summary: "every retention policy, with its last run; query: limit, after", handler: |a, c| Box::pin(retention::all(a, c)) },
    Row { name: "retention-show", method: Method::GET, path: "/api/v1/repositories/{repository}/retention", action: Action::ShowRetention, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("showRetention", "imageretention"),
          summary: "the retention policy of a repository, with its last run", handler: |a, c| Box::pin(retention::show(a, c)) },
    Row { name: "retention-set", method: Method::PUT, path: "/api/v1/repositories/{repository}/retention", action: Action::UpdateRetention, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("updateRetention", "imageretention", 200),
          summary: "set the retention policy of a repository, in the place of the one there is, and run it: keep, count, exempt", handler: |a, c| Box::pin(retention::put(a, c)) },
    Row { name: "retention-delete", method: Method::DELETE, path: "/api/v1/repositories/{repository}/retention", action: Action::DeleteRetention, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::change("deleteRetention", "imageretention", 200),
          summary: "remove the retention policy of a repository; its log stays", handler: |a, c| Box::pin(retention::delete(a, c)) },
    Row { name: "retention-preview", method: Method::GET, path: "/api/v1/repositories/{repository}/retention/preview", action: Action::ShowRetention, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("previewRetention", "imageretention"),
          summary: "what the retention policy of a repository would remove now, and why, or another one: query: policy", handler: |a, c| Box::pin(retention::preview(a, c)) },
    Row { name: "retention-run", method: Method::POST, path: "/api/v1/repositories/{repository}/retention/run", action: Action::UpdateRetention, resource: REPOSITORY, takes: Takes::Json,
          audit: Operation::change("runRetention", "imageretention", 200),
          summary: "run the retention policy of a repository now: trust_clock; answers the job retention-run, which tells how it goes", handler: |a, c| Box::pin(retention::run(a, c)) },
    Row { name: "retention-log", method: Method::GET, path: "/api/v1/repositories/{repository}/retention/log", action: Action::ListRetentionHistories, resource: REPOSITORY, takes: Takes::Nothing,
          audit: Operation::read("listRetentionHistories", "imageretention"),
          summary: "what retention removed from a repository, the newest first; query: limit, after", handler: |a, c| Box::pin(retention::log(a, c)) },
    Row { name: "jobs-list", method: Method::GET, path: "/api/v1/jobs", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listJobs", "job"),
          summary: "the work in the background: state, progress, last result, next run", handler: |a, c| Box::pin(jobs::list(a, c)) },
    Row { name: "job-show", method: Method::GET, path: "/api/v1/jobs/{job}", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showJob", "job"),
          summary: "one job, as it is listed", handler: |a, c| Box::pin(jobs::show(a, c)) },
    Row { name: "job-run", method: Method::POST, path: "/api/v1/jobs/{job}/run", action: Action::ManageJobs, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("runJob", "job", 200),
          summary: "have a job run now, though it is paused or nothing is due", handler: |a, c| Box::pin(jobs::run(a, c)) },
    Row { name: "job-pause", method: Method::POST, path: "/api/v1/jobs/{job}/pause", action: Action::ManageJobs, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("pauseJob", "job", 200),
          summary: "pause a job until it is resumed or the server restarts", handler: |a, c| Box::pin(jobs::pause(a, c)) },
    Row { name: "job-resume", method: Method::POST, path: "/api/v1/jobs/{job}/resume", action: Action::ManageJobs, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("resumeJob", "job", 200),
          summary: "let a paused job go on", handler: |a, c| Box::pin(jobs::resume(a, c)) },
    Row { name: "removal-hold-begin", method: Method::POST, path: "/api/v1/removal-holds", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("createRemovalHold", "removalhold", 200),
          summary: "hold back that blobs are removed, for five minutes: what a backup does while it copies", handler: |a, c| Box::pin(holds::begin(a, c)) },
    Row { name: "removal-hold-renew", method: Method::POST, path: "/api/v1/removal-holds/{hold}", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("renewRemovalHold", "removalhold", 200),
          summary: "let a hold last for five minutes from now", handler: |a, c| Box::pin(holds::renew(a, c)) },
    Row { name: "removal-hold-end", method: Method::DELETE, path: "/api/v1/removal-holds/{hold}", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("deleteRemovalHold", "removalhold", 200),
          summary: "end a hold: removals go on", handler: |a, c| Box::pin(holds::end(a, c)) },
    Row { name: "scrub", method: Method::GET, path: "/api/v1/scrub", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showScrub", "scrub"),
          summary: "how far the reading of every blob is", handler: |a, c| Box::pin(scrub::show(a, c)) },
    Row { name: "scrub-run", method: Method::POST, path: "/api/v1/scrub/run", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("runScrub", "scrub", 200),
          summary: "read every blob now, from the first on; full does not heed the rate", handler: |a, c| Box::pin(scrub::run(a, c)) },
    Row { name: "scrub-pause", method: Method::POST, path: "/api/v1/scrub/pause", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("pauseScrub", "scrub", 200),
          summary: "stop reading blobs until it is resumed, over restarts too", handler: |a, c| Box::pin(scrub::pause(a, c)) },
    Row { name: "scrub-resume", method: Method::POST, path: "/api/v1/scrub/resume", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::change("resumeScrub", "scrub", 200),
          summary: "go on reading blobs", handler: |a, c| Box::pin(scrub::resume(a, c)) },
    Row { name: "scrub-findings", method: Method::GET, path: "/api/v1/scrub/findings", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listScrubFindings", "scrub"),
          summary: "blobs that are damaged or missing, by digest, with images that need them; query: limit, after", handler: |a, c| Box::pin(scrub::findings(a, c)) },
    Row { name: "check-show", method: Method::GET, path: "/api/v1/check", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("showCheck", "check"),
          summary: "what the last check of metadata and blobs came to", handler: |a, c| Box::pin(check::show(a, c)) },
    Row { name: "check-run", method: Method::POST, path: "/api/v1/check/run", action: Action::MaintainStore, resource: REGISTRY, takes: Takes::Json,
          audit: Operation::change("runCheck", "check", 200),
          summary: "check that metadata and blobs agree, as fsck does; deep hashes every blob. Answers the job check, which tells how it goes", handler: |a, c| Box::pin(check::run(a, c)) },
    Row { name: "check-findings", method: Method::GET, path: "/api/v1/check/findings", action: Action::ReadStatus, resource: REGISTRY, takes: Takes::Nothing,
          audit: Operation::read("listCheckFindings", "check"),
          summary: "what the last check found, in its order; query: limit, after", handler: |a, c| Box::pin(check::findings(a, c)) },
];

/// What a request asks for.
pub type Found = pattern::Found<Row>;

impl Routed for Row {
    fn method(&self) -> &Method {
        &self.method
    }

    fn fit(&self, path: &str) -> Option<Params> {
        pattern::fit(self.path, path, |_, value| value)
    }
}

/// The operation for a method on a path as sent.
pub fn find(method: &Method, path: &str) -> Result<Found, Failure> {
    pattern::find(ROUTES, method, path).map_err(|missing| match missing {
        NotFound::Path => Failure::new(Kind::PathUnknown),
        NotFound::Method(allow) => Failure::new(Kind::MethodUnknown).with(header::ALLOW, allow),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::services::access::Effect;
    use crate::services::audit::When;

    #[test]
    fn no_two_rows_answer_the_same_request_or_have_the_same_name() {
        let (mut names, mut requests) = (HashSet::new(), HashSet::new());
        for row in ROUTES {
            assert!(names.insert(row.name), "{}", row.name);
            let parts = row.path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
            assert!(requests.insert((&row.method, parts.collect::<Vec<_>>())), "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn a_row_says_what_it_is_for_and_a_read_changes_nothing() {
        for row in ROUTES {
            assert!(row.path == "/api/v1" || row.path.starts_with("/api/v1/"), "{}", row.name);
            assert!(row.summary.len() > 10 && !row.summary.ends_with('.'), "{}", row.name);
            let reads = row.action.effect() == Effect::Read;
            assert_eq!(row.audit.when == When::Change, !reads, "{}", row.name);
            assert_eq!(row.method.is_safe(), reads, "{}", row.name);
            assert!(!(reads && row.takes == Takes::Json), "{}", row.name);
        }
    }

    #[test]
    fn a_request_finds_its_row_and_a_wrong_one_is_told_apart() {
        let id = "0".repeat(32);
        let cases = [
            (Method::GET, "/api/v1".to_owned(), Ok("index")),
            (Method::GET, "/api/v1/uploads".to_owned(), Ok("uploads-list")),
            (Method::GET, format!("/api/v1/uploads/{id}"), Ok("upload-show")),
            (Method::DELETE, format!("/api/v1/uploads/{id}"), Ok("upload-abort")),
            (Method::POST, "/api/v1/uploads/abort".to_owned(), Ok("uploads-abort")),
            (Method::PATCH, "/api/v1/accounts/main/users/ann".to_owned(), Ok("user-update")),
            (Method::PUT, "/api/v1/repositories/acme%2Fweb/grants/ann".to_owned(), Ok("repository-grant")),
            (Method::GET, "/api/v1/repositories/acme/web".to_owned(), Err(Kind::PathUnknown)),
            (Method::PUT, "/api/v1/status".to_owned(), Err(Kind::MethodUnknown)),
            (Method::GET, "/api/v2/status".to_owned(), Err(Kind::PathUnknown)),
            (Method::GET, "/v2/".to_owned(), Err(Kind::PathUnknown)),
        ];
        for (method, path, expected) in cases {
            let found = find(&method, &path).map(|found| found.row.name).map_err(|failure| failure.kind());
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
