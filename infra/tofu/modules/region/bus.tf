# The bus: three nodes of NATS, one a zone, without JetStream: it carries hints, and
# whoever misses one finds it in the bucket. An internal balancer gives each node a
# port of its own for its neighbours, and all of them one port for clients. Between
# regions the nodes are a super-cluster: a delta crosses once, to whoever listens.

variable "bus_size" {
  type = object({
    cpu    = number
    memory = number
  })
  description = "CPU units and MiB of a node of the bus. What it must carry is small: 1,000 deltas a second of 600 bytes to each fanout."
  default     = { cpu = 1024, memory = 2048 }

  validation {
    condition     = var.bus_size.cpu >= 512 && var.bus_size.memory >= 1024
    error_message = "bus_size must be at least 512 CPU units and 1024 MiB."
  }
}

variable "bus_peers" {
  type        = map(string)
  description = "DNS names of the other regions' bus balancers, by region."
  default     = {}

  validation {
    condition     = alltrue([for host in values(var.bus_peers) : can(regex("^[a-zA-Z0-9.-]+$", host))])
    error_message = "bus_peers must be host names, without scheme or port."
  }
}

locals {
  # Plain values go in by interpolation, secrets by the server's own $NAME.
  bus_configuration = { for zone, i in local.zones : zone => <<-EOT
    server_name: "${var.region}-${i}"
    listen: 0.0.0.0:${local.ports.bus}
    http: 0.0.0.0:${local.ports.bus_health}
    max_payload: 1MB
    max_connections: 10000
    write_deadline: "2s"
    authorization { user: tallystream, password: $BUS_PASSWORD, timeout: 5 }
    tls { cert_file: /dev/shm/bus/certificate.pem, key_file: /dev/shm/bus/key.pem, ca_file: /dev/shm/bus/ca.pem, min_version: "1.3", timeout: 5 }
    cluster {
      name: "${var.region}"
      listen: 0.0.0.0:${local.ports.bus_route}
      advertise: "${aws_lb.bus.dns_name}:${local.ports.bus_route + i}"
      authorization { user: route, password: $BUS_PASSWORD, timeout: 5 }
      tls { cert_file: /dev/shm/bus/certificate.pem, key_file: /dev/shm/bus/key.pem, ca_file: /dev/shm/bus/ca.pem, min_version: "1.3", timeout: 5 }
      routes: [${join(", ", [for j in values(local.zones) : "\"nats://route:$${BUS_PASSWORD}@${aws_lb.bus.dns_name}:${local.ports.bus_route + j}\"" if j != i])}]
    }
    gateway {
      name: "${var.region}"
      listen: 0.0.0.0:${local.ports.bus_gate}
      advertise: "${aws_lb.bus.dns_name}:${local.ports.bus_gate + i}"
      authorization { user: gate, password: $BUS_PASSWORD, timeout: 5 }
      tls { cert_file: /dev/shm/bus/certificate.pem, key_file: /dev/shm/bus/key.pem, ca_file: /dev/shm/bus/ca.pem, min_version: "1.3", timeout: 5 }
      gateways: [${join(", ", [for region, host in var.bus_peers : "{ name: \"${region}\", urls: [${join(", ", [for j in values(local.zones) : "\"nats://gate:$${BUS_PASSWORD}@${host}:${local.ports.bus_gate + j}\""])}] }"])}]
    }
  EOT
  }

  bus_start = join(" && ", [
    "umask 077",
    "mkdir -p /dev/shm/bus", # memory: keys are never on a disk
    "printf %s \"$BUS_CA\" > /dev/shm/bus/ca.pem",
    "printf %s \"$BUS_CERTIFICATE\" > /dev/shm/bus/certificate.pem",
    "printf %s \"$BUS_KEY\" > /dev/shm/bus/key.pem",
    # Routes hold the password inside a string, where the server does not look for $NAME.
    "printf %s \"$BUS_CONFIGURATION\" | sed \"s/[$]{BUS_PASSWORD}/$BUS_PASSWORD/g\" > /dev/shm/bus/bus.conf",
    "exec nats-server -c /dev/shm/bus/bus.conf",
  ])
}

resource "aws_ecs_task_definition" "bus" {
  for_each = local.zones

  family                   = "${local.name}-bus-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.bus_size.cpu
  memory                   = var.bus_size.memory
  execution_role_arn       = aws_iam_role.start["bus"].arn
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([merge(local.hardening, {
    name         = "bus"
    image        = var.images.bus
    essential    = true
    entryPoint   = ["/bin/sh", "-c"]
    command      = [local.bus_start]
    stopTimeout  = 60
    environment  = [{ name = "BUS_CONFIGURATION", value = local.bus_configuration[each.key] }]
    portMappings = [for p in ["bus", "bus_route", "bus_gate", "bus_health"] : { containerPort = local.ports[p], protocol = "tcp" }]

    secrets = [for name, key in { BUS_CA = "ca", BUS_CERTIFICATE = "certificate", BUS_KEY = "key", BUS_PASSWORD = "password" } : {
      name = name, valueFrom = "${aws_secretsmanager_secret.this["bus_tls"].arn}:${key}::"
    }]

    logConfiguration = local.log_options["bus"]
  })])
}

resource "aws_ecs_service" "bus" {
  for_each = local.zones

  name                               = "bus-${each.key}"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.bus[each.key].arn
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0 # a node has one place; the two others carry on meanwhile
  deployment_maximum_percent         = 100
  enable_execute_command             = false
  propagate_tags                     = "SERVICE"
  tags                               = local.tags

  network_configuration {
    subnets          = [aws_subnet.private[each.key].id]
    security_groups  = [aws_security_group.bus.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.bus.arn
    container_name   = "bus"
    container_port   = local.ports.bus
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.bus_node["route-${each.key}"].arn
    container_name   = "bus"
    container_port   = local.ports.bus_route
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.bus_node["gate-${each.key}"].arn
    container_name   = "bus"
    container_port   = local.ports.bus_gate
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  depends_on = [aws_iam_role_policy.start, aws_vpc_endpoint.interface]
}
