"""OpenFeature's SDK and OFREP provider for Python: one request for each flag."""

import json
import os
import socket
import time
import traceback
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

BASE, KEY = os.environ["TENON_BASE"], os.environ["TENON_KEY"]
LONG = 30.0
made = 0


def client(base=BASE, headers=None):
    global made
    made += 1
    sent = {"X-API-Key": KEY} if headers is None else headers
    api.set_provider(OFREPProvider(base, headers_factory=lambda: sent), domain=f"domain-{made}")
    return api.get_client(domain=f"domain-{made}")


def like(details, **expected):
    found = {name: getattr(details, name) for name in expected}
    for name in ("reason", "error_code"):
        if found.get(name) is not None:
            # Members of enumerations, by name.
            found[name] = found[name].name
    assert found == expected, f"{found} is not {expected}: {details}"


def until(what, holds):
    deadline = time.monotonic() + LONG
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)
    return found


def change(flags):
    request = urllib.request.Request(
        os.environ["TENON_ADMIN"] + "/admin/v1/tenants/acme/flags",
        data=json.dumps(flags).encode(),
        method="PATCH",
        headers={"Authorization": "Bearer " + os.environ["TENON_ADMIN_TOKEN"]},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def fill():
    """Requests that stay inside the host, as many as it lets in for the tenant."""
    held, address = [], urlsplit(BASE)
    while True:
        request = urllib.request.Request(BASE + "/ofrep/v1/evaluate/flags/bool", method="POST", headers={"X-API-Key": KEY})
        try:
            urllib.request.urlopen(request).read()
        except urllib.error.HTTPError as refused:
            assert refused.code == 429, refused
            return held
        connection = socket.create_connection((address.hostname, address.port))
        head = f"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 2\r\n\r\n"
        connection.sendall(head.encode())
        held.append(connection)


def every_type():
    flags = client()
    like(flags.get_boolean_details("bool", False), value=True, variant="on", reason="STATIC", error_code=None)
    like(flags.get_string_details("text", ""), value="hello", variant="one", reason="STATIC", error_code=None)
    like(flags.get_integer_details("whole", 0), value=42, variant="one", reason="STATIC", error_code=None)
    # It takes no whole number for a float.
    like(flags.get_float_details("float", 0.0), value=5.0, variant="one", reason="STATIC", error_code=None)
    like(flags.get_object_details("object", {}), value={"rows": [1, 2]}, variant="one", reason="STATIC", error_code=None)


def default_variant():
    details = client().get_boolean_details("staff", True, EvaluationContext("eve", {"email": "eve@evil.example"}))
    like(details, value=False, variant="off", reason="DEFAULT", error_code=None)


def rule():
    details = client().get_boolean_details("staff", False, EvaluationContext("ann", {"email": "ann@acme.example"}))
    like(details, value=True, variant="on", reason="TARGETING_MATCH", error_code=None)
    assert details.flag_metadata["owner"] == "ann" and details.flag_metadata["tenon.source"] == "definition"


def fractional():
    flags = client()
    for name, suit in [("jack", "hearts"), ("queen", "spades"), ("ten", "clubs"), ("nine", "diamonds")]:
        context = EvaluationContext(attributes={"user": {"name": name}})
        like(flags.get_string_details("fractional-flag", "", context), value=suit, reason="TARGETING_MATCH")
    for user, side in [("jon@company.com", "heads"), ("jane@company.com", "tails")]:
        assert flags.get_string_value("fractional-flag-shorthand", "", EvaluationContext(user)) == side


def disabled():
    flags = client()
    like(flags.get_boolean_details("killed", True), value=True, reason="DISABLED", error_code=None)
    like(flags.get_string_details("open", "mine"), value="mine", reason="DEFAULT", error_code=None)


def unknown():
    like(client().get_string_details("nope", "mine"), value="mine", error_code="FLAG_NOT_FOUND")


def another_type():
    like(client().get_boolean_details("text", True), value=True, error_code="TYPE_MISMATCH")


def no_targeting_key():
    like(client().get_string_details("fractional-flag-shorthand", ""), value="tails", reason="DEFAULT", error_code=None)


def broken_rule():
    like(client().get_boolean_details("broken", True), value=True, error_code="GENERAL")


def wrong_key():
    details = client(headers={"X-API-Key": KEY + "x"}).get_boolean_details("bool", False)
    like(details, value=False, error_code="GENERAL")
    assert "unauthorized" in details.error_message, details


def bearer():
    assert client(headers={"Authorization": f"Bearer {KEY}"}).get_boolean_value("bool", False)


def by_path():
    assert client(base=f"{BASE}/t/acme").get_boolean_value("bool", False)


def odd_keys():
    flags = client()
    for odd in ["a/b", "a b", "ä:b+c", "a/b/"]:
        like(flags.get_string_details(odd, ""), value=odd, error_code=None)


def changes():
    flags = client()
    for value in ["one", "two"]:
        change({"set-by-python": value})
        like(flags.get_string_details("set-by-python", ""), value=value, variant="tenant", reason="STATIC")
    change({"set-by-python": None})


def too_many():
    flags, held = client(), fill()
    like(flags.get_boolean_details("bool", False), value=False, error_code="GENERAL")
    for connection in held:
        connection.close()
    details = flags.get_boolean_details("bool", False)
    assert "paused due to TooManyRequests" in details.error_message, details
    until("it asks again", lambda: flags.get_boolean_value("bool", False))


CASES = {
    "every type": every_type,
    "the default variant": default_variant,
    "a rule": rule,
    "fractional": fractional,
    "a disabled flag is the default": disabled,
    "an unknown flag is the default": unknown,
    "another type is the default": another_type,
    "a missing targeting key": no_targeting_key,
    "a broken rule is the default": broken_rule,
    "a wrong key is the default": wrong_key,
    "a key as bearer token": bearer,
    "a tenant named by path": by_path,
    "odd keys": odd_keys,
    "a change is seen by the next question": changes,
    "too many requests": too_many,
}

passed = 0
for case, run in CASES.items():
    try:
        run()
        passed += 1
        print(f"ok {case}")
    except Exception:
        print(f"not ok {case}: " + traceback.format_exc().replace("\n", " | "))
print(f"{len(CASES)} run, {passed} passed")
