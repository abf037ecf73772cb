# Where logs go: a bucket of a second account, which nobody of this one can change.

module "archive" {
  source = "../archive"

  providers = {
    aws = aws.archive
  }

  name               = "${local.name}-logs-${data.aws_caller_identity.archive.account_id}-${var.region}"
  account            = local.account
  log_retention_days = var.log_retention_days
  tags               = local.tags

  deliveries = {
    FlowAndNetworkLogs = {
      service   = "delivery.logs.amazonaws.com"
      prefixes  = ["flow", "live"]
      asks      = true
      condition = { variable = "aws:SourceAccount", values = [local.account] }
    }
    AccessLogs = {
      service  = "logdelivery.elasticloadbalancing.amazonaws.com"
      prefixes = ["ingest/AWSLogs/${local.account}"]
      asks     = false
    }
    Trail = {
      service   = "cloudtrail.amazonaws.com"
      prefixes  = ["trail/AWSLogs/${local.account}"]
      asks      = true
      condition = { variable = "aws:SourceArn", values = [local.trail_arn] }
    }
  }
}
