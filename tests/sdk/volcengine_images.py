"""AOSP images and image exports of Volcengine, by the SDKs of the products, the universal client and the older SDK."""

import json

import volcenginesdkacep
import volcenginesdkcore
import volcenginesdkecs
from volcengine.ApiInfo import ApiInfo
from volcengine.base.Service import Service
from volcengine.Credentials import Credentials
from volcengine.ServiceInfo import ServiceInfo
from volcenginesdkcore.rest import ApiException
from volcenginesdkcore.universal import UniversalApi, UniversalInfo

from checks import EXPIRED, KEY, ODD_TEXTS, TEMPORARY, pages

PRODUCT = "1234"
ACEP, ECS = ("acep", "2025-05-01"), ("ecs", "2020-04-01")
REGIONS = {"acep": "cn-north-1", "ecs": "cn-beijing"}
SERVICES = {
    "BuildAOSPImage": ACEP,
    "ListAOSPImage": ACEP,
    "UpdateAOSPImage": ACEP,
    "DeleteAOSPImage": ACEP,
    "ExportImage": ECS,
    "DescribeTasks": ECS,
    "DescribeImages": ECS,
    "ModifyImageAttribute": ECS,
    "DeleteImages": ECS,
}


def _configuration(address, key, service):
    configuration = volcenginesdkcore.Configuration()
    configuration.ak, configuration.sk, configuration.session_token = key[0], key[1], key[2] or ""
    configuration.region = REGIONS[service]
    configuration.host = address
    configuration.scheme = "http"
    configuration.auto_retry = False
    return configuration


def _flat(parameters):
    """Lists as `Name.1`, `Name.2`, as the gateway reads them in a query."""
    flat = {}
    for name, value in parameters.items():
        if isinstance(value, list):
            flat.update({f"{name}.{number}": item for number, item in enumerate(value, 1)})
        else:
            flat[name] = value
    return flat


class ProductSdks:
    """volcenginesdkacep (POST, JSON) and volcenginesdkecs (GET)."""

    name = "volcenginesdkacep and volcenginesdkecs"
    MODULES = {"acep": (volcenginesdkacep, "ACEPApi"), "ecs": (volcenginesdkecs, "ECSApi")}

    def __init__(self, address, key):
        self.apis = {}
        for service, (module, name) in self.MODULES.items():
            client = volcenginesdkcore.ApiClient(_configuration(address, key, service))
            self.apis[service] = getattr(module, name)(client)

    def call(self, action, **parameters):
        service, _ = SERVICES[action]
        module, _ = self.MODULES[service]
        request_type = getattr(module, f"{action}Request")
        request = _model(module, request_type, parameters)
        request_type.client_side_validation = False
        words = action.replace("AOSP", "Aosp")
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in words)[1:]
        answer = getattr(self.apis[service], words)(request)
        return _named(answer)

    @staticmethod
    def refusal(error):
        if isinstance(error, ApiException) and error.body:
            return _refusal(error.status, error.body)
        return repr(error)


def _refusal(status, body):
    error = json.loads(body)["ResponseMetadata"]["Error"]
    return f"{status} {error['Code']}"


def _model(module, kind, parameters):
    """The model with the wire's names turned into its own."""
    values = {}
    for attribute, name in kind.attribute_map.items():
        if name not in parameters:
            continue
        value = parameters[name]
        inner = getattr(module, kind.swagger_types[attribute], None)
        values[attribute] = _model(module, inner, value) if inner and isinstance(value, dict) else value
    return kind(**values)


def _named(model):
    """A model as a dictionary with the wire's names."""
    if isinstance(model, list):
        return [_named(item) for item in model]
    if not hasattr(model, "attribute_map"):
        return model
    return {name: _named(getattr(model, attribute)) for attribute, name in model.attribute_map.items()}


class UniversalClient(ProductSdks):
    """volcenginesdkcore's client for any API; its GET requests carry a Content-Type that is not signed."""

    name = "volcenginesdkcore.UniversalApi"
    ecs_method = "GET"

    def __init__(self, address, key):
        self.apis = {}
        for service in REGIONS:
            client = volcenginesdkcore.ApiClient(_configuration(address, key, service))
            self.apis[service] = UniversalApi(client)

    def call(self, action, **parameters):
        service, version = SERVICES[action]
        if service == "acep":
            info = UniversalInfo("POST", service, version, action, "application/json")
        else:
            info = UniversalInfo(self.ecs_method, service, version, action)
            parameters = _flat(parameters)
        return self.apis[service].do_call(info, parameters) or {}


class OlderSdk:
    """volcengine, the SDK before these; it knows a service by its tables alone."""

    name = "volcengine"

    def __init__(self, address, key):
        self.services = {}
        for service, region in REGIONS.items():
            credentials = Credentials(key[0], key[1], service, region, key[2] or "")
            info = ServiceInfo(address, {"Accept": "application/json"}, credentials, 10, 10)
            actions = {
                action: ApiInfo(
                    "POST" if of == ACEP else "GET", "/", {"Action": action, "Version": of[1]}, {}, {}
                )
                for action, of in SERVICES.items()
                if of[0] == service
            }
            self.services[service] = Service(info, actions)
            # It takes keys from the environment and from files where there are some.
            self.services[service].service_info.credentials = credentials

    def call(self, action, **parameters):
        service, _ = SERVICES[action]
        if service == "acep":
            text = self.services[service].json(action, {}, json.dumps(parameters))
        else:
            text = self.services[service].get(action, _flat(parameters))
        return json.loads(text).get("Result") or {}

    @staticmethod
    def refusal(error):
        """It raises the body alone."""
        text = error.args[0]
        try:
            return _refusal("?", text)
        except (ValueError, KeyError, TypeError):
            return repr(error)


CLIENTS = [ProductSdks, UniversalClient, OlderSdk]

FILE = {"FilePath": "tos-cn-beijing.volces.com/system.img", "MD5": "0123456789abcdef0123456789abcdef"}
TOS = {
    "Bucket": "bucket",
    "Region": "cn-beijing",
    "Endpoint": "tos-cn-beijing.volces.com",
    "SystemImg": FILE,
    "VendorImg": FILE,
}
URL = {"Url": "https://bucket.volces.com/system.img?a=b&c=d+e%20f"}


def run(checks, admin, address):
    for kind in CLIENTS:
        with checks.section(f"Volcengine by {kind.name}"):
            for part in (
                aosp_life,
                aosp_texts,
                aosp_listing,
                aosp_refusals,
                export_life,
                export_listing,
                export_refusals,
                images_of_ecs,
                gateway,
                credentials,
                times,
            ):
                admin.reset()
                admin.settings(volcengine={"flowLimits": []})
                with checks.section(part.__name__):
                    part(checks, admin, lambda key, kind=kind: kind(address, key))


def _refuse(checks, client, what, expected, call):
    # The older SDK keeps the status to itself.
    if isinstance(client, OlderSdk):
        expected = "? " + expected.split(" ", 1)[1]
    checks.refused(what, expected, client.refusal, call)


def _build(client, **changes):
    body = {"ImageName": "phone", "ImageAnnotation": "remark", "ImageTosInfo": TOS, **changes}
    body = {name: value for name, value in body.items() if value is not None}
    return client.call("BuildAOSPImage", **body)["ImageId"]


def _listed(client, **filters):
    answer = client.call("ListAOSPImage", **{"ProductId": PRODUCT, "MaxResults": 100, **filters})
    return answer["Row"] or []


def aosp_life(checks, admin, connect):
    client = connect(KEY)
    made = _build(client, ImageFileFormat="volc_tos")
    checks.true("the id begins with img-", made.startswith("img-"), made)
    rows = _listed(client, ImageIdList=[made])
    checks.equal("it is listed", len(rows), 1)
    row = rows[0]
    for name, expected in {
        "ImageId": made,
        "ImageName": "phone",
        "ImageRemark": "remark",
        "ImageStatus": 1,
        "AOSPVersion": "13",
    }.items():
        checks.equal(name, row[name], expected)
    admin.advance(6)
    checks.equal("it is being built", _listed(client, ImageIdList=[made])[0]["ImageStatus"], 2)
    admin.advance(60)
    row = _listed(client, ImageIdList=[made])[0]
    checks.equal("it is built", row["ImageStatus"], 11)
    checks.true("it has a size", row["ImageSize"] > 0, row["ImageSize"])
    checks.true("times are numbers", row["CreateAt"] <= row["UpdateAt"], row)
    client.call("UpdateAOSPImage", ImageId=made, ImageName="renamed", ImageAnnotation="other remark")
    row = _listed(client, ImageIdList=[made])[0]
    checks.equal("changed", (row["ImageName"], row["ImageRemark"]), ("renamed", "other remark"))
    client.call("UpdateAOSPImage", ImageId=made, ImageName="again")
    row = _listed(client, ImageIdList=[made])[0]
    checks.equal("only the name changed", (row["ImageName"], row["ImageRemark"]), ("again", "other remark"))
    answer = client.call("DeleteAOSPImage", ImageIdList=[made, "img-none"])
    results = {item["ImageId"]: item["ErrCode"] for item in answer["Items"]}
    checks.equal("deleted, each with its result", results, {made: 0, "img-none": 21342})
    checks.equal("it is not listed any more", _listed(client, ImageIdList=[made]), [])

    by_url = _build(client, ImageFileFormat="url", ImageTosInfo=None, ImageUrlInfo={"SystemImg": URL, "VendorImg": URL})
    checks.equal("made of URLs", len(_listed(client, ImageIdList=[by_url])), 1)
    kept = admin.call("GET", f"volcengine/aosp-images/{by_url}")
    checks.equal("the URL came whole", kept["source"]["SystemImg"]["Url"], URL["Url"])
    # The example of the page has both.
    both = _build(client, ImageFileFormat="volc_tos", ImageUrlInfo={"SystemImg": URL, "VendorImg": URL})
    kept = admin.call("GET", f"volcengine/aosp-images/{both}")
    checks.equal("the format chooses", kept["source"]["Bucket"], "bucket")
    admin.faults({"action": "BuildAOSPImage", "fault": "failBuild"})
    failed = _build(client)
    admin.advance(120)
    checks.equal("a failed build", _listed(client, ImageIdList=[failed])[0]["ImageStatus"], -1)


def aosp_texts(checks, admin, connect):
    client = connect(KEY)
    for text in ODD_TEXTS:
        made = _build(client, ImageName=f"n {text}", ImageAnnotation=text)
        row = _listed(client, ImageIdList=[made])[0]
        checks.equal(f"name {text!r}", row["ImageName"], f"n {text}")
        checks.equal(f"remark {text!r}", row["ImageRemark"], text)
        found = _listed(client, ImageName=f"n {text}")
        checks.equal(f"found by {text!r}", [row["ImageId"] for row in found], [made])
        client.call("UpdateAOSPImage", ImageId=made, ImageAnnotation=f"{text}2")
        checks.equal(f"changed to {text!r}2", _listed(client, ImageIdList=[made])[0]["ImageRemark"], f"{text}2")


def aosp_listing(checks, admin, connect):
    client = connect(KEY)
    made = [_build(client, ImageName=f"phone-{number}") for number in range(7)]
    admin.seed("volcengine", "aosp-images", {"name": "public", "public": True})

    def page(token, **filters):
        more = {"NextToken": token} if token else {}
        answer = client.call("ListAOSPImage", ProductId=PRODUCT, MaxResults=3, **filters, **more)
        return answer["Row"] or [], answer.get("NextToken")

    rows, count = pages(page)
    checks.equal("every image once", sorted(row["ImageId"] for row in rows), sorted(made))
    checks.equal("in three pages", count, 3)
    checks.equal("ten rows if it is not said", len(client.call("ListAOSPImage", ProductId=PRODUCT)["Row"]), 7)
    checks.equal("public images", len(_listed(client, IsPublic=True)), 1)
    checks.equal("by status", len(_listed(client, ImageStatus=11)), 0)
    checks.equal("by version", len(_listed(client, AOSPVersion="13")), 7)
    checks.equal("by a name that none has", _listed(client, ImageName="nobody"), [])
    checks.equal("a wrong token starts over", len(page("nonsense")[0]), 3)
    deleted = client.call("DeleteAOSPImage", ImageIdList=made)
    checks.equal("all deleted", [item["ErrCode"] for item in deleted["Items"]], [0] * 7)


def aosp_refusals(checks, admin, connect):
    client = connect(KEY)
    without = lambda name: {key: value for key, value in TOS.items() if key != name}
    urls = lambda url: {"SystemImg": URL, "VendorImg": {"Url": url}}
    for expected, action, body in [
        ("1000001", "BuildAOSPImage", {}),
        ("1000001", "BuildAOSPImage", {"ImageTosInfo": without("Bucket")}),
        ("1000001", "BuildAOSPImage", {"ImageTosInfo": without("Region")}),
        ("1000001", "BuildAOSPImage", {"ImageTosInfo": without("Endpoint")}),
        ("1000001", "BuildAOSPImage", {"ImageTosInfo": without("SystemImg")}),
        ("1000001", "BuildAOSPImage", {"ImageTosInfo": without("VendorImg")}),
        ("1000001", "BuildAOSPImage", {"ImageFileFormat": "url", "ImageTosInfo": TOS}),
        ("1000001", "BuildAOSPImage", {"ImageFileFormat": "ftp", "ImageTosInfo": TOS}),
        ("1000001", "BuildAOSPImage", {"ImageFileFormat": "url", "ImageUrlInfo": urls("https://example.com/v")}),
        ("1000001", "BuildAOSPImage", {"ImageFileFormat": "url", "ImageUrlInfo": urls("https://evilvolces.com/v")}),
        ("2000002", "ListAOSPImage", {}),
        ("2000000", "ListAOSPImage", {"ProductId": "no"}),
        ("1000001", "ListAOSPImage", {"ProductId": PRODUCT, "MaxResults": 101}),
        ("1000001", "ListAOSPImage", {"ProductId": PRODUCT, "ImageIdList": ["img-1"] * 101}),
        ("1000001", "UpdateAOSPImage", {"ImageName": "x"}),
        ("21342", "UpdateAOSPImage", {"ImageId": "img-none", "ImageName": "x"}),
        ("1000001", "DeleteAOSPImage", {"ImageIdList": ["img-1"] * 11}),
        ("1000001", "DeleteAOSPImage", {"ImageIdList": []}),
    ]:
        # The SDKs of the products look themselves whether what is required is there.
        if isinstance(client, ProductSdks) and not isinstance(client, UniversalClient) and not _complete(action, body):
            checks.refused(f"{action} {body}"[:120], "ValueError", _kind, lambda: client.call(action, **body))
            continue
        call = lambda action=action, body=body: client.call(action, **body)
        _refuse(checks, client, f"{action} {body}"[:120], f"400 {expected}", call)
    admin.settings(volcengine={"deleteWhileBuilding": False})
    made = _build(client)
    items = client.call("DeleteAOSPImage", ImageIdList=[made])["Items"]
    checks.equal("while it is being built", items[0]["ErrCode"], 21341)


def _kind(error):
    return type(error).__name__


def _complete(action, body):
    required = {"ListAOSPImage": "ProductId", "UpdateAOSPImage": "ImageId"}.get(action)
    return required is None or required in body


def _export(client, **changes):
    parameters = {"ImageId": "image-1", "TOSBucket": "bucket-1", "TOSPrefix": "test123", **changes}
    return client.call("ExportImage", **parameters)["TaskId"]


def _tasks(client, **filters):
    return client.call("DescribeTasks", **filters)["Tasks"] or []


def export_life(checks, admin, connect):
    client = connect(KEY)
    task = _export(client)
    checks.true("the id begins with t-", task.startswith("t-"), task)
    row = _tasks(client, TaskIds=[task])[0]
    for name, expected in {"Id": task, "Type": "ExportImage", "Status": "Pending", "ResourceId": "image-1"}.items():
        checks.equal(name, row[name], expected)
    checks.true("times have the zone of Beijing", row["CreatedAt"].endswith("+08:00"), row["CreatedAt"])
    locked = "412 OperationDenied.ResourceLocked"
    _refuse(checks, client, "a second export", locked, lambda: _export(client, TOSPrefix="other"))
    admin.advance(35)
    row = _tasks(client, ResourceIds=["image-1"])[0]
    checks.equal("it runs", row["Status"], "Running")
    checks.true("it tells how far it is", 0 < int(row["Process"]) < 100, row["Process"])
    answer = client.call("DeleteImages", ImageIds=["image-1"])
    error = answer["OperationDetails"][0]["Error"]
    checks.equal("its image cannot be deleted", error["Code"], "OperationDenied.ImageIsExporting")
    admin.advance(35)
    row = _tasks(client, TaskIds=[task])[0]
    checks.equal("it has ended", (row["Status"], int(row["Process"])), ("Succeeded", 100))
    checks.true("it says when", bool(row["EndAt"]), row)
    checks.true("another export", _export(client, TOSPrefix="other") != task)
    admin.faults({"action": "ExportImage", "fault": "failBuild"})
    failed = _export(client, ImageId="image-2")
    admin.advance(120)
    checks.equal("a failed export", _tasks(client, TaskIds=[failed])[0]["Status"], "Failed")


def export_listing(checks, admin, connect):
    client = connect(KEY)
    made = [_export(client, ImageId=f"image-{number}", TOSPrefix=f"p{number}") for number in range(25)]

    def page(token, **filters):
        more = {"NextToken": token} if token else {}
        answer = client.call("DescribeTasks", **filters, **more)
        return answer["Tasks"] or [], answer.get("NextToken")

    rows, count = pages(lambda token: page(token, MaxResults="10"))
    checks.equal("every task once", sorted(row["Id"] for row in rows), sorted(made))
    checks.equal("in three pages", count, 3)
    checks.equal("20 rows if it is not said", len(_tasks(client)), 20)
    checks.equal("25 ids in their order", len(_tasks(client, TaskIds=made, MaxResults="100")), 25)
    checks.equal("by images", len(_tasks(client, ResourceIds=["image-1", "image-12"])), 2)
    checks.equal("by an image in the older way", len(_tasks(client, ResourceId="image-3")), 1)
    checks.equal("a task that does not exist", _tasks(client, TaskIds=["t-none"]), [])
    too_many = lambda: _tasks(client, TaskIds=[f"t-{number}" for number in range(101)])
    _refuse(checks, client, "101 ids", "400 LimitExceeded.TaskIds", too_many)
    for size in ("0", "101", "x"):
        wrong = lambda size=size: _tasks(client, MaxResults=size)
        _refuse(checks, client, f"pages of {size}", "400 InvalidMaxResults.Malformed", wrong)


def export_refusals(checks, admin, connect):
    client = connect(KEY)
    creating = admin.seed("volcengine", "images", {"status": "creating"})
    public = admin.seed("volcengine", "images", {"visibility": "public"})
    locked = admin.seed("volcengine", "images", {"locked": True})
    for expected, changes in [
        ("400 InvalidImageForExportImage.UnSupported", {"ImageId": public}),
        ("400 InvalidImageStatus", {"ImageId": creating}),
        ("400 InvalidTOSPrefix.Malformed", {"TOSPrefix": "a-b"}),
        ("400 InvalidTOSPrefix.Malformed", {"TOSPrefix": "0123456789012345678901234567890"}),
        ("400 InvalidTOSPrefix.Malformed", {"TOSPrefix": "a b+c/d~e*中😀"}),
        ("400 InvalidTosPutObject.AccessDenied", {"TOSBucket": "denied-bucket"}),
        ("400 MissingParameter.ImageId", {"ImageId": ""}),
        ("400 MissingParameter.TOSBucket", {"TOSBucket": ""}),
        ("400 MissingParameter.TOSPrefix", {"TOSPrefix": ""}),
        ("404 InvalidImage.NotFound", {"ImageId": "m-1"}),
        ("404 InvalidTOSBucket.NotFound", {"TOSBucket": "missing-bucket"}),
        ("412 OperationDenied.ResourceLocked", {"ImageId": locked}),
    ]:
        _refuse(checks, client, str(changes), expected, lambda changes=changes: _export(client, **changes))
    rule = {"service": "volcengine", "action": "ExportImage"}
    for fault, expected in [
        ({"internalError": {}}, "500 InternalError"),
        ("tooManyRequests", "429 FlowLimitExceeded"),
        ("throttle", "400 AccountFlowLimitExceeded"),
        ({"vendorError": {"status": 403, "code": "LackPolicy"}}, "403 LackPolicy"),
        ({"vendorError": {"status": 504, "code": "InternalServiceTimeout"}}, "504 InternalServiceTimeout"),
    ]:
        admin.faults({**rule, "fault": fault})
        before = admin.calls("ExportImage")
        _refuse(checks, client, f"fault {fault}", expected, lambda: _export(client))
        checks.equal(f"fault {fault}: one call", admin.calls("ExportImage") - before, 1)
    admin.faults()
    checks.equal("nothing was made", admin.effects("ExportImage"), 0)
    checks.true("and it goes on", _export(client).startswith("t-"))


def images_of_ecs(checks, admin, connect):
    client = connect(KEY)
    made = [admin.seed("volcengine", "images", {"name": f"n{number}"}) for number in range(7)]

    def page(token):
        more = {"NextToken": token} if token else {}
        answer = client.call("DescribeImages", MaxResults="3", Visibility="private", **more)
        return answer["Images"] or [], answer.get("NextToken")

    rows, count = pages(page)
    checks.equal("every image once", sorted(row["ImageId"] for row in rows), sorted(made))
    checks.equal("in three pages", count, 3)
    for text in ODD_TEXTS:
        client.call("ModifyImageAttribute", ImageId=made[0], ImageName=text, Description=f"{text}+")
        answer = client.call("DescribeImages", ImageName=text)
        told = [(row["ImageId"], row["ImageName"], row["Description"]) for row in answer["Images"] or []]
        checks.equal(f"named {text!r}", told, [(made[0], text, f"{text}+")])
        checks.equal(f"counted {text!r}", answer["TotalCount"], 1)
    answer = client.call("DeleteImages", ImageIds=[made[0], "m-none"])
    told = {item["ImageId"]: (item.get("Error") or {}).get("Code") for item in answer["OperationDetails"]}
    checks.equal("deleted, each with its result", told, {made[0]: None, "m-none": "InvalidImage.NotFound"})


def gateway(checks, admin, connect):
    client = connect(KEY)
    for action, call in (("ListAOSPImage", lambda: _listed(client)), ("DescribeTasks", lambda: _tasks(client))):
        limit = {"action": action, "requests": 2, "periodSeconds": 3600}
        admin.settings(volcengine={"flowLimits": [limit]})
        for _ in range(2):
            checks.equal(f"{action} within the limit", call(), [])
        _refuse(checks, client, f"{action} over the limit", "429 FlowLimitExceeded", call)
        admin.settings(volcengine={"flowLimits": []})
    if isinstance(client, UniversalClient):
        for expected, info in [
            ("404 InvalidActionOrVersion", UniversalInfo("GET", "ecs", "2020-04-01", "PaintImage")),
            ("404 InvalidActionOrVersion", UniversalInfo("GET", "ecs", "2019-01-01", "DescribeTasks")),
            ("404 InvalidActionOrVersion", UniversalInfo("GET", "ecs", "2025-05-01", "ListAOSPImage")),
            ("404 ServiceNotFound", UniversalInfo("GET", "paint", "2020-04-01", "DescribeTasks")),
            ("405 MethodNotAllowed", UniversalInfo("GET", "acep", "2025-05-01", "ListAOSPImage")),
        ]:
            call = lambda info=info: client.apis["ecs"].do_call(info, {})
            told = f"{info.method} {info.service} {info.version} {info.action}"
            checks.refused(told, expected, client.refusal, call)
        # The vendor's own examples write the cloud phone's name so.
        info = UniversalInfo("POST", "ACEP", "2025-05-01", "ListAOSPImage", "application/json")
        answer = client.apis["acep"].do_call(info, {"ProductId": PRODUCT})
        checks.equal("ACEP in capitals", answer["Row"], [])
    admin.settings(volcengine={"nullError": True})
    checks.equal("an error that is null is none", _tasks(client), [])


def credentials(checks, admin, connect):
    client = connect(TEMPORARY)
    checks.true("built with a security token", _build(client).startswith("img-"))
    checks.true("exported with a security token", _export(client).startswith("t-"))
    for expected, key in [
        ("401 ExpiredToken", EXPIRED),
        ("401 InvalidAccessKey", (TEMPORARY[0], TEMPORARY[1], "other")),
        ("401 InvalidAccessKey", (TEMPORARY[0], TEMPORARY[1], None)),
        ("401 InvalidAccessKey", ("nobody", "secret", None)),
        ("401 SignatureDoesNotMatch", (KEY[0], "wrong-secret", None)),
    ]:
        client = connect(key)
        _refuse(checks, client, f"key {key}, POST", expected, lambda client=client: _build(client))
        _refuse(checks, client, f"key {key}, GET", expected, lambda client=client: _export(client))


def times(checks, admin, connect):
    client = connect(KEY)
    for number, (seconds, fits) in enumerate([(600, True), (-600, True), (3600, False), (-3600, False)]):
        admin.skew(seconds)
        export = lambda number=number: _export(client, ImageId=f"image-{number}")
        if fits:
            checks.true(f"{seconds} s apart, POST", _build(client).startswith("img-"))
            checks.true(f"{seconds} s apart, GET", export().startswith("t-"))
        else:
            expected = "400 InvalidTimestamp"
            _refuse(checks, client, f"{seconds} s apart, POST", expected, lambda: _build(client))
            _refuse(checks, client, f"{seconds} s apart, GET", expected, export)
    admin.skew(0)
    checks.true("right again", _export(client, ImageId="image-9").startswith("t-"))
