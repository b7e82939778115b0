"""SWR's two examples of retention on an appliance that lives for days: age 3 days, and count 1 with `^v2.*$` exempt.

`phase` of what it is given says which day it is: `first`, `third` or `fourth`.
"""

import json
import time

from common import GIVEN, Person, done, sent
from huaweicloudsdkswr.v2 import (
    CreateNamespaceRequest, CreateNamespaceRequestBody, CreateRetentionRequest, CreateRetentionRequestBody,
    ListRepositoryTagsRequest, ListRetentionHistoriesRequest, Rule, TagSelector,
)

admin = Person("admin")


def place(repository):
    return {"namespace": "group", "repository": repository}


def keep(repository, template, params):
    selectors = [TagSelector(kind="regexp", pattern="^v2.*$")]
    rule = Rule(template=template, params=params, tag_selectors=selectors)
    body = CreateRetentionRequestBody(algorithm="or", rules=[rule])
    admin.create_retention(CreateRetentionRequest(**place(repository), body=body))


def versions(repository):
    return sorted(item.tag for item in admin.list_repository_tags(ListRepositoryTagsRequest(**place(repository))).body)


def push(repository, *tags):
    for tag in tags:
        admin.push(f"group/{repository}", tag, f"{repository} {tag}".encode())


def settles_to(repository, expected):
    deadline = time.monotonic() + 90
    while versions(repository) != expected:
        assert time.monotonic() < deadline, (repository, versions(repository), expected)
        time.sleep(0.5)


def removed(repository):
    asked = ListRetentionHistoriesRequest(**place(repository), limit="10", offset="0")
    log = sent(admin.list_retention_histories(asked))["retention_log"]
    return sorted((entry["tag"], json.loads(entry["rule_type"])["template"]) for entry in log)


def first():
    admin.create_namespace(CreateNamespaceRequest(body=CreateNamespaceRequestBody(namespace="group")))
    for repository in ["aged", "counted", "late"]:
        push(repository, "v1.1", "v1.2", "v2.1")
    keep("aged", "date_rule", {"days": "3"})
    keep("counted", "tag_rule", {"num": "1"})
    settles_to("counted", ["v1.2", "v2.1"])
    assert versions("aged") == ["v1.1", "v1.2", "v2.1"], versions("aged")


def third():
    for repository in ["aged", "counted", "late"]:
        push(repository, "v1.3")
    # Pushed again, a version is as young as its last push.
    push("aged", "v1.2")
    assert versions("aged") == ["v1.1", "v1.2", "v1.3", "v2.1"], versions("aged")


def fourth():
    # By themselves, soon after the start.
    settles_to("aged", ["v1.2", "v1.3", "v2.1"])
    settles_to("counted", ["v1.3", "v2.1"])
    assert removed("aged") == [("v1.1", "date_rule")], removed("aged")
    assert removed("counted") == [("v1.1", "tag_rule"), ("v1.2", "tag_rule")], removed("counted")
    # At once, when the policy is set.
    assert versions("late") == ["v1.1", "v1.2", "v1.3", "v2.1"], versions("late")
    keep("late", "date_rule", {"days": "3"})
    settles_to("late", ["v1.3", "v2.1"])
    assert removed("late") == [("v1.1", "date_rule"), ("v1.2", "date_rule")], removed("late")


{"first": first, "third": third, "fourth": fourth}[GIVEN["phase"]]()
done()
