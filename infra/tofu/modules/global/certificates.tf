# Certificates of the hosts that CloudFront answers for.

locals {
  edge_hosts = { results = var.hosts.results, ingest = var.hosts.ingest }
}

resource "aws_acm_certificate" "edge" {
  for_each = local.edge_hosts

  domain_name       = each.value
  validation_method = "DNS"
  tags              = local.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  for_each = local.edge_hosts

  zone_id         = var.zone_id
  name            = one(aws_acm_certificate.edge[each.key].domain_validation_options).resource_record_name
  type            = one(aws_acm_certificate.edge[each.key].domain_validation_options).resource_record_type
  records         = [one(aws_acm_certificate.edge[each.key].domain_validation_options).resource_record_value]
  ttl             = 300
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "edge" {
  for_each = local.edge_hosts

  certificate_arn         = aws_acm_certificate.edge[each.key].arn
  validation_record_fqdns = [aws_route53_record.validation[each.key].fqdn]
}
