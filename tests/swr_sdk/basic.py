"""Prints what the SDK offers of the basic edition: its other operations are about instances of a project."""

import json
from types import SimpleNamespace

from huaweicloudsdkswr.v2 import SwrClient

BASIC = ("/v2/manage/", "/v3/manage/")


def path(operation):
    nothing = SimpleNamespace(attribute_map={})
    return getattr(SwrClient, f"_{operation}_http_info")(nothing)["resource_path"]


every = [name[1:-len("_http_info")] for name in dir(SwrClient) if name.endswith("_http_info")]
basic = [name for name in every if path(name) in ["/", "/{api_version}"] or path(name).startswith(BASIC)]
print(json.dumps(sorted(basic)))
