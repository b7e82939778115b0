//! The table of this surface: everything that must agree about an operation is in its row. Routing, the
//! answer 405, who signs in how, authorisation, metrics, the audit trail, tests and the API's document are made from it.
//!
//! Traces are named as SWR's documents list them; operations they do not list have their own name.

use std::pin::Pin;

use hyper::{Method, header};

use super::errors::{Failure, Kind};
use super::path;
use super::reply::Reply;
use super::{
    Call, Swr, account, dockyard, lists, logins, organisations, quotas, repositories, retention, rights,
    shares, sync, tags, triggers, versions,
};
use crate::api::pattern::{self, NotFound, Params, Routed};
use crate::services::access::Action;
use crate::services::audit::Operation;

/// What a handler gives.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>>;

/// A handler: parses the rest of the request, calls one service, renders.
pub type Handler = for<'a> fn(&'a Swr, Call<'a>) -> Answer<'a>;

/// What an operation is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The registry as a whole, or the account of the one who asks.
    Registry,
    /// `{namespace}` of the path.
    Organisation,
    /// `{repository}` of `{namespace}`.
    Repository,
    /// `namespace` of the body.
    NewOrganisation,
    /// `repository` of the body, in `{namespace}`.
    NewRepository,
}

/// Whether an operation takes a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: one that comes is read if it is signed, and not looked at.
    Nothing,
    /// JSON, also with DELETE.
    Json,
}

/// How those who ask prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// By `X-Auth-Token` or a signature of the request.
    Api,
    /// As docker does, by `Basic`.
    Login,
}

/// An operation.
pub struct Row {
    /// Its name in the SDKs, in metrics and logs.
    pub operation: &'static str,
    /// How it is asked for.
    pub method: Method,
    /// Where: a part in braces is a parameter.
    pub path: &'static str,
    /// What the caller must be allowed to do.
    pub action: Action,
    /// To what.
    pub subject: Subject,
    /// Its body.
    pub takes: Takes,
    /// What it is in the audit trail.
    pub audit: Operation,
    /// Statuses it answers with, beside 400, 401, 403, 413 and 5xx.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold the answers to it"))]
    pub statuses: &'static [u16],
    /// Does it.
    pub handler: Handler,
}

impl Row {
    /// How those who ask prove who they are.
    pub fn signs(&self) -> Signs {
        if self.path.starts_with("/dockyard/") { Signs::Login } else { Signs::Api }
    }
}

/// What reads is asked for by GET.
const fn audited(method: &Method, name: &'static str, resource_type: &'static str, done: u16) -> Operation {
    match *method {
        Method::GET => Operation::read(name, resource_type),
        _ => Operation::change(name, resource_type, done),
    }
}

macro_rules! rows {
    ($($operation:literal $method:ident $path:literal $action:ident $subject:ident $takes:ident
       $trace:literal $resource:literal [$done:literal $($status:literal)*] $room:ident::$handler:ident;)*) => {
        /// Every operation.
        pub static ROUTES: &[Row] = &[$(Row {
            operation: $operation,
            method: Method::$method,
            path: $path,
            action: Action::$action,
            subject: Subject::$subject,
            takes: Takes::$takes,
            audit: audited(&Method::$method, $trace, $resource, $done),
            statuses: &[$done, $($status),*],
            handler: |swr, call| Box::pin($room::$handler(swr, call)),
        },)*];
    };
}

// Operation, method, path, action, subject, body, trace and type of resource, statuses (that of success first), handler.
rows! {
    // Versions.
    "ListApiVersions" GET "/" Ping Registry Nothing "listApiVersions" "version" [200] versions::list;
    "ShowApiVersion" GET "/{api_version}" Ping Registry Nothing "showApiVersion" "version" [200 404] versions::show;

    // Organisations.
    "ListNamespaces" GET "/v2/manage/namespaces" ListOrganisations Registry Nothing "listUserNamespaces" "usernamespace" [200] organisations::list;
    "CreateNamespace" POST "/v2/manage/namespaces" CreateOrganisation NewOrganisation Json "createUserNamespace" "usernamespace" [201 409] organisations::create;
    "ShowNamespace" GET "/v2/manage/namespaces/{namespace}" ShowOrganisation Organisation Nothing "showUserNamespace" "usernamespace" [200 404] organisations::show;
    "DeleteNamespaces" DELETE "/v2/manage/namespaces/{namespace}" DeleteOrganisation Organisation Nothing "deleteUserNamesapce" "usernamespace" [204 404 406] organisations::delete;

    // Rights in organisations.
    "ShowNamespaceAuth" GET "/v2/manage/namespaces/{namespace}/access" ShowOrganisationGrants Organisation Nothing "showUserNamespaceAuth" "usernamespaceauth" [200 404] rights::show;
    "CreateNamespaceAuth" POST "/v2/manage/namespaces/{namespace}/access" CreateOrganisationGrant Organisation Json "createUserNamespaceAuth" "usernamespaceauth" [200 404 409] rights::grant_in;
    "UpdateNamespaceAuth" PATCH "/v2/manage/namespaces/{namespace}/access" UpdateOrganisationGrant Organisation Json "updateUserNamespaceAuth" "usernamespaceauth" [201 404] rights::update;
    "DeleteNamespaceAuth" DELETE "/v2/manage/namespaces/{namespace}/access" DeleteOrganisationGrant Organisation Json "deleteUserNamespaceAuth" "usernamespaceauth" [204 404] rights::revoke;

    // Repositories.
    "CreateRepo" POST "/v2/manage/namespaces/{namespace}/repos" CreateRepository NewRepository Json "createImageRepository" "imagerepository" [200 404 409] repositories::create;
    "ShowRepository" GET "/v2/manage/namespaces/{namespace}/repos/{repository}" ShowRepository Repository Nothing "showImageRepository" "imagerepository" [200 404] repositories::show;
    "UpdateRepo" PATCH "/v2/manage/namespaces/{namespace}/repos/{repository}" UpdateRepository Repository Json "updateImageRepository" "imagerepository" [201 404] repositories::update;
    "DeleteRepo" DELETE "/v2/manage/namespaces/{namespace}/repos/{repository}" DeleteRepository Repository Nothing "deleteImageRepository" "imagerepository" [204 404 409] repositories::delete;
    "ListReposDetails" GET "/v2/manage/repos" ListRepositories Registry Nothing "listImageRepositories" "imagerepository" [200] repositories::list;
    "ListSharedReposDetails" GET "/v2/manage/shared-repositories" ListRepositories Registry Nothing "listSharedReposDetails" "imagerepository" [200] repositories::list_shared;

    // Rights on repositories.
    "ShowUserRepositoryAuth" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/access" ShowRepositoryGrants Repository Nothing "showUserRepositoryAuth" "userrepositoryauth" [200 404] rights::show;
    "CreateUserRepositoryAuth" POST "/v2/manage/namespaces/{namespace}/repos/{repository}/access" CreateRepositoryGrant Repository Json "createUserRepositoryAuth" "userrepositoryauth" [201 404 409] rights::grant_on;
    "UpdateUserRepositoryAuth" PATCH "/v2/manage/namespaces/{namespace}/repos/{repository}/access" UpdateRepositoryGrant Repository Json "updateUserRepositoryAuth" "userrepositoryauth" [201 404] rights::update;
    "DeleteUserRepositoryAuth" DELETE "/v2/manage/namespaces/{namespace}/repos/{repository}/access" DeleteRepositoryGrant Repository Json "deleteUserRepositoryAuth" "userrepositoryauth" [204 404] rights::revoke;

    // Sharing.
    "CreateRepoDomains" POST "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains" CreateShare Repository Json "createImageRepositoryAccessDomain" "imagerepositoryaccessdomain" [201 404 409] shares::create;
    "ListRepoDomains" GET "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains" ListShares Repository Nothing "listImageRepositoryAccessDomains" "imagerepositoryaccessdomain" [200 404] shares::list;
    "ShowAccessDomain" GET "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains/{access_domain}" ShowShare Repository Nothing "showImageRepositoryAccessDomain" "imagerepositoryaccessdomain" [200 404] shares::show;
    "UpdateRepoDomains" PATCH "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains/{access_domain}" UpdateShare Repository Json "updateImageRepositoryAccessDomain" "imagerepositoryaccessdomain" [201 404] shares::update;
    "DeleteRepoDomains" DELETE "/v2/manage/namespaces/{namespace}/repositories/{repository}/access-domains/{access_domain}" DeleteShare Repository Nothing "deleteImageRepositoryAccessDomain" "imagerepositoryaccessdomain" [204 404] shares::delete;

    // The account, and signing in.
    "ListQuotas" GET "/v2/manage/projects/{project_id}/quotas" ListQuotas Registry Nothing "listQuotas" "quota" [200] account::quotas;
    "ShowDomainOverview" GET "/v2/manage/overview" ShowOverview Registry Nothing "getDomainOverview" "overview" [200] account::overview;
    "ShowDomainResourceReports" GET "/v2/manage/reports/{resource_type}/{frequency}" ShowReports Registry Nothing "getDomainResourceReports" "overview" [200] account::reports;
    "ShowShareFeatureGates" GET "/v2/manage/projects/{project_id}/feature-gates" ShowFeatures Registry Nothing "showShareFeatureGates" "featuregate" [200] account::features;
    "CheckAgency" GET "/v2/manage/agency" CheckAgency Registry Nothing "checkAgency" "agency" [200] account::agency;
    "CreateAgency" POST "/v2/manage/agency" CreateAgency Registry Nothing "createAgency" "agency" [204] account::let_act;
    "CreateSecret" POST "/v2/manage/utils/secret" CreateLoginSecret Registry Nothing "createDockerConfig" "dockerlogincmd" [200] logins::secret;
    "CreateAuthorizationToken" POST "/v2/manage/utils/authorizationtoken" CreateLoginToken Registry Nothing "createAuthorizationToken" "dockerlogincmd" [200] logins::token;

    // Tags.
    "ListRepositoryTags" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/tags" ListTags Repository Nothing "listImageTags" "imagetag" [200 404] tags::list;
    "CreateRepoTag" POST "/v2/manage/namespaces/{namespace}/repos/{repository}/tags" CreateTag Repository Json "createImageTag" "imagetag" [201 404 409] tags::create;
    "ShowRepoTag" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/tags/{tag}" ShowTag Repository Nothing "showImageTag" "imagetag" [200 404] tags::show;
    "DeleteRepoTag" DELETE "/v2/manage/namespaces/{namespace}/repos/{repository}/tags/{tag}" DeleteVersion Repository Nothing "deleteImageTag" "imagetag" [204 404] tags::delete;
    "ListRepoAccessories" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/{tag}/accessories" ShowTag Repository Nothing "listRepoAccessories" "imagetag" [200 404] tags::accessories;
    "ListReferences" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/{tag}/references" ShowTag Repository Nothing "listReferences" "imagetag" [200 404] tags::references;

    // Triggers.
    "CreateTrigger" POST "/v2/manage/namespaces/{namespace}/repos/{repository}/triggers" CreateTrigger Repository Json "createTrigger" "trigger" [201 404 409] triggers::create;
    "ListTriggersDetails" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/triggers" ListTriggers Repository Nothing "listTriggers" "trigger" [200 404] triggers::list;
    "ShowTrigger" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/triggers/{trigger}" ShowTrigger Repository Nothing "showTrigger" "trigger" [200 404] triggers::show;
    "UpdateTrigger" PATCH "/v2/manage/namespaces/{namespace}/repos/{repository}/triggers/{trigger}" UpdateTrigger Repository Json "updateTrigger" "trigger" [201 404] triggers::update;
    "DeleteTrigger" DELETE "/v2/manage/namespaces/{namespace}/repos/{repository}/triggers/{trigger}" DeleteTrigger Repository Nothing "deleteTrigger" "trigger" [204 404] triggers::delete;

    // Retention.
    "CreateRetention" POST "/v2/manage/namespaces/{namespace}/repos/{repository}/retentions" CreateRetention Repository Json "createRetention" "imageretention" [201 404 409] retention::create;
    "ListRetentions" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/retentions" ListRetentions Repository Nothing "listRetentions" "imageretention" [200 404] retention::list;
    "ListRetentionHistories" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/histories" ListRetentionHistories Repository Nothing "listRetentionHistories" "imageretention" [200 404] retention::histories;
    "ShowRetention" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/{retention_id}" ShowRetention Repository Nothing "showRetention" "imageretention" [200 404] retention::show;
    "UpdateRetention" PATCH "/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/{retention_id}" UpdateRetention Repository Json "updateRetention" "imageretention" [201 404] retention::update;
    "DeleteRetention" DELETE "/v2/manage/namespaces/{namespace}/repos/{repository}/retentions/{retention_id}" DeleteRetention Repository Nothing "deleteRetention" "imageretention" [200 404] retention::delete;

    // Synchronisation.
    "CreateImageSyncRepo" POST "/v2/manage/namespaces/{namespace}/repos/{repository}/sync_repo" CreateAutoSync Repository Json "createImageSyncRepo" "imagesync" [200 404 409] sync::create;
    "ListImageAutoSyncReposDetails" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/sync_repo" ListAutoSyncs Repository Nothing "listImageAutoSyncReposDetails" "imagesync" [200 404] sync::list;
    "DeleteImageSyncRepo" DELETE "/v2/manage/namespaces/{namespace}/repos/{repository}/sync_repo" DeleteAutoSync Repository Json "deleteImageSyncRepo" "imagesync" [200 404] sync::delete;
    "CreateManualImageSyncRepo" POST "/v2/manage/namespaces/{namespace}/repos/{repository}/sync_images" CreateManualSync Repository Json "createManualImageSyncRepo" "imagesync" [200 404] sync::copy;
    "ShowSyncJob" GET "/v2/manage/namespaces/{namespace}/repos/{repository}/sync_job" ShowSyncJobs Repository Nothing "showSyncJob" "imagesync" [200 404] sync::jobs;
    "ListSyncRegions" GET "/v2/manage/regions" ListRegions Registry Nothing "listSyncRegions" "imagesync" [200] sync::regions;

    // Storage quotas: SWR has actions for them, and no call.
    "ShowNamespaceStorageQuota" GET "/v2/manage/namespaces/{namespace}/storage-quota" ShowStorageQuota Organisation Nothing "getNamespaceStorageQuota" "usernamespace" [200 404] quotas::show;
    "UpdateNamespaceStorageQuota" PUT "/v2/manage/namespaces/{namespace}/storage-quota" UpdateStorageQuota Organisation Json "updateNamespaceStorageQuota" "usernamespace" [200 404] quotas::update;

    // Version 3 lists.
    "ListRepoDetails" GET "/v3/manage/repos" ListRepositories Registry Nothing "listImageRepositories" "imagerepository" [200] lists::repositories;
    "ListSharedRepoDetails" GET "/v3/manage/shared-repositories" ListRepositories Registry Nothing "listSharedReposDetails" "imagerepository" [200] lists::shared;
    "ListRepositoryTag" GET "/v3/manage/namespaces/{namespace}/repos/{repository}/tags" ListTags Repository Nothing "listImageTags" "imagetag" [200 404] lists::tags;

    // What Harbor and migration scripts ask the registry's host for.
    "DockyardListVisibleNamespaces" GET "/dockyard/v2/visible/namespaces" ListOrganisations Registry Nothing "listUserNamespaces" "usernamespace" [200] dockyard::visible;
    "DockyardListNamespaces" GET "/dockyard/v2/namespaces" ListOrganisations Registry Nothing "listUserNamespaces" "usernamespace" [200] dockyard::namespaces;
    "DockyardShowNamespace" GET "/dockyard/v2/namespaces/{namespace}" ListOrganisations Registry Nothing "showUserNamespace" "usernamespace" [200] dockyard::namespace;
    "DockyardCreateNamespace" POST "/dockyard/v2/namespaces" CreateOrganisation NewOrganisation Json "createUserNamespace" "usernamespace" [201 409] organisations::create;
    "DockyardListRepositories" GET "/dockyard/v2/repositories" ListRepositories Registry Nothing "listImageRepositories" "imagerepository" [200] dockyard::repositories;
}

/// What a request asks for.
pub type Found = pattern::Found<Row>;

impl Routed for Row {
    fn method(&self) -> &Method {
        &self.method
    }

    fn fit(&self, path: &str) -> Option<Params> {
        path::fit(self.path, path)
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

    #[test]
    fn no_two_rows_answer_the_same_request_or_have_the_same_name() {
        let (mut names, mut requests) = (HashSet::new(), HashSet::new());
        for row in ROUTES {
            assert!(names.insert(row.operation), "{}", row.operation);
            let parts = row.path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
            assert!(requests.insert((&row.method, parts.collect::<Vec<_>>())), "{} {}", row.method, row.path);
        }
        let ours = |row: &&Row| row.path.ends_with("/storage-quota");
        assert_eq!(ROUTES.iter().filter(ours).count(), 2);
        let api = ROUTES.iter().filter(|row| row.signs() == Signs::Api && !ours(row));
        assert_eq!(api.count(), 59, "of the basic edition");
    }

    #[test]
    fn a_row_agrees_with_itself() {
        // SWR gives logins away by POST; they are no change of anything others see.
        let is_login = |row: &Row| row.audit.resource_type == "dockerlogincmd";
        for row in ROUTES {
            let name = row.operation;
            let reads = row.action.effect() == Effect::Read;
            assert_eq!(row.method.is_safe(), reads && !is_login(row), "{name}");
            assert!(!(row.method == Method::GET && row.takes == Takes::Json), "{name}");
            assert!(row.statuses.iter().any(|status| (200..300).contains(status)), "{name}");
            assert!(!row.audit.name.is_empty() && !row.audit.resource_type.is_empty(), "{name}");
            let has = |param: &str| row.path.contains(param);
            let fits = match row.subject {
                Subject::Registry => !has("{repository}"),
                Subject::Organisation => has("{namespace}") && !has("{repository}"),
                Subject::Repository => has("{namespace}") && has("{repository}"),
                Subject::NewOrganisation => row.path.ends_with("/namespaces") && row.takes == Takes::Json,
                Subject::NewRepository => row.path.ends_with("{namespace}/repos") && row.takes == Takes::Json,
            };
            assert!(fits, "{name}");
        }
    }

    #[test]
    fn a_request_finds_its_row_and_a_wrong_one_is_told_apart() {
        let cases = [
            (Method::GET, "/", Ok("ListApiVersions")),
            (Method::GET, "/v2", Ok("ShowApiVersion")),
            (Method::GET, "/v2/manage/namespaces", Ok("ListNamespaces")),
            (Method::POST, "/v2/manage/namespaces", Ok("CreateNamespace")),
            (Method::DELETE, "/v2/manage/namespaces/acme", Ok("DeleteNamespaces")),
            (Method::GET, "/v2/manage/namespaces/acme/repos/a$b", Ok("ShowRepository")),
            (Method::GET, "/v2/manage/namespaces/acme/repos/a%2Fb/tags/v1", Ok("ShowRepoTag")),
            (Method::GET, "/v2/manage/namespaces/acme/repos/b/v1/references", Ok("ListReferences")),
            (
                Method::GET,
                "/v2/manage/namespaces/a/repos/b/retentions/histories",
                Ok("ListRetentionHistories"),
            ),
            (Method::GET, "/v2/manage/namespaces/a/repos/b/retentions/34", Ok("ShowRetention")),
            (Method::GET, "/dockyard/v2/visible/namespaces", Ok("DockyardListVisibleNamespaces")),
            (Method::GET, "/v2/manage/namespaces/", Err(Kind::PathUnknown)),
            (Method::GET, "/v2/manage/namespaces/acme/repos/a/b", Err(Kind::PathUnknown)),
            (Method::GET, "/v2/0123/instances", Err(Kind::PathUnknown)),
            (Method::PUT, "/v2/manage/namespaces", Err(Kind::MethodUnknown)),
        ];
        for (method, path, expected) in cases {
            let found = find(&method, path).map(|found| found.row.operation);
            assert_eq!(found.map_err(|failure| failure.kind()), expected, "{method} {path}");
        }
    }
}
