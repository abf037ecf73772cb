"""Corrections of moto's KMS: Ed25519 keys."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from moto.kms import models as kms
from moto.kms import utils as kms_utils

EDWARDS = "ECC_NIST_EDWARDS25519"
ED25519 = "ED25519_SHA_512"
MAX_MESSAGE = 4096  # bytes that may be signed as they are


class Ed25519PrivateKey(kms_utils.AbstractPrivateKey):
    def __init__(self):
        self.private_key = ed25519.Ed25519PrivateKey.generate()

    def sign(self, message, signing_algorithm):
        kms_utils.validate_signing_algorithm(signing_algorithm, [ED25519])
        if len(message) > MAX_MESSAGE:
            raise kms.ValidationException(f"1 validation error detected: Value at 'Message' has more than {MAX_MESSAGE} bytes")
        return self.private_key.sign(message)

    def verify(self, message, signature, signing_algorithm):
        kms_utils.validate_signing_algorithm(signing_algorithm, [ED25519])
        try:
            self.private_key.public_key().verify(signature, message)
            return True
        except InvalidSignature:
            return False

    def public_key(self):
        return self.private_key.public_key().public_bytes(
            encoding=serialization.Encoding.DER, format=serialization.PublicFormat.SubjectPublicKeyInfo
        )


def generate_private_key(key_spec, original=kms_utils.generate_private_key):
    return Ed25519PrivateKey() if key_spec == EDWARDS else original(key_spec)


def signing_algorithms(self, original=kms.Key.signing_algorithms.fget):
    return [ED25519] if self.key_spec == EDWARDS else original(self)


def with_edwards(original):
    return classmethod(lambda cls: sorted([*original(), EDWARDS]))


def correct_kms():
    kms.generate_private_key = generate_private_key
    kms.Key.signing_algorithms = property(signing_algorithms)
    kms_utils.KeySpec.key_specs = with_edwards(kms_utils.KeySpec.key_specs)
