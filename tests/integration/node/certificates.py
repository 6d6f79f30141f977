"""Certificates for a test, made with the openssl program."""
import os
import subprocess


class Certificates:
    """An authority, a server's certificate and a client's, both signed by it."""

    def __init__(self, folder):
        self.folder = folder
        self.make("ca", ["-x509", "-addext", "basicConstraints=critical,CA:TRUE"])
        for name in ("server", "client"):
            self.make(name, ["-x509", "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"), "-addext",
                             "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, arguments):
        request = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                   "-subj", f"/CN={name}", "-keyout", self.path(name + ".key"), "-out", self.path(name + ".pem")]
        subprocess.run(["openssl", "req", *request, *arguments], check=True, capture_output=True)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()
