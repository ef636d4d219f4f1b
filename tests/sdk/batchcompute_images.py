"""Images of Alibaba Cloud BatchCompute, by its own SDK."""

import logging

from batchcompute import Client, ClientError
from batchcompute.utils import log

from checks import EXPIRED, KEY, ODD_TEXTS, TEMPORARY, pages

REGION = "cn-hangzhou"

REFUSED = [
    ("InvalidName", "Its length must be in [1, 64].", {"Name": "a" * 65}),
    ("InvalidName", "must not start with [0-9]", {"Name": "1st"}),
    ("InvalidName", "It must only contain characters within", {"Name": "a b"}),
    ("InvalidName", "It must only contain characters within", {"Name": "镜像"}),
    ("InvalidDescription", "Its length must be in [0, 1024].", {"Description": "镜" * 1025}),
    ("InvalidEcsImageId", "Its length must be in [1, 256].", {"EcsImageId": "m" * 257}),
    ("InvalidEcsImageId", "does not exist or not you onwer", {"EcsImageId": "m-missing"}),
    ("InvalidEcsImageId", "The image is not available", {"EcsImageId": "m-unavailable"}),
    ("InvalidEcsImageId", "The share Image Quota exceeds", {"EcsImageId": "m-unsharable"}),
    ("InvalidEcsImageId", "has been registered", {"EcsImageId": "m-taken"}),
    ("InvalidPlatform", "Specified parameter Platform is not valid", {"Platform": "Plan9"}),
    ("InvalidPlatform", "Its length must be in [1, 256].", {"Platform": "L" * 257}),
    ("MissingName", "Name is mandatory for this action.", {"Name": None}),
]


def _connect(address, key):
    host, port = address.rsplit(":", 1)
    # The SDK knows the regions' hosts; this gives one of them another.
    Client.register_region(REGION, host, int(port))
    access_key, secret, token = key
    return Client(host, access_key, secret, security_token=token or "")


def _refusal(error):
    if isinstance(error, ClientError):
        return f"{error.status} {error.code}"
    return repr(error)


def _create(client, token="", **changes):
    body = {"Name": "base", "EcsImageId": "m-1", "Platform": "Linux", **changes}
    body = {name: value for name, value in body.items() if value is not None}
    return client.create_image(body, token).Id


def _page(client, marker, size, kind="Self"):
    answer = client.list_images(marker or "", size, kind)
    return list(answer.Items), answer.NextMarker


def run(checks, admin, address):
    # It logs every refusal, and most of these are wanted.
    logging.disable(logging.CRITICAL)
    log.LOG_LEVEL = logging.CRITICAL
    with checks.section("BatchCompute images by batchcompute"):
        for part in (life, texts, listing, refusals, tokens, credentials, times):
            admin.reset()
            with checks.section(part.__name__):
                part(checks, admin, lambda key: _connect(address, key))
    logging.disable(logging.NOTSET)


def life(checks, admin, connect):
    client = connect(KEY)
    for platform in ("Linux", "Windows"):
        made = _create(client, Platform=platform, EcsImageId=f"m-{platform}", Description="base image")
        checks.true("the id begins with img-", made.startswith("img-"), made)
        image = client.get_image(made)
        for name, expected in {
            "Id": made,
            "Name": "base",
            "Type": "Self",
            "Description": "base image",
            "EcsImageId": f"m-{platform}",
            "Platform": platform,
        }.items():
            checks.equal(name, getattr(image, name), expected)
        checks.true("OwnerId is a number", isinstance(image.OwnerId, int), image.OwnerId)
        checks.true("it has a time", bool(image.CreationTime), image.CreationTime)
        checks.true("the answer has a request id", bool(image.RequestId), image.RequestId)
        deleted = client.delete_image(made)
        checks.equal("deleted", deleted.StatusCode, 204)
        expected = "404 InvalidResource.NotFound"
        checks.refused("it is gone", expected, _refusal, lambda made=made: client.get_image(made))
        checks.refused("it is gone for good", expected, _refusal, lambda made=made: client.delete_image(made))
    checks.true("may be registered again", _create(client, EcsImageId="m-Linux").startswith("img-"))


def texts(checks, admin, connect):
    client = connect(KEY)
    for number, text in enumerate(ODD_TEXTS):
        ecs_image = f"m-{number} {text}"[:200]
        made = _create(client, Description=text, EcsImageId=ecs_image)
        image = client.get_image(made)
        checks.equal(f"description {text!r}", image.Description, text)
        checks.equal(f"ECS image {text!r}", image.EcsImageId, ecs_image)
        odd = lambda text=text: client.get_image(f"img-{text}")
        # A resource with a slash is another path.
        expected = "400 InvalidUrlPattern" if "/" in text else "404 InvalidResource.NotFound"
        if text.isascii() and text.isprintable() and not set(text) & set(' ?#"<>\\^`{|}%'):
            checks.refused(f"id {text!r}", expected, _refusal, odd)
    checks.equal("an empty description", client.get_image(_create(client, EcsImageId="m-e")).Description, "")


def listing(checks, admin, connect):
    client = connect(KEY)
    made = [_create(client, EcsImageId=f"m-{number}", Name=f"n{number}") for number in range(7)]
    admin.seed("batchcompute", "images", {"type": "System", "name": "public", "region": REGION})
    rows, count = pages(lambda marker: _page(client, marker, 3))
    checks.equal("every image once", sorted(row.Id for row in rows), sorted(made))
    checks.equal("in three pages", count, 3)
    rows, count = pages(lambda marker: _page(client, marker, 100))
    checks.equal("in one page", (len(rows), count), (7, 1))
    rows, _ = _page(client, None, 100, "System")
    checks.equal("the system's", [row.Name for row in rows], ["public"])
    rows, _ = _page(client, None, 100, "Nonsense")
    checks.equal("an unknown type is ignored", len(rows), 7)
    for size in (0, 101):
        wrong = lambda size=size: client.list_images("", size)
        checks.refused(f"{size} items", "400 InvalidMaxItemCount", _refusal, wrong)
    odd = lambda: client.list_images("odd +/~*&=中 marker", 10)
    checks.refused("a marker that was never given", "400 InvalidMarker", _refusal, odd)


def refusals(checks, admin, connect):
    client = connect(KEY)
    _create(client, EcsImageId="m-taken")
    for code, message, changes in REFUSED:
        shown = str(changes)[:80]
        try:
            made = _create(client, **changes)
        except ClientError as error:
            checks.equal(shown, (error.status, error.code), (400, code))
            checks.true(f"{shown}: the page's sentence", message in error.msg, error.msg)
        else:
            checks.true(shown, False, f"made {made}")
    # What the SDK itself would not send.
    for expected, body in [
        ("InvalidJsonFormat", "{"),
        ("InvalidHttpBody", "[]"),
        ("MissingEcsImageId", '{"Name": "a", "Platform": "Linux"}'),
        ("MissingPlatform", '{"Name": "a", "EcsImageId": "m-2"}'),
        ("InvalidName", '{"Name": 1, "Platform": "Linux", "EcsImageId": "m-2"}'),
        ("InvalidDescription", '{"Name": "a", "Platform": "Linux", "EcsImageId": "m-2", "Description": 1}'),
        ("InvalidEcsImageId", '{"Name": "a", "Platform": "Linux", "EcsImageId": 2}'),
        ("InvalidPlatform", '{"Name": "a", "Platform": [], "EcsImageId": "m-2"}'),
    ]:
        post = lambda body=body: client._sa.post("images", body=body)
        checks.refused(body, f"400 {expected}", _refusal, post)
    for what, settings, expected in [
        ("no role", {"roleExists": False}, "400 InvalidRoleArn"),
        ("a role that may not", {"roleExists": True, "roleCanShare": False}, "400 InvalidRoleArn"),
        ("quota", {"roleCanShare": True, "imageQuota": 1}, "403 QuotaExhausted.MaxImageCount"),
    ]:
        admin.settings(batchcompute=settings)
        checks.refused(what, expected, _refusal, lambda: _create(client))
    admin.settings(batchcompute={"imageQuota": None})
    used = admin.seed("batchcompute", "images", {"inUse": True, "region": REGION, "ecsImageId": "m-used"})
    checks.refused("in use", "409 StateConflict", _refusal, lambda: client.delete_image(used))
    stuck = admin.seed("batchcompute", "images", {"unshareFails": True, "region": REGION, "ecsImageId": "m-stuck"})
    checks.refused("cannot be unshared", "400 InvalidEcsImageId", _refusal, lambda: client.delete_image(stuck))
    system = admin.seed("batchcompute", "images", {"type": "System", "region": REGION})
    checks.refused("the system's", "403 Forbidden", _refusal, lambda: client.delete_image(system))
    checks.refused("no such resource", "400 InvalidUrlPattern", _refusal, lambda: client._sa.get("pictures"))
    checks.refused("no such method", "400 MethodNotAllowed", _refusal, lambda: client._sa.put("images", "img-1"))
    version = client.get_version()
    client.set_version("2014-01-01")
    checks.refused("another version", "403 InvalidVersion.NotFound", _refusal, lambda: _create(client))
    client.set_version(version)
    for fault, expected in [
        ({"internalError": {}}, "500 InternalError"),
        ({"badGateway": {}}, "502 Json Error, a HTML returned from upstream server."),
    ]:
        admin.faults({"service": "batchcompute", "fault": fault})
        checks.refused(f"fault {fault}", expected, _refusal, lambda: _create(client))
    admin.faults()
    checks.true("and it goes on", _create(client).startswith("img-"))


def tokens(checks, admin, connect):
    client = connect(KEY)
    first = _create(client, "Token_1")
    checks.equal("repeated", _create(client, "Token_1"), first)
    other = lambda: _create(client, "Token_1", Name="other")
    checks.refused("with another body", "400 IdempotentTokenMismatch", _refusal, other)
    checks.equal("made once", admin.effects("CreateImage"), 1)
    for token in ("with-hyphen", "x" * 65, "plus+", "中文"):
        wrong = lambda token=token: _create(client, token, EcsImageId="m-2")
        checks.refused(f"token {token}", "400 InvalidIdempotentToken", _refusal, wrong)
    checks.true("64 characters", _create(client, "x" * 64, EcsImageId="m-3").startswith("img-"))


def credentials(checks, admin, connect):
    client = connect(TEMPORARY)
    made = _create(client)
    checks.equal("made with a security token", client.get_image(made).Id, made)
    for expected, key in [
        ("400 InvalidSecurityToken.Expired", EXPIRED),
        ("400 InvalidSecurityToken.MismatchWithAccessKey", (TEMPORARY[0], TEMPORARY[1], "other")),
        ("400 InvalidSecurityToken.MismatchWithAccessKey", (TEMPORARY[0], TEMPORARY[1], None)),
        ("400 InvalidAccessKeyId.NotFound", ("nobody", "secret", None)),
        ("400 SignatureDoesNotMatch", (KEY[0], "wrong-secret", None)),
    ]:
        client = connect(key)
        checks.refused(f"key {key}", expected, _refusal, lambda client=client: _create(client))


def times(checks, admin, connect):
    client = connect(KEY)
    for number, (seconds, fits) in enumerate([(600, True), (-600, True), (3600, False), (-3600, False)]):
        admin.skew(seconds)
        make = lambda number=number: _create(client, EcsImageId=f"m-{number}")
        if fits:
            checks.true(f"{seconds} s apart", make().startswith("img-"))
        else:
            checks.refused(f"{seconds} s apart", "400 InvalidTimeStamp.Expired", _refusal, make)
    admin.skew(0)
    checks.true("right again", _create(client, EcsImageId="m-right").startswith("img-"))
