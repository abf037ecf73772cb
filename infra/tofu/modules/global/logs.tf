# The edge's logs, in the second account. The name's beginning is what WAF asks for.

locals {
  archive_account = data.aws_caller_identity.archive.account_id
  distributions   = { results = aws_cloudfront_distribution.results.arn, ingest = aws_cloudfront_distribution.ingest.arn }
}

module "archive" {
  source = "../archive"

  providers = {
    aws = aws.archive
  }

  name               = "aws-waf-logs-${local.name}-${local.archive_account}"
  account            = local.account
  log_retention_days = var.log_retention_days
  tags               = local.tags

  deliveries = {
    EdgeLogs = {
      service   = "delivery.logs.amazonaws.com"
      prefixes  = ["AWSLogs"]
      asks      = true
      condition = { variable = "aws:SourceAccount", values = [local.account, local.archive_account] } # WAF delivers for the first, the delivery below for the second
    }
  }
}

resource "aws_wafv2_web_acl_logging_configuration" "edge" {
  resource_arn            = aws_wafv2_web_acl.edge.arn
  log_destination_configs = [module.archive.arn]

  # Keys of media are in this header.
  redacted_fields {
    single_header {
      name = "authorization"
    }
  }
}

resource "aws_cloudwatch_log_delivery_source" "edge" {
  for_each = local.distributions

  name         = "${local.name}-${each.key}"
  log_type     = "ACCESS_LOGS"
  resource_arn = each.value
  tags         = local.tags
}

resource "aws_cloudwatch_log_delivery_destination" "archive" {
  provider = aws.archive

  name          = "${local.name}-edge"
  output_format = "parquet"
  tags          = local.tags

  delivery_destination_configuration {
    destination_resource_arn = module.archive.arn
  }
}

data "aws_iam_policy_document" "delivery" {
  statement {
    sid       = "DeliveriesOfTheFirstAccount"
    actions   = ["logs:CreateDelivery"]
    resources = [aws_cloudwatch_log_delivery_destination.archive.arn]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
}

resource "aws_cloudwatch_log_delivery_destination_policy" "archive" {
  provider = aws.archive

  delivery_destination_name   = aws_cloudwatch_log_delivery_destination.archive.name
  delivery_destination_policy = data.aws_iam_policy_document.delivery.json
}

resource "aws_cloudwatch_log_delivery" "edge" {
  for_each = aws_cloudwatch_log_delivery_source.edge

  delivery_source_name     = each.value.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.archive.arn
  tags                     = local.tags

  depends_on = [aws_cloudwatch_log_delivery_destination_policy.archive]
}
