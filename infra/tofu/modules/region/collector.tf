# The collector beside each service: Prometheus metrics from the service's status
# port, the few that alarms and autoscaling need to CloudWatch, and all of them to a
# Prometheus store if there is one (infra/alerts has its rules).

variable "prometheus" {
  type = object({
    workspace_arn    = string
    remote_write_url = string
  })
  description = "A workspace of Amazon Managed Prometheus in this region. Null: CloudWatch only."
  default     = null

  validation {
    condition     = var.prometheus == null || try(startswith(var.prometheus.remote_write_url, "https://"), false)
    error_message = "prometheus.remote_write_url must be an https URL."
  }
}

locals {
  metric_namespace = "Tallystream"

  # What CloudWatch is given: each is a line on the bill. Every one is used by an
  # alarm or a scaling policy, and infra's tests hold the names against the code.
  cloudwatch_metrics = {
    ingest    = ["tallystream_stream_queue_records"]
    aggregate = ["tallystream_aggregate_lag_seconds"]
    publish = [
      "tallystream_publish_double_entry_balanced",
      "tallystream_publish_snapshot_timestamp_seconds",
      "tallystream_publish_stopped",
    ]
    fanout = ["tallystream_bus_connected", "tallystream_fanout_delivery_seconds"]
  }

  collector_configuration = { for service in keys(local.services) : service => yamlencode({
    receivers = {
      prometheus = { config = { scrape_configs = [{
        job_name        = service
        scrape_interval = "10s"
        static_configs  = [{ targets = ["127.0.0.1:${local.ports.status}"], labels = { election = var.election, region = var.region, service = service } }]
      }] } }
    }
    processors = {
      "filter/cloudwatch" = { metrics = { include = { match_type = "strict", metric_names = local.cloudwatch_metrics[service] } } }
      batch               = { timeout = "10s" }
      resourcedetection   = { detectors = ["env", "ecs"] } # {TaskId} below
    }
    exporters = merge(
      {
        awsemf = {
          region                  = var.region
          namespace               = local.metric_namespace
          log_group_name          = aws_cloudwatch_log_group.metrics.name
          log_stream_name         = "${service}-{TaskId}"
          dimension_rollup_option = "NoDimensionRollup"
          metric_declarations     = [{ dimensions = [["election", "service"]], metric_name_selectors = local.cloudwatch_metrics[service] }]
        }
      },
      var.prometheus == null ? {} : {
        prometheusremotewrite = { endpoint = var.prometheus.remote_write_url, auth = { authenticator = "sigv4auth" } }
      },
    )
    extensions = { sigv4auth = { region = var.region, service = "aps" } }
    service = {
      extensions = ["sigv4auth"]
      pipelines = merge(
        { "metrics/cloudwatch" = { receivers = ["prometheus"], processors = ["resourcedetection", "filter/cloudwatch", "batch"], exporters = ["awsemf"] } },
        var.prometheus == null ? {} : {
          "metrics/prometheus" = { receivers = ["prometheus"], processors = ["batch"], exporters = ["prometheusremotewrite"] }
        },
      )
    }
  }) }
}
