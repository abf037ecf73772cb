# Live results: viewers, then this balancer, which ends TLS, then fanout. A network
# balancer holds millions of idle connections for the price of their bytes.

resource "aws_eip" "live" {
  for_each = aws_subnet.public

  domain = "vpc"
  tags   = merge(local.tags, { Name = "${local.name}-live-${each.key}" })
}

resource "aws_lb" "live" {
  name                             = "${substr(local.name, 0, 24)}-live"
  load_balancer_type               = "network"
  internal                         = false
  security_groups                  = [aws_security_group.live_balancer.id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = true
  enable_zonal_shift               = true
  tags                             = local.tags

  # Fixed addresses: Shield Advanced protects them, and newsrooms' firewalls name them.
  dynamic "subnet_mapping" {
    for_each = aws_subnet.public

    content {
      subnet_id     = subnet_mapping.value.id
      allocation_id = aws_eip.live[subnet_mapping.key].allocation_id
    }
  }

  access_logs {
    bucket  = module.archive.bucket
    prefix  = "live"
    enabled = true
  }
}

resource "aws_lb_target_group" "fanout" {
  name                   = "${substr(local.name, 0, 24)}-fanout"
  vpc_id                 = aws_vpc.this.id
  target_type            = "ip"
  protocol               = "TCP"
  port                   = local.ports.fanout
  preserve_client_ip     = true # limits by address need it
  deregistration_delay   = 120
  connection_termination = true # after fanout's own bye
  tags                   = local.tags

  health_check {
    protocol            = "HTTP"
    port                = local.ports.status
    path                = local.health_path
    matcher             = "200"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_acm_certificate" "live" {
  domain_name       = var.hosts.live
  validation_method = "DNS"
  tags              = local.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "live_validation" {
  zone_id         = var.zone_id
  name            = one(aws_acm_certificate.live.domain_validation_options).resource_record_name
  type            = one(aws_acm_certificate.live.domain_validation_options).resource_record_type
  records         = [one(aws_acm_certificate.live.domain_validation_options).resource_record_value]
  ttl             = 300
  allow_overwrite = true # the regions' certificates of one name share the record
}

resource "aws_acm_certificate_validation" "live" {
  certificate_arn         = aws_acm_certificate.live.arn
  validation_record_fqdns = [aws_route53_record.live_validation.fqdn]
}

resource "aws_lb_listener" "live" {
  load_balancer_arn = aws_lb.live.arn
  port              = local.ports.https
  protocol          = "TLS"
  ssl_policy        = local.tls_policy
  certificate_arn   = aws_acm_certificate_validation.live.certificate_arn
  alpn_policy       = "HTTP1Only" # WebSocket
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.fanout.arn
  }
}
