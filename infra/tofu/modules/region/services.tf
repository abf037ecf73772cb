# The four services on Fargate: what runs, with what, how many at least.

variable "sizes" {
  type = map(object({
    cpu     = number
    memory  = number
    minimum = number
    maximum = number
  }))
  description = "CPU units (1,024 is a core), MiB, and the least and greatest number of tasks, by service."
  default = {
    ingest    = { cpu = 2048, memory = 4096, minimum = 3, maximum = 30 }
    aggregate = { cpu = 2048, memory = 8192, minimum = 2, maximum = 16 }
    publish   = { cpu = 4096, memory = 16384, minimum = 2, maximum = 2 }
    fanout    = { cpu = 4096, memory = 8192, minimum = 3, maximum = 100 }
  }

  validation {
    condition     = toset(keys(var.sizes)) == toset(["ingest", "aggregate", "publish", "fanout"])
    error_message = "sizes must have ingest, aggregate, publish and fanout."
  }

  validation {
    condition     = alltrue([for s in values(var.sizes) : s.minimum >= 2 && s.maximum >= s.minimum])
    error_message = "Each service needs at least two tasks, in two zones, and a maximum not below its minimum."
  }
}

variable "hosts" {
  type = object({
    results = string
    ingest  = string
    live    = string
  })
  description = "Public host names: pages, submissions, live results."

  validation {
    condition     = alltrue([for h in values(var.hosts) : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", h))])
    error_message = "hosts must be host names, without scheme or path."
  }
}

variable "release_pointer" {
  type = object({
    bucket = string
    key    = string
  })
  description = "The object that names the release which should answer for ingest and fanout, in a bucket of this account in the home region. Null: any release may."
  default     = null

  validation {
    condition     = var.release_pointer == null || try(can(regex("^[a-z0-9.-]{3,63}$", var.release_pointer.bucket)) && can(regex("^[A-Za-z0-9._/-]+$", var.release_pointer.key)), false)
    error_message = "release_pointer must be the name of a bucket and a key, without s3:// and wildcards."
  }
}

# What only some elections have. Each is a fact of the election, so that all regions
# are told the same.

variable "receipt_key" {
  type        = string
  description = "Verifier key of receipts (name+hash+key), as `tallystream keys new` printed it with the secret ingest_key, for the first leaf of the public log. Null: the log does not say whose receipts count."
  default     = null

  validation {
    condition     = var.receipt_key == null || can(regex("^[^ +]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$", var.receipt_key))
    error_message = "receipt_key must be a verifier key: name+hash+key. A private key must not stand here."
  }
}

variable "root_keys" {
  type        = bool
  description = "Whether offline root keys may change roster and keys in the night. Then the image has /election/roots.json, and ingest follows what they change."
  default     = false
}

variable "suppression" {
  type        = bool
  description = "Whether the definition's rules.suppression hides small units. Then publish is given the secret seal_key, without which it does not start."
  default     = false
}

locals {
  # What balancers ask for: they take a copy out whose release is not the pointer's.
  release_environment = var.release_pointer == null ? {} : { TALLYSTREAM_RELEASE_POINTER = "s3://${var.release_pointer.bucket}/${var.release_pointer.key}" }
  release_bucket_arn  = "arn:${local.partition}:s3:::${try(var.release_pointer.bucket, "")}"
  release_object_arn  = "${local.release_bucket_arn}/${try(var.release_pointer.key, "")}"
}

locals {
  # publish has one leader; the second waits for its lease. More would only wait.
  services = {
    ingest = {
      # All connections come from the balancer: limits by address are the edge's.
      arguments = concat(
        ["--listen=0.0.0.0:${local.ports.ingest}", "--limit-address-conns=20000", "--limit-failure-rate=-1"],
        var.root_keys ? ["--follow-keys"] : [],
      )
      ports   = [local.ports.ingest]
      secrets = { TALLYSTREAM_INGEST_KEY = "ingest_key", TALLYSTREAM_BUS = "bus_url", TALLYSTREAM_BUS_TLS_CA = "bus_ca" }
      release = local.release_environment
      runs    = true
    }
    aggregate = {
      arguments = []
      ports     = []
      secrets   = { TALLYSTREAM_BUS = "bus_url", TALLYSTREAM_BUS_TLS_CA = "bus_ca" }
      release   = {}
      runs      = local.writes
    }
    publish = {
      arguments = concat(
        ["--live-url=wss://${var.hosts.live}"],
        var.receipt_key == null ? [] : ["--receipt-key=${var.receipt_key}"],
        var.root_keys ? ["--roots=/election/roots.json"] : [],
      )
      ports = []
      secrets = merge(
        { TALLYSTREAM_BUS = "bus_url", TALLYSTREAM_BUS_TLS_CA = "bus_ca" },
        var.suppression ? { TALLYSTREAM_SEAL_KEY = "seal_key" } : {},
      )
      release = {}
      runs    = local.writes
    }
    fanout = {
      arguments = ["--listen=0.0.0.0:${local.ports.fanout}", "--host=${var.hosts.live}", "--origin=https://${var.hosts.results}", "--limit-connections=50000"]
      ports     = [local.ports.fanout]
      secrets   = { TALLYSTREAM_BUS = "bus_url", TALLYSTREAM_BUS_TLS_CA = "bus_ca", TALLYSTREAM_MEDIA_KEYS = "media_keys" }
      release   = local.release_environment
      runs      = true
    }
  }

  # Where the election's truth is. The SDK reads these itself.
  environment = merge(
    {
      AWS_REGION             = var.home_region # also the one that requests are signed for
      TALLYSTREAM_STORES     = "aws"
      TALLYSTREAM_AWS_PREFIX = "tallystream"
      TALLYSTREAM_AWS_BUCKET = local.home_bucket
      TALLYSTREAM_DATA       = "/election"
    },
    local.is_home ? {} : {
      AWS_ENDPOINT_URL_KINESIS  = var.home.endpoints["kinesis"]
      AWS_ENDPOINT_URL_DYNAMODB = var.home.endpoints["dynamodb"]
      AWS_ENDPOINT_URL_KMS      = var.home.endpoints["kms"]
      AWS_ENDPOINT_URL_S3       = var.home.endpoints["s3"]
    },
  )

  # Nothing in a container can write its own root, gain rights, or keep any.
  hardening = {
    readonlyRootFilesystem = true
    privileged             = false
    user                   = "65532:65532"
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 131072, hardLimit = 131072 }]
  }

  log_options = { for name, group in aws_cloudwatch_log_group.service : name => {
    logDriver = "awslogs"
    options = {
      "awslogs-group"         = group.name
      "awslogs-region"        = var.region
      "awslogs-stream-prefix" = name
      "mode"                  = "non-blocking" # a slow log must not stop a count
      "max-buffer-size"       = "8m"
    }
  } }
}

resource "aws_ecs_task_definition" "service" {
  for_each = local.services

  family                   = "${local.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.sizes[each.key].cpu
  memory                   = var.sizes[each.key].memory
  task_role_arn            = aws_iam_role.task[each.key].arn
  execution_role_arn       = aws_iam_role.start[each.key].arn
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([
    merge(local.hardening, {
      name         = each.key
      image        = var.images.tallystream
      essential    = true
      command      = concat([each.key, "--status=0.0.0.0:${local.ports.status}"], each.value.arguments)
      stopTimeout  = 120 # ingest finishes what it has accepted; publish makes one last snapshot
      environment  = [for k, v in merge(local.environment, each.value.release, { GOMEMLIMIT = "${floor(var.sizes[each.key].memory * 0.8)}MiB" }) : { name = k, value = v }]
      secrets      = [for k, v in each.value.secrets : { name = k, valueFrom = aws_secretsmanager_secret.this[v].arn }]
      portMappings = [for p in concat(each.value.ports, [local.ports.status]) : { containerPort = p, protocol = "tcp" }]

      logConfiguration = local.log_options[each.key]
    }),
    merge(local.hardening, {
      name             = "collector"
      image            = var.images.collector
      essential        = false # metrics may fail; the count goes on, and a missing metric is an alarm
      environment      = [{ name = "AOT_CONFIG_CONTENT", value = local.collector_configuration[each.key] }]
      logConfiguration = local.log_options[each.key]
    }),
  ])
}

# A region that does not write has no aggregate and no publish: a move of the writer
# makes them in one region and ends them in the other, by plan.
resource "aws_ecs_service" "this" {
  for_each = { for name, s in local.services : name => s if s.runs }

  name                               = each.key
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.service[each.key].arn
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  desired_count                      = var.sizes[each.key].minimum
  availability_zone_rebalancing      = "ENABLED"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  enable_execute_command             = false # nobody gets a shell beside the keys
  propagate_tags                     = "SERVICE"
  tags                               = local.tags

  network_configuration {
    subnets          = [for s in aws_subnet.private : s.id]
    security_groups  = [aws_security_group.service[each.key].id]
    assign_public_ip = false
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "load_balancer" {
    for_each = { for k, v in local.target_groups : k => v if k == each.key }

    content {
      target_group_arn = load_balancer.value
      container_name   = each.key
      container_port   = local.ports[each.key]
    }
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling's, once it runs
  }

  depends_on = [aws_iam_role_policy.task, aws_iam_role_policy.start, aws_vpc_endpoint.interface]
}
