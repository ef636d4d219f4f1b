"""Drives a running simulator with the vendors' own SDKs; `cargo xtask sdk` makes the environment and runs it.

    python tests/sdk/main.py [--admin 127.0.0.1:8800] [--only NAME ...]

It ends with 1 if a check fails. It resets the simulator, which must be nobody else's.
"""

import argparse
import sys
import time

import batchcompute_images
import image_components
import image_factory
import volcengine_images
import zstack_images
from checks import Admin, Checks

# Name, default address, and the modules of checks.
SERVICES = [
    ("volcengine", "127.0.0.1:8801", [volcengine_images]),
    ("aliyun-ecs", "127.0.0.1:8802", [image_components, image_factory]),
    ("batchcompute", "127.0.0.1:8803", [batchcompute_images]),
    ("zstack", "127.0.0.1:8804", [zstack_images]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--admin", default="127.0.0.1:8800", metavar="ADDRESS")
    for name, address, _ in SERVICES:
        parser.add_argument(f"--{name}", default=address, metavar="ADDRESS")
    names = [name for name, _, _ in SERVICES]
    parser.add_argument("--only", action="append", choices=names, help="only this service; repeatable")
    arguments = parser.parse_args()

    checks, admin, started = Checks(), Admin(arguments.admin), time.monotonic()
    for name, _, parts in SERVICES:
        if arguments.only is None or name in arguments.only:
            for part in parts:
                part.run(checks, admin, getattr(arguments, name.replace("-", "_")))
    admin.call("POST", "reset")

    passed = checks.count - len(checks.failures)
    print(f"{passed} passed, {len(checks.failures)} failed ({time.monotonic() - started:.1f} s)")
    return 1 if checks.failures else 0


if __name__ == "__main__":
    sys.exit(main())
