"""What the scripts share: clients of the SDK that note what they were asked, a way to compare every field a
response has, and a push.

A script gets JSON on its stdin (endpoint, CA, people with their keys) and ends with a line of JSON: the operations it
drove.
"""

import hashlib
import hmac
import json
import re
import sys

import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions import exceptions
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkswr.v2 import SwrClient

GIVEN = json.load(sys.stdin)
ENDPOINT = GIVEN["endpoint"]
HOST = ENDPOINT.split("://")[1]
CA = GIVEN["ca"]
PROJECT = "0123456789abcdef0123456789abcdef"
OPERATIONS = set()


class Like:
    """Equal to text that fits a pattern as a whole, or to anything of a type."""

    def __init__(self, what):
        self.what = what

    def __eq__(self, other):
        if isinstance(self.what, str):
            return isinstance(other, str) and re.fullmatch(self.what, other) is not None
        return isinstance(other, self.what) and not (self.what is int and isinstance(other, bool))

    def __repr__(self):
        return f"Like({self.what!r})"


TIME = Like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
NUMBER = Like(int)
ID = Like("[0-9a-f]{32}")
RANGE = Like(r"\d+-\d+/\d+")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Person:
    """A client of the SDK with somebody's keys."""

    def __init__(self, name):
        given = GIVEN["people"][name]
        self.name, self.id, self.key, self.secret = name, given["id"], given["key"], given["secret"]
        config = HttpConfig.get_default_config()
        config.ssl_ca_cert = CA
        builder = SwrClient.new_builder().with_http_config(config)
        builder = builder.with_credentials(BasicCredentials(self.key, self.secret, PROJECT))
        self.client = builder.with_endpoint(ENDPOINT).build()

    def __getattr__(self, operation):
        OPERATIONS.add(operation)
        return getattr(self.client, operation)

    def login(self):
        """User name and password as docker sends them."""
        password = hmac.new(self.secret.encode(), self.key.encode(), hashlib.sha256).hexdigest()
        return f"region-1@{self.key}", password

    def blob(self, repository, content, kind):
        """Pushes a blob; its descriptor."""
        digest = sha256(content)
        url = f"{ENDPOINT}/v2/{repository}/blobs/uploads/?digest={digest}"
        answer = requests.post(url, data=content, auth=self.login(), verify=CA)
        assert answer.status_code == 201, answer.text
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def put(self, repository, tag, manifest):
        """Pushes a manifest; its descriptor, and its text as `text`."""
        kind, text = manifest["mediaType"], json.dumps(manifest)
        answer = requests.put(f"{ENDPOINT}/v2/{repository}/manifests/{tag}", data=text,
                              headers={"Content-Type": kind}, auth=self.login(), verify=CA)
        assert answer.status_code == 201, answer.text
        return {"mediaType": kind, "digest": sha256(text.encode()), "size": len(text), "text": text}

    def push(self, repository, tag, seed=b"seed", **more):
        """Pushes an image of two small blobs, with more fields in its manifest; the descriptor of that, its `text`,
        the manifest as `manifest`, and the bytes of all of it as `all`."""
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.blob(repository, b"{}" + seed, "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(repository, b"layer" + seed, "application/vnd.oci.image.layer.v1.tar+gzip")],
        } | more
        put = self.put(repository, tag, manifest)
        blobs = [manifest["config"], *manifest["layers"]]
        return put | {"manifest": manifest, "all": put["size"] + sum(blob["size"] for blob in blobs)}


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(of):
    return {key: of[key] for key in ["mediaType", "digest", "size"]}


def sent(response):
    """What the server sent, as JSON: the SDK shows neither an empty list nor that a field is not there."""
    return response.to_json_object()


def same(response, status, expected):
    """Holds a response to a status and to every field its model has."""
    found = response.to_dict()
    assert response.status_code == status, (response.status_code, found)
    # Fields of a model that were not sent are there as None.
    found = pruned(found)
    assert found == expected, f"\nfound    {found}\nexpected {expected}"


def pruned(value):
    if isinstance(value, dict):
        return {key: pruned(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [pruned(item) for item in value]
    return value


def refused(call, status, code, message=""):
    """Holds a refusal to the SDK's exception, with the code, a message (or part of it) and the request's id."""
    try:
        response = call()
    except exceptions.ServiceResponseException as error:
        assert isinstance(error, exceptions.ClientRequestException) == (status < 500), error
        code = code if code.startswith("APIGW") else f"SVCSTG.SWR.{code}"
        assert (error.status_code, error.error_code) == (status, code), (error.status_code, error.error_code, error.error_msg)
        assert error.error_msg and message in error.error_msg, (error.error_msg, message)
        assert re.fullmatch("[0-9a-f]{32}", error.request_id), error.request_id
        return
    raise AssertionError(f"not refused: {response}")


def done():
    print(json.dumps(sorted(OPERATIONS)))
