# Submissions: CloudFront, then this balancer, then ingest. A request that did not
# come through our own distribution lacks the header and is answered 403.

variable "zone_id" {
  type        = string
  description = "Route 53 hosted zone of the host names."

  validation {
    condition     = can(regex("^Z[A-Z0-9]+$", var.zone_id))
    error_message = "zone_id must be a hosted zone's identifier, such as Z0123456789ABCDEF."
  }
}

variable "origin_secret_name" {
  type        = string
  description = "Header that CloudFront adds to what it passes to ingest."
  default     = "x-tallystream-edge"

  validation {
    condition     = can(regex("^x-[a-z-]+$", var.origin_secret_name))
    error_message = "origin_secret_name must be a lower-case header name that starts with x-."
  }
}

variable "origin_secret" {
  type        = string
  sensitive   = true
  description = "What that header holds: 32 or more random characters, from the environment (TF_VAR_origin_secret), never from a file."

  validation {
    condition     = length(var.origin_secret) >= 32
    error_message = "origin_secret must be 32 or more random characters."
  }
}

locals {
  # CloudFront asks for this name; each region answers for it with its own balancer.
  ingest_origin_host = "origin-${var.hosts.ingest}"

  tls_policy = "ELBSecurityPolicy-TLS13-1-2-2021-06" # TLS 1.2 and 1.3, forward secrecy only

  # /healthz?release= says whether the process is well and runs the release that
  # the release pointer names.
  health_path = "/healthz?release=current"

  target_groups = {
    ingest = aws_lb_target_group.ingest.arn
    fanout = aws_lb_target_group.fanout.arn
  }
}

resource "aws_lb" "ingest" {
  name                                        = "${substr(local.name, 0, 24)}-ingest"
  load_balancer_type                          = "application"
  internal                                    = false
  subnets                                     = [for s in aws_subnet.public : s.id]
  security_groups                             = [aws_security_group.ingest_balancer.id]
  drop_invalid_header_fields                  = true
  desync_mitigation_mode                      = "strictest"
  enable_deletion_protection                  = true
  enable_zonal_shift                          = true
  idle_timeout                                = 60
  enable_tls_version_and_cipher_suite_headers = true
  tags                                        = local.tags

  access_logs {
    bucket  = module.archive.bucket
    prefix  = "ingest"
    enabled = true
  }
}

resource "aws_lb_target_group" "ingest" {
  name                 = "${substr(local.name, 0, 24)}-ingest"
  vpc_id               = aws_vpc.this.id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.ports.ingest
  deregistration_delay = 30
  tags                 = local.tags

  health_check {
    port                = local.ports.status
    path                = local.health_path
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_acm_certificate" "ingest" {
  domain_name       = local.ingest_origin_host
  validation_method = "DNS"
  tags              = local.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "ingest_validation" {
  zone_id         = var.zone_id
  name            = one(aws_acm_certificate.ingest.domain_validation_options).resource_record_name
  type            = one(aws_acm_certificate.ingest.domain_validation_options).resource_record_type
  records         = [one(aws_acm_certificate.ingest.domain_validation_options).resource_record_value]
  ttl             = 300
  allow_overwrite = true # the regions' certificates of one name share the record
}

resource "aws_acm_certificate_validation" "ingest" {
  certificate_arn         = aws_acm_certificate.ingest.arn
  validation_record_fqdns = [aws_route53_record.ingest_validation.fqdn]
}

resource "aws_lb_listener" "ingest" {
  load_balancer_arn = aws_lb.ingest.arn
  port              = local.ports.https
  protocol          = "HTTPS"
  ssl_policy        = local.tls_policy
  certificate_arn   = aws_acm_certificate_validation.ingest.certificate_arn
  tags              = local.tags

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "forbidden"
      status_code  = "403"
    }
  }
}

resource "aws_lb_listener_rule" "ingest" {
  listener_arn = aws_lb_listener.ingest.arn
  priority     = 10
  tags         = local.tags

  condition {
    http_header {
      http_header_name = var.origin_secret_name
      values           = [var.origin_secret]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.ingest.arn
  }
}
