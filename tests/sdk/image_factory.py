"""What Alibaba Cloud ECS makes of components: pipelines, their runs, images, copies, and with whom those are shared."""

from checks import KEY, pages
from image_components import CLIENTS

# Where copies go.
FAR = "cn-shanghai"


def run(checks, admin, address):
    for kind in CLIENTS:
        with checks.section(f"the image factory by {kind.name}"):
            for part in (pipelines, runs, cancelling, copies, lacking, sharing, community):
                admin.reset()
                admin.settings(aliyunEcs={"executionSeconds": 100.0, "cancellingSeconds": 5.0, "copySeconds": 100.0})
                with checks.section(part.__name__):
                    part(checks, admin, kind(address, KEY))


def _pipeline(client, **parameters):
    parameters = {"BaseImageType": "IMAGE", "BaseImage": "m-base", "BuildContent": "RUN true", **parameters}
    return client.call("CreateImagePipeline", **parameters)["ImagePipelineId"]


def _pipelines(client, **filters):
    return client.call("DescribeImagePipelines", **filters)["ImagePipeline"]["ImagePipelineSet"]


def _runs(client, **filters):
    answer = client.call("DescribeImagePipelineExecutions", **filters)
    return answer["ImagePipelineExecution"]["ImagePipelineExecutionSet"]


ALL = "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated"


def _images(client, **filters):
    answer = client.call("DescribeImages", **{"Status": ALL, "ImageOwnerAlias": "self", **filters})
    return answer["Images"]["Image"]


def _shared(client, image, **page):
    answer = client.call("DescribeImageSharePermission", ImageId=image, **page)
    return [str(row["AliyunId"]) for row in answer["Accounts"]["Account"]], answer["TotalCount"]


def _made(checks, admin, client, **parameters):
    """An image that a run has made."""
    pipeline = _pipeline(client, **parameters)
    client.call("StartImagePipelineExecution", ImagePipelineId=pipeline)
    admin.advance(101)
    rows = _runs(client, ImagePipelineId=pipeline)
    checks.equal("the run has succeeded", [row["Status"] for row in rows], ["SUCCESS"])
    return rows[0]["ImageId"]


def pipelines(checks, admin, client):
    """One pipeline from its creation to its deletion."""
    made = _pipeline(client, Name="base", Description="a base", SystemDiskSize=40, ClientToken="t-1")
    checks.true("the id begins with ip-", made.startswith("ip-"), made)
    again = _pipeline(client, Name="base", Description="a base", SystemDiskSize=40, ClientToken="t-1")
    checks.equal("a repeated token makes nothing new", again, made)
    rows = _pipelines(client, ImagePipelineId=[made])
    checks.equal("it is described", len(rows), 1)
    told = {name: rows[0][name] for name in ("Name", "Description", "BaseImageType", "BaseImage", "BuildContent")}
    expected = {"Name": "base", "Description": "a base", "BaseImageType": "IMAGE", "BaseImage": "m-base"}
    checks.equal("as it was made", told, {**expected, "BuildContent": "RUN true"})
    about = {"ResourceType": "imagepipeline", "ResourceId": [made]}
    client.call("TagResources", **about, Tag=[{"Key": "team", "Value": "base"}])
    tags = _pipelines(client, ImagePipelineId=[made])[0]["Tags"]["Tag"]
    checks.equal("its tags", [(tag["TagKey"], tag["TagValue"]) for tag in tags], [("team", "base")])
    others = [_pipeline(client, Name=f"other-{n}") for n in range(4)]

    def page(token):
        more = {"NextToken": token} if token else {}
        answer = client.call("DescribeImagePipelines", MaxResults=2, **more)
        return answer["ImagePipeline"]["ImagePipelineSet"], answer.get("NextToken")

    rows, count = pages(page)
    checks.equal("every pipeline once", sorted(r["ImagePipelineId"] for r in rows), sorted([made, *others]))
    checks.equal("in three pages", count, 3)
    client.call("DeleteImagePipeline", ImagePipelineId=made)
    checks.equal("what was deleted is not described", _pipelines(client, ImagePipelineId=[made]), [])
    delete = lambda: client.call("DeleteImagePipeline", ImagePipelineId=made)
    checks.refused("deleted again", "404 InvalidImagePipeline.NotFound", client.refusal, delete)


def runs(checks, admin, client):
    """One run, one at a time for each pipeline, and the image that it makes."""
    pipeline = _pipeline(client)
    tag = [{"Key": "attempt", "Value": "1"}]
    start = lambda **more: client.call("StartImagePipelineExecution", ImagePipelineId=pipeline, **more)["ExecutionId"]
    made = start(Tag=tag, ClientToken="t-1")
    checks.true("the id begins with exec-", made.startswith("exec-"), made)
    checks.equal("a repeated token begins nothing new", start(Tag=tag, ClientToken="t-1"), made)
    busy = "403 InvalidImagePipeline.HasRunningExecution"
    checks.refused("a second run", busy, client.refusal, start)
    delete = lambda: client.call("DeleteImagePipeline", ImagePipelineId=pipeline)
    checks.refused("its pipeline's deletion", busy, client.refusal, delete)
    checks.equal("its phase", [row["Status"] for row in _runs(client, ExecutionId=made)], ["PREPARING"])
    checks.equal("by its tag", [row["ExecutionId"] for row in _runs(client, ImagePipelineId=pipeline, Tag=tag)], [made])
    missing = "400 MissingParameter.ImagePipelineId"
    checks.refused("runs of no pipeline", missing, client.refusal, lambda: _runs(client))
    admin.advance(101)
    row = _runs(client, ExecutionId=made)[0]
    checks.equal("its end", row["Status"], "SUCCESS")
    image = _images(client, ImageId=row["ImageId"])
    checks.equal("its image", [row["Status"] for row in image], ["Available"])
    snapshot = image[0]["DiskDeviceMappings"]["DiskDeviceMapping"][0]["SnapshotId"]
    cancel = lambda: client.call("CancelImagePipelineExecution", ExecutionId=made)
    checks.refused("cancelled too late", "400 InvalidStatus.CancelFailed", client.refusal, cancel)
    delete()
    client.call("DeleteImage", ImageId=row["ImageId"])
    checks.equal("no image is left", _images(client, ImageId=row["ImageId"]), [])
    client.call("DeleteSnapshot", SnapshotId=snapshot)
    again = lambda: client.call("DeleteSnapshot", SnapshotId=snapshot)
    checks.refused("its snapshot's second deletion", "404 InvalidSnapshotId.NotFound", client.refusal, again)


def cancelling(checks, admin, client):
    """A run that ends early makes no image."""
    pipeline = _pipeline(client)
    made = client.call("StartImagePipelineExecution", ImagePipelineId=pipeline)["ExecutionId"]
    client.call("CancelImagePipelineExecution", ExecutionId=made)
    checks.equal("at first", _runs(client, ExecutionId=made)[0]["Status"], "CANCELLING")
    admin.advance(6)
    checks.equal("then", _runs(client, ExecutionId=made)[0]["Status"], "CANCELLED")
    admin.advance(200)
    checks.equal("no image", _images(client), [])
    none = lambda: client.call("CancelImagePipelineExecution", ExecutionId="exec-none")
    checks.refused("none", "404 InvalidImagePipelineExecution.NotFound", client.refusal, none)


def copies(checks, admin, client):
    """A copy in another region: its phases, its name, its end, and what it leaves."""
    source = _made(checks, admin, client)
    copy = lambda name, **more: client.call(
        "CopyImage", ImageId=source, DestinationRegionId=FAR, DestinationImageName=name, **more
    )["ImageId"]
    made = copy("far", ClientToken="t-1", Tag=[{"Key": "team", "Value": "base"}])
    checks.equal("a repeated token copies nothing again", copy("far", ClientToken="t-1", Tag=[{"Key": "team", "Value": "base"}]), made)
    checks.refused("a name that is taken", "400 InvalidImageName.Duplicated", client.refusal, lambda: copy("far"))
    there = {"RegionId": FAR}
    row = _images(client, ImageId=made, **there)[0]
    checks.equal("at first", (row["Status"], row["ImageName"], row["IsCopied"]), ("Creating", "far", True))
    checks.equal("without statuses it is not shown", client.call("DescribeImages", ImageId=made, **there)["TotalCount"], 0)
    delete = lambda **more: client.call("DeleteImage", ImageId=made, **there)
    checks.refused("deleted too soon", "403 OperationDenied.ImageCopying", client.refusal, delete)
    waiting = [copy(f"far-{n}") for n in range(5)]
    statuses = [row["Status"] for row in _images(client, **there)]
    checks.equal("five at a time", sorted(statuses), ["Creating"] * 5 + ["Waiting"])
    client.call("CancelCopyImage", ImageId=waiting[-1], **there)
    checks.equal("what was cancelled is gone", _images(client, ImageId=waiting[-1], **there), [])
    admin.advance(101)
    checks.equal("then", _images(client, ImageId=made, **there)[0]["Status"], "Available")
    cancel = lambda: client.call("CancelCopyImage", ImageId=made, **there)
    checks.refused("cancelled too late", "400 IncorrectImageStatus", client.refusal, cancel)
    client.call("ModifyImageAttribute", ImageId=made, ImageName="renamed", Description="a copy", **there)
    row = _images(client, ImageId=made, **there)[0]
    checks.equal("as it was changed", (row["ImageName"], row["Description"]), ("renamed", "a copy"))
    rows = []
    for number in (1, 2, 3):
        rows += _images(client, PageNumber=number, PageSize=2, **there)
    checks.equal("every copy once", len({row["ImageId"] for row in rows}), 5)
    delete()
    checks.equal("what was deleted is gone", _images(client, ImageId=made, **there), [])


def lacking(checks, admin, client):
    """What a copy needs in its region, and what a retry is told whose first call is still being processed."""
    source = _made(checks, admin, client)
    settings = lambda **some: admin.settings(aliyunEcs=some)
    copy = lambda name, **more: client.call(
        "CopyImage", ImageId=source, DestinationRegionId=FAR, DestinationImageName=name, **more
    )["ImageId"]
    settings(regionsWithoutKms=[FAR], snapshotQuota=1)
    for expected, call in [
        ("400 InvalidParameter.KmsNotEnabled", lambda: copy("far", Encrypted=True, KMSKeyId="key")),
        ("200", lambda: copy("far")),
        ("403 QuotaExceed.Snapshot", lambda: copy("far-1")),
    ]:
        if expected == "200":
            checks.true("room for one", call().startswith("m-"), "")
        else:
            checks.refused(expected, expected, client.refusal, call)
    settings(regionsWithoutKms=[], snapshotQuota=None, processingSeconds=30)
    made = copy("far-1", Encrypted=True, ClientToken="t-1")
    again = lambda: copy("far-1", Encrypted=True, ClientToken="t-1")
    checks.refused("a retry too soon", "400 IdempotentProcessing", client.refusal, again)
    admin.advance(101)
    checks.equal("a retry", again(), made)
    share = lambda: client.call("ModifyImageSharePermission", ImageId=made, AddAccount=["1001"], RegionId=FAR)
    expected = "403 InvalidOperation.ServiceKeyEncryptedImageUnsupported"
    checks.refused("encrypted with the key of the service", expected, client.refusal, share)


def sharing(checks, admin, client):
    """Ten accounts in a call, an eleventh is ignored; and what is shared is not deleted."""
    image = _made(checks, admin, client)
    share = lambda **more: client.call("ModifyImageSharePermission", ImageId=image, **more)
    accounts = [str(1000 + n) for n in range(11)]
    share(AddAccount=accounts)
    checks.equal("ten of eleven", sorted(_shared(client, image, PageSize=100)[0]), accounts[:10])
    share(AddAccount=accounts[10:])
    told = [_shared(client, image, PageNumber=number, PageSize=5) for number in (1, 2, 3)]
    checks.equal("in pages", [len(rows) for rows, _ in told], [5, 5, 1])
    checks.equal("of eleven", {total for _, total in told}, {11})
    delete = lambda: client.call("DeleteImage", ImageId=image)
    checks.refused("deleted while it is shared", "403 ImageUseShared", client.refusal, delete)
    share(RemoveAccount=accounts)
    checks.equal("the eleventh stays", _shared(client, image)[0], accounts[10:])
    share(RemoveAccount=accounts[10:])
    delete()


def community(checks, admin, client):
    """A community image is neither shared, copied nor deleted until it is taken back."""
    image = _made(checks, admin, client)
    publish = lambda yes, **more: client.call("ModifyImageSharePermission", ImageId=image, IsPublic=yes, **more)
    publish(True)
    checks.equal("it is public", _images(client, ImageId=image)[0]["IsPublic"], True)
    copy = lambda: client.call("CopyImage", ImageId=image, DestinationRegionId=FAR, DestinationImageName="far")
    share = lambda: client.call("ModifyImageSharePermission", ImageId=image, AddAccount=["1001"])
    for expected, call in [
        ("403 Image.Public", lambda: publish(True)),
        ("403 InvalidParameter.IsPublic", lambda: publish(False, AddAccount=["1001"])),
        ("403 Image.Public", share),
        ("400 OperationDenied.CommunityImage", copy),
        ("403 ImageIsPublic", lambda: client.call("DeleteImage", ImageId=image)),
    ]:
        checks.refused(expected, expected, client.refusal, call)
    publish(False)
    client.call("DeleteImage", ImageId=image)
