# How many tasks: each service by what it would otherwise run out of, and before
# known peaks by the clock, since a target is reached too late for a poll's close.
# publish has one leader and a second that waits: more would not help it.

variable "prewarm" {
  type = map(object({
    schedule = string
    timezone = string
    minimum  = map(number)
  }))
  description = "Least numbers of tasks by service from a moment on: before the close of polls, and back down after. Schedules are at(...) or cron(...)."
  default     = {}

  validation {
    condition     = alltrue([for p in values(var.prewarm) : can(regex("^(at|cron)\\(.+\\)$", p.schedule))])
    error_message = "prewarm.schedule must be at(yyyy-mm-ddThh:mm:ss) or cron(...)."
  }

  validation {
    condition     = alltrue(flatten([for p in values(var.prewarm) : [for s in keys(p.minimum) : contains(["ingest", "aggregate", "fanout"], s)]]))
    error_message = "prewarm.minimum may name ingest, aggregate and fanout."
  }
}

locals {
  # What each service is scaled by.
  scaled = {
    ingest    = { runs = true }
    aggregate = { runs = local.writes }
    fanout    = { runs = true }
  }

  prewarmed = merge([for name, p in var.prewarm : {
    for service, minimum in p.minimum : "${name}-${service}" => { service = service, minimum = minimum, schedule = p.schedule, timezone = p.timezone }
    if local.scaled[service].runs
  }]...)
}

resource "aws_appautoscaling_target" "service" {
  for_each = { for name, s in local.scaled : name => s if s.runs }

  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this[each.key].name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.sizes[each.key].minimum
  max_capacity       = var.sizes[each.key].maximum
  tags               = local.tags

  lifecycle {
    ignore_changes = [min_capacity] # the schedule's
  }
}

# Ingest: records that wait in a task's queue for the stream.
resource "aws_appautoscaling_policy" "ingest_queue" {
  name               = "queue-depth"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service["ingest"].service_namespace
  resource_id        = aws_appautoscaling_target.service["ingest"].resource_id
  scalable_dimension = aws_appautoscaling_target.service["ingest"].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 200
    scale_out_cooldown = 30
    scale_in_cooldown  = 600

    customized_metric_specification {
      namespace   = local.metric_namespace
      metric_name = "tallystream_stream_queue_records"
      statistic   = "Average"

      dimensions {
        name  = "election"
        value = var.election
      }

      dimensions {
        name  = "service"
        value = "ingest"
      }
    }
  }
}

# Aggregate: how old the oldest record is that a reader has yet to take. Kinesis says
# so in its own region only, and for readers that poll; our own lag, below, is known
# in any case. The larger of both answers counts.
resource "aws_appautoscaling_policy" "aggregate_age" {
  count = local.writes && local.is_home ? 1 : 0

  name               = "iterator-age"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service["aggregate"].service_namespace
  resource_id        = aws_appautoscaling_target.service["aggregate"].resource_id
  scalable_dimension = aws_appautoscaling_target.service["aggregate"].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 3000 # milliseconds
    scale_out_cooldown = 60
    scale_in_cooldown  = 900 # each change moves leases; do not flutter

    customized_metric_specification {
      metrics {
        id          = "age"
        return_data = true

        metric_stat {
          stat = "Maximum"

          metric {
            namespace   = "AWS/Kinesis"
            metric_name = "GetRecords.IteratorAgeMilliseconds"

            dimensions {
              name  = "StreamName"
              value = local.stream_name
            }
          }
        }
      }
    }
  }
}

resource "aws_appautoscaling_policy" "aggregate_lag" {
  count = local.writes ? 1 : 0

  name               = "lag"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service["aggregate"].service_namespace
  resource_id        = aws_appautoscaling_target.service["aggregate"].resource_id
  scalable_dimension = aws_appautoscaling_target.service["aggregate"].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 5 # seconds
    scale_out_cooldown = 60
    scale_in_cooldown  = 900

    customized_metric_specification {
      namespace   = local.metric_namespace
      metric_name = "tallystream_aggregate_lag_seconds"
      statistic   = "Maximum"

      dimensions {
        name  = "election"
        value = var.election
      }

      dimensions {
        name  = "service"
        value = "aggregate"
      }
    }
  }
}

# Fanout: connections a task.
resource "aws_appautoscaling_policy" "fanout_connections" {
  name               = "connections"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service["fanout"].service_namespace
  resource_id        = aws_appautoscaling_target.service["fanout"].resource_id
  scalable_dimension = aws_appautoscaling_target.service["fanout"].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 25000 # half of what one accepts
    scale_out_cooldown = 30
    scale_in_cooldown  = 1800 # each task that goes sends its viewers elsewhere

    customized_metric_specification {
      metrics {
        id          = "each"
        expression  = "flows / tasks"
        return_data = true
      }

      metrics {
        id          = "flows"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = "AWS/NetworkELB"
            metric_name = "ActiveFlowCount_TLS"

            dimensions {
              name  = "LoadBalancer"
              value = aws_lb.live.arn_suffix
            }
          }
        }
      }

      metrics {
        id          = "tasks"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = "ECS/ContainerInsights"
            metric_name = "RunningTaskCount"

            dimensions {
              name  = "ClusterName"
              value = aws_ecs_cluster.this.name
            }

            dimensions {
              name  = "ServiceName"
              value = aws_ecs_service.this["fanout"].name
            }
          }
        }
      }
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "prewarm" {
  for_each = local.prewarmed

  name               = each.key
  service_namespace  = aws_appautoscaling_target.service[each.value.service].service_namespace
  resource_id        = aws_appautoscaling_target.service[each.value.service].resource_id
  scalable_dimension = aws_appautoscaling_target.service[each.value.service].scalable_dimension
  schedule           = each.value.schedule
  timezone           = each.value.timezone

  scalable_target_action {
    min_capacity = each.value.minimum
    max_capacity = var.sizes[each.value.service].maximum
  }
}
