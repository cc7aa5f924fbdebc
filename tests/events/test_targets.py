"""Where a webhook may go, and where it may not: refused at registration where the URL tells, at delivery otherwise."""

import ipaddress

import pytest

from events.models import WebhookEndpoint, WebhookSecret
from events.targets import MAX_LENGTH, Target, TargetRefused, is_public, may_go_to

PATH = "/billing/webhook_endpoints"
NOT_PUBLIC = [
    "https://127.0.0.1/",
    "https://127.255.255.254/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://0.0.0.0/",
    "https://0.1.2.3/",
    "https://192.0.0.8/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://198.51.100.7/",
    "https://203.0.113.9/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:10.0.0.1]:8443/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[fd12:3456::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://localhost/",
    "https://LOCALHOST:8443/",
    "https://hooks.localhost/",
]
MALFORMED = [
    "",
    "hooks.example",
    "//hooks.example/",
    "http://hooks.example/",
    "ftp://hooks.example/",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "https:hooks.example",
    "https:/hooks.example",
    "https://",
    "https:///path",
    "https://:443/",
    "https://hooks.example:0/",
    "https://hooks.example:65536/",
    "https://hooks.example:-1/",
    "https://hooks.example:x/",
    "https://hooks.example:/",
    "https://user@hooks.example/",
    "https://user:password@hooks.example/",
    "https://hooks.example@127.0.0.1/",
    "https://@hooks.example/",
    "https://hooks.example/#fragment",
    "https://hooks.example#@127.0.0.1/",
    "https://hooks.example\\@127.0.0.1/",
    "https://hooks.example/ path",
    " https://hooks.example/",
    "https://hooks.example/\n",
    "https://hooks.example/\r\nHost: x",
    "https://hooks.example/\t",
    "https://hooks.example./",
    "https://localhost./",
    "https://.example/",
    "https://hooks..example/",
    "https://-hooks.example/",
    "https://hooks-.example/",
    f"https://{'a' * 64}.example/",
    f"https://{'a.' * 127}example/",
    "https://hooks.exämple/",
    "https://127.0.0.1%2f@hooks.example/",
    "https://%31%32%37.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://①②⑦.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://127.0.0.0x1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.01/",
    "https://256.0.0.1/",
    "https://1.2.3.4.5/",
    "https://hooks.example.1/",
    "https://hooks.0x/",
    "https://[::1/",
    "https://[]/",
    "https://[127.0.0.1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[v1.x]/",
]
PUBLIC = [
    ("https://hooks.example", ("hooks.example", 443, "/")),
    ("HTTPS://Hooks.Example/A?b=%20c", ("hooks.example", 443, "/A?b=%20c")),
    ("https://a_b.xn--exmple-cua.example:8443/x", ("a_b.xn--exmple-cua.example", 8443, "/x")),
    ("https://hooks.example:65535?q", ("hooks.example", 65535, "/?q")),
    ("https://93.184.216.34/", ("93.184.216.34", 443, "/")),
    ("https://[2606:2800:220:1::1]:444/", ("2606:2800:220:1::1", 444, "/")),
    ("https://0x7f.example/", ("0x7f.example", 443, "/")),
    ("https://localhost.example/", ("localhost.example", 443, "/")),
    ("https://[64:ff9b::5db8:d822]/", ("64:ff9b::5db8:d822", 443, "/")),
]


def refusal(api, url):
    refused = api.post(PATH, {"url": url})
    assert refused.status_code == 400, refused.content
    assert refused.json()["code"] == "invalid_request"
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookSecret.objects.exists()
    [error] = refused.json()["errors"]
    return error["pointer"], error["code"]


@pytest.mark.parametrize("url", NOT_PUBLIC)
def test_what_is_not_on_the_public_internet_is_refused_at_registration(api, url):
    assert refusal(api, url) == ("/url", "url_not_public")


@pytest.mark.parametrize("url", MALFORMED)
def test_what_is_no_plain_https_url_is_refused_at_registration(api, url):
    assert refusal(api, url) == ("/url", "invalid_url")


@pytest.mark.parametrize(("url", "taken_apart"), PUBLIC)
def test_what_is_public_passes_and_is_kept_as_it_was_sent(api, url, taken_apart):
    target = Target.of(url)
    assert (target.host, target.port, target.path) == taken_apart
    if not url.startswith("HTTPS"):
        assert api.post(PATH, {"url": url}).json()["url"] == url


def test_a_url_is_as_long_as_allowed_and_no_longer(api):
    longest = "https://hooks.example/".ljust(MAX_LENGTH, "x")
    assert api.post(PATH, {"url": longest}).status_code == 201
    refused = api.post(PATH, {"url": longest + "x"})
    assert [error["code"] for error in refused.json()["errors"]] == ["too_long"]


def test_a_private_network_is_gone_to_where_the_operator_allows_it(api, settings):
    settings.WEBHOOK_ALLOWED_NETWORKS = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    for url in ("https://10.1.2.3/", "https://[::ffff:10.1.2.3]/", "https://[fd00::1]/"):
        assert api.post(PATH, {"url": url}).status_code == 201
    for url in ("https://10.2.0.1/", "https://[fc00::1]/", "https://127.0.0.1/"):
        with pytest.raises(TargetRefused):
            Target.of(url)
    settings.WEBHOOK_ALLOWED_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    assert Target.of("https://localhost/").host == "localhost"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("9.255.255.255", True),
        ("10.0.0.0", False),
        ("10.255.255.255", False),
        ("11.0.0.0", True),
        ("100.63.255.255", True),
        ("100.64.0.0", False),
        ("100.127.255.255", False),
        ("100.128.0.0", True),
        ("169.253.255.255", True),
        ("169.254.0.0", False),
        ("172.15.255.255", True),
        ("172.32.0.0", True),
        ("223.255.255.255", True),
        ("224.0.0.0", False),
        ("2000::1", True),
        ("3ffe::1", True),
        ("3fff:fff::1", False),
        ("4000::1", False),
        ("1fff::1", False),
    ],
)
def test_the_borders_of_the_public_internet(address, public):
    assert is_public(ipaddress.ip_address(address)) is public
    assert may_go_to(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize("field", [5, None, True, ["https://hooks.example/"], {"a": "b"}])
def test_a_url_is_text(api, field):
    refused = api.post(PATH, {"url": field})
    assert [error["code"] for error in refused.json()["errors"]] == ["null" if field is None else "invalid_type"]


def test_none_is_allowed_unless_the_operator_says_so(settings):
    assert settings.WEBHOOK_ALLOWED_NETWORKS == []
