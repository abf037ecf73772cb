# The key that signs snapshots and checkpoints. Viewers pin its public half, so it
# is one key in all regions: a primary, and replicas of the same key material. It
# never leaves KMS and never rotates during an election.

data "aws_iam_policy_document" "signing_key" {
  statement {
    sid       = "Administer"
    actions   = local.key_administration
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = var.administrators
    }
  }

  # Only the publisher of the region that writes, and only notes. By name and not as a
  # principal, which KMS would want to exist before the key.
  statement {
    sid       = "Read"
    actions   = ["kms:GetPublicKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:PrincipalArn"
      values   = ["arn:${local.partition}:iam::${local.account}:role/${local.name}-publish-${var.writer_region}"]
    }
  }

  statement {
    sid       = "Sign"
    actions   = ["kms:Sign"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:PrincipalArn"
      values   = ["arn:${local.partition}:iam::${local.account}:role/${local.name}-publish-${var.writer_region}"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:SigningAlgorithm"
      values   = ["ED25519_SHA_512"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:MessageType"
      values   = ["RAW"]
    }
  }
}

resource "aws_kms_key" "signing" {
  count = var.signing_primary == null ? 1 : 0

  description              = "${local.name}: signs what is published"
  customer_master_key_spec = "ECC_NIST_EDWARDS25519"
  key_usage                = "SIGN_VERIFY"
  multi_region             = true
  deletion_window_in_days  = 30
  policy                   = data.aws_iam_policy_document.signing_key.json
  tags                     = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_replica_key" "signing" {
  count = var.signing_primary == null ? 0 : 1

  description             = "${local.name}: signs what is published"
  primary_key_arn         = var.signing_primary.arn
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.signing_key.json
  tags                    = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

locals {
  signing_key_arn = one(concat(aws_kms_key.signing[*].arn, aws_kms_replica_key.signing[*].arn))
}

resource "aws_kms_alias" "signing" {
  name          = local.signing_alias
  target_key_id = local.signing_key_arn
}
