"""Drives organisations, rights, images, sharing, the account, logins and versions with the SDK."""

import base64

import requests
from common import CA, ENDPOINT, HOST, ID, Like, NUMBER, PROJECT, Person, RANGE, TIME, done, refused, same
from huaweicloudsdkswr.v2 import (
    CheckAgencyRequest, CreateAgencyRequest, CreateAuthorizationTokenRequest, CreateNamespaceAuthRequest,
    CreateNamespaceRequest, CreateNamespaceRequestBody, CreateRepoDomainsRequest, CreateRepoDomainsRequestBody,
    CreateRepoRequest, CreateRepoRequestBody, CreateSecretRequest, CreateUserRepositoryAuthRequest,
    DeleteNamespaceAuthRequest, DeleteNamespacesRequest, DeleteRepoDomainsRequest, DeleteRepoRequest,
    DeleteUserRepositoryAuthRequest, ListApiVersionsRequest, ListNamespacesRequest, ListQuotasRequest,
    ListRepoDomainsRequest, ListReposDetailsRequest, ListSharedReposDetailsRequest, ShowAccessDomainRequest,
    ShowApiVersionRequest, ShowDomainOverviewRequest, ShowDomainResourceReportsRequest, ShowNamespaceAuthRequest,
    ShowNamespaceRequest, ShowRepositoryRequest, ShowShareFeatureGatesRequest, ShowUserRepositoryAuthRequest,
    UpdateNamespaceAuthRequest, UpdateRepoDomainsRequest, UpdateRepoDomainsRequestBody, UpdateRepoRequest,
    UpdateRepoRequestBody, UpdateUserRepositoryAuthRequest, UserAuth,
)

admin, ann, betty = Person("admin"), Person("ann"), Person("betty")
REPO = {"namespace": "group", "repository": "a$b"}


def versions():
    version = {
        "id": "v2", "links": {"href": f"{ENDPOINT}/v2", "rel": "self"}, "version": "2.26",
        "min_version": "2.0", "status": "CURRENT", "updated": TIME,
    }
    same(admin.list_api_versions(ListApiVersionsRequest()), 200, {"versions": [version]})
    same(admin.show_api_version(ShowApiVersionRequest(api_version="v2")), 200, {"version": version})
    refused(lambda: admin.show_api_version(ShowApiVersionRequest(api_version="v9")), 404, "4040083")


def organisations():
    new = CreateNamespaceRequest(body=CreateNamespaceRequestBody(namespace="group"))
    same(admin.create_namespace(new), 201, {})
    refused(lambda: admin.create_namespace(new), 409, "4090060")
    view = {"id": NUMBER, "name": "group", "creator_name": "admin", "auth": 7}
    same(admin.show_namespace(ShowNamespaceRequest(namespace="group")), 200, view)
    refused(lambda: betty.show_namespace(ShowNamespaceRequest(namespace="group")), 404, "4040058")
    listed = admin.list_namespaces(ListNamespacesRequest(filter="namespace::group|mode::visible"))
    same(listed, 200, {"namespaces": [view]})
    same(betty.list_namespaces(ListNamespacesRequest()), 200, {"namespaces": []})
    quota = {"quota_key": "namespace", "quota_limit": 1000, "used": 2, "unit": ""}
    same(admin.list_quotas(ListQuotasRequest()), 200, {"quotas": [quota]})


def rights():
    grant = lambda auth: [UserAuth(user_id=ann.id, user_name="ann", auth=auth)]
    view = lambda who, auth: {"user_id": who.id, "user_name": who.name, "auth": auth}
    of = {"namespace": "group"}
    same(admin.create_namespace_auth(CreateNamespaceAuthRequest(**of, body=grant(3))), 200, {})
    refused(lambda: admin.create_namespace_auth(CreateNamespaceAuthRequest(**of, body=grant(3))), 409, "4090076")
    shown = {"id": NUMBER, "name": "group", "creator_name": "admin", "self_auth": view(admin, 7)}
    same(admin.show_namespace_auth(ShowNamespaceAuthRequest(**of)), 200, shown | {"others_auths": [view(ann, 3)]})
    same(admin.update_namespace_auth(UpdateNamespaceAuthRequest(**of, body=grant(1))), 201, {})
    same(admin.show_namespace_auth(ShowNamespaceAuthRequest(**of)), 200, shown | {"others_auths": [view(ann, 1)]})
    same(admin.delete_namespace_auth(DeleteNamespaceAuthRequest(**of, body=[ann.id])), 204, {})
    same(admin.show_namespace_auth(ShowNamespaceAuthRequest(**of)), 200, shown | {"others_auths": []})

    same(admin.create_user_repository_auth(CreateUserRepositoryAuthRequest(**REPO, body=grant(7))), 201, {})
    shown = {"id": NUMBER, "name": "a/b", "self_auth": view(admin, 7)}
    listed = admin.show_user_repository_auth(ShowUserRepositoryAuthRequest(**REPO))
    same(listed, 200, shown | {"others_auths": [view(ann, 7)]})
    same(admin.update_user_repository_auth(UpdateUserRepositoryAuthRequest(**REPO, body=grant(1))), 201, {})
    seen = ann.show_user_repository_auth(ShowUserRepositoryAuthRequest(**REPO))
    same(seen, 200, shown | {"self_auth": view(ann, 1), "others_auths": [view(admin, 7)]})
    body = UpdateRepoRequestBody(is_public=True)
    refused(lambda: ann.update_repo(UpdateRepoRequest(**REPO, body=body)), 403, "4037018")
    same(admin.delete_user_repository_auth(DeleteUserRepositoryAuthRequest(**REPO, body=[ann.id])), 204, {})
    again = DeleteUserRepositoryAuthRequest(**REPO, body=[ann.id])
    refused(lambda: admin.delete_user_repository_auth(again), 404, "4040091")


def images():
    body = CreateRepoRequestBody(repository="a/b", is_public=False, category="linux", description="d")
    same(admin.create_repo(CreateRepoRequest(namespace="group", body=body)), 200, {})
    refused(lambda: admin.create_repo(CreateRepoRequest(namespace="group", body=body)), 409, "4090006")
    admin.push("group/a/b", "v1")
    path = f"{HOST}/group/a/b"
    expected = {
        "id": NUMBER, "ns_id": NUMBER, "name": "a/b", "category": "linux", "description": "d",
        "creator_id": admin.id, "creator_name": "admin", "size": NUMBER, "is_public": False, "num_images": 1,
        "num_download": NUMBER, "url": "", "path": path, "internal_path": path, "created": TIME,
        "updated": TIME, "domain_id": ID, "priority": 0,
    }
    for name in ["a$b", "a/b"]:
        shown = admin.show_repository(ShowRepositoryRequest(namespace="group", repository=name))
        same(shown, 200, expected)
    refused(lambda: admin.show_repository(ShowRepositoryRequest(namespace="group", repository="x")), 404, "4040010")
    body = UpdateRepoRequestBody(is_public=False, category="database", description="e")
    same(admin.update_repo(UpdateRepoRequest(**REPO, body=body)), 201, {})

    item = {
        "name": "a/b", "category": "database", "description": "e", "size": NUMBER, "is_public": False,
        "num_images": 1, "num_download": NUMBER, "created_at": TIME, "updated_at": TIME, "logo": "", "url": "",
        "path": path, "internal_path": path, "domain_name": "main", "namespace": "group", "tags": ["v1"],
        "status": False, "total_range": 1,
    }
    asked = ListReposDetailsRequest(filter="namespace::group|limit::10|offset::0")
    same(admin.list_repos_details(asked), 200, {"body": [item], "content_range": "0-1/1"})
    plain = ListReposDetailsRequest(namespace="gro", name="a$b", category="database", limit="10", offset="0",
                                    order_column="updated_at", order_type="desc")
    same(admin.list_repos_details(plain), 200, {"body": [item], "content_range": "0-1/1"})
    past = ListReposDetailsRequest(limit="10", offset="50")
    # The SDK makes nothing of an empty list.
    same(admin.list_repos_details(past), 200, {"content_range": "50-0/1"})
    wrong = ListReposDetailsRequest(order_column="num_images", order_type="desc")
    refused(lambda: admin.list_repos_details(wrong), 400, "4001096")
    refused(lambda: admin.list_repos_details(ListReposDetailsRequest(filter="group")), 400, "4001035")
    return item


def sharing(item):
    body = CreateRepoDomainsRequestBody(access_domain="beta", permit="read", deadline="2090-10-01T16:00:00.000Z",
                                        description="for tests")
    share = {
        "namespace": "group", "repository": "a/b", "access_domain": "beta", "permit": "read",
        "deadline": "2090-10-01T00:00:00Z", "description": "for tests", "creator_id": admin.id,
        "creator_name": "admin", "created": TIME, "updated": TIME, "status": True,
    }
    same(admin.create_repo_domains(CreateRepoDomainsRequest(**REPO, body=body)), 201, {})
    refused(lambda: admin.create_repo_domains(CreateRepoDomainsRequest(**REPO, body=body)), 409, "4090089")
    same(admin.list_repo_domains(ListRepoDomainsRequest(**REPO)), 200, {"body": [share]})
    one = admin.show_access_domain(ShowAccessDomainRequest(**REPO, access_domain="beta"))
    same(one, 200, share | {"exist": True})
    none = admin.show_access_domain(ShowAccessDomainRequest(**REPO, access_domain="nobody"))
    assert (none.exist, none.status, none.status_code) == (False, False, 200), none
    mine = admin.list_shared_repos_details(ListSharedReposDetailsRequest(center="self", limit="10", offset="0"))
    same(mine, 200, {"body": [item], "content_range": RANGE})
    theirs = betty.list_shared_repos_details(ListSharedReposDetailsRequest(center="thirdparty"))
    same(theirs, 200, {"body": [item | {"status": True}], "content_range": "0-1/1"})
    body = UpdateRepoDomainsRequestBody(permit="read", deadline="forever", description="")
    changed = UpdateRepoDomainsRequest(**REPO, access_domain="beta", body=body)
    same(admin.update_repo_domains(changed), 201, {})
    one = admin.show_access_domain(ShowAccessDomainRequest(**REPO, access_domain="beta"))
    same(one, 200, share | {"exist": True, "deadline": "forever", "description": ""})
    gone = DeleteRepoDomainsRequest(**REPO, access_domain="beta")
    same(admin.delete_repo_domains(gone), 204, {})
    refused(lambda: admin.delete_repo_domains(gone), 400, "4001090")


def account():
    overview = {
        "domain_id": ID, "domain_name": "main", "namspace_num": 2, "repo_num": 1, "image_num": 1,
        "store_space": Like(float), "downflow_size": Like(float),
    }
    same(admin.show_domain_overview(ShowDomainOverviewRequest()), 200, overview)
    report = ShowDomainResourceReportsRequest(resource_type="store", frequency="daily")
    day = {"date": Like(r"\d{4}-\d\d-\d\d"), "value": Like((int, float))}
    same(admin.show_domain_resource_reports(report), 200, {"body": [day]})
    report = ShowDomainResourceReportsRequest(resource_type="downflow", frequency="daily")
    same(admin.show_domain_resource_reports(report), 200, {})
    gates = admin.show_share_feature_gates(ShowShareFeatureGatesRequest())
    assert all(isinstance(value, bool) for value in gates.to_dict().values()), gates
    same(admin.check_agency(CheckAgencyRequest()), 200, {"domain_id": ID, "is_agency": True})
    same(admin.create_agency(CreateAgencyRequest()), 204, {})
    refused(lambda: ann.create_agency(CreateAgencyRequest()), 403, "4039002")


def logins():
    for made in [
        ann.create_secret(CreateSecretRequest(projectname="region-1")),
        ann.create_authorization_token(CreateAuthorizationTokenRequest()),
    ]:
        auth = made.auths[HOST]
        auth = auth["auth"] if isinstance(auth, dict) else auth.auth
        user, password = base64.b64decode(auth).decode().split(":", 1)
        assert made.x_swr_dockerlogin == f"docker login -u {user} -p {password} {HOST}", made.x_swr_dockerlogin
        assert made.x_swr_expireat == TIME, made.x_swr_expireat
        assert requests.get(f"{ENDPOINT}/v2/", auth=(user, password), verify=CA).status_code == 200


def strangers():
    stolen = Person("ann")
    stolen.client._credentials.sk = "0" * 40
    refused(lambda: stolen.list_namespaces(ListNamespacesRequest()), 401, "APIGW.0301")


def ends():
    full = DeleteNamespacesRequest(namespace="group")
    refused(lambda: admin.delete_namespaces(full), 406, "4060074")
    same(admin.delete_repo(DeleteRepoRequest(**REPO)), 204, {})
    refused(lambda: admin.delete_repo(DeleteRepoRequest(**REPO)), 404, "4040010")
    same(admin.delete_namespaces(full), 204, {})
    refused(lambda: admin.delete_namespaces(full), 404, "4040058")


assert PROJECT
versions()
organisations()
listed = images()
rights()
sharing(listed)
account()
logins()
strangers()
ends()
done()
