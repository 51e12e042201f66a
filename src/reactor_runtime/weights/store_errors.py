"""Whatever the storage library raises, turned once into one of ours. Pure.

    StoreRefused      credentials, bucket, region, address: trying again changes nothing
    Unavailable       the store or the network, now: try again
    Changed           the object is another one than it was
    RangeIgnored      the store answered a request for a part with the whole
    Missing           no such object

The library's texts hold request signatures and server bodies, so none of them is passed on: only a status,
an error code of the S3 grammar and the words below.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from obstore import exceptions

from ..errors import StoreRefused


class Unavailable(Exception):
    """The store cannot be reached or cannot answer now. `str()` is safe to show."""


class Changed(Exception):
    """The object is not the one that the request asked for (If-Match)."""


class RangeIgnored(Exception):
    """A request for a range was answered with the whole object."""


class Missing(Exception):
    """There is no such object."""


class Exists(Exception):
    """There is such an object already."""


class _Rule(NamedTuple):
    """A refusal: by what it is known, and the words for it."""

    codes: frozenset[str]
    statuses: frozenset[int]
    mark: str
    problem: str
    fix: str
    setting: str


_KEYS = "AWS_ACCESS_KEY_ID"
_DENIAL = _Rule(
    frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Unauthorized"}),
    frozenset({401, 403}),
    "",
    "the credentials may not do this",
    "grant them access to this bucket and prefix, or choose others with AWS_PROFILE or AWS_ACCESS_KEY_ID",
    _KEYS,
)
_RULES = (
    _Rule(
        frozenset(
            {
                "ExpiredToken",
                "ExpiredTokenException",
                "RequestExpired",
                "TokenRefreshRequired",
                "InvalidToken",
            }
        ),
        frozenset(),
        "",
        "the credentials have expired",
        "sign in again, then renew AWS_SESSION_TOKEN with its keys, or AWS_PROFILE",
        "AWS_SESSION_TOKEN",
    ),
    _Rule(
        frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"}),
        frozenset(),
        "",
        "the credentials are wrong",
        "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        _KEYS,
    ),
    _Rule(
        frozenset({"RequestTimeTooSkewed"}),
        frozenset(),
        "",
        "this machine's clock is wrong",
        "set the clock",
        "clock",
    ),
    _Rule(
        frozenset({"NoSuchBucket", "InvalidBucketName"}),
        frozenset(),
        "",
        "there is no such bucket",
        "correct REACTOR_REGISTRY",
        "REACTOR_REGISTRY",
    ),
    _Rule(
        frozenset({"PermanentRedirect", "IllegalLocationConstraintException"}),
        frozenset({301, 307, 308}),
        "BareRedirect",
        "the bucket is in another region",
        "set AWS_REGION to the bucket's region",
        "AWS_REGION",
    ),
    _DENIAL,
)
_NO_KEYS = (
    "no credentials were given",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (a public bucket: AWS_SKIP_SIGNATURE=true)",
    _KEYS,
)
_DENIED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError)
_UNSUPPORTED = (exceptions.InvalidPathError, exceptions.NotSupportedError, ValueError, TypeError)
#: Addresses where cloud machines find credentials; a failure there means that no others were given.
_CREDENTIAL_HOSTS = ("169.254.169.254", "169.254.170.2", "fd00:ec2", "metadata.google.internal")
_NEVER_BETTER = frozenset({400, 405, 409, 411, 501})
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")


#: What rustls says where both sides find no version, or no cipher, in common.
_OLD_TLS: Final = ("ProtocolVersion", "PeerIncompatible", "HandshakeFailure")


def translate(error: BaseException, where: str) -> Exception:
    """Return what to raise instead of `error`; `where` is the store's address without secrets."""
    text = str(error)
    code = match[1] if (match := _CODE.search(text)) else ""
    status = int(match[1]) if (match := _STATUS.search(text)) else 0
    said = code or (f"status {status}" if status else "")
    if any(host in text for host in _CREDENTIAL_HOSTS):
        return refused(where, *_NO_KEYS)
    for rule in _RULES:
        if code in rule.codes or status in rule.statuses or (rule.mark and rule.mark in text):
            return refused(f"{where} ({said})" if said else where, rule.problem, rule.fix, rule.setting)
    if any(mark in text for mark in ("InvalidCertificate", "InvalidContentType", *_OLD_TLS)):
        return _untrusted(where, text)
    if isinstance(error, exceptions.AlreadyExistsError):
        return Exists(where)
    if isinstance(error, exceptions.PreconditionError) or status == 412:
        return Changed(where)
    if isinstance(error, FileNotFoundError) or status == 404:
        return Missing(where)
    if "non-partial response" in text or "NotPartial" in text or status == 416:
        return RangeIgnored(where)
    if isinstance(error, _DENIED):
        return refused(where, _DENIAL.problem, _DENIAL.fix, _DENIAL.setting)
    if status in _NEVER_BETTER or isinstance(error, _UNSUPPORTED):
        return refused(
            f"{where} ({said})" if said else where,
            "the store does not take this request",
            "look whether REACTOR_REGISTRY is the address of such a store",
            "REACTOR_REGISTRY",
        )
    return Unavailable(_words(text, said))


def _untrusted(where: str, text: str) -> StoreRefused:
    """A certificate does not get better by trying again. The marks are rustls's names of what is wrong."""
    if any(mark in text for mark in _OLD_TLS):
        problem = "it speaks no TLS as new as 1.2"
        return refused(where, problem, "let it speak TLS 1.2 or 1.3", "AWS_ENDPOINT_URL")
    for mark, problem, fix, setting in (
        (
            "UnknownIssuer",
            "its certificate is of an authority that is not trusted here",
            "set AWS_CA_BUNDLE to the file of that authority's certificate (PEM)",
            "AWS_CA_BUNDLE",
        ),
        (
            "NotValidForName",
            "its certificate is for another host name",
            "use the name that the certificate has in AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL",
        ),
        ("Expired", "its certificate has expired", "renew it, or set this machine's clock", "clock"),
        ("NotValidYet", "its certificate is not valid yet", "set this machine's clock", "clock"),
        (
            "InvalidContentType",
            "it does not speak TLS",
            "write http:// in AWS_ENDPOINT_URL, or the port that speaks https",
            "AWS_ENDPOINT_URL",
        ),
    ):
        if mark in text:
            return refused(where, problem, fix, setting)
    return refused(where, "its certificate is not valid", "renew the store's certificate", "AWS_CA_BUNDLE")


def _words(text: str, said: str) -> str:
    """Say in a few words of ours what kind of trouble it is."""
    if said:
        return f"the store answered {said}"
    for mark, words in (
        ("dns error", "its name cannot be looked up"),
        ("Connection refused", "the connection was refused"),
        ("TimedOut", "it did not answer in time"),
        ("timed out", "it did not answer in time"),
        ("Timeout", "it did not answer in time"),
        ("IncompleteMessage", "the connection was cut"),
        ("Connect", "no connection"),
    ):
        if mark in text:
            return words
    return "the connection was cut"


def refused(where: str, problem: str, fix: str, setting: str) -> StoreRefused:
    return StoreRefused(f"{where}: {problem}.\n  Fix: {fix}.", setting=setting)
