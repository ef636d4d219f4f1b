"""Root volume templates of ZStack.

ZStack publishes no client for Python as a package, so that this one follows its open server: `requests`, a session or an
access key, and jobs that are polled.
"""

import base64
import hashlib
import hmac
import time
import uuid

import requests

from checks import KEY, ODD_TEXTS

VOLUME = "fadea0efc22e4e6fa43f537f1af6ee6a"
NOTHING = "0" * 32


class Refused(Exception):
    """An answer that is no success: status, and the code of the API or the text of the REST layer."""

    def __init__(self, answer):
        try:
            self.told = f"{answer.status_code} {answer.json()['error']['code']}"
        except (ValueError, KeyError):
            self.told = f"{answer.status_code} {answer.text.splitlines()[0] if answer.text else ''}"
        super().__init__(self.told)


def _refusal(error):
    return error.told if isinstance(error, Refused) else repr(error)


class Stack:
    """A client of one management node."""

    def __init__(self, address, admin):
        self.base = f"http://{address}/zstack"
        self.admin = admin
        self.session = None
        self.key = None
        self.http = requests.Session()

    def log_in(self, name="admin", password="password"):
        digest = hashlib.sha512(password.encode()).hexdigest()
        body = {"logInByAccount": {"accountName": name, "password": digest}}
        self.session = self.send("PUT", "accounts/login", body)["inventory"]["uuid"]
        return self

    def with_key(self, key, hours=8):
        self.key, self.hours = key, hours
        return self

    def headers(self, method, path):
        if self.session:
            return {"Authorization": f"OAuth {self.session}"}
        if self.key:
            # The node's wall clock: that it is in China is the simulator's default.
            local = time.gmtime(time.time() + self.hours * 3600)
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT+08:00", local)
            text = f"{method}\n{date}\n{path}".encode()
            signature = base64.b64encode(hmac.new(self.key[1].encode(), text, hashlib.sha1).digest()).decode()
            return {"Authorization": f"ZStack {self.key[0]}:{signature}", "Date": date}
        return {}

    def send(self, method, path, body=None, query=None, **headers):
        path = f"/v1/{path}"
        headers = {**self.headers(method, path), **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.http.request(method, self.base + path, json=body, params=query, headers=headers, timeout=30)
        if answer.status_code not in (200, 202):
            raise Refused(answer)
        told = answer.json()
        if answer.status_code == 202 and "location" in told:
            return self.finish(told["location"].rsplit("/", 1)[1])
        return told

    def finish(self, job):
        """Polls a job, and lets the time pass that it takes."""
        for _ in range(5):
            answer = self.http.get(f"{self.base}/v1/api-jobs/{job}", timeout=30)
            if answer.status_code == 200:
                return answer.json()
            if answer.status_code != 202:
                raise Refused(answer)
            self.admin.advance(61)
        raise AssertionError("the job does not end")

    def create(self, volume=VOLUME, headers=None, **params):
        body = {"params": {"name": "golden", **params}, "systemTags": [], "userTags": []}
        path = f"images/root-volume-templates/from/volumes/{volume}"
        return self.send("POST", path, body, **(headers or {}))["inventory"]

    def act(self, image, **action):
        return self.send("PUT", f"images/{image}/actions", action)

    def query(self, *conditions, **more):
        query = [("q", condition) for condition in conditions] + list(more.items())
        return self.send("GET", "images", query=query)


def run(checks, admin, address):
    with checks.section("ZStack"):
        for part in (life, texts, listing, refusals, sessions, access_keys):
            admin.reset()
            with checks.section(part.__name__):
                part(checks, admin, lambda: Stack(address, admin))


def _uuid():
    return uuid.uuid4().hex


def life(checks, admin, connect):
    stack = connect().log_in()
    chosen, job = _uuid(), _uuid()
    made = stack.create(
        resourceUuid=chosen,
        description="says hello",
        platform="Linux",
        guestOsType="CentOS 7",
        system=False,
        headers={"X_Job_UUID": job},
    )
    for name, expected in {
        "uuid": chosen,
        "name": "golden",
        "description": "says hello",
        "platform": "Linux",
        "guestOsType": "CentOS 7",
        "status": "Ready",
        "state": "Enabled",
        "mediaType": "RootVolumeTemplate",
        "system": False,
    }.items():
        checks.equal(name, made[name], expected)
    checks.equal("it is stored", made["backupStorageRefs"][0]["status"], "Ready")
    read = stack.send("GET", f"images/{chosen}")["inventories"]
    checks.equal("it is read", [image["uuid"] for image in read], [chosen])
    checks.equal("its job is known", stack.finish(job)["inventory"]["uuid"], chosen)
    twice = lambda: stack.create(headers={"X_Job_UUID": job})
    checks.refused("a job's uuid twice", f"400 Duplicate job uuid[{job}]", _refusal, twice)
    try:
        stack.create(resourceUuid=chosen)
    except Refused as error:
        checks.equal("an image's uuid twice", error.told, "503 SYS.1000")
    else:
        checks.true("an image's uuid twice", False, "made")
    changed = stack.act(
        chosen, updateImage={"name": "renamed", "description": "new", "platform": "Windows", "virtio": True}
    )["inventory"]
    told = tuple(changed[name] for name in ("name", "description", "platform", "virtio"))
    checks.equal("changed", told, ("renamed", "new", "Windows", True))
    for event, state in (("disable", "Disabled"), ("enable", "Enabled")):
        changed = stack.act(chosen, changeImageState={"stateEvent": event})["inventory"]
        checks.equal(event, changed["state"], state)
    checks.refused("not deleted yet", "503 SYS.1006", _refusal, lambda: stack.act(chosen, expungeImage={}))
    stack.send("DELETE", f"images/{chosen}", query={"deleteMode": "Permissive"})
    read = stack.send("GET", f"images/{chosen}")["inventories"]
    checks.equal("deleted softly", read[0]["status"], "Deleted")
    stack.act(chosen, recoverImage={})
    checks.equal("recovered", stack.send("GET", f"images/{chosen}")["inventories"][0]["status"], "Ready")
    stack.send("DELETE", f"images/{chosen}", query={"deleteMode": "Enforcing"})
    stack.act(chosen, expungeImage={})
    checks.equal("gone", stack.send("GET", f"images/{chosen}")["inventories"], [])
    checks.equal("deleting it again is a success", stack.send("DELETE", f"images/{chosen}"), {})
    admin.faults({"action": "CreateRootVolumeTemplateFromRootVolume", "fault": "failBuild"})
    failed = _uuid()
    try:
        stack.create(resourceUuid=failed)
    except Refused as error:
        checks.true("a failed creation", error.told.startswith("503 "), error.told)
    else:
        checks.true("a failed creation", False, "made")
    checks.equal("leaves nothing", stack.send("GET", f"images/{failed}")["inventories"], [])


def texts(checks, admin, connect):
    stack = connect().log_in()
    for text in ODD_TEXTS:
        made = stack.create(name=text, description=text)
        checks.equal(f"name {text!r}", (made["name"], made["description"]), (text, text))
        changed = stack.act(made["uuid"], updateImage={"name": f"{text}2"})["inventory"]
        checks.equal(f"changed {text!r}", changed["name"], f"{text}2")
        # Conditions are split at the first of the operators anywhere, and lists at commas.
        if not set(text) & set("=<>!~?"):
            found = stack.query(f"name={text}2")["inventories"]
            checks.equal(f"found by {text!r}", [image["uuid"] for image in found], [made["uuid"]])
    made = stack.create(name="  golden \r\n", description="\ttext\n")
    checks.equal("trimmed", (made["name"], made["description"]), ("golden", "text"))


def listing(checks, admin, connect):
    stack = connect().log_in()
    made = [stack.create(name=f"n{number}")["uuid"] for number in range(7)]
    answer = stack.query(limit=3, start=0, replyWithCount="true", sort="+createDate")
    checks.equal("a page and the whole count", (len(answer["inventories"]), answer["total"]), (3, 7))
    rows = []
    for start in range(0, 9, 3):
        rows += stack.query(limit=3, start=start)["inventories"]
    checks.equal("every image once", sorted(row["uuid"] for row in rows), sorted(made))
    for conditions, expected in [
        (("name=n1",), 1),
        (("name=N1",), 1),
        (("name=n1  ",), 1),
        (("name!=n1",), 6),
        ((f"uuid?={made[0]},{made[3]}",), 2),
        (("name~=n%",), 7),
        (("name?=n1,n2,n9",), 2),
        (("status=Ready", "name~=%3"), 1),
        (("size>0",), 7),
        (("guestOsType is null",), 7),
        (("backupStorageRef.backupStorageUuid=b94ff32725d133fea53e8ada5ea7f0fc",), 7),
    ]:
        checks.equal(f"q={conditions}", len(stack.query(*conditions)["inventories"]), expected)
    checks.equal("only counted", stack.query(count="true"), {"total": 7})
    fields = stack.query("name=n1", fields="uuid,name")["inventories"][0]
    checks.equal("only some fields", sorted(fields), ["name", "uuid"])
    for condition in ("colour=red", "colours.name=red", "nonsense", "name=CentOS>=7"):
        wrong = lambda condition=condition: stack.query(condition)
        checks.refused(f"q={condition}", "503 SYS.1007", _refusal, wrong)


def refusals(checks, admin, connect):
    stack = connect().log_in()
    image = _uuid()
    storages = lambda *uuids: {"backupStorageUuids": list(uuids)}
    for expected, call in [
        ("503 SYS.1007", lambda: stack.create(name=None)),
        ("503 SYS.1007", lambda: stack.create(name="x" * 256)),
        ("503 SYS.1007", lambda: stack.create(name="   ")),
        ("503 SYS.1007", lambda: stack.create(description="x" * 2049)),
        ("503 SYS.1007", lambda: stack.create(platform="Plan9")),
        ("503 SYS.1007", lambda: stack.create(architecture="z80")),
        ("503 SYS.1007", lambda: stack.create(resourceUuid=str(uuid.uuid4()))),
        ("503 SYS.1003", lambda: stack.create(**storages(NOTHING))),
        ("503 SYS.1003", lambda: stack.create(volume=NOTHING)),
        ("503 SYS.1003", lambda: stack.act(image, updateImage={"name": "y"})),
        ("503 SYS.1003", lambda: stack.act(image, expungeImage={})),
        ("503 SYS.1003", lambda: stack.send("DELETE", "images/nonsense")),
    ]:
        checks.refused(expected, expected, _refusal, call)
    for status, words, call in [
        (404, "no api mapping to", lambda: stack.send("GET", "hosts")),
        (405, "not allowed", lambda: stack.send("POST", "images", {})),
        (400, "virtio", lambda: stack.create(virtio=["true"])),
        (400, "name", lambda: stack.create(name=1)),
        (400, "action mapping", lambda: stack.act(image, paintImage={})),
        (400, "stateEvent", lambda: stack.act(image, changeImageState={"stateEvent": "burn"})),
        (404, "the job has been expired", lambda: stack.finish(_uuid())),
        (400, "X-Job-UUID", lambda: stack.create(headers={"X_Job_UUID": "not-a-uuid"})),
        (400, "Authorization", lambda: connect().send("GET", "images")),
    ]:
        try:
            call()
        except Refused as error:
            fits = error.told.startswith(f"{status} ") and words in error.told
            checks.true(f"{status} {words}", fits, error.told)
        else:
            checks.true(f"{status} {words}", False, "no refusal")
    admin.faults({"service": "zstack", "action": "QueryImage", "fault": "tooManyRequests"})
    checks.refused("too fast", "429 too many requests", _refusal, stack.query)
    admin.faults()
    member = {"name": "member", "password": "pass", "uuid": _uuid()}
    accounts = admin.call("GET", "settings")["zstack"]["accounts"]
    admin.settings(zstack={"accounts": [*accounts, member], "imageQuota": 1})
    member = connect().log_in("member", "pass")
    checks.equal("the first of the quota", member.create()["status"], "Ready")
    checks.refused("over the quota", "503 ID.1003", _refusal, member.create)
    checks.equal("others' images are not seen", len(member.query()["inventories"]), 1)


def sessions(checks, admin, connect):
    for name, password in (("admin", "wrong"), ("nobody", "password")):
        log_in = lambda name=name, password=password: connect().log_in(name, password)
        checks.refused(f"{name} {password}", "503 ID.1000", _refusal, log_in)
    stack = connect().log_in()
    path = f"accounts/sessions/{stack.session}"
    checks.equal("valid", stack.send("GET", f"{path}/valid"), {"valid": True})
    renewed = stack.send("PUT", f"{path}/renew", {"renewSession": {"duration": 600}})["inventory"]
    checks.equal("renewed", renewed["uuid"], stack.session)
    short = lambda: stack.send("PUT", f"{path}/renew", {"renewSession": {"duration": 59}})
    checks.refused("too short", "503 SYS.1007", _refusal, short)
    stack.send("DELETE", path)
    checks.equal("logged out", connect().send("GET", f"{path}/valid"), {"valid": False})
    checks.refused("not valid any more", "503 ID.1001", _refusal, stack.query)
    checks.refused("nor in a job", "503 ID.1001", _refusal, stack.create)
    stack = connect().log_in()
    admin.advance(7201)
    checks.refused("after two hours", "503 ID.1001", _refusal, stack.query)
    admin.settings(zstack={"maxSessions": 1})
    connect().log_in()
    checks.refused("too many", "503 ID.1006", _refusal, lambda: connect().log_in())


def access_keys(checks, admin, connect):
    stack = connect().with_key(KEY)
    made = stack.create()
    checks.equal("made", made["status"], "Ready")
    checks.equal("found", len(stack.query("name=golden", limit=1)["inventories"]), 1)
    stack.act(made["uuid"], updateImage={"name": "renamed"})
    stack.send("DELETE", f"images/{made['uuid']}")
    for status, words, client in [
        (403, "requestTimeTooSkewed", connect().with_key(KEY, hours=0)),
        (403, "wrong accessKey signature", connect().with_key((KEY[0], "wrong", None))),
        (403, "access key id", connect().with_key(("nobody", "secret", None))),
    ]:
        try:
            client.query()
        except Refused as error:
            fits = error.told.startswith(f"{status} ") and words in error.told
            checks.true(words, fits, error.told)
        else:
            checks.true(words, False, "no refusal")
    admin.skew(3600)
    try:
        stack.query()
    except Refused as error:
        checks.true("an hour apart", "requestTimeTooSkewed" in error.told, error.told)
    else:
        checks.true("an hour apart", False, "no refusal")
    admin.skew(0)
    checks.equal("right again", stack.query("name=nobody"), {"inventories": []})
