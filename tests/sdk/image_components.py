"""Image components of Alibaba Cloud ECS, by the current SDK (signature V3) and the core SDK (signature V1)."""

import importlib
import json

from alibabacloud_ecs20140526 import models as ecs_models
from alibabacloud_ecs20140526.client import Client as EcsClient
from alibabacloud_tea_openapi import models as openapi_models
from alibabacloud_tea_openapi.client import Client as OpenApiClient
from alibabacloud_tea_openapi.utils import Utils as OpenApiUtils
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from aliyunsdkecs.request import v20140526
from darabonba.runtime import RuntimeOptions

from checks import EXPIRED, KEY, ODD_TEXTS, TEMPORARY, pages

REGION = "cn-hangzhou"
VERSION = "2014-05-26"


def _config(address, key):
    access_key, secret, token = key
    return openapi_models.Config(
        access_key_id=access_key,
        access_key_secret=secret,
        security_token=token,
        endpoint=address,
        region_id=REGION,
        protocol="http",
    )


class CurrentSdk:
    """alibabacloud_ecs20140526: every parameter in the query of a POST, signature V3."""

    name = "alibabacloud_ecs20140526"
    wrong_secret = "400 SignatureDoesNotMatch"

    def __init__(self, address, key):
        self.client = EcsClient(_config(address, key))

    def call(self, action, **parameters):
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in action)[1:]
        request = getattr(ecs_models, f"{action}Request")().from_map({"RegionId": REGION, **parameters})
        method = getattr(self.client, f"{words}_with_options")
        return method(request, RuntimeOptions(autoretry=False)).body.to_map()

    @staticmethod
    def refusal(error):
        return f"{error.status_code} {error.code}"


class GenericClient(CurrentSdk):
    """alibabacloud_tea_openapi's client for any API, with the parameters in a form body as Terraform sends them."""

    name = "alibabacloud_tea_openapi"

    def __init__(self, address, key):
        self.client = OpenApiClient(_config(address, key))

    def call(self, action, **parameters):
        params = openapi_models.Params(
            action=action,
            version=VERSION,
            protocol="HTTP",
            pathname="/",
            method="POST",
            auth_type="AK",
            style="RPC",
            req_body_type="formData",
            body_type="json",
        )
        body = OpenApiUtils.query({"RegionId": REGION, **parameters})
        request = openapi_models.OpenApiRequest(body=body)
        return self.client.call_api(params, request, RuntimeOptions(autoretry=False))["body"]


class CoreSdk:
    """aliyun-python-sdk-core with the requests of aliyun-python-sdk-ecs: signature V1."""

    name = "aliyun-python-sdk-ecs"
    # It compares its string to sign with the server's, and gives the refusal a code of its own when they are the same.
    wrong_secret = "400 InvalidAccessKeySecret"

    def __init__(self, address, key):
        self.address = address
        access_key, secret, token = key
        if token is None:
            self.client = AcsClient(access_key, secret, REGION, auto_retry=False)
        else:
            credential = StsTokenCredential(access_key, secret, token)
            self.client = AcsClient(region_id=REGION, credential=credential, auto_retry=False)

    def request(self, action, parameters):
        module = importlib.import_module(f"{v20140526.__name__}.{action}Request")
        request = getattr(module, f"{action}Request")()
        for name, value in parameters.items():
            if name == "RegionId":
                # It is the client's unless the request has one.
                request.add_query_param(name, value)
                continue
            getattr(request, f"set_{name}s" if isinstance(value, list) else f"set_{name}")(value)
        return request

    def call(self, action, **parameters):
        request = self.request(action, parameters)
        request.set_endpoint(self.address)
        return json.loads(self.client.do_action_with_exception(request))

    @staticmethod
    def refusal(error):
        if isinstance(error, ServerException):
            return f"{error.get_http_status()} {error.get_error_code()}"
        return repr(error)


class CommonRequestGet(CoreSdk):
    """aliyun-python-sdk-core's CommonRequest: any action by its name, all in the query of a GET."""

    name = "aliyun-python-sdk-core GET"
    wrong_secret = "400 SignatureDoesNotMatch"
    method = "GET"

    def request(self, action, parameters):
        request = CommonRequest(domain=self.address, version=VERSION, action_name=action)
        request.set_protocol_type("http")
        request.set_method(self.method)
        for name, value in OpenApiUtils.query({"RegionId": REGION, **parameters}).items():
            self.add(request, name, value)
        return request

    def add(self, request, name, value):
        request.add_query_param(name, value)


class CommonRequestPost(CommonRequestGet):
    """The same with a form body."""

    name = "aliyun-python-sdk-core POST"
    method = "POST"

    def add(self, request, name, value):
        request.add_body_params(name, value)


CLIENTS = [CurrentSdk, GenericClient, CoreSdk, CommonRequestGet, CommonRequestPost]

YAML = """Parameters:
  greeting: {Type: String, DefaultValue: hello}
Tasks:
  - Name: HelloWorld
    Action: RunShellCommand
    Properties: {commandContent: "echo {{ greeting }}"}
"""

# What refuses a creation: code, parameters.
REFUSED = [
    ("400 InvalidCommand.Component", {"Content": "COMPONENT ic-1"}),
    ("400 InvalidName.Malformed", {"Name": "x"}),
    ("400 InvalidName.Malformed", {"Name": "1st"}),
    ("400 InvalidName.Malformed", {"Name": "a b"}),
    ("400 InvalidName.Malformed", {"Name": "http://a"}),
    ("400 InvalidName.Malformed", {"Name": "a" * 129}),
    ("400 InvalidDescription.Malformed", {"Description": "x"}),
    ("400 InvalidDescription.Malformed", {"Description": "https://a"}),
    ("400 InvalidDescription.Malformed", {"Description": "镜" * 257}),
    ("400 InvalidSystemType.NotSupportedValue", {"SystemType": "linux"}),
    ("400 InvalidComponentType.NotSupportedValue", {"ComponentType": "Deploy"}),
    ("400 InvalidContent.LengthExceeded", {"Content": "RUN " + "x" * 16 * 1024}),
    ("400 InvalidImageTemplateCommandSize.ExceededMaxNumber", {"Content": "RUN true\n" * 128}),
    ("400 InvalidImageTemplateCommand.NotSupported", {"Content": "ADD a b"}),
    ("400 InvalidCommandContent.RUN", {"Content": 'RUN ["a"'}),
    ("400 InvalidCommandContent.ENV", {"Content": "ENV 1=2"}),
    ("400 InvalidCommandContent.WORKDIR", {"Content": "WORKDIR /a /b"}),
    ("400 InvalidCommandContent.COPY", {"Content": "COPY onlyone"}),
    ("400 InvalidCommandContent.USER", {"Content": "USER a b"}),
    ("400 InvalidCommandContent.CMD", {"Content": 'CMD ["a", 1]'}),
    ("400 InvalidCommandContent.ENTRYPOINT", {"Content": "ENTRYPOINT []"}),
    ("400 MissingParameter.Content", {"Content": None}),
    ("400 EmptyCommandContent.RUN", {"Content": "RUN"}),
    ("400 EmptyCommandContent.ENV", {"Content": "ENV"}),
    ("400 EmptyCommandContent.LABEL", {"Content": "LABEL"}),
    ("400 EmptyCommandContent.COPY", {"Content": "COPY"}),
    ("400 EmptyCommandContent.ENTRYPOINT", {"Content": "ENTRYPOINT"}),
    ("400 EmptyCommandContent.CMD", {"Content": "CMD"}),
    ("400 NotEmptyCommandContent.RESTART", {"Content": "RESTART now"}),
    ("400 EmptyCommandContent.WORKDIR", {"Content": "WORKDIR"}),
    ("400 EmptyCommandContent.USER", {"Content": "USER"}),
    ("400 InvalidParameter.Content", {"Content": "Tasks: []"}),
    ("400 InvalidImage.OsTypeUnsupported", {"SystemType": "Windows"}),
    ("400 InvalidParameter.ComponentVersion", {"ComponentVersion": "1.0"}),
    ("403 InvalidComponentVersion.Exist", {"Name": "taken", "ComponentVersion": "1.0.0"}),
    ("404 InvalidResourceGroup.NotFound", {"ResourceGroupId": "rg-none"}),
    ("404 NotSupportedCommand.FROM", {"Content": "FROM alpine"}),
    ("400 NumberExceed.Tags", {"Tag": [{"Key": f"k{n}"} for n in range(21)]}),
    ("400 InvalidTagKey.Malformed", {"Tag": [{"Key": "aliyun-x"}]}),
    ("400 InvalidTagKey.Malformed", {"Tag": [{"Key": "acs:x"}]}),
    ("400 InvalidTagValue.Malformed", {"Tag": [{"Key": "k", "Value": "see http://x"}]}),
    ("400 Duplicate.TagKey", {"Tag": [{"Key": "k"}, {"Key": "k"}]}),
    ("400 InvalidParameter.ClientToken", {"ClientToken": "x" * 65}),
]


def _one(client, component_id):
    found = client.call("DescribeImageComponents", ImageComponentId=[component_id])
    return found["ImageComponent"]["ImageComponentSet"]


def _create(client, **parameters):
    parameters = {"Content": "RUN true", **parameters}
    kept = {name: value for name, value in parameters.items() if value is not None}
    return client.call("CreateImageComponent", **kept)["ImageComponentId"]


def run(checks, admin, address):
    for kind in CLIENTS:
        with checks.section(f"image components by {kind.name}"):
            for part in (life, texts, listing, refusals, tokens, credentials, times):
                admin.reset()
                with checks.section(part.__name__):
                    part(checks, admin, lambda key, kind=kind: kind(address, key))


def life(checks, admin, connect):
    """One component from its creation to its deletion."""
    client = connect(KEY)
    tags = [{"Key": "team", "Value": "base"}, {"Key": "empty", "Value": ""}, {"Key": "中文", "Value": "值+/~*"}]
    made = _create(
        client,
        Name="hello",
        ComponentVersion="1.2.3",
        Content=YAML,
        Description="says hello",
        SystemType="Linux",
        ComponentType="Build",
        ResourceGroupId="rg-bp67acfmxazb4p01",
        Tag=tags,
    )
    checks.true("the id begins with ic-", made.startswith("ic-"), made)
    rows = _one(client, made)
    checks.equal("it is described", len(rows), 1)
    row = rows[0]
    for name, expected in {
        "ImageComponentId": made,
        "Name": "hello",
        "ComponentVersion": "1.2.3",
        "Content": YAML,
        "Description": "says hello",
        "SystemType": "Linux",
        "ComponentType": "Build",
        "ResourceGroupId": "rg-bp67acfmxazb4p01",
        "Owner": "SELF",
    }.items():
        checks.equal(name, row[name], expected)
    told = {tag["TagKey"]: tag["TagValue"] for tag in row["Tags"]["Tag"]}
    checks.equal("its tags", told, {"team": "base", "empty": "", "中文": "值+/~*"})
    parameters = row["Parameters"]["Parameter"]
    checks.equal("its parameters", [(p["Name"], p["Type"]) for p in parameters], [("greeting", "String")])

    about = {"ResourceType": "imagecomponent", "ResourceId": [made]}
    client.call("TagResources", **about, Tag=[{"Key": "team", "Value": "new"}, {"Key": "more", "Value": "a b"}])
    told = {tag["TagKey"]: tag["TagValue"] for tag in _one(client, made)[0]["Tags"]["Tag"]}
    checks.equal("tags set", (told["team"], told["more"], len(told)), ("new", "a b", 4))
    client.call("UntagResources", **about, TagKey=["empty", "中文"])
    told = {tag["TagKey"]: tag["TagValue"] for tag in _one(client, made)[0]["Tags"]["Tag"]}
    checks.equal("tags taken away", told, {"team": "new", "more": "a b"})
    client.call("UntagResources", **about, All=True)
    checks.equal("all tags taken away", _one(client, made)[0]["Tags"]["Tag"], [])
    group = "rg-bp67acfmxazb4p02"
    client.call("JoinResourceGroup", ResourceType="imagecomponent", ResourceId=made, ResourceGroupId=group)
    checks.equal("its resource group", _one(client, made)[0]["ResourceGroupId"], group)

    unnamed = _create(client)
    row = _one(client, unnamed)[0]
    checks.equal("a component without a name is called by its id", row["Name"], unnamed)
    checks.equal("and has a version", row["ComponentVersion"], "1.0.0")
    second = _create(client, Name="hello")
    checks.equal("the next major version", _one(client, second)[0]["ComponentVersion"], "2.0.0")
    for component in (made, unnamed, second):
        client.call("DeleteImageComponent", ImageComponentId=component)
        checks.equal("what was deleted is not described", _one(client, component), [])
    gone = "404 InvalidImageComponent.NotFound"
    again = lambda: client.call("DeleteImageComponent", ImageComponentId=made)
    checks.refused("it cannot be deleted again", gone, client.refusal, again)


def texts(checks, admin, connect):
    """Odd texts come back as they were sent."""
    client = connect(KEY)
    for text in ODD_TEXTS:
        content = "".join(f"RUN echo {line}" for line in text.splitlines(keepends=True))
        made = _create(client, Description=text, Content=content, Tag=[{"Key": f"k {text}"[:64], "Value": text[:64]}])
        row = _one(client, made)[0]
        checks.equal(f"description {text!r}", row["Description"], text)
        checks.equal(f"content with {text!r}", row["Content"], content)
        tag = row["Tags"]["Tag"][0]
        checks.equal(f"tag {text!r}", (tag["TagKey"], tag["TagValue"]), (f"k {text}"[:64], text[:64]))
        found = client.call("DescribeImageComponents", Tag=[{"Key": f"k {text}"[:64], "Value": text[:64]}])
        checks.equal(f"found by {text!r}", found["TotalCount"], 1)
    name = "镜像:base_1.0-x"
    made = _create(client, Name=name)
    found = client.call("DescribeImageComponents", Name=name)["ImageComponent"]["ImageComponentSet"]
    checks.equal("found by a Chinese name", [row["ImageComponentId"] for row in found], [made])
    full = "RUN " + "镜" * 5000 + "x" * (16 * 1024 - 4 - 15000)
    checks.equal("16 KB come whole", _one(client, _create(client, Content=full))[0]["Content"], full)


def listing(checks, admin, connect):
    """Pages and filters."""
    client = connect(KEY)
    made = [_create(client, Name="listed", ComponentVersion=f"{n % 2}.{n}.0") for n in range(7)]
    other = _create(client, Name="Other", ComponentType="Test")

    def page(token, **filters):
        more = {"NextToken": token} if token else {}
        answer = client.call("DescribeImageComponents", MaxResults=3, **filters, **more)
        return answer["ImageComponent"]["ImageComponentSet"], answer.get("NextToken")

    rows, count = pages(page)
    checks.equal("every component once", sorted(r["ImageComponentId"] for r in rows), sorted([*made, other]))
    checks.equal("in three pages", count, 3)
    rows, _ = pages(lambda token: page(token, Name="listed"))
    checks.equal("by name", len(rows), 7)
    for what, filters, expected in [
        ("a version", {"Name": "listed", "ComponentVersion": "1.3.0"}, 1),
        ("a part of a version", {"Name": "listed", "ComponentVersion": "1.*.0"}, 3),
        ("type", {"ComponentType": "Test"}, 1),
        ("system", {"SystemType": "Windows"}, 0),
        ("owner", {"Owner": "SELF"}, 8),
        ("owner Alibaba", {"Owner": "ALIYUN"}, 0),
        ("two ids", {"ImageComponentId": [made[0], other]}, 2),
        ("an id that does not exist", {"ImageComponentId": ["ic-none"]}, 0),
        ("a tag that nobody has", {"Tag": [{"Key": "nobody"}]}, 0),
    ]:
        answer = client.call("DescribeImageComponents", **filters)
        checks.equal(f"by {what}", answer["TotalCount"], expected)
        checks.equal(f"the last page by {what}", answer.get("NextToken") or "", "")
    for expected, filters in [
        ("400 InvalidParameter.MaxResults", {"MaxResults": 501}),
        ("400 InvalidParameter.NextToken", {"NextToken": "nonsense"}),
        ("400 InvalidParameter.ComponentVersion", {"ComponentVersion": "1.0.0"}),
        ("400 InvalidParameter.ImageComponentId", {"ImageComponentId": ["ic-1"] * 21}),
        ("400 InvalidParameter.Owner", {"Owner": "NOBODY"}),
    ]:
        describe = lambda filters=filters: client.call("DescribeImageComponents", **filters)
        checks.refused(str(filters), expected, client.refusal, describe)


def refusals(checks, admin, connect):
    """Every code of the page of CreateImageComponent, and those of the other calls."""
    client = connect(KEY)
    _create(client, Name="taken", ComponentVersion="1.0.0")
    for expected, parameters in REFUSED:
        shown = str(parameters)[:80]
        checks.refused(shown, expected, client.refusal, lambda p=parameters: _create(client, **p))
    admin.settings(aliyunEcs={"serviceLinkedRole": False})
    expected = "403 InvalidOperation.NoPermissionCreateServiceLinkedRole"
    checks.refused("no service-linked role", expected, client.refusal, lambda: _create(client))
    admin.settings(aliyunEcs={"serviceLinkedRole": True, "componentQuota": 1})
    checks.refused("quota", "400 QuotaExceed.ImageComponent", client.refusal, lambda: _create(client))
    admin.settings(aliyunEcs={"componentQuota": None})

    used = admin.seed("aliyun-ecs", "image-components", {"inUse": True})
    about = {"ResourceType": "imagecomponent", "ResourceId": ["ic-none"]}
    untag = {**about, "ResourceId": [used]}
    for expected, action, parameters in [
        ("403 InvalidImageComponent.InUse", "DeleteImageComponent", {"ImageComponentId": used}),
        ("404 InvalidResourceId.NotFound", "TagResources", {**about, "Tag": [{"Key": "a"}]}),
        ("404 InvalidResourceType.NotFound", "TagResources", {**about, "ResourceType": "image2", "Tag": [{"Key": "a"}]}),
        ("404 InvalidResourceId.NotFound", "UntagResources", {**about, "TagKey": ["a"]}),
        ("400 MissingParameter", "UntagResources", untag),
        (
            "404 InvalidResourceId.NotFound",
            "JoinResourceGroup",
            {"ResourceType": "imagecomponent", "ResourceId": "ic-none", "ResourceGroupId": "rg-bp67acfmxazb4p01"},
        ),
        (
            "404 InvalidResourceGroup.NotFound",
            "JoinResourceGroup",
            {"ResourceType": "imagecomponent", "ResourceId": used, "ResourceGroupId": "rg-none"},
        ),
    ]:
        call = lambda action=action, p=parameters: client.call(action, **p)
        checks.refused(f"{action} {parameters}", expected, client.refusal, call)

    rule = {"service": "aliyun-ecs", "action": "CreateImageComponent"}
    for fault, expected in [
        ("throttle", "400 Throttling"),
        ("tooManyRequests", "429 Throttling"),
        ({"internalError": {}}, "500 InternalError"),
        ({"vendorError": {"status": 503, "code": "ServiceUnavailable"}}, "503 ServiceUnavailable"),
    ]:
        admin.faults({**rule, "fault": fault})
        before = admin.calls("CreateImageComponent")
        checks.refused(f"fault {fault}", expected, client.refusal, lambda: _create(client))
        checks.equal(f"fault {fault}: one call", admin.calls("CreateImageComponent") - before, 1)
    admin.faults()
    limit = {"action": "DescribeImageComponents", "requests": 2, "periodSeconds": 3600}
    admin.settings(aliyunEcs={"flowLimits": [limit], "retryAfter": 7})
    describe = lambda: client.call("DescribeImageComponents")
    for _ in range(2):
        checks.true("within the limit", "TotalCount" in describe())
    checks.refused("over the limit", "400 Throttling", client.refusal, describe)


def tokens(checks, admin, connect):
    """A repeated ClientToken makes nothing new."""
    client = connect(KEY)
    token = "Token-~._123456789"
    first = _create(client, Name="once", ClientToken=token)
    checks.equal("repeated", _create(client, Name="once", ClientToken=token), first)
    mismatch = "400 IdempotentParameterMismatch"
    other = lambda: _create(client, Name="other", ClientToken=token)
    checks.refused("with other parameters", mismatch, client.refusal, other)
    checks.equal("made once", admin.effects("CreateImageComponent"), 1)
    checks.true("another token", _create(client, Name="once", ClientToken="other") != first)


def credentials(checks, admin, connect):
    """Temporary credentials, and wrong ones."""
    client = connect(TEMPORARY)
    made = _create(client, Name="by-token")
    checks.equal("made with a security token", len(_one(client, made)), 1)
    client.call("DeleteImageComponent", ImageComponentId=made)
    for expected, key in [
        ("400 InvalidSecurityToken.Expired", EXPIRED),
        ("400 InvalidSecurityToken.MismatchWithAccessKey", (TEMPORARY[0], TEMPORARY[1], "other-token")),
        ("404 InvalidAccessKeyId.NotFound", ("nobody", "secret", None)),
        ("400 MissingParameter", (TEMPORARY[0], TEMPORARY[1], None)),
    ]:
        client = connect(key)
        checks.refused(f"key {key}", expected, client.refusal, lambda client=client: _create(client))
    client = connect((KEY[0], "wrong-secret", None))
    checks.refused("a wrong secret", client.wrong_secret, client.refusal, lambda: _create(client))


def times(checks, admin, connect):
    """Clocks may be apart by a quarter of an hour."""
    client = connect(KEY)
    for seconds, fits in [(600, True), (-600, True), (3600, False), (-3600, False)]:
        admin.skew(seconds)
        if fits:
            checks.true(f"{seconds} s apart", _create(client).startswith("ic-"))
        else:
            expected = "400 InvalidTimeStamp.Expired"
            checks.refused(f"{seconds} s apart", expected, client.refusal, lambda: _create(client))
    admin.skew(0)
    checks.true("right again", _create(client).startswith("ic-"))
