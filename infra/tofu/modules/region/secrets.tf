# Secrets by name only: their values are put in by hand or by a ceremony
# (infra/runbooks/secrets.md) and are in no state file.

locals {
  secrets = merge({
    ingest_key = "Private key (note format) that signs receipts: `tallystream keys new ingest`."
    bus_url    = "URL of the bus with user and password, tls://user:password@host:4222."
    bus_ca     = "Certificates (PEM) of those who sign the bus's: the `ca` of bus_tls, for its clients."
    bus_tls    = "JSON of the bus's certificates: ca, certificate, key, each PEM; and password."
    media_keys = "Keys of media, separated by commas."
    }, var.suppression ? {
    seal_key = "32 random bytes that seal the leaves of hidden units: `openssl rand -base64 32`. The same in every region; auditors are given it."
  } : {})

  # Which service may read which. Publish signs in KMS and has none of the signing keys.
  secrets_of = {
    ingest    = ["ingest_key", "bus_url", "bus_ca"]
    aggregate = ["bus_url", "bus_ca"]
    publish   = concat(["bus_url", "bus_ca"], var.suppression ? ["seal_key"] : [])
    fanout    = ["bus_url", "bus_ca", "media_keys"]
    bus       = ["bus_tls"]
  }
}

resource "aws_secretsmanager_secret" "this" {
  for_each = local.secrets

  name                    = "${local.name}/${each.key}"
  description             = each.value
  kms_key_id              = aws_kms_key.data.arn
  recovery_window_in_days = 30
  tags                    = local.tags
}
