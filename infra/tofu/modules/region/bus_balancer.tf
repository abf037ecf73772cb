# The internal balancer of the bus. It passes TCP through: TLS is between the nodes
# and their clients.

resource "aws_lb" "bus" {
  name                             = "${substr(local.name, 0, 24)}-bus"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = [for s in aws_subnet.private : s.id]
  security_groups                  = [aws_security_group.bus_balancer.id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = true
  tags                             = local.tags

  access_logs {
    bucket  = module.archive.bucket
    prefix  = "live"
    enabled = true
  }
}

resource "aws_lb_target_group" "bus" {
  name                 = "${substr(local.name, 0, 24)}-bus"
  vpc_id               = aws_vpc.this.id
  target_type          = "ip"
  protocol             = "TCP"
  port                 = local.ports.bus
  deregistration_delay = 10
  tags                 = local.tags

  health_check {
    protocol = "HTTP"
    port     = local.ports.bus_health
    path     = "/healthz"
    interval = 10
  }
}

resource "aws_lb_listener" "bus" {
  load_balancer_arn = aws_lb.bus.arn
  port              = local.ports.bus
  protocol          = "TCP" # TLS 1.3 of the node itself: the protocol begins in the clear and balancers cannot end it
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.bus.arn
  }
}

locals {
  # One target group and one port for each node and each of its two neighbourly ports.
  bus_node_ports = merge([for zone, i in local.zones : {
    "route-${zone}" = { listen = local.ports.bus_route + i, target = local.ports.bus_route, short = "route${i}" }
    "gate-${zone}"  = { listen = local.ports.bus_gate + i, target = local.ports.bus_gate, short = "gate${i}" }
  }]...)
}

resource "aws_lb_target_group" "bus_node" {
  for_each = local.bus_node_ports

  name                 = "${substr(local.name, 0, 20)}-${each.value.short}"
  vpc_id               = aws_vpc.this.id
  target_type          = "ip"
  protocol             = "TCP"
  port                 = each.value.target
  deregistration_delay = 0
  tags                 = local.tags

  health_check {
    protocol = "HTTP"
    port     = local.ports.bus_health
    path     = "/healthz"
    interval = 10
  }
}

resource "aws_lb_listener" "bus_node" {
  for_each = local.bus_node_ports

  load_balancer_arn = aws_lb.bus.arn
  port              = each.value.listen
  protocol          = "TCP"
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.bus_node[each.key].arn
  }
}
