# Deny by default: a group without rules lets nothing in and nothing out, and each
# rule below names one port and one neighbour.

locals {
  ports = {
    ingest     = 8081
    fanout     = 8080
    status     = 9464
    bus        = 4222
    bus_route  = 6222
    bus_gate   = 7222
    bus_health = 8222
    https      = 443
  }
}

# CloudFront's own addresses, kept by AWS.
data "aws_ec2_managed_prefix_list" "cloudfront" {
  name = "com.amazonaws.global.cloudfront.origin-facing"
}

resource "aws_security_group" "ingest_balancer" {
  name        = "${local.name}-ingest-balancer"
  description = "Takes submissions from CloudFront."
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_security_group" "live_balancer" {
  name        = "${local.name}-live-balancer"
  description = "Takes viewers."
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_security_group" "bus_balancer" {
  name        = "${local.name}-bus-balancer"
  description = "Names the nodes of the bus."
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_security_group" "service" {
  for_each = local.services

  name        = "${local.name}-${each.key}"
  description = "Tasks of ${each.key}."
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_security_group" "bus" {
  name        = "${local.name}-bus"
  description = "Nodes of the bus."
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_security_group" "endpoints" {
  name        = "${local.name}-endpoints"
  description = "Endpoints of AWS services."
  vpc_id      = aws_vpc.this.id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "cloudfront_to_ingest" {
  security_group_id = aws_security_group.ingest_balancer.id
  description       = "Submissions, through CloudFront only."
  prefix_list_id    = data.aws_ec2_managed_prefix_list.cloudfront.id
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  tags              = local.tags
}

# The one door that is open to everybody: live results.
resource "aws_vpc_security_group_ingress_rule" "viewers_to_live" {
  security_group_id = aws_security_group.live_balancer.id
  description       = "Viewers."
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  tags              = local.tags
}

locals {
  # from group, to group, port: both halves of the rule are made of each line.
  passages = {
    ingest        = { from = aws_security_group.ingest_balancer.id, to = aws_security_group.service["ingest"].id, port = local.ports.ingest }
    ingest_status = { from = aws_security_group.ingest_balancer.id, to = aws_security_group.service["ingest"].id, port = local.ports.status }
    live          = { from = aws_security_group.live_balancer.id, to = aws_security_group.service["fanout"].id, port = local.ports.fanout }
    live_status   = { from = aws_security_group.live_balancer.id, to = aws_security_group.service["fanout"].id, port = local.ports.status }
    bus           = { from = aws_security_group.bus_balancer.id, to = aws_security_group.bus.id, port = local.ports.bus }
    bus_route     = { from = aws_security_group.bus_balancer.id, to = aws_security_group.bus.id, port = local.ports.bus_route }
    bus_gate      = { from = aws_security_group.bus_balancer.id, to = aws_security_group.bus.id, port = local.ports.bus_gate }
    bus_health    = { from = aws_security_group.bus_balancer.id, to = aws_security_group.bus.id, port = local.ports.bus_health }
    bus_endpoints = { from = aws_security_group.bus.id, to = aws_security_group.endpoints.id, port = local.ports.https }
  }

  service_passages = merge([for name in keys(local.services) : {
    "${name}_bus"       = { from = aws_security_group.service[name].id, to = aws_security_group.bus_balancer.id, port = local.ports.bus }
    "${name}_endpoints" = { from = aws_security_group.service[name].id, to = aws_security_group.endpoints.id, port = local.ports.https }
  }]...)

  all_passages = merge(local.passages, local.service_passages)

  # The nodes of the bus call each other, and the other regions' nodes, through
  # the balancer's ports.
  bus_route_ports = [for i in values(local.zones) : local.ports.bus_route + i]
  bus_gate_ports  = [for i in values(local.zones) : local.ports.bus_gate + i]
}

resource "aws_vpc_security_group_ingress_rule" "passage" {
  for_each = local.all_passages

  security_group_id            = each.value.to
  referenced_security_group_id = each.value.from
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "passage" {
  for_each = local.all_passages

  security_group_id            = each.value.from
  referenced_security_group_id = each.value.to
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "bus_to_bus" {
  security_group_id            = aws_security_group.bus.id
  referenced_security_group_id = aws_security_group.bus_balancer.id
  description                  = "Routes between the nodes."
  ip_protocol                  = "tcp"
  from_port                    = min(local.bus_route_ports...)
  to_port                      = max(local.bus_route_ports...)
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "bus_to_bus" {
  security_group_id            = aws_security_group.bus_balancer.id
  referenced_security_group_id = aws_security_group.bus.id
  description                  = "Routes between the nodes."
  ip_protocol                  = "tcp"
  from_port                    = min(local.bus_route_ports...)
  to_port                      = max(local.bus_route_ports...)
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "bus_to_peers" {
  for_each = toset(var.peer_cidrs)

  security_group_id = aws_security_group.bus.id
  description       = "Gateways of the other regions' bus."
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = min(local.bus_gate_ports...)
  to_port           = max(local.bus_gate_ports...)
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "peers_to_bus" {
  for_each = toset(var.peer_cidrs)

  security_group_id = aws_security_group.bus_balancer.id
  description       = "Gateways of the other regions' bus."
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = min(local.bus_gate_ports...)
  to_port           = max(local.bus_gate_ports...)
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "peers_to_endpoints" {
  for_each = toset(var.peer_cidrs)

  security_group_id = aws_security_group.endpoints.id
  description       = "The other regions' services, while the election's home is here."
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "services_to_peers" {
  for_each = { for pair in setproduct(keys(local.services), var.peer_cidrs) : "${pair[0]} ${pair[1]}" => pair }

  security_group_id = aws_security_group.service[each.value[0]].id
  description       = "Endpoints of the election's home, when it is in another region."
  cidr_ipv4         = each.value[1]
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  tags              = local.tags
}

# The gateway to S3 is a route to public addresses, which the group must allow.
data "aws_prefix_list" "s3" {
  name = "com.amazonaws.${var.region}.s3"
}

resource "aws_vpc_security_group_egress_rule" "tasks_to_s3" {
  for_each = merge({ for name, group in aws_security_group.service : name => group.id }, { bus = aws_security_group.bus.id })

  security_group_id = each.value
  description       = "The bucket, and image layers."
  prefix_list_id    = data.aws_prefix_list.s3.id
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
  tags              = local.tags
}
