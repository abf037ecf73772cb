# Names. Submissions and viewers go to the nearest region that is well: latency
# first, then a pair of records for each region, itself and the one that takes over.

locals {
  ingest_origin_host = "origin-${var.hosts.ingest}"

  balancers = {
    ingest = { for name, r in var.regions : name => { dns_name = r.ingest_dns_name, zone_id = r.ingest_zone_id } }
    live   = { for name, r in var.regions : name => { dns_name = r.live_dns_name, zone_id = r.live_zone_id } }
  }

  public_names = { ingest = local.ingest_origin_host, live = var.hosts.live }

  # One entry for each host and region.
  regional = merge([for host, name in local.public_names : {
    for region in keys(var.regions) : "${host}-${region}" => { host = host, region = region, name = "${region}.${name}" }
  }]...)
}

# Ingest's balancers answer CloudFront only, so the checkers ask an alarm of the region.
resource "aws_route53_health_check" "ingest" {
  for_each = var.regions

  type                            = "CLOUDWATCH_METRIC"
  cloudwatch_alarm_name           = each.value.ingest_alarm
  cloudwatch_alarm_region         = each.key
  insufficient_data_health_status = "LastKnownStatus"
  tags                            = merge(local.tags, { Name = "${local.name}-ingest-${each.key}" })
}

resource "aws_route53_health_check" "live" {
  for_each = var.regions

  type              = "TCP"
  fqdn              = each.value.live_dns_name
  port              = 443
  request_interval  = 10
  failure_threshold = 3
  tags              = merge(local.tags, { Name = "${local.name}-live-${each.key}" })
}

resource "aws_route53_record" "primary" {
  for_each = local.regional

  zone_id         = var.zone_id
  name            = each.value.name
  type            = "A"
  set_identifier  = "primary"
  health_check_id = each.value.host == "ingest" ? aws_route53_health_check.ingest[each.value.region].id : aws_route53_health_check.live[each.value.region].id

  failover_routing_policy {
    type = "PRIMARY"
  }

  alias {
    name                   = local.balancers[each.value.host][each.value.region].dns_name
    zone_id                = local.balancers[each.value.host][each.value.region].zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "secondary" {
  for_each = local.regional

  zone_id        = var.zone_id
  name           = each.value.name
  type           = "A"
  set_identifier = "secondary"

  failover_routing_policy {
    type = "SECONDARY"
  }

  alias {
    name                   = local.balancers[each.value.host][var.regions[each.value.region].failover_region].dns_name
    zone_id                = local.balancers[each.value.host][var.regions[each.value.region].failover_region].zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "nearest" {
  for_each = local.regional

  zone_id        = var.zone_id
  name           = local.public_names[each.value.host]
  type           = "A"
  set_identifier = each.value.region

  latency_routing_policy {
    region = each.value.region
  }

  alias {
    name                   = each.value.name
    zone_id                = var.zone_id
    evaluate_target_health = true
  }

  depends_on = [aws_route53_record.primary, aws_route53_record.secondary]
}

locals {
  edge_records = { for pair in setproduct(["results", "ingest"], ["A", "AAAA"]) : "${pair[0]}-${pair[1]}" => {
    host         = var.hosts[pair[0]]
    type         = pair[1]
    distribution = pair[0] == "results" ? aws_cloudfront_distribution.results : aws_cloudfront_distribution.ingest
  } }
}

resource "aws_route53_record" "edge" {
  for_each = local.edge_records

  zone_id = var.zone_id
  name    = each.value.host
  type    = each.value.type

  alias {
    name                   = each.value.distribution.domain_name
    zone_id                = each.value.distribution.hosted_zone_id
    evaluate_target_health = false # CloudFront has no other answer
  }
}
