"""What lies where weights should be: pointers, pages, shards, and a store behind an authority of one's own."""

from __future__ import annotations

import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reactor_runtime.errors import StoreRefused, WeightsCorrupt, WeightsMissing
from reactor_runtime.weights.impostors import impostor
from reactor_runtime.weights.publish import push
from reactor_runtime.weights.resolve import local_folder
from reactor_runtime.weights.state_dicts import load_weights
from reactor_runtime.weights.store import Store, open_store

from .conftest import HASTY

IMPOSTORS = {
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "git-annex pointer": b"/annex/objects/SHA256E-s10--ab.safetensors\n",
    "web page": b"\xef\xbb\xbf\n<!DOCTYPE html><html><head><title>Sign in</title>",
    "error message": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
}


@pytest.mark.parametrize("what", IMPOSTORS)
@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.bin"])
def test_what_is_no_weights_is_named_when_it_is_loaded_pushed_or_lies_beside_the_manifest(
    tmp_path: Path, folder_store: Store, what: str, name: str
) -> None:
    folder = tmp_path / "weights" / "Coral"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(IMPOSTORS[what])
    with pytest.raises(WeightsCorrupt, match=rf"{name} is .*{what}(.|\n)*Fix: "):
        load_weights(folder / name)
    with pytest.raises(WeightsMissing, match=rf"{name} is .*{what}(.|\n)*Fix: "):
        push(folder_store, "Coral", folder)
    with pytest.raises(WeightsCorrupt, match=rf"{name} is .*{what}"):
        local_folder("Coral", beside=tmp_path)


def test_pages_that_are_pages_and_files_that_begin_alike_are_left_alone(tmp_path: Path) -> None:
    for name, data in (("README.html", IMPOSTORS["web page"]), ("a.bin", b"version 2"), ("b.pt", b"")):
        (tmp_path / name).write_bytes(data)
        assert impostor(tmp_path / name) is None


# Shards --------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"a": torch.zeros(2), "unlisted": torch.ones(1)}, tmp_path / "m-1.safetensors")
    torch.save({"b": torch.ones(3)}, tmp_path / "m-2.bin")
    index = {"metadata": {"total_size": 20}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.bin"}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path / "m.safetensors.index.json"


def test_shards_are_loaded_as_one(shards: Path) -> None:
    loaded = load_weights(shards)
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"a": [0, 0], "b": [1, 1, 1]}


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        ({"weight_map": {"a": "../m-1.safetensors"}}, WeightsCorrupt, "not an index of shards"),
        ({"weight_map": {"a": "m.safetensors.index.json"}}, WeightsCorrupt, "not an index of shards"),
        ({"weight_map": ["m-1.safetensors"]}, WeightsCorrupt, "not an index of shards"),
        ({"weight_map": {"a": 3}}, WeightsCorrupt, "not an index of shards"),
        ({"weight_map": {"c": "m-1.safetensors"}}, WeightsCorrupt, "lacks 'c'"),
        ({"weight_map": {"a": "m-3.safetensors"}}, WeightsMissing, "is not a file"),
        ({}, WeightsCorrupt, "not an index of shards"),
    ],
)
def test_an_index_that_lies_is_refused(
    shards: Path, index: dict[str, Any], error: type[Exception], words: str
) -> None:
    shards.write_text(json.dumps(index))
    with pytest.raises(error, match=words):
        load_weights(shards)


# A store behind an authority of one's own ----------------------------------------------------------------


class Tls:
    """An authority, and a server with a certificate of it for `localhost`."""

    def __init__(self, folder: Path, *, days: int = 1, newest: ssl.TLSVersion | None = None) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        now = datetime.datetime.now(datetime.UTC)

        def certificate(name: str, key: Any, issuer: str, signer: Any, until: datetime.datetime) -> Any:
            def named(text: str) -> Any:
                return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

            builder = x509.CertificateBuilder(
                named(issuer), named(name), key.public_key(), x509.random_serial_number()
            )
            builder = builder.not_valid_before(now - datetime.timedelta(days=9)).not_valid_after(until)
            is_authority = key is signer
            builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            return builder.add_extension(names, critical=False).sign(signer, hashes.SHA256())

        authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        pem = serialization.Encoding.PEM
        self.bundle = folder / "authority.pem"
        later = now + datetime.timedelta(days=9)
        self.bundle.write_bytes(certificate("own", authority, "own", authority, later).public_bytes(pem))
        until = now + datetime.timedelta(days=days)
        chain = folder / "server.pem"
        chain.write_bytes(
            certificate("localhost", key, "own", authority, until).public_bytes(pem)
            + key.private_bytes(
                pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if newest is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = newest
        context.load_cert_chain(chain)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def ask(self, host: str = "localhost", **environ: str) -> bool:
        port = self.server.server_address[1]
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        environ = {**keys, "AWS_ENDPOINT_URL": f"https://{host}:{port}", "HOME": "/nowhere", **environ}
        return open_store("s3://bucket", patience=HASTY, environ=environ).read("thing")[0] == b"hi"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Nothing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        for name, value in (
            ("Content-Length", "2"),
            ("Last-Modified", "Fri, 27 Nov 2026 10:00:00 GMT"),
            ("ETag", '"x"'),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"hi")

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    pytest.importorskip("cryptography")
    made = Tls(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_an_authority_of_ones_own_is_trusted_when_it_is_given_and_else_the_cause_is_told(tls: Tls) -> None:
    with pytest.raises(StoreRefused, match=r"authority that is not trusted(.|\n)*AWS_CA_BUNDLE") as refused:
        tls.ask()
    assert refused.value.setting == "AWS_CA_BUNDLE"
    assert tls.ask(AWS_CA_BUNDLE=str(tls.bundle))
    with pytest.raises(StoreRefused, match="another host name"):
        tls.ask(host="127.0.0.1", AWS_CA_BUNDLE=str(tls.bundle))
    with pytest.raises(StoreRefused, match=r"AWS_CA_BUNDLE names '/nowhere\.pem'"):
        tls.ask(AWS_CA_BUNDLE="/nowhere.pem")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_a_store_that_speaks_no_tls_as_new_as_1_2_is_not_asked(
    tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    pytest.importorskip("cryptography")
    tls = Tls(tmp_path, newest=newest)
    try:
        if newest is ssl.TLSVersion.TLSv1_2:
            assert tls.ask(AWS_CA_BUNDLE=str(tls.bundle))
        else:
            with pytest.raises(StoreRefused, match=r"TLS 1\.2"):
                tls.ask(AWS_CA_BUNDLE=str(tls.bundle))
    finally:
        tls.close()


@pytest.mark.slow
def test_an_expired_certificate_is_told_as_such(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    tls = Tls(tmp_path, days=-1)
    try:
        with pytest.raises(StoreRefused, match="expired"):
            tls.ask(AWS_CA_BUNDLE=str(tls.bundle))
    finally:
        tls.close()
