# The services' only way to AWS. Each endpoint lets through this account's own
# roles and nothing else, so that a stolen task cannot write to a stranger's bucket.

locals {
  interface_endpoints = {
    kinesis        = "kinesis-streams"
    dynamodb       = "dynamodb"
    kms            = "kms"
    logs           = "logs"
    monitoring     = "monitoring"
    secretsmanager = "secretsmanager"
    ecr_api        = "ecr.api"
    ecr_docker     = "ecr.dkr"
    sts            = "sts"
    s3             = "s3"
    metrics_store  = "aps-workspaces"
  }

  # Image layers come from a bucket of ECR's own.
  layer_bucket_arn = "arn:${local.partition}:s3:::prod-${var.region}-starport-layer-bucket"
}

# An endpoint's policy is a second fence: it cannot give a right that a role does
# not have. It names the account, not actions, so "*" here takes nothing away from
# the roles' own narrowness.
data "aws_iam_policy_document" "endpoint" {
  statement {
    sid       = "OwnAccountOnly"
    actions   = ["*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }

    condition {
      test     = "StringEqualsIfExists" # a token of ECR has no resource
      variable = "aws:ResourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "endpoint_s3" {
  source_policy_documents = [data.aws_iam_policy_document.endpoint.json]

  statement {
    sid       = "ImageLayers"
    actions   = ["s3:GetObject"]
    resources = ["${local.layer_bucket_arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_endpoints

  vpc_id             = aws_vpc.this.id
  service_name       = "com.amazonaws.${var.region}.${each.value}"
  vpc_endpoint_type  = "Interface"
  subnet_ids         = [for s in aws_subnet.private : s.id]
  security_group_ids = [aws_security_group.endpoints.id]
  policy             = each.key == "s3" ? data.aws_iam_policy_document.endpoint_s3.json : data.aws_iam_policy_document.endpoint.json

  # S3 inside the region goes through the gateway below, which costs nothing; the
  # interface is for the peer, which names it by URL.
  private_dns_enabled = each.key != "s3"

  tags = merge(local.tags, { Name = "${local.name}-${each.key}" })
}

resource "aws_vpc_endpoint" "s3_gateway" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  policy            = data.aws_iam_policy_document.endpoint_s3.json
  tags              = merge(local.tags, { Name = "${local.name}-s3-gateway" })
}
