"""Counting checks, and the simulator's admin API."""

import json
import traceback
import urllib.error
import urllib.request
from contextlib import contextmanager

# What clients encode in ways of their own: blanks, signs that URLs reserve, line ends, several planes of Unicode.
ODD_TEXTS = [
    "two  blanks inside",
    "plus+slash/tilde~star*",
    "percent%20 and %2B and 100%",
    "a=b&c=d?e#f;g",
    "first line\nsecond line",
    "first line\r\nsecond line",
    "tab\tinside",
    "quotes \" ' ` and \\ backslash",
    "{braces} [brackets] <angles> (parens) |pipe| ^caret $dollar !bang @at ,comma :colon",
    "中文描述：镜像，全角　空格",
    "émile café (composed) cafe\u0301 (not)",
    "emoji 😀🚀 beyond the basic plane",
    "zero\u200bwidth and no-break\u00a0blank",
]


class Checks:
    """Counts what was checked, and keeps what was otherwise than it should be."""

    def __init__(self):
        self.count = 0
        self.failures = []
        self.path = []

    @contextmanager
    def section(self, name):
        """A part whose unexpected end fails it, and not the parts after it."""
        self.path.append(name)
        before = self.count
        try:
            yield
        except Exception:  # whatever a client raises is a check that failed
            self._note(f"ended by {traceback.format_exc()}")
        finally:
            if len(self.path) == 1:
                print(f"{name}: {self.count - before} checks", flush=True)
            self.path.pop()

    def true(self, what, holds, told=""):
        """One check."""
        self.count += 1
        if not holds:
            self.failures.append(f"{' > '.join(self.path)} > {what}: {told}")
            print(f"  FAILED {self.failures[-1]}", flush=True)

    def equal(self, what, got, expected):
        """One check of two values."""
        self.true(what, got == expected, f"got {got!r} instead of {expected!r}")

    def refused(self, what, expected, refusal_of, call):
        """A call must end with the refusal `expected`, which `refusal_of` reads from what the client raises."""
        try:
            answer = call()
        except Exception as error:
            self.equal(what, refusal_of(error), expected)
        else:
            self.true(what, False, f"answered {str(answer)[:300]!r} instead of {expected!r}")

    def _note(self, told):
        self.true("goes to its end", False, told)


class Admin:
    """`/_sim/`: settings, faults, clock, ledger and what vendors keep."""

    def __init__(self, address):
        self.base = f"http://{address}/_sim"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()}") from error
        return json.loads(text) if text else None

    def reset(self):
        """All as at the start, and keys for temporary credentials beside the usual one."""
        self.call("POST", "reset")
        usual = self.call("GET", "settings")["accessKeys"]
        self.settings(accessKeys=[*usual, *TEMPORARY_KEYS])

    def settings(self, **changes):
        self.call("PUT", "settings", changes)

    def faults(self, *rules):
        self.call("PUT", "faults", list(rules))

    def skew(self, seconds):
        self.call("PUT", "clock", {"skewSeconds": seconds})

    def advance(self, seconds):
        self.call("PUT", "clock", {"advanceSeconds": seconds})

    def seed(self, service, things, body):
        return self.call("POST", f"{service}/{things}", body)["id"]

    def calls(self, action):
        return len(self.call("GET", f"ledger?action={action}")["calls"])

    def effects(self, action):
        return len(self.call("GET", f"ledger?action={action}")["effects"])


KEY = ("simulator", "simulator-secret", None)
# Letters of base64, as real tokens have them.
TOKEN = "CAIS+gF1q6Ft5B2yfSjIr5bGKO/Bga0R3YqPVn==/x"
TEMPORARY = ("temporary", "temporary-secret", TOKEN)
EXPIRED = ("expired", "expired-secret", TOKEN)
TEMPORARY_KEYS = [
    {"id": TEMPORARY[0], "secret": TEMPORARY[1], "securityToken": TOKEN},
    {
        "id": EXPIRED[0],
        "secret": EXPIRED[1],
        "securityToken": TOKEN,
        "expiresAt": "2020-01-01T00:00:00Z",
    },
]


def pages(read):
    """All rows of a listing that `read(token)` answers page by page, and how many pages those were."""
    rows, token, count = [], None, 0
    while count < 100:
        page, token = read(token)
        rows += page
        count += 1
        if not token:
            return rows, count
    raise AssertionError("the listing does not end")
