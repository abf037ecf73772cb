# Shield Advanced, by a switch: it costs 3,000 dollars a month for a year and brings
# people to call. Without it Shield Standard and the filter stand alone.

variable "shield_advanced" {
  type        = bool
  description = "Whether to subscribe to Shield Advanced, for a year, and protect distributions, balancers' addresses and the zone."
  default     = false
}

locals {
  live_eips = merge([for name, r in var.regions : { for zone, arn in r.live_eip_arns : "live-${zone}" => arn }]...)

  protected = var.shield_advanced ? merge(
    {
      results = aws_cloudfront_distribution.results.arn
      ingest  = aws_cloudfront_distribution.ingest.arn
      zone    = "arn:${local.partition}:route53:::hostedzone/${var.zone_id}"
    },
    local.live_eips,
  ) : {}
}

resource "aws_shield_subscription" "this" {
  count = var.shield_advanced ? 1 : 0

  auto_renew = "DISABLED"
}

resource "aws_shield_protection" "this" {
  for_each = local.protected

  name         = "${local.name}-${each.key}"
  resource_arn = each.value
  tags         = local.tags

  depends_on = [aws_shield_subscription.this]
}
