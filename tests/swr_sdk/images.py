"""Drives versions of images, what is about them, the lists of version 3, retention, and what has no engine:
triggers and synchronisation."""

import json
import time

from common import (
    HOST, ID, INDEX, NUMBER, Person, TIME, descriptor, done, refused, same, sent,
)
from huaweicloudsdkswr.v2 import (
    CreateImageSyncRepoRequest, CreateImageSyncRepoRequestBody, CreateManualImageSyncRepoRequest,
    CreateManualImageSyncRepoRequestBody, CreateNamespaceRequest, CreateNamespaceRequestBody,
    CreateRepoDomainsRequest, CreateRepoDomainsRequestBody, CreateRepoTagRequest, CreateRepoTagRequestBody,
    CreateRetentionRequest, CreateRetentionRequestBody, CreateTriggerRequest, CreateTriggerRequestBody,
    DeleteImageSyncRepoRequest, DeleteImageSyncRepoRequestBody, DeleteRepoTagRequest, DeleteRetentionRequest,
    DeleteTriggerRequest, ListImageAutoSyncReposDetailsRequest, ListReferencesRequest, ListRepoAccessoriesRequest,
    ListRepoDetailsRequest, ListRepositoryTagRequest, ListRepositoryTagsRequest, ListRetentionHistoriesRequest,
    ListRetentionsRequest, ListSharedRepoDetailsRequest, ListSyncRegionsRequest, ListTriggersDetailsRequest, Rule,
    ShowRepoTagRequest, ShowRetentionRequest, ShowSyncJobRequest, ShowTriggerRequest, TagSelector,
    UpdateRetentionRequest, UpdateRetentionRequestBody, UpdateTriggerRequest, UpdateTriggerRequestBody,
)

admin, ann, betty = Person("admin"), Person("ann"), Person("betty")
NAME = "group/a/b"
REPO = {"namespace": "group", "repository": "a$b"}
NONE = {"namespace": "group", "repository": "none"}
NO_SUCH = 34


def furnish():
    """`group/a/b` with the images `v1` and `v2` and `all`, an index of both; and `group/c`. Not noted as driven."""
    body = CreateNamespaceRequestBody(namespace="group")
    same(admin.client.create_namespace(CreateNamespaceRequest(body=body)), 201, {})
    one, two = admin.push(NAME, "v1", b"1"), admin.push(NAME, "v2", b"2")
    both = [descriptor(one), descriptor(two)]
    index = admin.put(NAME, "all", {"schemaVersion": 2, "mediaType": INDEX, "manifests": both})
    admin.push("group/c", "v1", b"3")
    index |= {"all": index["size"] + one["all"] + two["all"]}
    return {"all": index, "v1": one, "v2": two}


def version(tag, image):
    """A version with every field that one alone has."""
    path, config = f"{HOST}/{NAME}:{tag}", image.get("manifest", {}).get("config")
    return {
        "id": NUMBER, "repo_id": NUMBER, "tag": tag, "image_id": config["digest"][len("sha256:"):] if config else "",
        "manifest": image["text"], "digest": image["digest"], "schema": 2, "path": path, "internal_path": path,
        "size": image["all"], "is_trusted": False, "created": TIME, "updated": TIME, "domain_id": ID,
        "tag_type": 0 if config else 1,
    }


def versions(images):
    items = [version(tag, image) | {"scanned": False} for tag, image in images.items()]
    index, one, two = items
    listed = lambda **asked: admin.list_repository_tags(ListRepositoryTagsRequest(**REPO, **asked))
    same(listed(), 200, {"body": items, "content_range": "0-3/3"})
    assert all(item["deleted"] is None for item in sent(listed())), listed()
    for asked, body, content_range in [
        ({"limit": "2", "offset": "0"}, [index, one], "0-2/3"),
        ({"limit": "2", "offset": "2"}, [two], "2-1/3"),
        ({"filter": "limit::1|offset::1"}, [one], "1-1/3"),
        ({"order_column": "tag", "order_type": "desc"}, [two, one, index], "0-3/3"),
        ({"order_column": "updated_at", "order_type": "asc"}, [one, two, index], "0-3/3"),
        ({"tag": "v1"}, [one], "0-1/1"),
        ({"filter": "tag::v2"}, [two], "0-1/1"),
    ]:
        same(listed(**asked), 200, {"body": body, "content_range": content_range})
    past = listed(limit="2", offset="4")
    same(past, 200, {"content_range": "4-0/3"})
    assert sent(past) == [], past
    refused(lambda: listed(limit="0"), 400, "4000056", "the page is invalid: limit")
    refused(lambda: listed(order_column="size"), 400, "4001096", "cannot be ordered")
    refused(lambda: listed(filter="tag"), 400, "4001035", "the filter is invalid")
    refused(lambda: admin.list_repository_tags(ListRepositoryTagsRequest(**NONE)), 404, "4040010", "the image does not")
    refused(lambda: betty.list_repository_tags(ListRepositoryTagsRequest(**REPO)), 404, "4040058")

    show = lambda tag: admin.show_repo_tag(ShowRepoTagRequest(**REPO, tag=tag))
    for tag, image in images.items():
        same(show(tag), 200, version(tag, image))
        assert not {"Tag", "deleted", "scanned"} & sent(show(tag)).keys(), show(tag)
    refused(lambda: show("v9"), 404, "4040048", "the image version does not exist")
    refused(lambda: admin.show_repo_tag(ShowRepoTagRequest(**NONE, tag="v1")), 404, "4040010")


def names(images):
    def create(source, destination, overwrite=None, of=REPO):
        body = CreateRepoTagRequestBody(source_tag=source, destination_tag=destination, override=overwrite)
        return admin.create_repo_tag(CreateRepoTagRequest(**of, body=body))

    show = lambda tag: admin.show_repo_tag(ShowRepoTagRequest(**REPO, tag=tag))
    delete = lambda tag, of=REPO: admin.delete_repo_tag(DeleteRepoTagRequest(**of, tag=tag))
    same(create("v1", "stable"), 201, {})
    same(show("stable"), 200, version("stable", images["v1"]))
    refused(lambda: create("v2", "stable"), 409, "4090006", "the image version exists already")
    refused(lambda: create("v2", "stable", False), 409, "4090006")
    same(create("v2", "stable", True), 201, {})
    same(show("stable"), 200, version("stable", images["v2"]))
    refused(lambda: create("v9", "new"), 404, "4040048")
    refused(lambda: create("v1", "new", of=NONE), 404, "4040010")
    refused(lambda: create("v1", "a b"), 400, "4009021", "is no name of an image version")
    refused(lambda: create("v1", None), 400, "4001018", "the body is invalid")
    same(delete("stable"), 204, {})
    refused(lambda: delete("stable"), 404, "4040048")
    refused(lambda: delete("v1", NONE), 404, "4040010")
    same(show("v2"), 200, version("v2", images["v2"]))


def about(images):
    """What is about a version, by its tag and by its subject; and the tags that name what that is about."""
    def artifact(tag, kind, seed, **more):
        pushed = admin.push(NAME, tag, seed, artifactType=kind, **more)
        return {
            "id": NUMBER, "domain_id": ID, "namespace_name": "group", "repo_name": "a/b", "sig_tag": tag,
            "sig_digest": pushed["digest"], "target_digest": images["v1"]["digest"], "size": pushed["size"],
            "type": kind, "created_at": TIME, "updated_at": TIME,
        }

    sig_tag = images["v1"]["digest"].replace(":", "-") + ".sig"
    signature = artifact(sig_tag, "application/vnd.dev.cosign.artifact.sig.v1+json", b"signed")
    signature["type"] = "signature.cosign"
    bill = artifact("bill", "application/spdx+json", b"listed", subject=descriptor(images["v1"]))
    accessories = lambda **asked: admin.list_repo_accessories(ListRepoAccessoriesRequest(**REPO, **asked))
    same(accessories(tag="v1"), 200, {"total": 2, "accessories": [signature, bill]})
    same(accessories(tag="v1", limit=1, offset=1), 200, {"total": 2, "accessories": [bill]})
    same(accessories(tag="v2"), 200, {"total": 0, "accessories": []})
    refused(lambda: accessories(tag="v1", limit=101), 400, "4000056")
    refused(lambda: accessories(tag="v9"), 404, "4040048")

    references = lambda **asked: admin.list_references(ListReferencesRequest(**REPO, **asked))
    body = CreateRepoTagRequestBody(source_tag="v1", destination_tag="stable")
    same(admin.create_repo_tag(CreateRepoTagRequest(**REPO, body=body)), 201, {})
    for tag in [sig_tag, "bill"]:
        same(references(tag=tag), 200, {"has_more": False, "tags": ["stable", "v1"]})
        first = references(tag=tag, limit=1)
        same(first, 200, {"has_more": True, "tags": ["stable"], "next_marker": "stable"})
        last = references(tag=tag, limit=1, marker=first.next_marker)
        same(last, 200, {"has_more": False, "tags": ["v1"]})
        assert "next_marker" not in sent(last), last
    refused(lambda: references(tag="v1", limit=11), 400, "4000056")
    refused(lambda: references(tag="v9"), 404, "4040048")
    for tag in ["stable", "bill", sig_tag]:
        same(admin.delete_repo_tag(DeleteRepoTagRequest(**REPO, tag=tag)), 204, {})


def walked(ask, field, expected):
    """Follows the markers of a list, an item a page, as clients do: as long as there is one."""
    marker = None
    for number, item in enumerate(expected, 1):
        page = ask(limit=1, marker=marker)
        more = number < len(expected)
        found = sent(page)
        assert ("nextMarker" in found) == more and ("next_marker" in found) == (more and field == "tags"), found
        rest = {"next_marker": found["nextMarker"]} if more else {}
        assert field == "repos" or page.has_more == more, page
        same(page, 200, {field: [item]} | rest | ({"has_more": more} if field == "tags" else {}))
        marker = page.next_marker


def lists_of_version_3(images):
    item = lambda name, count: {
        "id": NUMBER, "name": name, "category": "other", "description": "", "size": NUMBER, "is_public": False,
        "num_images": count, "num_download": 0, "created_at": TIME, "updated_at": TIME, "domain_name": "main",
        "namespace_name": "group", "status": False,
    }
    first, second = item("a/b", 3), item("c", 1)
    listed = lambda **asked: admin.list_repo_details(ListRepoDetailsRequest(**asked))
    same(listed(), 200, {"repos": [first, second]})
    same(listed(namespace="group", name="a$b", category="other", is_public=False), 200, {"repos": [first]})
    same(listed(is_public=True), 200, {"repos": []})
    walked(listed, "repos", [first, second])
    same(betty.list_repo_details(ListRepoDetailsRequest()), 200, {"repos": []})
    refused(lambda: listed(limit=1001), 400, "4000056")
    refused(lambda: listed(marker=-1), 400, "4000056", "marker is one that a page gave")

    for name in ["a$b", "c"]:
        body = CreateRepoDomainsRequestBody(access_domain="beta", permit="read", deadline="forever")
        share = CreateRepoDomainsRequest(namespace="group", repository=name, body=body)
        same(admin.client.create_repo_domains(share), 201, {})
    shared = lambda who, by: lambda **asked: who.list_shared_repo_details(
        ListSharedRepoDetailsRequest(shared_by=by, **asked))
    walked(shared(admin, "self"), "repos", [first, second])
    walked(shared(betty, "thirdparty"), "repos", [repo | {"status": True} for repo in [first, second]])
    theirs = shared(betty, "thirdparty")(namespace="group", name="c", status=True)
    same(theirs, 200, {"repos": [second | {"status": True}]})
    same(shared(betty, "self")(), 200, {"repos": []})
    refused(shared(admin, None), 400, "4001036", "the parameter shared_by is missing")
    refused(shared(admin, "all"), 400, "4001024", "shared_by is self or thirdparty")

    tags = lambda **asked: admin.list_repository_tag(ListRepositoryTagRequest(**REPO, **asked))
    full = [version(tag, image) for tag, image in images.items()]
    bare = [item | {"manifest": ""} for item in full]
    same(tags(), 200, {"tags": bare, "has_more": False})
    same(tags(with_manifest=True), 200, {"tags": full, "has_more": False})
    same(tags(tag="v1"), 200, {"tags": [bare[1]], "has_more": False})
    walked(tags, "tags", bare)
    order = {"order_column": "updated_at", "order_type": "desc"}
    walked(lambda **asked: tags(with_manifest=True, **order, **asked), "tags", [full[0], full[2], full[1]])
    refused(lambda: tags(marker="v1"), 400, "4000056")
    refused(lambda: admin.list_repository_tag(ListRepositoryTagRequest(**NONE)), 404, "4040010")


def empty(response, more=None):
    """Holds a response to a list with nothing in it, of which the SDK makes nothing."""
    same(response, 200, more or {})
    assert sent(response) == [], response


def triggers():
    def create(who=admin, of=REPO, **fields):
        trigger = {
            "name": "t1", "action": "update", "trigger_type": "tag", "condition": "v1;v2", "app_type": "deployments",
            "application": "web", "cluster_ns": "default", "enable": "true", "cluster_id": "c1",
            "cluster_name": "one", "container": "all", "trigger_mode": "cce",
        }
        body = CreateTriggerRequestBody(**trigger | fields)
        return who.create_trigger(CreateTriggerRequest(**of, body=body))

    refused(create, 400, "4000047", "does not do this yet: triggers")
    for field, value in [("name", "1t"), ("condition", "a b"), ("trigger_type", "some"), ("enable", "yes")]:
        refused(lambda: create(**{field: value}), 400, "4001025", field)
    refused(lambda: create(of=NONE), 404, "4040010")
    refused(lambda: create(ann), 404, "4040058")
    empty(admin.list_triggers_details(ListTriggersDetailsRequest(**REPO)))
    refused(lambda: admin.list_triggers_details(ListTriggersDetailsRequest(**NONE)), 404, "4040010")
    gone = (404, "4040000", "the trigger does not exist")
    one = REPO | {"trigger": "t1"}
    refused(lambda: admin.show_trigger(ShowTriggerRequest(**one)), *gone)
    change = lambda text: UpdateTriggerRequest(**one, body=UpdateTriggerRequestBody(enable=text))
    refused(lambda: admin.update_trigger(change("false")), *gone)
    refused(lambda: admin.update_trigger(change("no")), 400, "4001025", "enable")
    refused(lambda: admin.delete_trigger(DeleteTriggerRequest(**one)), *gone)


def eventually(is_so):
    """Waits until something is so."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


def retentions():
    def fields(template="date_rule", params=None, pattern="^v2.*$", algorithm="or"):
        selectors = [TagSelector(kind="regexp", pattern=pattern), TagSelector(kind="label", pattern="v1")]
        rule = Rule(template=template, params=params or {"days": "30"}, tag_selectors=selectors)
        return {"algorithm": algorithm, "rules": [rule]}

    def create(*asked, of=REPO, **named):
        body = CreateRetentionRequestBody(**fields(*asked, **named))
        return admin.create_retention(CreateRetentionRequest(**of, body=body))

    def update(*asked, of=REPO, number=NO_SUCH, **named):
        body = UpdateRetentionRequestBody(**fields(*asked, **named))
        return admin.update_retention(UpdateRetentionRequest(**of, retention_id=number, body=body))

    gone = (404, "4040000", "does not exist")
    for rule in [("date_rule", {"days": "30"}), ("tag_rule", {"num": "7"}), ("tag_rule", {"num": 7})]:
        refused(lambda: update(*rule), *gone)
    for wrong, field in [
        (("date_rule", {"days": "366"}), "days"), (("date_rule", {"num": "7"}), "params"),
        (("tag_rule", {"num": "1001"}), "num"), (("size_rule",), "template"),
        (("date_rule", {"days": "1"}, "("), "pattern"), (("date_rule", {"days": "1"}, "v", "and"), "algorithm"),
    ]:
        refused(lambda: create(*wrong), 400, "4001025", field)
        refused(lambda: update(*wrong), 400, "4001025", field)
    refused(lambda: create(of=NONE), 404, "4040010")
    empty(admin.list_retentions(ListRetentionsRequest(**REPO)))
    refused(lambda: admin.list_retentions(ListRetentionsRequest(**NONE)), 404, "4040010")
    nothing = {"retention_log": [], "total": 0}
    for asked in [{"limit": "10", "offset": "20"}, {"filter": "limit::10|offset::20"}]:
        log = admin.list_retention_histories(ListRetentionHistoriesRequest(**REPO, **asked))
        same(log, 200, nothing | {"content_range": "20-0/0"})
    one = REPO | {"retention_id": NO_SUCH}
    refused(lambda: admin.show_retention(ShowRetentionRequest(**one)), *gone)
    refused(lambda: admin.delete_retention(DeleteRetentionRequest(**one)), 400, "4000306", "no such retention policy")
    examples_of_retention(create, update)


def examples_of_retention(create, update):
    """SWR's two: count 1 and age 3 days, both without what `^v2.*$` matches."""
    place = {"namespace": "group", "repository": "kept"}
    for number, tag in enumerate(["v2.1", "v1", "w1", "w2", "v2.2"]):
        admin.push("group/kept", tag, f"kept {number}".encode())
    versions = lambda: [item.tag for item in
                        admin.client.list_repository_tags(ListRepositoryTagsRequest(**place)).body]
    listed = lambda: admin.list_retentions(ListRetentionsRequest(**place))

    def shown(number, template, params):
        selectors = [{"kind": "regexp", "pattern": "^v2.*$"}, {"kind": "label", "pattern": "v1"}]
        rule = {"template": template, "params": params, "tag_selectors": selectors}
        return {"algorithm": "or", "id": number, "rules": [rule], "scope": ""}

    created = create("tag_rule", {"num": 1}, of=place)
    first = created.id
    same(created, 201, {"id": first})
    eventually(lambda: versions() == ["v1", "v2.1", "v2.2", "w2"])
    same(listed(), 200, {"body": [shown(first, "tag_rule", {"num": "1"})]})
    same(admin.show_retention(ShowRetentionRequest(**place, retention_id=first)), 200, shown(first, "tag_rule", {"num": "1"}))
    refused(lambda: create("date_rule", {"days": "3"}, of=place), 409, "4090000")
    refused(lambda: update("date_rule", {"days": "3"}, of=place, number=first), 400, "4001025", "template")
    log = admin.list_retention_histories(ListRetentionHistoriesRequest(**place, limit="10", offset="0"))
    entry = sent(log)["retention_log"][0]
    assert json.loads(entry["rule_type"]) == shown(first, "tag_rule", {"num": "1"})["rules"][0], entry
    expected = {"created_at": TIME, "id": 1, "namespace": "group", "repo": "kept", "retention_id": first,
                "rule_type": entry["rule_type"], "tag": "w1"}
    same(log, 200, {"retention_log": [expected], "total": 1, "content_range": "0-1/1"})
    same(update("tag_rule", {"num": "2"}, of=place, number=first), 201, {})
    same(listed(), 200, {"body": [shown(first, "tag_rule", {"num": "2"})]})
    same(admin.delete_retention(DeleteRetentionRequest(**place, retention_id=first)), 200, {})
    empty(listed())

    second = create("date_rule", {"days": "3"}, of=place).id
    assert second > first
    same(listed(), 200, {"body": [shown(second, "date_rule", {"days": "3"})]})
    # Nothing is that old here; `retention.py` lives for days.
    assert versions() == ["v1", "v2.1", "v2.2", "w2"], versions()


def synchronisation():
    target = {"remote_region_id": "cn-north-4", "remote_namespace": "acme"}

    def create(of=REPO, **fields):
        body = CreateImageSyncRepoRequestBody(**target | {"sync_auto": True, "override": False} | fields)
        return admin.create_image_sync_repo(CreateImageSyncRepoRequest(**of, body=body))

    def copy(of=REPO, **fields):
        body = CreateManualImageSyncRepoRequestBody(**target | {"image_tag": ["v1"], "override": True} | fields)
        return admin.create_manual_image_sync_repo(CreateManualImageSyncRepoRequest(**of, body=body))

    def delete(of=REPO, **fields):
        body = DeleteImageSyncRepoRequestBody(**target | fields)
        return admin.delete_image_sync_repo(DeleteImageSyncRepoRequest(**of, body=body))

    for call in [create, copy]:
        refused(call, 400, "4000047", "does not do this yet: synchronization to other regions")
    refused(delete, 400, "4001158", "no such synchronization task")
    for call in [create, copy, delete]:
        refused(lambda: call(remote_region_id="a b"), 400, "4001025")
        refused(lambda: call(remote_namespace="A"), 400, "4001025")
        refused(lambda: call(NONE), 404, "4040010")
    refused(lambda: copy(image_tag=[]), 400, "4001025")
    listed = ListImageAutoSyncReposDetailsRequest(**REPO)
    empty(admin.list_image_auto_sync_repos_details(listed))
    jobs = lambda text=None: admin.show_sync_job(ShowSyncJobRequest(**REPO, filter=text))
    empty(jobs("limit::10|offset::10|order::desc"), {"content_range": "10-0/0"})
    refused(jobs, 400, "4001036", "the parameter filter is missing")
    refused(lambda: jobs("order::up"), 400, "4001024", "order is asc or desc")
    empty(admin.list_sync_regions(ListSyncRegionsRequest()))


pushed = furnish()
versions(pushed)
names(pushed)
about(pushed)
lists_of_version_3(pushed)
triggers()
retentions()
synchronisation()
done()
