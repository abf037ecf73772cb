output "data_key_arn" {
  description = "The key that encrypts this region's stream, tables and secrets; services of other regions need it when the home is here."
  value       = aws_kms_key.data.arn
}

output "signing_key_arn" {
  description = "The key that signs snapshots. In the primary's region, what the others' signing_primary.arn must be."
  value       = local.signing_key_arn
}

output "endpoints" {
  description = "URLs of this region's endpoints by service, as another region's home.endpoints wants them."
  value = {
    kinesis  = "https://${aws_vpc_endpoint.interface["kinesis"].dns_entry[0].dns_name}"
    dynamodb = "https://${aws_vpc_endpoint.interface["dynamodb"].dns_entry[0].dns_name}"
    kms      = "https://${aws_vpc_endpoint.interface["kms"].dns_entry[0].dns_name}"
    s3       = "https://${replace(aws_vpc_endpoint.interface["s3"].dns_entry[0].dns_name, "*", "bucket")}"
  }
}

output "names" {
  description = "Names of stream, tables, bucket and key alias, as `tallystream setup` prints them."
  value = {
    stream  = aws_kinesis_stream.submissions.name
    ledger  = aws_dynamodb_table.ledger.name
    control = aws_dynamodb_table.control.name
    bucket  = aws_s3_bucket.published.bucket
    key     = aws_kms_alias.signing.name
  }
}

output "bucket_arn" {
  description = "ARN of the bucket, ready to take copies: another region's replica_bucket_arn."
  value       = aws_s3_bucket.published.arn
  depends_on  = [aws_s3_bucket_versioning.published, aws_s3_bucket_object_lock_configuration.published]
}

output "bucket_domain_name" {
  description = "Where CloudFront fetches published objects."
  value       = aws_s3_bucket.published.bucket_regional_domain_name
}

output "ingest_balancer" {
  description = "Name and hosted zone of the balancer of submissions, and the alarm that says it has no task, for the DNS of the global module."
  value = {
    dns_name = aws_lb.ingest.dns_name
    zone_id  = aws_lb.ingest.zone_id
    alarm    = aws_cloudwatch_metric_alarm.ingest_unwell.alarm_name
  }
}

output "live_balancer" {
  description = "Name and hosted zone of the balancer of viewers, and the ARNs of its addresses, which Shield Advanced protects."
  value = {
    dns_name = aws_lb.live.dns_name
    zone_id  = aws_lb.live.zone_id
    eip_arns = { for zone, eip in aws_eip.live : zone => eip.arn }
  }
}

output "bus_host" {
  description = "DNS name of the bus's balancer, for the other regions' bus_peers."
  value       = aws_lb.bus.dns_name
}

output "vpc" {
  description = "Identifier and private route table of the VPC, for the peering."
  value = {
    id             = aws_vpc.this.id
    cidr           = aws_vpc.this.cidr_block
    route_table_id = aws_route_table.private.id
  }
}

output "archive_bucket" {
  description = "Name of the bucket of logs in the second account."
  value       = module.archive.bucket
}

output "function_arns" {
  description = "ARNs of the functions by name; the runbook of a move invokes latest."
  value       = { for name, f in aws_lambda_function.this : name => f.arn }
}

output "counts" {
  description = "Whether tasks of aggregate and publish run here."
  value       = contains(keys(aws_ecs_service.this), "aggregate") && contains(keys(aws_ecs_service.this), "publish")
}

output "home_bucket" {
  description = "The bucket that the services here read and write: that of the home region."
  value       = local.home_bucket
}
